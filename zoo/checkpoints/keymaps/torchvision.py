"""torchvision's detectors: 91 labels, the background first, where a head has a background."""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.keymaps.torchvision_resnet import blocks
from zoo.checkpoints.tensor_ops import background_last, take_rows

BOX_HEAD = "roi_head.stages.0.box_head"

KEY_MAP: KeyMap = (
    # ResNet; frozen normalisations are stored without a counter
    Rename("backbone.body.conv1.weight", "backbone.stem.conv.weight"),
    Rename("backbone.body.bn1.{p}", "backbone.stem.norm.{p}"),
    *blocks("backbone.body.{layer}", "backbone.{layer}"),
    Zeros("{*norm}.num_batches_tracked", COUNTED),
    # FPN
    Rename("backbone.fpn.inner_blocks.{level}.0.{p}", "neck.laterals.{level}.{p}"),
    Rename("backbone.fpn.layer_blocks.{level}.0.{p}", "neck.outputs.{level}.{p}"),
    # RPN
    Rename("rpn.head.conv.0.0.{p}", "rpn_head.conv.{p}"),
    Rename("rpn.head.cls_logits.{p}", "rpn_head.logits.{p}"),
    Rename("rpn.head.bbox_pred.{p}", "rpn_head.deltas.{p}"),
    # RoI head
    Rename("roi_heads.box_head.fc6.{p}", f"{BOX_HEAD}.fc1.{{p}}"),
    Rename("roi_heads.box_head.fc7.{p}", f"{BOX_HEAD}.fc2.{{p}}"),
    Rename("roi_heads.box_predictor.cls_score.{p}", f"{BOX_HEAD}.logits.{{p}}", ops=(background_last,)),
    Rename("roi_heads.box_predictor.bbox_pred.{p}", f"{BOX_HEAD}.deltas.{{p}}", ops=(take_rows(4),)),
)
