"""Selecting of all levels and images at once keeps what each by itself would, to the last bit, with little work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
from device_work import counted
from geometries import batch_of, geometry
from plain_selection import detections_of_image, proposals_of_image, survivors
from pretended_gpu import pretended_gpu
from small_heads import make_roi_head, make_rpn
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torchvision.ops import batched_nms

from zoo.models import nms as nms_module
from zoo.models.anchors import CentredAnchors
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.boxes import BoxConvention
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_head import AnchorOutputs, flatten_anchors
from zoo.models.heads.retina import RetinaHead
from zoo.models.heads.roi_stage import as_rois
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.losses.classification import FocalLoss
from zoo.models.losses.regression import L1Loss
from zoo.models.nms import BatchedNms, ExactNms, GroupedNms, OffsetNms
from zoo.models.samplers import AllSampler
from zoo.models.selection import DetectionSelector, ProposalSelector
from zoo.types import FeatureSpec, ImageGeometry

SPECS = [FeatureSpec(4, stride) for stride in (4, 8, 16, 32, 64)]
SIZE = (96, 128)
PLACES = [geometry((90, 120), (1.5, 1.7)), ImageGeometry((64, 70), (64.5, 70.25), (2.0, 3.0), (21, 35), (64, 96))]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's suppression takes as many boxes together as it does on a GPU."""
    monkeypatch.setattr(nms_module, "TOGETHER_ON_CPU", nms_module.TOGETHER)


