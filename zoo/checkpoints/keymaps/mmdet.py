"""mmdetection 2.x and 3.x: both use the same names for these networks."""

from __future__ import annotations

from zoo.checkpoints.convert import Copy, KeyMap, Rename


def _blocks(source: str, target: str) -> KeyMap:
    """Rules for the blocks of a residual stage."""
    rules = []
    for i in (1, 2, 3):
        rules.append(Rename(f"{source}.{{block}}.conv{i}.weight", f"{target}.{{block}}.conv{i}.conv.weight"))
        rules.append(Rename(f"{source}.{{block}}.bn{i}.{{p}}", f"{target}.{{block}}.conv{i}.norm.{{p}}"))
    return (
        *rules,
        Rename(f"{source}.{{block}}.downsample.0.weight", f"{target}.{{block}}.shortcut.conv.weight"),
        Rename(f"{source}.{{block}}.downsample.1.{{p}}", f"{target}.{{block}}.shortcut.norm.{{p}}"),
    )


KEY_MAP: KeyMap = (
    # ResNet, ResNeXt
    Rename("backbone.conv1.weight", "backbone.stem.conv.weight"),
    Rename("backbone.bn1.{p}", "backbone.stem.norm.{p}"),
    *_blocks("backbone.{layer}", "backbone.{layer}"),
    # FPN
    Rename("neck.lateral_convs.{level}.conv.{p}", "neck.laterals.{level}.{p}"),
    Rename("neck.fpn_convs.{level}.conv.{p}", "neck.outputs.{level}.{p}"),
    # FPG
    Rename("neck.lateral_convs.{level}.{p}", "neck.laterals.{level}.{p}"),
    Rename("neck.extra_downsamples.{level}.{p}", "neck.extras.{level}.{p}"),
    Rename(
        "neck.fpn_transitions.{s}.{level}.across_down.conv.conv.weight", "neck.grid.{s}.{level}.across_down.conv.weight"
    ),
    Rename("neck.fpn_transitions.{s}.{level}.across_down.conv.bn.{p}", "neck.grid.{s}.{level}.across_down.norm.{p}"),
    Rename("neck.fpn_transitions.{s}.{level}.{kind}.conv.weight", "neck.grid.{s}.{level}.{kind}.conv.weight"),
    Rename("neck.fpn_transitions.{s}.{level}.{kind}.bn.{p}", "neck.grid.{s}.{level}.{kind}.norm.{p}"),
    Rename("neck.output_transition.{level}.conv_out.conv.{p}", "neck.outputs.{level}.{p}"),
    # RPN
    Rename("rpn_head.rpn_conv.{p}", "rpn_head.conv.{p}"),
    Rename("rpn_head.rpn_cls.{p}", "rpn_head.logits.{p}"),
    Rename("rpn_head.rpn_reg.{p}", "rpn_head.deltas.{p}"),
    # RoI head
    Rename("roi_head.bbox_head.shared_fcs.0.{p}", "roi_head.stages.0.box_head.fc1.{p}"),
    Rename("roi_head.bbox_head.shared_fcs.1.{p}", "roi_head.stages.0.box_head.fc2.{p}"),
    Rename("roi_head.bbox_head.fc_cls.{p}", "roi_head.stages.0.box_head.logits.{p}"),
    Rename("roi_head.bbox_head.fc_reg.{p}", "roi_head.stages.0.box_head.deltas.{p}"),
    # RoI head with the last stage of the backbone in it
    *_blocks("roi_head.shared_head.layer4", "roi_head.stages.0.shared.blocks"),
    # Mask head
    Rename("roi_head.mask_head.convs.{i}.conv.{p}", "roi_head.mask_head.convs.{i}.conv.{p}"),
    Rename("roi_head.mask_head.convs.{i}.bn.{p}", "roi_head.mask_head.convs.{i}.norm.{p}"),
    Rename("roi_head.mask_head.upsample.{p}", "roi_head.mask_head.upsample.{p}"),
    Rename("roi_head.mask_head.conv_logits.{p}", "roi_head.mask_head.logits.{p}"),
    # RetinaNet, with its own normalisation a level; the convolutions are the same in all
    Rename("bbox_head.cls_convs.0.{i}.conv.weight", "dense_head.class_tower.convs.{i}.weight"),
    Rename("bbox_head.reg_convs.0.{i}.conv.weight", "dense_head.box_tower.convs.{i}.weight"),
    Copy("bbox_head.cls_convs.{level}.{i}.conv.weight", of="bbox_head.cls_convs.0.{i}.conv.weight"),
    Copy("bbox_head.reg_convs.{level}.{i}.conv.weight", of="bbox_head.reg_convs.0.{i}.conv.weight"),
    Rename("bbox_head.cls_convs.{level}.{i}.bn.{p}", "dense_head.class_tower.norms.{level}.{i}.{p}"),
    Rename("bbox_head.reg_convs.{level}.{i}.bn.{p}", "dense_head.box_tower.norms.{level}.{i}.{p}"),
    Rename("bbox_head.retina_cls.{p}", "dense_head.logits.{p}"),
    Rename("bbox_head.retina_reg.{p}", "dense_head.deltas.{p}"),
)
