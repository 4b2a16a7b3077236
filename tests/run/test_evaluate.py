"""What an evaluation refuses to count: a network that computes no numbers finds nothing, which is no AP of 0."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from subjects import SMALL, make_subject

from zoo.errors import ZooError
from zoo.measure.accuracy import accuracy
from zoo.measure.measurement import Subject


@pytest.fixture
def subject(tiny_coco: Path, tmp_path: Path) -> Subject:
    return make_subject("mmdet_faster_rcnn_r50_fpn_1x", tiny_coco, tmp_path, SMALL)


def test_a_negative_variance(subject: Subject) -> None:
    next(value for name, value in subject.detector.named_buffers() if name.endswith("running_var"))[0] = -1.0
    with pytest.raises(ZooError, match=r"NaN or infinite values \(in neck, precision=fp32\)") as caught:
        accuracy(subject)
    assert "negative running variance" in caught.value.next_step


@pytest.mark.parametrize("head", ["rpn_head", "roi_head"])
def test_an_overflow_in_a_head(subject: Subject, head: str) -> None:
    weights = [value for name, value in subject.detector.named_parameters() if name.startswith(head)]
    with torch.no_grad():
        weights[-2].fill_(3e38)
    with pytest.raises(ZooError, match=f"in {head}"):
        accuracy(subject)


def test_afterwards_nothing_is_looked_at(subject: Subject) -> None:
    accuracy(subject)
    assert not any(part._forward_hooks for part in subject.detector.children())
