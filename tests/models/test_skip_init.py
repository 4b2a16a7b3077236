"""Networks built without storage."""

from __future__ import annotations

import torch
from torch import nn

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.layers.skip_init import FACTORIES, SkipInit


def test_a_detector_has_its_tensors_on_the_meta_device_alone() -> None:
    parts = compose("shapes_mask_rcnn_r10_fpn")
    with SkipInit("meta"):
        built = build_model(parts, ["one", "two"])
    plain = build_model(parts, ["one", "two"])
    described = [
        [(name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in named]
        for model in (built, plain)
        for named in (model.named_parameters(), model.named_buffers())
    ]
    assert described[:2] == described[2:]
    assert all(tensor.is_meta for tensor in (*built.parameters(), *built.buffers()))


def test_another_device_is_kept_where_it_is_named() -> None:
    with SkipInit("meta"):
        assert torch.zeros(2, device="cpu").tolist() == [0, 0]
        assert nn.Linear(2, 3).weight.is_meta
    assert not nn.Linear(2, 3).weight.is_meta


def test_every_factory_takes_a_device() -> None:
    known = torch.utils._device._device_constructors()
    assert known >= FACTORIES
