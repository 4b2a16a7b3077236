"""PaddleDetection's networks: an entry of each parity case, loaded, and held against the original's answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import ENTRIES
from pairing import pair_detections
from parity import GOLDEN, SHARED, golden, manifest, sample, shapes, weights
from torch import Tensor

from zoo.catalog.entry import read_entry
from zoo.checkpoints.convert import convert
from zoo.checkpoints.keymaps import key_map
from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.data.rle import decode
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.roi import RoiHead
from zoo.models.layers.skip_init import SkipInit

IMAGES = ("000000520707", "000000349184")

Answers = dict[str, npt.NDArray[Any]]


def cases_of(keymap: str) -> list[str]:
    """The cases, without their zoo, of the entries with a key map."""
    entries = (
        (case.removeprefix("paddle/"), names[0]) for case, names in ENTRIES.items() if case.startswith("paddle/")
    )
    return [case for case, name in entries if read_entry(name).checkpoint.keymap == keymap]


VB = "paddle_faster_rcnn_res2net50_vb_26w_4s_fpn_1x"
C4 = ("neck=null", "head=faster_rcnn_c4_paddle", "protocol=paddle_c4")
TWINS: dict[str, tuple[str, ...]] = {
    "faster_rcnn_r50_1x_coco_v2": (VB, "backbone=resnet50_paddle_c4", *C4),
    "faster_rcnn_r101_1x_coco_v2": (VB, "backbone=resnet101_paddle_c4", *C4),
    "faster_rcnn_r34_fpn_1x_coco_v2": (VB, "backbone=resnet34_paddle"),
    "faster_rcnn_r50_fpn_1x_coco_v2": (VB, "backbone=resnet50_paddle"),
    "faster_rcnn_r101_fpn_1x_coco_v2": (VB, "backbone=resnet101_paddle"),
}
"""Cases of version 2 that are no entries: an entry, and what is put together otherwise."""


def with_stages(cases: Sequence[str]) -> list[str]:
    """The cases whose network stages lie in this repository."""
    return [case for case in cases if (GOLDEN / "paddle" / f"{case}.npz").exists()]


def runs(cases: Sequence[str], often: Collection[tuple[str, str]]) -> list[Any]:
    """Every case that has whole answers, with every image; all but `often` are `nightly`."""
    answered = [case for case in cases if (SHARED / "parity" / "paddle" / f"{case}.npz").exists()]
    pairs = [(case, image) for case in answered for image in IMAGES]
    return [pytest.param(*pair, marks=() if pair in often else pytest.mark.nightly) for pair in pairs]


def load(case: str) -> TwoStageDetector:
    """The eval-mode detector of a case, with the weights of its manifest."""
    name, *overrides = TWINS.get(case) or ENTRIES[f"paddle/{case}"]
    config = compose(name, overrides)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    load_weights(model, weights(f"paddle/{case}"), read_entry(name).checkpoint.keymap)
    assert isinstance(model, TwoStageDetector)
    return model.eval()


loaded = functools.lru_cache(maxsize=1)(load)


def parameters_by_key(detector: TwoStageDetector, case: str) -> dict[str, torch.nn.Parameter]:
    """The parameters of a detector under the keys of the case's checkpoint.

    Values go along: in a checkpoint whose every tensor is filled with its number they tell where each went.
    """
    name, *_ = TWINS.get(case) or ENTRIES[f"paddle/{case}"]
    content = manifest(f"paddle/{case}")
    keys = {key: content["aliases"].get(key, key) for key in content["order"]}  # a copy has its original's number
    numbers = {key: float(number) for number, key in enumerate(content["tensors"])}
    sizes = shapes(f"paddle/{case}")
    filled = {key: torch.full(sizes[key], numbers[original]) for key, original in keys.items()}
    own = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    converted, _ = convert(filled, key_map(read_entry(name).checkpoint.keymap), own)
    names = {int(tensor.max()): key for key, tensor in converted.items()}
    parameters = dict(detector.named_parameters())
    found = {key: names.get(int(numbers[original]), "") for key, original in keys.items()}
    return {key: parameters[own_name] for key, own_name in found.items() if own_name in parameters}


def synthetic_input(answers: Answers) -> Tensor:
    """The input that the network stages were recorded for."""
    shape = tuple(answers["input_shape"].astype(int))
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32))


def stages(detector: TwoStageDetector, images: Tensor, rois: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every stage of a network, by the names of the goldens."""
    features = detector.backbone(images)
    maps = [f"c{images.shape[3].bit_length() - x.shape[3].bit_length()}" for x in features]
    yield from zip(maps, features, strict=True)
    pyramid = detector.neck(features)
    levels = [images.shape[3].bit_length() - x.shape[3].bit_length() for x in pyramid]
    if len(pyramid) > 1:
        yield from ((f"p{level}", x) for level, x in zip(levels, pyramid, strict=True))
    outputs = detector.rpn_head(pyramid)
    for level, logits, deltas in zip(levels, outputs.logits, outputs.deltas, strict=True):
        yield f"rpn_cls_{level}", logits
        yield f"rpn_reg_{level}", deltas
    yield from roi_stages(detector.roi_head, pyramid, rois)


