"""The stages of an evaluation: the results, order and errors of one batch after another, and few waits."""

from __future__ import annotations

import copy
import multiprocessing
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from device_work import counted
from subjects import SMALL, make_subject
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.data.detections import Detections
from zoo.data.loader import image_loader
from zoo.errors import DataError, ZooError
from zoo.measure.accuracy import accuracy
from zoo.measure.measurement import Subject
from zoo.run.evaluate import detect, evaluate
from zoo.run.non_finite import OutputSums
from zoo.run.stages import Stages
from zoo.types import Sample


@pytest.fixture(scope="module")
def made(tiny_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject("mmdet_faster_rcnn_r50_fpn_1x", tiny_coco, tmp_path_factory.mktemp("run"), SMALL)


@pytest.fixture(scope="module")
def batches(made: Subject) -> list[list[Sample]]:
    """Of one image each, three."""
    return list(image_loader(made.dataset, made.batches, 0))


@pytest.fixture
def subject(made: Subject) -> Subject:
    """One that may be changed."""
    return replace(made, detector=copy.deepcopy(made.detector), dataset=copy.deepcopy(made.dataset))


def break_output(subject: Subject, call: int, value: float, part: str = "rpn_head") -> None:
    """Have a part of the detector give one such number at its n-th call and at those of the same image after it."""
    calls: list[float] = []

    def spoil(_part: Any, inputs: Any, outputs: Any) -> Any:
        image = float(inputs[0][0].sum(dtype=torch.float64))
        if image not in calls:
            calls.append(image)
        if calls.index(image) == call:
            outputs.logits[0].view(-1)[0] = value
        return outputs

    subject.detector.get_submodule(part).register_forward_hook(spoil)


def same(one: Detections, other: Detections) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("boxes", "scores", "labels"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("summed", [False, True])
def test_the_results_of_one_batch_after_another(
    subject: Subject, batches: list[list[Sample]], precision: str, summed: bool
) -> None:
    stages = Stages(subject.detector, precision, sums=OutputSums() if summed else None)
    found = list(stages.overlapped(batches))
    assert [ids for ids, _ in found] == [[sample.image_id for sample in samples] for samples in batches]
    for samples, (_, images) in zip(batches, found, strict=True):
        assert all(map(same, images, detect(subject.detector, samples, precision)))
    assert not any(part._forward_hooks for part in subject.detector.children())


def test_sums_are_made_without_a_wait(subject: Subject, batches: list[list[Sample]]) -> None:
    detector = subject.detector
    detect(detector, batches[0], "fp32")  # makes constants

    def waits(call: Callable[[], object]) -> int:
        with counted() as work:
            call()
        return work.waits

    count = len(batches)
    plain = sum(waits(lambda samples=samples: detector(samples)) for samples in batches)  # type: ignore[misc]
    on_the_spot = waits(lambda: list(Stages(detector, "fp32", sums=None).overlapped(batches)))
    summed = waits(lambda: list(Stages(detector, "fp32", sums=OutputSums()).overlapped(batches)))
    sums = OutputSums()
    with sums.summing(detector):
        detector(batches[0])
    outputs = len(sums.take())
    assert outputs > 5 + 2 * 5 + 2, "maps of the neck, logits and deltas of as many levels, and those of the regions"
    assert on_the_spot == plain + count * outputs
    assert summed == plain + count, "whether the sums are finite, which is asked where they have arrived"


def test_an_operator_a_part() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        levels = [torch.empty(1, 8, side, side, dtype=torch.float16) for side in (8, 4, 0)]
        with counted() as work:
            sums = OutputSums()
            sums.add((levels, torch.empty(3, dtype=torch.int64)))
            sums.add(levels[:2])
            taken = sums.take()
    assert dict(work.kernels) == {"aten::_foreach_norm": 2, "aten::stack": 1}
    assert (work.waits, taken.shape, taken.dtype, taken.device.type) == (0, (4,), torch.float32, "cuda")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("summed", [False, True])
def test_no_number_in_the_third_batch(
    subject: Subject, batches: list[list[Sample]], value: float, summed: bool
) -> None:
    break_output(subject, 2, value)
    found = []
    stages = Stages(subject.detector, "fp32", sums=OutputSums() if summed else None)
    with pytest.raises(ZooError, match=r"NaN or infinite values \(in rpn_head, precision=fp32\)"):
        found += list(stages.overlapped(batches))
    assert not any(len(part._forward_hooks) > (name == "rpn_head") for name, part in subject.detector.named_children())


def test_a_sum_that_overflows_is_no_fault(subject: Subject, batches: list[list[Sample]]) -> None:
    sums = OutputSums()
    sums.add([torch.full((4,), 3e38)])
    assert not sums.take().isfinite().all()
    found = Stages(subject.detector, "fp32", sums=Overflowing()).overlapped(batches)
    assert [ids for ids, _ in found] == [[sample.image_id for sample in samples] for samples in batches]


class Overflowing(OutputSums):
    def take(self) -> Tensor:
        return super().take() * 1e38 * 1e38


def test_code_that_breaks_on_nan_is_not_what_is_reported(
    subject: Subject, batches: list[list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(outputs: Any, batch: Any) -> list[Detections]:
        raise IndexError("index 7 is out of range")

    monkeypatch.setattr(subject.detector, "postprocess", refuse)
    with pytest.raises(IndexError, match="index 7"):
        list(Stages(subject.detector, "fp32", sums=OutputSums()).overlapped(batches))
    break_output(subject, 0, float("nan"))
    with pytest.raises(ZooError, match="in rpn_head"):
        list(Stages(subject.detector, "fp32", sums=OutputSums()).overlapped(batches))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_image_comes_after_all_before_it(subject: Subject, workers: int) -> None:
    taken: list[int] = []

    class Metric:
        def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
            taken.extend(image_ids)

        def reset(self) -> None: ...

        def result(self) -> dict[str, Any]:
            return {}

    subject.dataset.files[2] = subject.dataset.files[2].with_name("absent.jpg")
    with pytest.raises(DataError, match=r"absent\.jpg"):
        evaluate(
            subject.detector,
            image_loader(subject.dataset, subject.batches, workers),
            [Metric()],
            images=len(subject.dataset),
            precision="fp32",
        )
    assert taken == subject.dataset.image_ids[:2]


def test_an_interruption_leaves_no_thread_and_no_process(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.measure.coco_eval.metric import Accuracy

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Accuracy, "update", interrupt)
    threads, processes = set(threading.enumerate()), set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        accuracy(replace(subject, workers=1))
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)  # those of queues end by themselves
        assert not thread.is_alive()
    assert set(multiprocessing.active_children()) <= processes
    assert not any(part._forward_hooks for part in subject.detector.children())


def test_two_batches_at_most(subject: Subject, batches: list[list[Sample]], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Any] = []
    prepare = type(subject.detector).prepare

    def recorded(detector: Any, samples: Sequence[Sample]) -> Any:
        batch = prepare(detector, samples)
        prepared.append(weakref.ref(batch.images))
        assert sum(images() is not None for images in prepared) <= 2
        return batch

    monkeypatch.setattr(type(subject.detector), "prepare", recorded)
    assert len(list(Stages(subject.detector, "fp32").overlapped(batches))) == len(batches) == len(prepared)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_gpu(subject: Subject, precision: str) -> None:
    detector, device = subject.detector.to("cuda"), torch.device("cuda")
    loaded = list(image_loader(subject.dataset, subject.batches, 1, device=device))
    assert all(sample.pixels.is_pinned() for samples in loaded for sample in samples)
    found = list(Stages(detector, precision).overlapped(loaded))
    assert [ids for ids, _ in found] == [[sample.image_id for sample in samples] for samples in loaded]
    for samples, (_, (image,)) in zip(loaded, found, strict=True):
        (expected,) = detect(detector, samples, precision)
        assert image.scores.device.type == "cpu"
        assert not image.scores.is_pinned()
        torch.testing.assert_close(image.scores, expected.scores)
        torch.testing.assert_close(image.boxes, expected.boxes, rtol=1e-4, atol=1e-2)
    break_output(subject, 2, float("nan"))
    with pytest.raises(ZooError, match=f"in rpn_head, precision={precision}"):
        list(Stages(detector, precision).overlapped(loaded))
