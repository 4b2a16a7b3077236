"""PaddleDetection's first dygraph zoo (December 2020 to January 2021): 81 classes, the background first.

Linear layers are stored (in, out). Of C4 the last stage is in the RoI head, and stored twice under two names.
"""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, Copy, KeyMap, Rename, Zeros
from zoo.checkpoints.paddle_names import BLOCKS, STATIC, VERSION_2
from zoo.checkpoints.tensor_ops import background_last, take_rows, transpose

STATISTICS = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}
"""What Paddle calls the parts of a batch normalisation -> what torch does."""

BRANCHES = {"branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3", "short": "shortcut"}
"""Part of a block -> its name here."""

SECTION = "bbox_head.bbox_feat.head_feat"
BOX_HEAD = "roi_head.stages.0.box_head"


def conv_norm(source: str, target: str) -> KeyMap:
    """Rules for a convolution with its normalisation."""
    norms = (Rename(f"{source}.norm.{name}", f"{target}.norm.{own}") for name, own in STATISTICS.items())
    return (Rename(f"{source}.conv.weight", f"{target}.conv.weight"), *norms)


def residual_stage(source: str, stage: int, target: str) -> KeyMap:
    """Rules for the blocks of a residual stage, 2 to 5 as Paddle counts."""
    return tuple(
        rule
        for block, number in BLOCKS.items()
        for branch, own in BRANCHES.items()
        for rule in conv_norm(f"{source}.res{stage}{block}.{branch}", f"{target}.{number}.{own}")
    )


def linear(source: str, target: str) -> KeyMap:
    """Rules for a linear layer."""
    return (
        Rename(f"{source}.weight", f"{target}.weight", ops=(transpose,)),
        Rename(f"{source}.bias", f"{target}.bias"),
    )


RESIDUAL_STAGES: KeyMap = (
    *residual_stage("backbone.res2", 2, "backbone.layer1"),
    *residual_stage("backbone.res3", 3, "backbone.layer2"),
    *residual_stage("backbone.res4", 4, "backbone.layer3"),
    *residual_stage("backbone.res5", 5, "backbone.layer4"),
)
"""Rules for a ResNet without its stem."""

PYRAMID: KeyMap = (
    Rename("neck.fpn_inner_res2_sum_lateral.{p}", "neck.laterals.0.{p}"),
    Rename("neck.fpn_inner_res3_sum_lateral.{p}", "neck.laterals.1.{p}"),
    Rename("neck.fpn_inner_res4_sum_lateral.{p}", "neck.laterals.2.{p}"),
    Rename("neck.fpn_inner_res5_sum.{p}", "neck.laterals.3.{p}"),
    Rename("neck.fpn_res2_sum.{p}", "neck.outputs.0.{p}"),
    Rename("neck.fpn_res3_sum.{p}", "neck.outputs.1.{p}"),
    Rename("neck.fpn_res4_sum.{p}", "neck.outputs.2.{p}"),
    Rename("neck.fpn_res5_sum.{p}", "neck.outputs.3.{p}"),
    Rename("rpn_head.rpn_feat.rpn_conv.{p}", "rpn_head.conv.{p}"),
    Rename("rpn_head.rpn_rois_score.{p}", "rpn_head.logits.{p}"),
    Rename("rpn_head.rpn_rois_delta.{p}", "rpn_head.deltas.{p}"),
)
"""Rules for neck and RPN."""

KEY_MAP: KeyMap = (
    *VERSION_2,
    *STATIC,
    *conv_norm("backbone.conv1.conv1", "backbone.stem"),
    *RESIDUAL_STAGES,
    *PYRAMID,
    *linear(f"{SECTION}.fc6_0", f"{BOX_HEAD}.fc1"),
    *linear(f"{SECTION}.fc7_0", f"{BOX_HEAD}.fc2"),
    *residual_stage(f"{SECTION}.res5_roi_feat", 5, "roi_head.stages.0.shared.blocks"),
    Copy(f"{SECTION}.res5.{{*p}}", of=f"{SECTION}.res5_roi_feat.{{*p}}"),
    Rename("bbox_head.bbox_score_0.weight", f"{BOX_HEAD}.logits.weight", ops=(transpose, background_last)),
    Rename("bbox_head.bbox_score_0.bias", f"{BOX_HEAD}.logits.bias", ops=(background_last,)),
    Rename("bbox_head.bbox_delta_0.weight", f"{BOX_HEAD}.deltas.weight", ops=(transpose, take_rows(4))),
    Rename("bbox_head.bbox_delta_0.bias", f"{BOX_HEAD}.deltas.bias", ops=(take_rows(4),)),
    Zeros("{*norm}.num_batches_tracked", COUNTED),
)
