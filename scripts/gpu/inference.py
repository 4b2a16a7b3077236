"""Faster R-CNN R50-FPN against torchvision's with the same weights, whole and phase by phase."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from gpu.clocks import Call, Edge, interleaved, peak_of, timed_phases
from gpu.images import Picture, large_picture, use_tests_and_benchmarks
from gpu.lines import Line, Session, figure

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.detectors.base import Detector
    from zoo.types import Sample

CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
ROUNDS = 20

FLOAT32, HALF = "folded", "folded + channels-last"
"""The layouts that each precision is judged in: float32 convolutions want channels outermost on a GPU, tensor cores
innermost."""

TRIALS = "fp32, kernels chosen by trial"

RATIOS = {
    ("fp32", FLOAT32): 1.15,
    (TRIALS, FLOAT32): 1.25,
    ("fp16", HALF): 1.7,
    ("fp16", f"{HALF}, graph"): 2.5,
}
"""How many times as fast as torchvision eager it is to be, by precision and layout; others are information."""

SAME_SCORES = 1e-4
"""Between plain and folded networks, and between graphs and kernels launched one by one."""

PHASES: dict[str, Edge | None] = {
    "pre": ("backbone", False),
    "backbone + neck": ("neck", True),
    "RPN head": ("rpn_head", True),
    "proposals": ("roi_head", False),
    "RoI head": ("roi_head", True),
    "post": None,
}


def inference(session: Session) -> Iterator[Line]:
    """Faster R-CNN R50-FPN on one image, from bytes on the host to detections there, and its phases."""
    use_tests_and_benchmarks()
    from inference_cpu import worst_score_difference

    from zoo.run.evaluate import detect

    weights = tame_weights()
    models = _models(session, weights)
    image = large_picture(session)
    sample = models["plain"].transform(image, 0)
    found = {name: detect(model, [sample], "fp32")[0] for name, model in models.items()}
    for name, others in list(found.items())[1:]:
        apart = worst_score_difference(found["plain"], others)
        note = f"{len(others)} detections"
        yield figure(f"scores, {name} against plain", apart, at_most=SAME_SCORES, note=note)
    peer = _torchvision(session, weights, image)
    yield from _ratios(session, models, FLOAT32, peer, sample, "fp32")
    yield from _ratios(session, models, HALF, peer, sample, session.half)
    with cudnn_trials(), ThreadPoolExecutor(1) as thread:
        yield from thread.submit(list, _ratios(session, models, FLOAT32, peer, sample, TRIALS)).result()
    for name in (name for name in models if name.endswith("graph")):
        yield _graph_memory(models[name], name)
    for precision, name in (("fp32", FLOAT32), (session.half, HALF)):
        phases = timed_phases(session, models[name], PHASES, [sample], precision)
        for phase in PHASES:
            yield session.timed(figure(f"{name}, {precision}: {phase}", phases.percentile(phase, 50), "ms"))


def _models(session: Session, weights: dict[str, Tensor]) -> dict[str, Detector]:
    """The detector in every layout, and on a GPU as graphs too."""
    from inference_cpu import ours

    from zoo.models.layers.conv import fold_batch_norm
    from zoo.run.graphs import use_graphs

    models = {"plain": ours(weights, fast=False)}
    models[FLOAT32] = copy.deepcopy(models["plain"])
    fold_batch_norm(models[FLOAT32])
    models[HALF] = copy.deepcopy(models[FLOAT32])
    models[HALF].use_channels_last()
    if session.on_gpu:
        models |= {f"{layout}, graph": copy.deepcopy(models[layout]) for layout in (FLOAT32, HALF)}
    for name, model in models.items():
        model.to(session.device)
        if name.endswith("graph"):
            use_graphs(model)
    return models


def tame_weights() -> dict[str, Tensor]:
    """The drawn weights, with proposals' deltas as small as trained ones, as the benchmarks have them."""
    import parity

    return {key: value * 0.1 if "rpn_reg" in key else value for key, value in parity.weights(CASE).items()}