@pytest.fixture(scope="module")
def outputs() -> AnchorOutputs:
    """Of two images, three anchors a cell: logits with many equals, large deltas, of which some leave no extent."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, SIZE[0] // spec.stride + 1, SIZE[1] // spec.stride) for spec in SPECS]
    logits = [(torch.randn(shape, generator=generator) * 24).round() / 8 for shape in shapes]
    return AnchorOutputs(logits, [torch.randn(n, 12, h, w, generator=generator) for n, _, h, w in shapes])


def levels(x: list[Tensor], image: int, values: int) -> list[Tensor]:
    return [flatten_anchors(level, values)[image] for level in x]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pre_nms_top_n": 5000, "nms": ExactNms()},
        {"min_size": None, "iou_threshold": 0.3},
        {"min_size": 9.0, "nms": BatchedNms(), "probabilities": True, "score_threshold": 0.2},
        {"score_threshold": 0.9, "convention": BoxConvention(inclusive=True), "nms": BatchedNms(first=1)},
        {"min_size": 200.0},  # nothing is left
    ],
)
def test_proposals_are_those_of_each_level_and_image(outputs: AnchorOutputs, settings: dict[str, Any]) -> None:
    selector = ProposalSelector(**{"pre_nms_top_n": 120, "post_nms_top_n": 150, **settings})
    ranked_by: Literal["logit", "sigmoid"] = "logit" if selector.probabilities else "sigmoid"
    head = make_rpn(SPECS, CentredAnchors([0.5, 1.0, 2.0], scales=[4]), selector, scores=ranked_by).eval()
    grid = torch.split(head.boxes(outputs), outputs.level_sizes)
    for image, found in enumerate(head.propose(outputs, PLACES)):
        scores = [x[:, 0] if selector.probabilities else x[:, 0].sigmoid() for x in levels(outputs.logits, image, 1)]
        expected = proposals_of_image(
            selector, scores, levels(outputs.deltas, image, 4), grid, head.coder, PLACES[image]
        )
        assert torch.equal(found.boxes, expected.boxes)
        assert torch.equal(found.scores, expected.scores)
        assert (len(found.boxes) > 20) == (selector.min_size != 200)


def retina_head(**settings: Any) -> RetinaHead:
    """Two classes, an anchor a cell."""
    selector = DetectionSelector(**{"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 100, **settings})
    parts = (DeltaCoder(), selector, MaxIoUAssigner(0.5, 0.5, 0.0), AllSampler(), FocalLoss(), L1Loss(), "positives")
    return RetinaHead(SPECS, 2, CentredAnchors([1.0], scales=[4]), *parts, channels=1, depth=1).eval()  # type: ignore[arg-type]


def retina_outputs(images: int) -> AnchorOutputs:
    generator = torch.Generator().manual_seed(1)
    shapes = [(SIZE[0] // spec.stride + 1, SIZE[1] // spec.stride) for spec in SPECS]
    logits = [(torch.randn(images, 2, *shape, generator=generator) * 16).round() / 8 for shape in shapes]
    return AnchorOutputs(logits, [torch.randn(images, 4, *shape, generator=generator) for shape in shapes])


@pytest.mark.parametrize(
    "settings",
    [
        {"pre_nms_top_n": 100, "min_size": 0.0},
        {"pre_nms_top_n": 10_000, "nms": ExactNms()},
        {"nms_frame": "input", "nms": BatchedNms(first=1), "min_size": 2.0, "pre_nms_top_n": 20},
        {"score_threshold": 1.0, "pre_nms_top_n": 100},  # nothing is left
    ],
)
def test_detections_are_those_of_each_level_and_image(settings: dict[str, Any]) -> None:
    head, outputs = retina_head(**settings), retina_outputs(2)
    for image, found in enumerate(head.detect(outputs, batch_of(*PLACES))):
        scores = [x.sigmoid() for x in levels(outputs.logits, image, 2)]
        deltas, anchors = levels(outputs.deltas, image, 4), torch.split(head.boxes(outputs), outputs.level_sizes)
        expected = detections_of_image(*(head.detections, scores, deltas, anchors, head.coder, PLACES[image]))
        boxes = expected[0]
        if head.detections.nms_frame == "input":
            boxes = boxes / boxes.new_tensor(PLACES[image].scale).repeat(2)
        for ours, theirs in zip((found.boxes, found.scores, found.labels), (boxes, *expected[1:]), strict=True):
            assert torch.equal(ours, theirs)
        assert (len(found) > 4) == (head.detections.score_threshold < 1)


@pytest.mark.parametrize("kind", [OffsetNms(), BatchedNms(), BatchedNms(first=1), ExactNms()])
@pytest.mark.parametrize("count", [300, 3000])
def test_what_is_not_eligible_is_as_if_it_were_not_there(
    kind: GroupedNms, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms_module, "SPLIT_FROM", 2000)
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * 90
    boxes = torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 60), dim=1)
    scores = torch.randint(0, 50, (count,), generator=generator) / 50  # many are equal
    groups = torch.randint(0, 4, (count,), generator=generator)
    eligible = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) > 20
    eligible &= boxes.amax(dim=1) < 140  # the largest coordinate is another's
    chosen = eligible.nonzero()[:, 0]
    expected = chosen[kind(boxes[chosen], scores[chosen], groups[chosen], 0.5)]
    assert torch.equal(kind(boxes, scores, groups, 0.5, eligible), expected)
    assert len(expected) > 20
    for few in (torch.zeros_like(eligible), torch.arange(count) == 5):
        assert kind(boxes, scores, groups, 0.5, few).tolist() == few.nonzero()[:, 0].tolist()
    if isinstance(kind, BatchedNms):
        assert torch.equal(kind(boxes, scores, groups, 0.5), batched_nms(boxes, scores, groups + kind.first, 0.5))
    if isinstance(kind, ExactNms):
        assert torch.equal(kind(boxes, scores, groups, 0.5), survivors(boxes, scores, groups, 0.5))


def many_boxes() -> tuple[Tensor, Tensor, Tensor]:
    """1500 boxes, scores of which some are equal, and six groups with gaps between their numbers."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(1500, 2, generator=generator) * 900
    boxes = torch.cat((corner, corner + torch.rand(1500, 2, generator=generator) * 400), dim=1)
    boxes[:700] = boxes[:700].round()  # overlaps of a simple fraction
    scores = torch.randint(0, 900, (1500,), generator=generator) / 900
    return boxes, scores, torch.randint(0, 6, (1500,), generator=generator) * 15


SPLIT_KINDS = pytest.mark.parametrize("kind", [OffsetNms(), ExactNms(), ExactNms(BoxConvention(inclusive=True))])
"""Those that go group by group on a CPU."""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@SPLIT_KINDS
def test_all_groups_at_once_on_a_gpu(kind: GroupedNms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms_module, "SPLIT_FROM", 1000)
    boxes, scores, groups = many_boxes()
    for eligible in (None, boxes[:, 2] < 1000):
        there = None if eligible is None else eligible.cuda()
        for threshold in (0.3, 0.5, 0.7):
            expected = set(kind(boxes, scores, groups, threshold, eligible).tolist())
            kept = kind(boxes.cuda(), scores.cuda(), groups.cuda(), threshold, there)
            assert (scores[kept.cpu()].diff() <= 0).all()
            assert len(expected ^ set(kept.tolist())) <= 0.01 * len(expected), "a borderline overlap may be rounded"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a true one")
