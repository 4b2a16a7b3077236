"""PaddleDetection's networks: an entry of each parity case, loaded, and held against the original's answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import ENTRIES
from pairing import pair_detections
from parity import SHARED, golden, sample, weights
from torch import Tensor

from zoo.catalog.entry import read_entry
from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.detections import Detections
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


def load(case: str) -> TwoStageDetector:
    """The eval-mode detector of a case, with the weights of its manifest."""
    (name,) = ENTRIES[f"paddle/{case}"]
    config = compose(name)
    with torch.device("meta"), SkipInit():
        model = build_model(config, config["data"]["classes"])
    load_weights(model, weights(f"paddle/{case}"), read_entry(name).checkpoint.keymap)
    assert isinstance(model, TwoStageDetector)
    return model.eval()


loaded = functools.lru_cache(maxsize=1)(load)


def synthetic_input(answers: Answers) -> Tensor:
    """The input that the network stages were recorded for."""
    shape = tuple(answers["input_shape"].astype(int))
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32))


def stages(detector: TwoStageDetector, images: Tensor, rois: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every stage of a network with the background in front, by the names of the goldens."""
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
    """What every stage says of the same regions; what files have and no detection needs is NaN."""
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
        yield f"roi_cls{number}", logits.roll(1, dims=1)
        yield f"roi_reg{number}", torch.cat((torch.full((len(rois), 4), torch.nan), deltas), dim=1)


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
        wanted = answers[name].ravel()
        shape, spread = answers[name].shape, float(wanted.std())
    else:
        wanted = answers[f"{name}/sample"]
        shape, spread = tuple(answers[f"{name}/shape"].astype(int)), float(answers[f"{name}/stats"][1])
    assert tuple(values.shape) == shape, name
    found = sample(values)[: len(wanted)]
    known = ~np.isnan(found)
    assert known.mean() > 0.4, name
    worst = np.abs(found - wanted)[known].max() / spread
    assert worst <= 1e-4, f"{name}: off by {worst:.2g} standard deviations"


def assert_end_to_end(detector: TwoStageDetector, case: str, image: str, extent: str) -> None:
    """Input, proposals and detections of an image are the original's; `extent` is the answer that boxes are cut to."""
    answers = golden(f"paddle/{case}", f"e2e/{image}")
    batch = detector.prepare([detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")])
    (geometry,) = batch.geometries
    assert tuple(batch.images.shape) == tuple(answers["input_shape"])
    assert geometry.scale == pytest.approx(answers["scale"], rel=1e-6)
    assert geometry.extent == pytest.approx(answers[extent][:2], rel=1e-6)
    assert np.abs(sample(batch.images) - answers["input_sample"]).max() <= 1e-6

    with torch.inference_mode():
        outputs = detector.network(batch)
        (found,) = detector.postprocess(outputs, batch)
    (proposals,) = outputs.proposals
    assert len(proposals) == min(int(answers["num_proposals"].sum()), detector.rpn_head.proposals.post_nms_top_n)
    best = torch.from_numpy(answers["proposals"][:, :4])
    assert float(torch.cdist(best, proposals, p=torch.inf).amin(dim=1).max()) <= 0.02
    assert len(found) == len(answers["boxes"])
    pixel = np.array((0, 0, 1, 1), dtype=np.float32)  # the far corner is a pixel of the box
    wider = Detections(found.boxes + torch.from_numpy(pixel), found.scores, found.labels)
    pair_detections({**answers, "boxes": answers["boxes"] + pixel}, wider, nms_iou=0.5)