def _torchvision(session: Session, weights: dict[str, Tensor], image: Picture) -> tuple[nn.Module, Call]:
    """torchvision's model, and how it goes from bytes on the host to detections there."""
    from inference_cpu import torchvisions

    model, pixels = torchvisions(weights).to(session.device), torch.from_numpy(image)

    @torch.inference_mode()
    def call() -> object:
        (found,) = model([pixels.to(session.device).permute(2, 0, 1) / 255])
        return {name: value.cpu() for name, value in found.items()}

    return model, call


@contextmanager
def cudnn_trials() -> Iterator[None]:
    """Within it cuDNN tries its algorithms, of zoo and peer alike, in a thread of its own.

    What a thread has chosen for a convolution stays its choice, whether it was tried or looked up.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _ratios(
    session: Session,
    models: dict[str, Detector],
    layout: str,
    peer: tuple[nn.Module, Call],
    sample: Sample,
    precision: str,
) -> Iterator[Line]:
    """zoo plain, in the layout of a precision, and as a graph, against torchvision in the same precision."""
    from zoo.run.evaluate import detect
    from zoo.run.precision import autocast, inference_precision

    kind, device = precision.partition(",")[0], torch.device(session.device)
    chosen = {name: model for name, model in models.items() if name in ("plain", layout, f"{layout}, graph")}

    def theirs() -> object:
        with autocast(device, kind):
            return peer[1]()

    candidates: dict[str, Call] = {"torchvision": theirs}
    weights = {name: _tensors(model) for name, model in (("torchvision", peer[0]), *chosen.items())}
    for name, model in chosen.items():
        candidates[name] = lambda model=model: detect(model, [sample], kind)  # type: ignore[misc]
    with ExitStack() as stack:
        for name, model in chosen.items():
            stack.enter_context(inference_precision(model, device, kind))  # as an evaluation does, once for all images
            weights[name] |= _tensors(model)  # beside what was cast
        found = interleaved(session, candidates, ROUNDS)
        looked_at = candidates if session.on_gpu and precision == kind else {}
        peaks = {name: _peak_gb(call, weights[name]) for name, call in looked_at.items()}
    yield figure(f"torchvision eager, {precision}", found["torchvision"], "ms")
    for name in chosen:
        goal, note = RATIOS.get((precision, name)), f"{found[name]:.2f} ms"
        ratio = found["torchvision"] / found[name]
        yield session.timed(figure(f"torchvision / zoo {name}, {precision}", ratio, at_least=goal, note=note))
    for name in chosen if peaks else ():
        limit: float | None = peaks["torchvision"]
        note = f"torchvision {limit:.3f} GB"
        if name.endswith("graph"):
            limit, note = None, "beside its pool"
        yield figure(f"peak memory of zoo {name}, {precision}", peaks[name], "GB", at_most=limit, note=note)


def _tensors(model: nn.Module) -> dict[int, int]:
    """The weights and buffers that a model holds now: where each lies, and its bytes."""
    return {x.data_ptr(): x.nbytes for x in (*model.parameters(), *model.buffers())}


def _peak_gb(call: Call, weights: dict[int, int]) -> float:
    """What a model's call takes at most, and its weights; those of the other models on the card do not count."""
    peak = peak_of(call)
    return (peak.highest - peak.before + sum(weights.values())) / 2**30


def _graph_memory(detector: Detector, name: str) -> Line:
    """What the graphs of a detector work in."""
    from zoo.run.graphs import GraphedDense

    graphs = detector.graphed_dense
    assert isinstance(graphs, GraphedDense)  # noqa: S101 - it was asked for
    memory = graphs.memory
    buffers = memory["buffer_bytes"] / 2**30
    note = f"two graphs of {memory['shapes']} shape; inputs and outputs {buffers:.3f} GB"
    return figure(f"pool of {name}", memory["pool_bytes"] / 2**30, "GB", note=note)
