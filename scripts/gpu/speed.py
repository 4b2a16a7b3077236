"""Speed: post-processing of YOLOv8 and of masks, and a training step against torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from gpu.clocks import Call, Edge, interleaved, peak_of, timed_phases
from gpu.images import picture, use_tests_and_benchmarks
from gpu.inference import tame_weights
from gpu.lines import Line, Session, check, figure

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector
    from zoo.types import Sample, Target

MASKED: dict[str, Edge | None] = {
    "pre": ("backbone", False),
    "network": ("roi_head.mask_head", True),
    "post": None,
}
DENSE: dict[str, Edge | None] = {
    "pre": ("backbone", False),
    "network": ("dense_head", True),
    "post": None,
}

SIZES = ((480, 640), (640, 480), (427, 640), (640, 427), (375, 500), (500, 375), (640, 640), (360, 640))
"""Sizes of pictures for YOLO: one of each shape that COCO has most."""

MASKS_MS, PASTE_MS, BOXES_MS, TAIL = 12.0, 4.0, 1.5, 1.5
"""Goals: post-processing of 300 masks, of 100 pasted ones, of boxes; p95 against p50."""

TRAINING_SIZE = (800, 1280)
TRAINING_ROUNDS = 8
TRAINING_RATIOS = {"TF32 convolutions": 1.1, "AMP": 1.1, "fp32": 1.0}


def yolo(session: Session) -> Iterator[Line]:
    """YOLOv8 on images of several shapes: phases, and how even the times are."""
    for name, goal in (("yolov8n", BOXES_MS), ("yolov8x-seg", MASKS_MS)):
        model = _yolo(name).to(session.device)
        samples = [model.transform(picture(*size, seed=i), i) for i, size in enumerate(SIZES)]
        phases = timed_phases(session, model, DENSE, samples)
        count = _found(model, samples[0])
        for phase in ("pre", "network"):
            yield session.timed(figure(f"{name}: {phase}", phases.percentile(phase, 50), "ms"))
        note = f"{count} detections; p95 {phases.percentile('post', 95):.2f} ms"
        yield session.timed(figure(f"{name}: post", phases.percentile("post", 50), "ms", at_most=goal, note=note))
        p50, p95 = phases.total(50), phases.total(95)
        note = f"p50 {p50:.2f} ms, p95 {p95:.2f} ms"
        yield session.timed(figure(f"{name}: p95 / p50", p95 / p50, at_most=TAIL, note=note))
        del model


def _yolo(case: str) -> Detector:
    from gpu.parity import load
    from zoo.models.layers.conv import fold_batch_norm

    model = load(f"ultralytics/{case}")
    fold_batch_norm(model)  # as its protocol runs it
    return model


def _found(model: Detector, sample: Sample) -> int:
    from zoo.run.evaluate import detect

    return len(detect(model, [sample], "fp32")[0])


def masks(session: Session) -> Iterator[Line]:
    """Mask R-CNN: pasting and encoding."""
    from gpu.parity import load

    model = load("mmdet/mask_rcnn_r50_fpg_crop640_50e_coco").to(session.device)
    sample = model.transform(picture(480, 640), 0)
    phases = timed_phases(session, model, MASKED, [sample])
    for phase in ("pre", "network"):
        yield session.timed(figure(f"Mask R-CNN FPG: {phase}", phases.percentile(phase, 50), "ms"))
    note = f"{_found(model, sample)} detections"
    yield session.timed(
        figure("Mask R-CNN FPG: post", phases.percentile("post", 50), "ms", at_most=PASTE_MS, note=note)
    )


def training_speed(session: Session) -> Iterator[Line]:
    """A training step of Faster R-CNN R50-FPN on two images, against torchvision's."""
    use_tests_and_benchmarks()
    from training_step import IMAGES, LOSS_TOLERANCE, OBJECTS, boxes, our_step, peer_step, regions

    from zoo.types import Target

    weights = tame_weights()
    size = TRAINING_SIZE if session.on_gpu else (320, 416)
    pixels = [torch.from_numpy(picture(*size, seed=i).copy()) for i in range(IMAGES)]
    targets: list[Target] = [Target(boxes(*size, seed=i), torch.arange(OBJECTS)) for i in range(IMAGES)]
    detector, zoo_step = our_step(weights, pixels, targets, session.device)
    peer, torchvision_step = peer_step(weights, pixels, targets, session.device)
    our_regions, our_loss = regions(detector.get_submodule("roi_head.stages.0.box_head"), zoo_step)
    its_regions, its_loss = regions(peer.get_submodule("roi_heads.box_head"), torchvision_step)
    same = our_regions == its_regions and abs(our_loss - its_loss) <= LOSS_TOLERANCE * its_loss
    note = f"{our_regions} and {its_regions} regions, losses {our_loss:.4f} and {its_loss:.4f} (zoo, torchvision)"
    yield check("the same work", same, f"equal regions, losses within {LOSS_TOLERANCE:g}", note)
    steps: dict[str, Call] = {"torchvision": torchvision_step, "zoo": zoo_step}
    for precision, goal in TRAINING_RATIOS.items():
        yield from _training_ratio(session, steps, precision, goal)


def _training_ratio(session: Session, steps: dict[str, Call], precision: str, goal: float) -> Iterator[Line]:
    from zoo.run.precision import autocast

    kind = session.half if precision == "AMP" else "fp32"
    losses: dict[str, Any] = {}

    def step(name: str) -> None:
        with autocast(torch.device(session.device), kind):
            losses[name] = steps[name]()

    candidates: dict[str, Call] = {name: lambda name=name: step(name) for name in steps}  # type: ignore[misc]
    with float32_convolutions("tf32" if precision.startswith("TF32") else "ieee"):
        found = interleaved(session, candidates, TRAINING_ROUNDS)
        peaks = {name: peak_of(call).highest / 2**30 for name, call in candidates.items()} if session.on_gpu else {}
    finite = all(bool(torch.isfinite(loss)) for loss in losses.values())
    yield check(f"losses, {precision}", finite, "finite")
    note = f"{found['torchvision']:.2f} and {found['zoo']:.2f} ms"
    ratio = found["torchvision"] / found["zoo"]
    yield session.timed(figure(f"torchvision / zoo, training step, {precision}", ratio, at_least=goal, note=note))
    if peaks:
        note = f"zoo {peaks['zoo']:.2f} GB, torchvision {peaks['torchvision']:.2f} GB (with both models' states)"
        yield figure(f"peak memory torchvision / zoo, training step, {precision}", peaks["torchvision"] / peaks["zoo"],
                     note=note)  # fmt: skip


@contextmanager
def float32_convolutions(precision: Literal["ieee", "tf32"]) -> Iterator[None]:
    """The arithmetic of cuDNN's float32 convolutions, of zoo and peer alike."""
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined] # made at import time
    before = convolutions.fp32_precision
    convolutions.fp32_precision = precision
    try:
        yield
    finally:
        convolutions.fp32_precision = before
