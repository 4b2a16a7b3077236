"""Speed: against torchvision with the same weights, and phase by phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch

from gpu.clocks import Call, Edge, Phases, interleaved, peak_gb, warm
from gpu.images import Picture, large_picture, picture, use_tests_and_benchmarks
from gpu.lines import Line, Session, check, figure

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.detectors.base import Detector
    from zoo.types import Sample, Target

CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
ROUNDS = 25
CALLS = 40
"""Timed calls of a detector whose phases are looked at."""

RATIOS = {
    ("fp32", "plain"): 1.15,
    ("fp32", "folded + channels-last"): 1.15,
    ("fp32, kernels chosen by trial", "folded + channels-last"): 1.25,
    ("fp16", "folded + channels-last"): 1.7,
}
"""How many times as fast as torchvision eager it is to be, by precision and layout; others are information."""

SAME_SCORES = 1e-4
"""Between plain and folded networks."""

TWO_STAGE: dict[str, Edge | None] = {
    "pre": ("backbone", False),
    "backbone + neck": ("neck", True),
    "RPN head": ("rpn_head", True),
    "proposals": ("roi_head", False),
    "RoI head": ("roi_head", True),
    "post": None,
}
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


def inference(session: Session) -> Iterator[Line]:
    """Faster R-CNN R50-FPN on one image, from bytes on the host to detections there, and its phases."""
    use_tests_and_benchmarks()
    from inference_cpu import ours, worst_score_difference

    from zoo.run.evaluate import detect

    weights = _tame_weights()
    models = {
        "plain": ours(weights, fast=False).to(session.device),
        "folded + channels-last": ours(weights, fast=True).to(session.device),
    }
    image = large_picture(session)
    sample = models["plain"].transform(image, 0)
    found = {name: detect(model, [sample], "fp32")[0] for name, model in models.items()}
    apart = worst_score_difference(*found.values())
    yield figure("scores, folded against plain", apart, at_most=SAME_SCORES, note=f"{len(found['plain'])} detections")
    peer = _torchvision(session, weights, image)
    for precision, autotune in (("fp32", False), ("fp32, kernels chosen by trial", True), (session.half, False)):
        with cudnn_trials(autotune):
            yield from _ratios(session, models, peer, sample, precision)
    for precision in ("fp32", session.half):
        yield from _two_stage_phases(session, models["plain"], sample, precision)


def _tame_weights() -> dict[str, Tensor]:
    """The drawn weights, with proposals' deltas as small as trained ones, as the benchmarks have them."""
    import parity

    return {key: value * 0.1 if "rpn_reg" in key else value for key, value in parity.weights(CASE).items()}


def _torchvision(session: Session, weights: dict[str, Tensor], image: Picture) -> Call:
    """torchvision's model from bytes on the host to detections there."""
    from inference_cpu import torchvisions

    model, pixels = torchvisions(weights).to(session.device), torch.from_numpy(image)

    @torch.inference_mode()
    def call() -> object:
        (found,) = model([pixels.to(session.device).permute(2, 0, 1) / 255])
        return {name: value.cpu() for name, value in found.items()}

    return call


@contextmanager
def cudnn_trials(on: bool) -> Iterator[None]:
    """Whether cuDNN tries its algorithms, of zoo and peer alike."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _ratios(
    session: Session, models: dict[str, Detector], peer: Call, sample: Sample, precision: str
) -> Iterator[Line]:
    from zoo.run.evaluate import detect
    from zoo.run.precision import autocast

    kind = precision.partition(",")[0]

    def theirs() -> object:
        with autocast(torch.device(session.device), kind):
            return peer()

    candidates: dict[str, Call] = {"torchvision": theirs}
    for name, model in models.items():
        candidates[name] = lambda model=model: detect(model, [sample], kind)  # type: ignore[misc]
    found = interleaved(session, candidates, ROUNDS)
    yield figure(f"torchvision eager, {precision}", found["torchvision"], "ms")
    for name in models:
        goal = RATIOS.get((precision, name))
        note = f"{found[name]:.2f} ms"
        yield session.timed(figure(f"torchvision / zoo {name}, {precision}", found["torchvision"] / found[name], "",
                            at_least=goal, note=note))  # fmt: skip
    if session.on_gpu and precision == kind:
        peaks = {name: peak_gb(call) for name, call in candidates.items()}
        note = f"torchvision {peaks['torchvision']:.3f} GB (both models' weights are in each figure)"
        for name in models:
            yield session.timed(figure(f"peak memory of zoo {name}, {precision}", peaks[name], "GB",
                                at_most=peaks["torchvision"], note=note))  # fmt: skip


def _two_stage_phases(session: Session, model: Detector, sample: Sample, precision: str) -> Iterator[Line]:
    phases = _timed(session, model, TWO_STAGE, [sample], precision)
    for phase in TWO_STAGE:
        yield session.timed(figure(f"plain, {precision}: {phase}", phases.percentile(phase, 50), "ms"))


def _timed(
    session: Session, model: Detector, edges: dict[str, Edge | None], samples: list[Sample], precision: str = "fp32"
) -> Phases:
    """The phases of a detector on samples in turn, warm for each."""
    from zoo.run.evaluate import detect

    phases = Phases(model, edges)
    for sample in samples:
        warm(session, lambda sample=sample: detect(model, [sample], precision))  # type: ignore[misc]
    for i in range(CALLS if session.on_gpu else 1):
        sample = samples[i % len(samples)]
        phases.time(lambda sample=sample: detect(model, [sample], precision), 1)  # type: ignore[misc]
    return phases


def yolo(session: Session) -> Iterator[Line]:
    """YOLOv8 on images of several shapes: phases, and how even the times are."""
    for name, goal in (("yolov8n", BOXES_MS), ("yolov8x-seg", MASKS_MS)):
        model = _yolo(name).to(session.device)
        samples = [model.transform(picture(*size, seed=i), i) for i, size in enumerate(SIZES)]
        phases = _timed(session, model, DENSE, samples)
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
    phases = _timed(session, model, MASKED, [sample])
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

    weights = _tame_weights()
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
        peaks = {name: peak_gb(call) for name, call in candidates.items()} if session.on_gpu else {}
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