def roi_stages(head: RoiHead, pyramid: tuple[Tensor, ...], rois: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What every stage says of the same regions.

    Before version 2 the background comes first; what those files have and no detection needs is NaN.
    """
    stage = head.last_stage
    pooled = stage.pooler(pyramid, rois)
    yield "roi_feat", pooled
    shared = stage.shared(pooled)
    if shared is not pooled:
        yield "roi_c5", shared
        yield "roi_head", shared.mean(dim=(2, 3))
    for i, each in enumerate(head.stages):
        number = f"_{i}" if len(head.stages) > 1 else ""
        logits, deltas = each.get_submodule("box_head")(shared)
        if is_version_2(head):
            yield "roi_cls", logits
            yield "roi_reg", deltas
        else:
            yield f"roi_cls{number}", logits.roll(1, dims=1)
            yield f"roi_reg{number}", torch.cat((torch.full((len(rois), 4), torch.nan), deltas), dim=1)
    if head.mask_head is not None and head.mask_pooler is not None:
        mask_pooled = head.mask_pooler(pyramid, rois)
        yield "roi_feat_mask", mask_pooled
        yield "roi_mask", head.mask_head(mask_pooled)


def is_version_2(head: RoiHead) -> bool:
    """Whether corners are points, as they are from version 2 on."""
    return not head.detections.convention.inclusive


def assert_stages(detector: TwoStageDetector, case: str, unseen: tuple[str, ...] = ()) -> None:
    """Every stage agrees to 1e-4 of its spread."""
    answers = golden(f"paddle/{case}")
    expected = {name.split("/")[0] for name in answers} - {"input_shape", "rois", *unseen}
    seen = set()
    with torch.inference_mode():
        for name, values in stages(detector, synthetic_input(answers), torch.from_numpy(answers["rois"])):
            assert_known(name, values, answers)
            seen.add(name)
    assert seen == expected


def assert_known(name: str, values: Tensor, answers: Mapping[str, npt.NDArray[Any]]) -> None:
    """A stage agrees where it is not NaN."""
    if name in answers:  # small enough to be kept whole
        wanted, found = answers[name].ravel(), values.double().numpy().ravel()
        shape, spread = answers[name].shape, float(wanted.std())
    else:
        wanted = answers[f"{name}/sample"]
        found = sample(values)[: len(wanted)]
        shape, spread = tuple(answers[f"{name}/shape"].astype(int)), float(answers[f"{name}/stats"][1])
    assert tuple(values.shape) == shape, name
    known = ~np.isnan(found)
    assert known.mean() > 0.4, name
    worst = np.abs(found - wanted)[known].max() / spread
    assert worst <= 1e-4, f"{name}: off by {worst:.2g} standard deviations"


def assert_end_to_end(
    detector: TwoStageDetector, case: str, image: str, extent: str, *, box: float = 0.02, score: float = 3e-4
) -> None:
    """Input, proposals and detections of an image are the original's; `extent` is the answer that boxes are cut to."""
    answers = golden(f"paddle/{case}", f"e2e/{image}")
    one = detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")
    if is_version_2(detector.roi_head):
        give_opencvs_pixels(one.pixels, image)
    batch = detector.prepare([one])
    (geometry,) = batch.geometries
    assert tuple(batch.images.shape) == tuple(answers["input_shape"])
    assert geometry.scale == pytest.approx(answers["scale"], rel=1e-6)
    assert geometry.extent == pytest.approx(answers[extent][:2], rel=1e-6)
    assert np.abs(sample(batch.images) - answers["input_sample"]).max() <= 1e-6

    with torch.inference_mode():
        outputs = detector.network(batch)
        (found,) = detector.postprocess(outputs, batch)
    assert_proposals(outputs.proposals[0], answers, detector.rpn_head.proposals.post_nms_top_n, box)
    assert len(found) == len(answers["boxes"])
    # Before version 2 the far corner is a pixel of the box.
    pixel = np.array((0, 0, 1, 1), dtype=np.float32) * (not is_version_2(detector.roi_head))
    wider = Detections(found.boxes + torch.from_numpy(pixel), found.scores, found.labels)
    pairs = pair_detections({**answers, "boxes": answers["boxes"] + pixel}, wider, nms_iou=0.5, box=box, score=score)
    if found.masks is not None:
        areas = np.array([decode(found.masks[i]).sum() for i in pairs.values()])
        expected = answers["mask_area"][list(pairs)]
        assert (np.abs(areas - expected) <= 2 + 1e-3 * expected).all()


def assert_proposals(found: Tensor, answers: Answers, most: int, box: float) -> None:
    """As many as the original's, and its best among them, whose sides are off by so many pixels at most."""
    assert len(found) == min(int(answers["num_proposals"].sum()), most)
    best = torch.from_numpy(answers["proposals"][:, :4])
    assert float(torch.cdist(best, found, p=torch.inf).amin(dim=1).max()) <= box


def give_opencvs_pixels(pixels: Tensor, image: str) -> None:
    """Put OpenCV's values, with its vendor's library, where near ties go the other way in exact arithmetic."""
    file = SHARED / "parity" / "paddle" / "samples" / "bicubic_pixels.json"
    ties = json.loads(file.read_text(encoding="utf-8"))[image]
    if list(pixels.shape[:2]) == ties["size"]:
        for row, column, channel, opencvs, _, _ in ties["pixels"]:
            pixels[row, column, 2 - channel] = opencvs  # they are BGR here