@SPLIT_KINDS
@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
def test_a_gpu_suppresses_all_groups_with_one_wait(
    kind: GroupedNms, some: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more boxes than those from which on mmcv goes one by one."""
    monkeypatch.setattr(nms_module, "SPLIT_FROM", 1000)
    boxes, scores, groups = many_boxes()
    eligible = boxes[:, 2] < 1000 if some else None
    for threshold in (0.3, 0.5, 0.7):
        expected = kind(boxes, scores, groups, threshold, eligible)
        with pretended_gpu() as gpu:
            moved = (boxes.to(gpu), scores.to(gpu), groups.to(gpu))
            chosen = None if eligible is None else eligible.to(gpu)
            with counted() as work:
                found = kind(*moved, threshold, chosen)
            assert found.device == gpu
            assert found.tolist() == expected.tolist()
        assert len(expected) > 100
        assert work.waits == 1, work


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a true one")
def test_a_gpu_suppresses_by_the_threshold_and_where_boxes_are() -> None:
    """An overlap of exactly 7/10; two groups that would meet if the box left of 0 were not seen; a borderline pair."""
    ties = torch.tensor([[0.0, 0, 10, 1], [0, 0, 7, 1]])
    left = torch.tensor([[0.0, 0, 2, 2], [-30, -30, 1, 1], [-29, -30, 1, 1]])
    pair = torch.tensor([[0.0, 0, 2000, 2000], [100, 100, 102, 101], [100, 100, 101.002, 101]])
    with pretended_gpu() as gpu:
        for boxes, groups, threshold, kept in (
            (ties, [0, 0], 0.7, [0, 1]),
            (ties, [0, 0], 0.69, [0]),
            (left, [0, 1, 1], 0.1, [0, 1]),
            (pair, [0, 79, 79], 0.5, [0, 1]),
        ):
            scores = torch.linspace(1, 0.5, len(boxes)).to(gpu)
            found = ExactNms()(boxes.to(gpu), scores, torch.tensor(groups, device=gpu), threshold)
            assert found.tolist() == kept


@pytest.mark.parametrize("count", [1000, 1001])
def test_torchvisions_suppression_is_its_own_where_it_changes_its_ways(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * 900
    boxes = torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 300), dim=1)
    scores, groups = torch.rand(count, generator=generator), torch.randint(0, 80, (count,), generator=generator)
    assert torch.equal(BatchedNms()(boxes, scores, groups, 0.5), batched_nms(boxes, scores, groups, 0.5))


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("kind", [OffsetNms(), BatchedNms()])
def test_proposals_need_one_wait_an_image(outputs: AnchorOutputs, kind: GroupedNms) -> None:
    selector = ProposalSelector(pre_nms_top_n=120, post_nms_top_n=150, nms=kind)
    head = make_rpn(SPECS, CentredAnchors([0.5, 1.0, 2.0], scales=[4]), selector).eval()
    first = outputs.images(0, 1)
    for images, places, ops in ((first, PLACES[:1], 55), (outputs, PLACES, 75)):
        head.propose(images, places)
        with torch.inference_mode(), counted() as work:
            head.propose(images, places)
        assert (work.waits, work.copies) == (len(places), 0), work
        assert work.ops <= ops, work


def test_levels_are_pooled_with_one_wait() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 4, 128 // spec.stride, 128 // spec.stride, generator=generator) for spec in SPECS]
    corner = torch.rand(60, 2, generator=generator) * 60
    boxes = torch.cat((corner, corner + torch.rand(60, 2, generator=generator) * 900), dim=1)
    pooler = RoiPooler(SPECS, output_size=3)
    with torch.inference_mode(), counted() as work:
        rois = as_rois([boxes[:40], boxes[40:]])
        pooled = pooler(features, rois)
    assert (work.waits, work.copies) == (1, 0), work
    assert work.ops <= 26, work
    assert rois[:, 0].tolist() == [0] * 40 + [1] * 20
    assert torch.equal(rois[:, 1:], boxes)
    found = pooler.levels(rois)
    assert torch.bincount(found, minlength=4).min() > 0
    for level, spec in enumerate(SPECS[:4]):
        alone = RoiPooler([spec], output_size=3)([features[level]], rois[found == level])
        assert torch.equal(pooled[found == level], alone)
    assert pooler(features, rois[:0]).shape == (0, 4, 3, 3)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize(
    ("settings", "ops"),
    [
        ({}, 33),
        ({"nms_frame": "input", "nms": BatchedNms(first=1), "rescale": "by_ratio", "min_size": 0.01}, 42),
        ({"decode_frame": "original"}, 33),
    ],
)
def test_detections_need_two_waits(settings: dict[str, Any], ops: int) -> None:
    generator = torch.Generator().manual_seed(0)
    selector = DetectionSelector(**{"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 100, **settings})
    head = make_roi_head(4, selector)
    logits, deltas = torch.randn(1, 50, 5, generator=generator), torch.randn(50, 16, generator=generator)
    corner = torch.rand(50, 2, generator=generator) * 60
    regions = torch.cat((corner, corner + torch.rand(50, 2, generator=generator) * 60), dim=1)
    head.detect(logits, deltas, regions, PLACES[0])
    with torch.inference_mode(), counted() as work:
        found = head.detections.to_original(head.detect(logits, deltas, regions, PLACES[0]), PLACES[0])
    assert (work.waits, work.copies) == (2, 0), work
    assert work.ops <= ops, work
    assert len(found) > 10


def test_a_dense_head_waits_for_its_candidates_their_levels_and_the_suppression() -> None:
    head, outputs = retina_head(pre_nms_top_n=10_000), retina_outputs(1)
    batch = batch_of(PLACES[0])
    head.detect(outputs, batch)
    with torch.inference_mode(), counted() as work:
        head.detect(outputs, batch)
    assert (work.waits, work.copies) == (3, 0), work
    assert work.ops <= 65, work


@pytest.fixture
def on_fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors are made on a pretended GPU, which has no values to wait for; a suppression keeps seven boxes."""
    monkeypatch.setattr(nms_module, "nms", lambda boxes, *_: torch.arange(7, device=boxes.device))
    with FakeTensorMode(), torch.device("cuda"):
        yield


@pytest.mark.usefixtures("on_fake_gpu")
@pytest.mark.parametrize("kind", [OffsetNms(), BatchedNms()])
def test_up_to_the_suppression_a_gpu_never_waits_for_its_host(kind: GroupedNms) -> None:
    selector = ProposalSelector(pre_nms_top_n=120, post_nms_top_n=150, nms=kind, probabilities=True, score_threshold=0)
    head = make_rpn(SPECS, CentredAnchors([0.5, 1.0, 2.0], scales=[4]), selector).eval()
    shapes = [(SIZE[0] // spec.stride, SIZE[1] // spec.stride) for spec in SPECS]
    maps = AnchorOutputs([torch.zeros(2, 3, *s) for s in shapes], [torch.zeros(2, 12, *s).half() for s in shapes])
    found = head.propose(maps, PLACES)
    assert [tuple(image.boxes.shape) for image in found] == [(6 if selector.min_size is not None else 7, 4)] * 2
    assert {x.device.type for image in found for x in image} == {"cuda"}
    pooler = RoiPooler(SPECS, output_size=3)
    rois = as_rois([image.boxes for image in found])
    assert rois.device.type == pooler.levels(rois).device.type == "cuda"
    with pytest.raises(DataDependentOutputException):  # as anything that waits would
        pooler([torch.zeros(2, 4, 8, 8)] * 4, rois)


@pytest.mark.usefixtures("on_fake_gpu")
@pytest.mark.parametrize("frames", [("input", "original"), ("input", "input"), ("original", "original")])
def test_what_follows_the_threshold_stays_on_the_gpu(frames: tuple[Any, Any]) -> None:
    selector = DetectionSelector(0.05, 0.5, 5, min_size=0.0, decode_frame=frames[0], nms_frame=frames[1])
    coder = DeltaCoder((0.1, 0.1, 0.2, 0.2))
    references = selector.references(torch.ones(30, 4), PLACES[0])
    boxes = selector.clip(coder.decode(references, torch.ones(30, 4)), PLACES[0])
    found = selector.select(boxes, torch.ones(30), torch.ones(30, dtype=torch.int64), PLACES[0])
    found = selector.to_original(found, PLACES[0])
    assert {x.device.type for x in (found.boxes, found.scores, found.labels)} == {"cuda"}
    assert len(found) == 5
