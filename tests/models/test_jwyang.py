"""faster-rcnn.pytorch's ResNet-101: network stages, and from the JPEG to the final detections."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import ENTRIES
from pairing import pair_detections
from parity import SHARED, assert_stage, golden, needs_coco, needs_shared, sample, weights
from torch import Tensor

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.models.boxes import BoxConvention
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.skip_init import SkipInit

CASE, VGG_CASE = "jwyang/jwyang_res101", "jwyang/jwyang_vgg16"
ENTRY = {"e2e": "jwyang_faster_rcnn_r101_s800_6e", "e2e_600": "jwyang_faster_rcnn_r101_s600_6e"}
IMAGES = ("000000520707", "000000349184")
INCLUSIVE = BoxConvention(inclusive=True)

pytestmark = pytest.mark.long


def build(entry: str) -> TwoStageDetector:
    """The detector of an entry on the meta device."""
    config = compose(entry)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    assert isinstance(model, TwoStageDetector)
    return model


@functools.lru_cache(maxsize=1)
def loaded(entry: str) -> TwoStageDetector:
    """The eval-mode detector of an entry, with the weights of the manifest."""
    model = build(entry)
    load_weights(model, weights(CASE), "jwyang")
    return model.eval()


def their_pairs(logits: Tensor) -> Tensor:
    """Logits of the RPN (N, 2A, H, W) in the original's order: background of all anchors, then objects of all."""
    n, _, height, width = logits.shape
    return logits.view(n, -1, 2, height, width).flip(2).transpose(1, 2).reshape(logits.shape)


