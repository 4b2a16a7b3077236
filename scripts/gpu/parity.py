"""Answers on the GPU against the answers on the CPU, the committed ones, and those of the original frameworks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gpu.images import picture, use_tests_and_benchmarks
from gpu.lines import Line, Session, check, figure

if TYPE_CHECKING:
    from zoo.data.detections import Detections
    from zoo.models.detectors.base import Detector
    from zoo.types import Sample

ARCHITECTURES = (
    "mmdet/faster_rcnn_r50_fpn_1x_coco",
    "mmdet/faster_rcnn_r50_caffe_c4_1x_coco",
    "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco",
    "mmdet/retinanet_r50_fpg_crop640_50e_coco",
    "ultralytics/yolov8n",
    "ultralytics/yolov8n-seg",
)
"""One committed case of each kind of network."""

BACKBONES = ("mmdet/faster_rcnn_x101_32x4d_fpn_1x_coco",)
"""Cases whose backbone alone is of another kind; with their drawn weights nothing scores high enough to be found."""

CASES = (
    "mmdet/faster_rcnn_r50_fpn_1x_coco",
    "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco",
    "mmdet/retinanet_r50_fpg_crop640_50e_coco",
    "ultralytics/yolov8n-seg",
)
"""Whole cases, from the JPEG to the detections, that `--parity` looks at."""

IMAGES = ("000000349184", "000000520707")
"""Their images, in `coco/val2017`."""

STAGE_TOLERANCE = 5e-4
"""Standard deviations of a stage: what the tests allow two right programs that add in another order."""

SCORE, PIXELS = 1e-4, 0.02
"""How far apart two detections may be that are the same."""

SAME_OF_DRAWN, SAME_OF_TRAINED = 0.98, 0.99
"""Least share of detections that have a partner. Not all: of two scores or overlaps that differ by float noise, one may
fall to the other side of a threshold, and drawn weights give many such."""

EMBEDDED = ("shapes_faster_rcnn_r10_fpn", "shapes_mask_rcnn_r10_fpn", "shapes_retinanet_r10_fpn", "shapes_yolov8_p")
EMBEDDED_IMAGES = 16

CONFIDENT = 0.5
"""Scores above it are compared in half precision."""

HALF_SCORE, HALF_OVERLAP, SAME_OF_HALF = 0.1, 0.8, 0.9
"""How far half precision may move a confident detection, and the least share that must be found again."""


def parity(session: Session) -> Iterator[Line]:
    """Network stages against the committed answers, detections against the CPU's."""
    use_tests_and_benchmarks()
    for case in BACKBONES:
        yield _stages(session, load(case), case)
    for case in ARCHITECTURES:
        yield from _drawn(session, case)
    yield from _trained(session)


def cases(session: Session) -> Iterator[Line]:
    """Whole cases of the original frameworks, where a folder of them was given."""
    if session.parity is None:
        yield Line("whole cases", "info", note="no folder of them was given (--parity DIR)")
        return
    use_tests_and_benchmarks()
    import parity as goldens

    goldens.SHARED = session.parity.resolve()
    for case in CASES:
        detector = load(case).to(session.device)
        for image in IMAGES:
            try:
                _end_to_end(detector, case, image)
            except AssertionError as error:
                where = traceback.extract_tb(error.__traceback__)[-1]  # without pytest a bare assert has no message
                wrong = " ".join(str(error).split()) or f"line {where.lineno}: {where.line}"
            else:
                wrong = ""
            yield check(f"{case} {image}", not wrong, "the original's detections, as the tests ask for", wrong)


def load(case: str) -> Detector:
    """The detector of a parity case with the weights that its manifest draws."""
    use_tests_and_benchmarks()
    zoo, name = case.split("/")
    if zoo == "mmdet":
        from mmdet_cases import load as load_mmdet

        return load_mmdet(name)
    from test_yolo_parity import load as load_yolo

    return load_yolo(name)


@torch.inference_mode()
def _end_to_end(detector: Any, case: str, image: str) -> None:
    if case.startswith("mmdet/"):
        from test_mmdet_end_to_end import assert_end_to_end

        assert_end_to_end(detector, case.split("/")[1], image)
        return
    from parity import golden
    from test_yolo_end_to_end import assert_answers, found_in

    answers = golden(case, f"e2e/{image}")
    assert_answers(found_in(detector, image, answers, square=False), answers)


