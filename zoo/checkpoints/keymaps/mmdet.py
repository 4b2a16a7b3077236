"""mmdetection 2.x and 3.x: both use the same names for these networks."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename

KEY_MAP: KeyMap = (
    # ResNet
    Rename("backbone.conv1.weight", "backbone.stem.conv.weight"),
    Rename("backbone.bn1.{p}", "backbone.stem.norm.{p}"),
    Rename("backbone.{layer}.{block}.conv1.weight", "backbone.{layer}.{block}.conv1.conv.weight"),
    Rename("backbone.{layer}.{block}.conv2.weight", "backbone.{layer}.{block}.conv2.conv.weight"),
    Rename("backbone.{layer}.{block}.conv3.weight", "backbone.{layer}.{block}.conv3.conv.weight"),
    Rename("backbone.{layer}.{block}.bn1.{p}", "backbone.{layer}.{block}.conv1.norm.{p}"),
    Rename("backbone.{layer}.{block}.bn2.{p}", "backbone.{layer}.{block}.conv2.norm.{p}"),
    Rename("backbone.{layer}.{block}.bn3.{p}", "backbone.{layer}.{block}.conv3.norm.{p}"),
    Rename("backbone.{layer}.{block}.downsample.0.weight", "backbone.{layer}.{block}.shortcut.conv.weight"),
    Rename("backbone.{layer}.{block}.downsample.1.{p}", "backbone.{layer}.{block}.shortcut.norm.{p}"),
    # FPN
    Rename("neck.lateral_convs.{level}.conv.{p}", "neck.laterals.{level}.{p}"),
    Rename("neck.fpn_convs.{level}.conv.{p}", "neck.outputs.{level}.{p}"),
    # RPN
    Rename("rpn_head.rpn_conv.{p}", "rpn_head.conv.{p}"),
    Rename("rpn_head.rpn_cls.{p}", "rpn_head.logits.{p}"),
    Rename("rpn_head.rpn_reg.{p}", "rpn_head.deltas.{p}"),
    # RoI head
    Rename("roi_head.bbox_head.shared_fcs.0.{p}", "roi_head.box_head.fc1.{p}"),
    Rename("roi_head.bbox_head.shared_fcs.1.{p}", "roi_head.box_head.fc2.{p}"),
    Rename("roi_head.bbox_head.fc_cls.{p}", "roi_head.box_head.logits.{p}"),
    Rename("roi_head.bbox_head.fc_reg.{p}", "roi_head.box_head.deltas.{p}"),
)
