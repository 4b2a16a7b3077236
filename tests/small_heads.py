"""Heads with few channels, for rules that can be checked by hand."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.anchors import Anchors
from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_head import ValidAnchors
from zoo.models.heads.anchor_targets import AnchorTargets
from zoo.models.heads.box_head import TwoFcBoxHead
from zoo.models.heads.roi import RoiHead
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.heads.rpn import RpnHead, Scores
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.losses.classification import CrossEntropyLoss, SoftmaxCrossEntropyLoss
from zoo.models.losses.regression import L1Loss
from zoo.models.samplers import AllSampler
from zoo.models.selection import DetectionSelector, Frame, ProposalSelector
from zoo.types import FeatureSpec


def labels_of(assigned: AnchorTargets, count: int) -> Tensor:
    """What each of so many anchors of a batch is trained to say, (count,): its class, NEGATIVE or IGNORED."""
    labels = torch.full((count,), IGNORED)
    labels[assigned.negative] = NEGATIVE
    labels[assigned.positive] = assigned.labels
    return labels


def make_rpn(
    in_specs: Sequence[FeatureSpec],
    anchors: Anchors,
    proposals: ProposalSelector | None = None,
    valid_anchors: ValidAnchors = "padded",
    scores: Scores = "sigmoid",
    depth: int = 1,
) -> RpnHead:
    """A region proposal network that trains on all anchors, by mmdetection's rules."""
    proposals = proposals or ProposalSelector(pre_nms_top_n=1000, post_nms_top_n=1000)
    return RpnHead(
        in_specs,
        anchors,
        DeltaCoder(),
        proposals,
        proposals,
        MaxIoUAssigner(0.7, 0.3, 0.3),
        AllSampler(),
        CrossEntropyLoss(),
        L1Loss(),
        "sampled_per_image",
        valid_anchors=valid_anchors,
        scores=scores,
        depth=depth,
    )


def make_roi_head(
    num_classes: int = 2,
    detections: DetectionSelector | None = None,
    coders: Sequence[DeltaCoder] = (DeltaCoder((0.1, 0.1, 0.2, 0.2)),),
    class_agnostic: bool = False,
    target_frame: Frame = "input",
    background_box: bool = False,
    **others: Any,
) -> RoiHead:
    """A RoI head on one map of stride 16, by mmdetection's rules, with a stage for each of the coders."""
    stages = {
        f"stage{i}": functools.partial(
            RoiStage,
            pooler=functools.partial(RoiPooler, output_size=7),
            box_head=functools.partial(TwoFcBoxHead, channels=8),
            coder=coder,
            assigner=MaxIoUAssigner(0.5, 0.5),
            sampler=AllSampler(),
            class_loss=SoftmaxCrossEntropyLoss(),
            box_loss=L1Loss(),
            divisor="sampled",
            class_agnostic=class_agnostic,
            target_frame=target_frame,
            background_box=background_box,
        )
        for i, coder in enumerate(coders)
    }
    detections = detections or DetectionSelector(score_threshold=0.05, iou_threshold=0.5, max_detections=100)
    return RoiHead([FeatureSpec(1, 16)], num_classes, stages, detections, **others)
