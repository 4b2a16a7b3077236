"""CUDA graphs of the dense part, with a recorder in the place of CUDA's that runs on the CPU."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.data.detections import Detections
from zoo.data.shapes.scenes import draw_scene
from zoo.errors import DeviceError, ZooError
from zoo.measure.memory import _with_graphs
from zoo.models.detectors.base import Detector
from zoo.models.layers.padding import PadToMultiple
from zoo.run.evaluate import detect, evaluate
from zoo.run.graphs import GraphedDense, use_graphs
from zoo.run.non_finite import OutputSums
from zoo.run.precision import inference_precision
from zoo.run.stages import Stages
from zoo.types import Sample

T = TypeVar("T")

CPU = torch.device("cpu")
SIZES = ((128, 128), (96, 128), (128, 96))
"""Of images that are padded to three shapes."""


class Recorder:
    """Repeats work where CUDA would replay it, and counts captures."""

    def __init__(self) -> None:
        self.device = CPU
        self.pool_bytes = 4096
        self.captured = 0

    def forget(self) -> None:
        """There is nothing to wait for."""

    def follow(self) -> None:
        """There is one stream."""

    def warm_up(self, work: Callable[[], T]) -> T:
        return work()

    def record(self, work: Callable[[], None]) -> Callable[[], object]:
        self.captured += 1
        work()
        return work


class Still(Recorder):
    """Replays without running Python, as CUDA does; nothing is computed anew."""

    def record(self, work: Callable[[], None]) -> Callable[[], object]:
        super().record(work)
        return lambda: None


class Failing(Recorder):
    """Cannot capture: the end of a capture that was spoilt fails as well."""

    def __init__(self, error: RuntimeError) -> None:
        super().__init__()
        self.error = error

    def record(self, work: Callable[[], None]) -> Callable[[], object]:
        try:
            raise self.error
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")


@cache
def loaded(entry: str) -> Detector:
    """An embedded model, whose images are padded to multiples of 32: its protocol has one shape for all."""
    found = zoo.load(entry)
    if isinstance(found.normalizer.padding, PadToMultiple):
        found.normalizer.padding = PadToMultiple(32)
    return found


@pytest.fixture
def detector() -> Iterator[Detector]:
    found = loaded("shapes_faster_rcnn_r10_fpn")
    yield found
    found.graphed_dense = None


def graphed(detector: Detector, recorder: Recorder | None = None) -> GraphedDense:
    detector.graphed_dense = graphs = GraphedDense(detector, recorder or Recorder()).eval()
    return graphs


def sample(detector: Detector, number: int) -> Sample:
    height, width = SIZES[number % len(SIZES)]
    found = detector.transform(draw_scene(0, number).pixels[:height, :width])
    if found.batch_shape is not None:
        found.batch_shape = (-(-found.size[0] // 32) * 32, -(-found.size[1] // 32) * 32)
    return found


class Kept:
    """A metric that keeps what it is given."""

    def __init__(self) -> None:
        self.found: list[Detections] = []

    def reset(self) -> None:
        self.found.clear()

    def update(self, image_ids: Sequence[int], detections: Sequence[Detections]) -> None:
        self.found += detections

    def result(self) -> dict[str, Any]:
        return {}


def evaluated(detector: Detector, samples: Sequence[Sample], precision: str) -> list[Detections]:
    """What an evaluation, whose stages overlap, finds in images one by one."""
    evaluate(detector, [[one] for one in samples], [kept := Kept()], images=len(samples), precision=precision)
    return kept.found


def same(ours: Detections, theirs: Detections) -> bool:
    fields = ("boxes", "scores", "labels")
    return (
        all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in fields) and ours.masks == theirs.masks
    )


@pytest.mark.parametrize(
    ("entry", "precision"),
    [
        ("shapes_faster_rcnn_r10_fpn", "fp32"),
        ("shapes_mask_rcnn_r10_fpn", "bf16"),
        ("shapes_retinanet_r10_fpn", "fp32"),
        ("shapes_yolov8_p", "fp32"),
        ("shapes_yolov8_p", "bf16"),
    ],
)
def test_replayed_detections_are_the_eager_ones(entry: str, precision: str) -> None:
    """Images of three shapes in turn, each shape twice, so that other graphs have run in between."""
    detector = loaded(entry)
    samples = [sample(detector, i) for i in range(6)]
    eager = [detect(detector, [one], precision)[0] for one in samples]
    graphs = graphed(detector, recorder := Recorder())
    try:
        replayed = [detect(detector, [one], precision)[0] for one in samples]
        overlapped = evaluated(detector, samples, precision)
    finally:
        detector.graphed_dense = None
    assert sum(map(len, eager)) > 6
    assert all(map(same, replayed, eager))
    assert all(map(same, overlapped, eager))
    assert recorder.captured == graphs.shapes == len({tuple(one.size) for one in samples}) == 3


def test_what_else_chooses_kernels_has_a_graph_of_its_own(detector: Detector) -> None:
    graphs, images = graphed(detector, recorder := Recorder()), torch.rand(1, 3, 64, 64)
    graphs(images)
    graphs(torch.rand(1, 3, 64, 64))
    assert recorder.captured == 1
    graphs(images.contiguous(memory_format=torch.channels_last))
    assert recorder.captured == 2
    with inference_precision(detector, CPU, "bf16"):
        graphs(images)
    with torch.autocast("cpu", dtype=torch.float16):
        graphs(images)
    before = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = not before
        graphs(images)
    finally:
        torch.backends.cudnn.benchmark = before
    graphs(torch.rand(2, 3, 64, 64))
    assert (recorder.captured, graphs.shapes) == (6, 2)


def test_graphs_share_their_memory(detector: Detector) -> None:
    graphs = graphed(detector)
    (small, *_), _ = graphs(torch.rand(1, 3, 64, 64))
    (large, *_), ranked = graphs(torch.rand(1, 3, 64, 96))
    (again, *_), _ = graphs(torch.rand(1, 3, 64, 64))
    assert again.data_ptr() == small.data_ptr(), "a graph has its place"
    assert again.data_ptr() != large.data_ptr(), "the block has grown"
    boxes = ranked.boxes.clone()
    (other, *_), _ = graphs(torch.rand(1, 3, 96, 64))
    assert other.data_ptr() == large.data_ptr(), "one of the same size lies where the one before it lies"
    assert not torch.equal(ranked.boxes, boxes)
    assert graphs.memory == {"shapes": 3, "pool_bytes": 4096, "buffer_bytes": graphs.memory["buffer_bytes"]}
    inputs = 3 * 64 * 4 * (64 + 96)
    assert graphs.memory["buffer_bytes"] > inputs
    peaks = {"peak_allocated_bytes": 10_000, "peak_reserved_bytes": 20_000}
    assert _with_graphs(peaks, detector) == {**peaks, "peak_allocated_bytes": 14_096, "graphs": graphs.memory}
    detector.graphed_dense = None
    assert _with_graphs(peaks, detector) == peaks


def test_all_graphs_of_a_precision_read_one_set_of_cast_weights(detector: Detector) -> None:
    graphs = graphed(detector)
    for size in (64, 96, 64):
        with inference_precision(detector, CPU, "bf16"):
            graphs(torch.rand(1, 3, size, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        graphs(torch.rand(1, 3, size, 96))
    first, *others = (
        {id(tensor) for tensor in graph.kept if isinstance(tensor, nn.Parameter) and tensor.dtype == torch.bfloat16}
        for graph in graphs._graphs.values()
    )
    assert len(first) > 30
    assert others == [first, first]
    assert {parameter.dtype for parameter in detector.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "change",
    [
        lambda detector: detector.to(torch.float64).to(torch.float32),
        lambda detector: detector.load_state_dict(detector.state_dict()),
        lambda detector: detector.train().eval(),
    ],
    ids=["moved", "loaded", "trained"],
)
def test_changed_weights_are_captured_anew(change: Callable[[Detector], Any]) -> None:
    detector = copy.deepcopy(loaded("shapes_yolov8_p"))
    graphs, images = graphed(detector, recorder := Recorder()), torch.rand(1, 3, 64, 64)
    graphs(images)
    change(detector)
    assert graphs.shapes == 0
    assert torch.equal(graphs(images).boxes, detector.dense(images).boxes)
    assert recorder.captured == 2


def test_a_copy_is_eager(detector: Detector) -> None:
    graphed(detector)
    assert copy.deepcopy(detector).graphed_dense is None
    assert not any(key.startswith("graphed") for key in detector.state_dict())


def test_training_is_eager(detector: Detector) -> None:
    own = copy.deepcopy(detector).train()
    own.graphed_dense = GraphedDense(own, recorder := Recorder())
    own.network(own.prepare([sample(own, 0)]))
    assert recorder.captured == 0


def test_hooks_see_what_is_replayed_and_are_not_captured(detector: Detector) -> None:
    seen: list[str] = []
    graphs = graphed(detector, Still())
    handles = [
        detector.neck.register_forward_hook(lambda *_: seen.append("neck")),
        detector.backbone.register_forward_pre_hook(lambda *_: seen.append("backbone")),
        graphs.register_forward_hook(lambda *_: seen.append("dense")),
    ]
    images = torch.rand(1, 3, 64, 64)
    graphs(images)
    graphs(images)
    assert seen == ["dense", "dense"]
    detector.extract(images)
    assert seen[2:] == ["backbone", "neck"]
    for handle in handles:
        handle.remove()


def test_what_is_no_number_is_found_in_replayed_outputs() -> None:
    detector = copy.deepcopy(loaded("shapes_yolov8_p"))
    images = [sample(detector, 0)]
    stages = Stages(detector, "fp32", OutputSums())  # as on a GPU
    graphs = graphed(detector)
    assert len(list(stages.overlapped([images]))) == 1
    with torch.no_grad():
        next(detector.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(ZooError, match=r"NaN or infinite values \(in neck, precision=fp32\)"):
        list(stages.overlapped([images]))
    assert detector.graphed_dense is graphs


def test_a_capture_that_fails_says_so_and_is_not_replaced_by_eager_work(detector: Detector) -> None:
    graphed(detector, Failing(RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors ...")))
    with pytest.raises(ZooError) as caught:
        detect(detector, [sample(detector, 1)], "fp32")
    reason = "operation not permitted when stream is capturing"
    shape = tuple(detector.prepare([sample(detector, 1)]).images.shape)
    assert caught.value.message == f"mode=graph: images of {' x '.join(map(str, shape))} cannot be captured: {reason}"
    assert (caught.value.status, caught.value.next_step) == ("failed", "use mode=eager")


def test_want_of_memory_is_told_as_such(detector: Detector) -> None:
    """With the number of graphs that are there: every shape has one, however many there are."""
    graphs = graphed(detector)
    for i in range(2):
        detect(detector, [sample(detector, i)], "fp32")
    graphs.recorder = Failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        detect(detector, [sample(detector, 2)], "fp32")
    shape = " x ".join(map(str, detector.prepare([sample(detector, 2)]).images.shape))
    assert str(caught.value) == (
        f"CUDA out of memory in mode=graph, for images of {shape} beside graphs of 2 other shapes; mode=eager has none"
    )


def test_graphs_need_the_device_they_were_asked_for(detector: Detector) -> None:
    with pytest.raises(DeviceError, match="mode=graph: cpu has no CUDA graphs") as caught:
        use_graphs(detector)
    assert caught.value.next_step == "use device=cuda, or mode=eager"
    assert detector.graphed_dense is None
    images: Tensor = torch.rand(1, 3, 64, 64, device="meta")
    with pytest.raises(DeviceError, match="graphs of cpu take no images on meta"):
        graphed(detector)(images)


# --- on a GPU -------------------------------------------------------------------------------------

HAS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
TOLERANCES = {"fp32": (1e-4, 0.02), "fp16": (0.02, 1.0)}
"""Precision -> by how much scores and corners (pixels) of one detection may differ."""


def partnered(ours: Detections, theirs: Detections, precision: str) -> list[bool]:
    """Of each detection that is more than a guess, whether the other has one of its class, score and box."""
    score, pixels = TOLERANCES[precision]
    near = (
        (ours.labels[:, None] == theirs.labels)
        & ((ours.scores[:, None] - theirs.scores).abs() <= score)
        & ((ours.boxes[:, None] - theirs.boxes).abs().amax(dim=2) <= pixels)
    )
    return [bool(x) for x in near.any(dim=1)[ours.scores > 0.3]]


@pytest.mark.gpu
@HAS_GPU
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "entry", ["shapes_faster_rcnn_r10_fpn", "shapes_mask_rcnn_r10_fpn", "shapes_retinanet_r10_fpn", "shapes_yolov8_p"]
)
def test_replayed_detections_are_the_eager_ones_on_a_gpu(entry: str, precision: str) -> None:
    """One by one, overlapped, and on another stream each time: images of three shapes in turn."""
    detector = copy.deepcopy(loaded(entry)).to("cuda")
    samples = [sample(detector, i) for i in range(9)]
    eager = [detect(detector, [one], precision)[0] for one in samples]
    graphs = use_graphs(detector).graphed_dense
    assert isinstance(graphs, GraphedDense)
    rounds = {
        "one by one": [detect(detector, [one], precision)[0] for one in samples],
        "overlapped": evaluated(detector, samples, precision),
    }
    rounds["on streams in turn"] = []
    streams = [torch.cuda.Stream() for _ in range(2)]  # type: ignore[no-untyped-call]
    for i, one in enumerate(samples):
        with torch.cuda.stream(streams[i % 2]):
            rounds["on streams in turn"] += detect(detector, [one], precision)
    torch.cuda.synchronize()
    for how, found in rounds.items():
        pairs = list(zip(found, eager, strict=True))
        near = [x for a, b in pairs for x in (*partnered(a, b, precision), *partnered(b, a, precision))]
        assert len(near) > 9, how
        assert sum(near) >= (0.98 if precision == "fp32" else 0.9) * len(near), how
        assert all(abs(len(a) - len(b)) <= 0.1 * max(len(a), len(b), 10) for a, b in pairs), how
    assert graphs.shapes == 3
    assert graphs.memory["pool_bytes"] > 0


@pytest.mark.gpu
@HAS_GPU
def test_graphs_on_a_gpu_share_one_pool() -> None:
    """A second shape of the same size takes next to nothing; what is moved is captured anew."""
    detector = copy.deepcopy(loaded("shapes_retinanet_r10_fpn")).to("cuda")
    graphs = use_graphs(detector).graphed_dense
    assert isinstance(graphs, GraphedDense)
    tall, wide = torch.rand(1, 3, 1280, 1024, device="cuda"), torch.rand(1, 3, 1024, 1280, device="cuda")
    outputs = {"tall": [x.clone() for x in graphs(tall).logits]}
    one = graphs.memory["pool_bytes"]
    outputs["wide"] = [x.clone() for x in graphs(wide).logits]
    assert graphs.memory["pool_bytes"] < 1.6 * one
    for name, images in (("wide", wide), ("tall", tall), ("wide", wide)):
        with torch.inference_mode():
            own = detector.dense(images).logits
        for replayed, before, eager in zip(graphs(images).logits, outputs[name], own, strict=True):
            assert torch.equal(replayed, before)
            torch.testing.assert_close(replayed, eager, rtol=1e-4, atol=1e-4)
    detector.to("cpu").to("cuda")
    assert graphs.shapes == 0
    torch.testing.assert_close(graphs(tall).logits[0], outputs["tall"][0], rtol=1e-4, atol=1e-4)


SPOILT = """
import torch, zoo
from zoo.errors import ZooError
from zoo.run.graphs import use_graphs
detector = use_graphs(zoo.load("shapes_retinanet_r10_fpn", device="cuda"))
dense = detector.dense
detector.dense = lambda images: (dense(images), images.sum().item())[0]
try:
    detector.graphed_dense(torch.rand(1, 3, 64, 64, device="cuda"))
except ZooError as error:
    print(error.message, error.next_step, sep="; ", flush=True)
"""
"""A program whose dense part waits for the device: the capture is spoilt, and maybe the process with it."""


@pytest.mark.gpu
@HAS_GPU
def test_a_wait_in_a_capture_is_told_as_such() -> None:
    done = subprocess.run([sys.executable, "-c", SPOILT], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("mode=graph: images of 1 x 3 x 64 x 64 cannot be captured: "), done.stderr
    assert "captur" in done.stdout.partition("captured: ")[2]
    assert done.stdout.rstrip().endswith("; use mode=eager")
