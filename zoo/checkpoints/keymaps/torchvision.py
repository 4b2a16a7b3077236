"""torchvision's detectors: 91 labels, the background first, where a head has a background."""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.keymaps.mobilenet_v3 import mobilenet_v3
from zoo.checkpoints.keymaps.torchvision_resnet import blocks
from zoo.checkpoints.tensor_ops import background_box_last, background_last

BOX_HEAD = "roi_head.stages.0.box_head"


def normalised(source: str, target: str) -> KeyMap:
    """Rules for a convolution, with a normalisation behind it or with a bias."""
    return (
        Rename(f"{source}.0.{{p}}", f"{target}.{{p}}", f"{target}.conv.{{p}}"),
        Rename(f"{source}.1.{{p}}", f"{target}.norm.{{p}}"),
    )


KEY_MAP: KeyMap = (
    # ResNet; frozen normalisations are stored without a counter
    Rename("backbone.body.conv1.weight", "backbone.stem.conv.weight"),
    Rename("backbone.body.bn1.{p}", "backbone.stem.norm.{p}"),
    *blocks("backbone.body.{layer}", "backbone.{layer}"),
    # MobileNetV3
    *mobilenet_v3("backbone.body"),
    Zeros("{*norm}.num_batches_tracked", COUNTED),
    # FPN
    *normalised("backbone.fpn.inner_blocks.{level}", "neck.laterals.{level}"),
    *normalised("backbone.fpn.layer_blocks.{level}", "neck.outputs.{level}"),
    Rename("backbone.fpn.inner_blocks.{level}.{p}", "neck.laterals.{level}.{p}"),  # files from before version 0.12
    Rename("backbone.fpn.layer_blocks.{level}.{p}", "neck.outputs.{level}.{p}"),
    # RPN
    Rename("rpn.head.conv.0.0.{p}", "rpn_head.conv.{p}", "rpn_head.conv.0.{p}"),
    Rename("rpn.head.conv.1.0.{p}", "rpn_head.conv.2.{p}"),
    Rename("rpn.head.conv.{p}", "rpn_head.conv.{p}"),
    Rename("rpn.head.cls_logits.{p}", "rpn_head.logits.{p}"),
    Rename("rpn.head.bbox_pred.{p}", "rpn_head.deltas.{p}"),
    # RoI head
    Rename("roi_heads.box_head.fc6.{p}", f"{BOX_HEAD}.fc1.{{p}}"),
    Rename("roi_heads.box_head.fc7.{p}", f"{BOX_HEAD}.fc2.{{p}}"),
    *normalised("roi_heads.box_head.{number}", f"{BOX_HEAD}.convs.{{number}}"),
    Rename("roi_heads.box_head.5.{p}", f"{BOX_HEAD}.fc.{{p}}"),
    Rename("roi_heads.box_predictor.cls_score.{p}", f"{BOX_HEAD}.logits.{{p}}", ops=(background_last,)),
    Rename("roi_heads.box_predictor.bbox_pred.{p}", f"{BOX_HEAD}.deltas.{{p}}", ops=(background_box_last,)),
    # masks and keypoints
    *normalised("roi_heads.mask_head.{number}", "roi_head.mask_head.convs.{number}"),
    *(Rename(f"roi_heads.mask_head.mask_fcn{i + 1}.{{p}}", f"roi_head.mask_head.convs.{i}.{{p}}") for i in range(4)),
    Rename("roi_heads.mask_predictor.conv5_mask.{p}", "roi_head.mask_head.upsample.{p}"),
    Rename("roi_heads.mask_predictor.mask_fcn_logits.{p}", "roi_head.mask_head.logits.{p}", ops=(background_last,)),
    *(Rename(f"roi_heads.keypoint_head.{2 * i}.{{p}}", f"roi_head.keypoint_head.convs.{i}.{{p}}") for i in range(8)),
    Rename("roi_heads.keypoint_predictor.kps_score_lowres.{p}", "roi_head.keypoint_head.heatmaps.{p}"),
)