def stages(detector: TwoStageDetector, images: Tensor, rois: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every stage of the network, by the names of the golden."""
    backbone, rpn, stage = detector.backbone, detector.rpn_head, detector.roi_head.last_stage
    x = backbone.get_submodule("pool")(backbone.get_submodule("stem")(images))
    yield "c1", x
    for i in (1, 2, 3):
        x = backbone.get_submodule(f"layer{i}")(x)
        yield f"c{i + 1}", x
    yield "rpn_conv", rpn.conv(x)
    outputs = rpn((x,))
    yield "rpn_cls", their_pairs(outputs.logits[0])
    yield "rpn_reg", outputs.deltas[0]
    pooled = stage.pooler((x,), rois)
    yield "roi_feat", pooled
    top = stage.shared(pooled)
    yield "roi_top", top.mean(dim=(2, 3))
    logits, deltas = stage.box_head(top)
    yield "roi_cls", logits.roll(1, dims=1)
    yield "roi_reg", torch.cat((torch.full((len(rois), 4), torch.nan), deltas), dim=1)  # the background's box is left


def assert_first(name: str, values: Tensor, answers: dict[str, npt.NDArray[Any]]) -> None:
    """The first values of a stage agree to 1e-4 of its spread where they are not NaN."""
    wanted, spread = answers[f"{name}/sample"], float(answers[f"{name}/stats"][1])
    found = values.numpy().ravel()[: len(wanted)]
    assert np.nanmax(np.abs(found - wanted)) <= 1e-4 * spread
    assert np.isnan(found).sum() == (4 if name == "roi_reg" else 0)


def test_stages() -> None:
    answers = golden(CASE)
    images = np.random.RandomState(0).standard_normal(tuple(answers["shape"])).astype(np.float32)
    seen = set()
    with torch.inference_mode():
        for name, values in stages(loaded(ENTRY["e2e"]), torch.from_numpy(images), torch.from_numpy(answers["rois"])):
            if name in ("roi_cls", "roi_reg"):  # of these the first are kept
                assert_first(name, values, answers)
            else:
                assert_stage(name, values, answers)
            seen.add(name)
    assert seen == {name.split("/")[0] for name in answers} - {"shape", "rois", "anchors"}


def test_anchors() -> None:
    for entry in ENTRIES[CASE]:
        (base,) = build(entry).rpn_head.anchors.bases([16])
        assert torch.equal(base, torch.from_numpy(golden(CASE)["anchors"]))
        assert INCLUSIVE.size(base)[[0, 4, 8]].tolist() == [[92, 48], [64, 64], [44, 88]]


@pytest.mark.parametrize(
    ("entry", "proposals", "size", "features"),
    [
        ("jwyang_faster_rcnn_vgg16_s800_6e", 1000, (800, 1196), 4096),
        ("jwyang_faster_rcnn_r101_s800_6e", 1000, (800, 1196), 2048),
        ("jwyang_faster_rcnn_r101_s800_10e", 1000, (800, 1196), 2048),
        ("jwyang_faster_rcnn_r101_s600_6e", 300, (600, 897), 2048),
        ("jwyang_faster_rcnn_r101_s600_10e", 300, (600, 897), 2048),
    ],
)
def test_what_a_row_is_tested_with(entry: str, proposals: int, size: tuple[int, int], features: int) -> None:
    detector = build(entry)
    selector = detector.rpn_head.proposals
    assert (selector.pre_nms_top_n, selector.post_nms_top_n, selector.fill) == (6000, proposals, True)
    batch = detector.normalizer([detector.transform(np.zeros((428, 640, 3), np.uint8))], torch.device("cpu"))
    assert tuple(batch.images.shape[2:]) == size, "the longer side is not limited, and nothing is padded"
    assert batch.geometries[0].extent == size
    assert batch.images[0, :, -1, -1].tolist() == [np.float32(-mean) for mean in (102.9801, 115.9465, 122.7717)]
    stage = detector.roi_head.last_stage
    assert stage.box_head.logits.in_features == features
    detections = detector.roi_head.detections
    assert (detections.score_threshold, detections.iou_threshold, detections.max_detections) == (0.0, 0.3, 100)
    for part in (detector.rpn_head, stage):
        assert part.coder.convention.inclusive
        assert not part.coder.decoded.inclusive


def test_boxes_grow_where_they_are_decoded() -> None:
    coder = build(ENTRY["e2e"]).rpn_head.coder
    box = torch.tensor([[10.0, 20, 29, 59]])  # 20 x 40 pixels, their centre at (20, 40)
    assert coder.decode(box, torch.zeros(1, 4)).tolist() == [[10, 20, 30, 60]]
    assert coder.decode(box, torch.tensor([[0.0, 0, 9, 9]]))[0, 2] > 1e4, "growth is not limited"
    assert coder.encode(box, box).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("entry", "frozen"),
    [
        ("jwyang_faster_rcnn_vgg16_s800_6e", 8),  # weight and bias of conv1_1 to conv2_2
        ("jwyang_faster_rcnn_r101_s600_6e", 219),  # conv1, layer1, and both of every normalisation
    ],
)
def test_frozen_parameters(entry: str, frozen: int) -> None:
    detector = build(entry)
    assert sum(not parameter.requires_grad for parameter in detector.parameters()) == frozen


@pytest.mark.nightly
@needs_shared
@needs_coco
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("scale", ["e2e", "e2e_600"])
def test_input_proposals_and_detections(scale: str, image: str) -> None:
    answers = golden(CASE, f"{scale}/{image}")
    detector = loaded(ENTRY[scale])
    batch = detector.prepare([detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")])
    (geometry,) = batch.geometries
    assert tuple(batch.images.shape) == tuple(answers["input_shape"])
    assert np.array(geometry.scale, np.float32).tolist() == answers["scale"].tolist()
    assert np.array_equal(sample(batch.images), answers["input_sample"])

    with torch.inference_mode():
        outputs = detector.network(batch)
        (found,) = detector.postprocess(outputs, batch)
    proposals = outputs.proposals[0]
    assert len(proposals) == answers["num_rois"]
    # The original's best are its first 50; every one of its RoIs is sampled.
    assert np.abs(proposals[:50].numpy() - answers["proposals"][:, :4]).max() <= 2e-3
    assert np.abs(sample(proposals) - answers["rois_sample"]).max() <= 2e-3
    assert len(found) == len(answers["boxes"])
    pixel = torch.tensor([0.0, 0, 1, 1])
    wider = Detections(found.boxes + pixel, found.scores, found.labels)
    boxes = answers["boxes"] + pixel.numpy()
    pair_detections({**answers, "boxes": boxes}, wider, nms_iou=0.3, box=2e-3, score=1e-5)
