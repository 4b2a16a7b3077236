"""torchvision's Faster, Mask and Keypoint R-CNN: labels are COCO's category ids, and 0, the background, comes first.

Files are written in the names of the version that trained them: of those before 0.13 some layers have a name of their
own that are numbered in a sequence since.
"""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.keymaps.mobilenet_v3 import mobilenet_v3
from zoo.checkpoints.keymaps.torchvision_resnet import blocks
from zoo.checkpoints.tensor_ops import background_box_last, background_last

BOX_HEAD = "roi_head.stages.0.box_head"


def plain_or_normalised(source: str, target: str) -> KeyMap:
    """Rules for a convolution with a bias, or with a normalisation behind it: a sequence since torchvision 0.13."""
    return (
        Rename(f"{source}.{{p}}", f"{target}.{{p}}"),
        Rename(f"{source}.0.{{p}}", f"{target}.{{p}}", f"{target}.conv.{{p}}"),
        Rename(f"{source}.1.{{p}}", f"{target}.norm.{{p}}"),
    )


BACKBONE: KeyMap = (
    # ResNet, or MobileNetV3
    Rename("backbone.body.conv1.weight", "backbone.stem.conv.weight"),
    Rename("backbone.body.bn1.{p}", "backbone.stem.norm.{p}"),
    *blocks("backbone.body.{layer}", "backbone.{layer}"),
    *mobilenet_v3("backbone.body"),
    Zeros("{*norm}.num_batches_tracked", COUNTED),  # constant normalisations are stored without a counter
    # FPN
    *plain_or_normalised("backbone.fpn.inner_blocks.{level}", "neck.laterals.{level}"),
    *plain_or_normalised("backbone.fpn.layer_blocks.{level}", "neck.outputs.{level}"),
    Rename("backbone.fpn.extra_blocks.{level}.{p}", "neck.extra_levels.{level}.{p}"),
)
"""Rules for what all detectors on a pyramid begin with."""

KEY_MAP: KeyMap = (
    *BACKBONE,
    # RPN
    Rename("rpn.head.conv.0.0.{p}", "rpn_head.conv.{p}", "rpn_head.conv.0.{p}"),
    Rename("rpn.head.conv.1.0.{p}", "rpn_head.conv.2.{p}"),
    Rename("rpn.head.conv.{p}", "rpn_head.conv.{p}"),
    Rename("rpn.head.cls_logits.{p}", "rpn_head.logits.{p}"),
    Rename("rpn.head.bbox_pred.{p}", "rpn_head.deltas.{p}"),
    # RoI head
    Rename("roi_heads.box_head.fc6.{p}", f"{BOX_HEAD}.fc1.{{p}}"),
    Rename("roi_heads.box_head.fc7.{p}", f"{BOX_HEAD}.fc2.{{p}}"),
    Rename("roi_heads.box_head.5.{p}", f"{BOX_HEAD}.fc.{{p}}"),
    *plain_or_normalised("roi_heads.box_head.{number}", f"{BOX_HEAD}.convs.{{number}}"),
    Rename("roi_heads.box_predictor.cls_score.{p}", f"{BOX_HEAD}.logits.{{p}}", ops=(background_last,)),
    Rename("roi_heads.box_predictor.bbox_pred.{p}", f"{BOX_HEAD}.deltas.{{p}}", ops=(background_box_last,)),
    # masks and keypoints
    *(Rename(f"roi_heads.mask_head.mask_fcn{i + 1}.{{p}}", f"roi_head.mask_head.convs.{i}.{{p}}") for i in range(4)),
    *plain_or_normalised("roi_heads.mask_head.{number}", "roi_head.mask_head.convs.{number}"),
    Rename("roi_heads.mask_predictor.conv5_mask.{p}", "roi_head.mask_head.upsample.{p}"),
    Rename("roi_heads.mask_predictor.mask_fcn_logits.{p}", "roi_head.mask_head.logits.{p}", ops=(background_last,)),
    *(Rename(f"roi_heads.keypoint_head.{2 * i}.{{p}}", f"roi_head.keypoint_head.convs.{i}.{{p}}") for i in range(8)),
    Rename("roi_heads.keypoint_predictor.kps_score_lowres.{p}", "roi_head.keypoint_head.heatmaps.{p}"),
)