def _drawn(session: Session, case: str) -> Iterator[Line]:
    from zoo.models.detectors.two_stage import TwoStageDetector

    detector = load(case)
    yield _stages(session, detector, case)
    if isinstance(detector, TwoStageDetector):  # drawn deltas are far larger than trained ones, and amplify float noise
        with torch.no_grad():
            detector.rpn_head.deltas.weight.mul_(0.1)
    samples = [detector.transform(picture(400 if session.on_gpu else 100, 1333), 0)]
    expected = _detections(detector.cpu(), samples)
    found = _detections(detector.to(session.device), samples)
    yield _same(f"{case}: detections", expected, found, SAME_OF_DRAWN)


def _stages(session: Session, detector: Detector, case: str) -> Line:
    worst = _worst_stage(detector, case, session.device)
    return figure(f"{case}: stages", worst, "std", at_most=STAGE_TOLERANCE)


@torch.inference_mode()
def _worst_stage(detector: Detector, case: str, device: str) -> float:
    """The largest distance of a network stage on a device from the original's, in standard deviations."""
    from parity import golden, stage_error
    from test_mmdet_parity import stages as mmdet_stages
    from test_mmdet_parity import synthetic_input
    from test_yolo_parity import stages as yolo_stages

    answers = golden(case)
    images = synthetic_input(answers["shape"]).to(device)
    stages: Callable[..., Iterator[tuple[str, Tensor]]] = mmdet_stages if case.startswith("mmdet/") else yolo_stages
    return max(stage_error(name, values, answers) for name, values in stages(detector.to(device), images))


def _trained(session: Session) -> Iterator[Line]:
    """The embedded models, whose answers mean something, in every precision."""
    import zoo
    from zoo.data.shapes.dataset import draw

    draw("val", EMBEDDED_IMAGES, session.folder / "few")
    files = sorted((session.folder / "few" / "val").iterdir())
    for entry in EMBEDDED:
        detector = zoo.load(entry)
        samples = [detector.transform(file, i) for i, file in enumerate(files)]
        expected = _detections(detector, samples)
        detector.to(session.device)
        yield _same(f"{entry}: detections", expected, _detections(detector, samples), SAME_OF_TRAINED)
        for precision in ("fp16", "bf16") if session.on_gpu else ("bf16",):
            found = _detections(detector, samples, precision)
            share = _share_found_again(expected, found)
            yield figure(f"{entry}: confident detections in {precision}", share, at_least=SAME_OF_HALF)


def _detections(detector: Detector, samples: list[Sample], precision: str = "fp32") -> list[Detections]:
    from zoo.run.evaluate import detect

    return [detect(detector, [sample], precision)[0] for sample in samples]


def _same(name: str, expected: list[Detections], found: list[Detections], least: float) -> Line:
    """The share of detections that are the same in both."""
    same = sum(_matches(*pair) for pair in zip(expected, found, strict=True))
    count = max(sum(map(len, expected)), sum(map(len, found)))
    note = f"of {count} within score {SCORE:g} and {PIXELS:g} px"
    return figure(name, same / count if count else float("nan"), at_least=least, note=note)


def _matches(expected: Detections, found: Detections) -> int:
    """How many of the expected detections were found: class, score, box and the mask's area."""
    near = (expected.boxes[:, None] - found.boxes).abs().amax(dim=2) <= PIXELS  # (N, M)
    near &= (expected.scores[:, None] - found.scores).abs() <= SCORE
    near &= expected.labels[:, None] == found.labels
    if expected.masks is not None and found.masks is not None:
        areas, others = _areas(expected), _areas(found)
        near &= (areas[:, None] - others).abs() <= (0.01 * areas).clamp(min=2)[:, None]
    return int(near.any(dim=1).sum())


def _areas(detections: Detections) -> Tensor:
    from zoo.data.rle import decode

    return torch.tensor([float(decode(mask).sum()) for mask in detections.masks or ()])


def _share_found_again(expected: list[Detections], found: list[Detections]) -> float:
    """The share of confident detections that have a partner of their class in half precision."""
    from zoo.models.boxes import EXCLUSIVE

    again, count = 0, 0
    for one, other in zip(expected, found, strict=True):
        sure = one.scores > CONFIDENT
        near = EXCLUSIVE.iou(one.boxes[sure], other.boxes) >= HALF_OVERLAP
        near &= one.labels[sure][:, None] == other.labels
        near &= (one.scores[sure][:, None] - other.scores).abs() <= HALF_SCORE
        again, count = again + int(near.any(dim=1).sum()), count + int(sure.sum())
    return again / count if count else float("nan")
