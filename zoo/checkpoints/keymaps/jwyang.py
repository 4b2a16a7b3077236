"""faster-rcnn.pytorch of jwyang: ResNets and VGG-16 in numbered layers; 81 classes, the background first."""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.tensor_ops import background_last, pair_up, take_rows

BOX_HEAD = "roi_head.stages.0.box_head"

VGG_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Numbers of the convolutions of VGG-16 among its layers; here a stage's are layers 0, 2 and 4 of it."""


def _blocks(source: str, target: str) -> KeyMap:
    """Rules for the blocks of a residual stage."""
    return (
        *(Rename(f"{source}.{{b}}.conv{i}.weight", f"{target}.{{b}}.conv{i}.conv.weight") for i in (1, 2, 3)),
        *(Rename(f"{source}.{{b}}.bn{i}.{{p}}", f"{target}.{{b}}.conv{i}.norm.{{p}}") for i in (1, 2, 3)),
        Rename(f"{source}.{{b}}.downsample.0.weight", f"{target}.{{b}}.shortcut.conv.weight"),
        Rename(f"{source}.{{b}}.downsample.1.{{p}}", f"{target}.{{b}}.shortcut.norm.{{p}}"),
    )


def vgg_stages(source: str) -> KeyMap:
    """Rules for the convolutions of VGG-16, which a file has as numbered layers of `source`."""
    return tuple(
        Rename(f"{source}.{number}.{{p}}", f"backbone.stages.{stage}.{2 * i}.{{p}}")
        for stage, numbers in enumerate(VGG_STAGES)
        for i, number in enumerate(numbers)
    )


KEY_MAP: KeyMap = (
    # The first layer of both networks
    Rename("RCNN_base.0.{p}", "backbone.stem.conv.{p}", otherwise="backbone.stages.0.0.{p}"),
    # ResNet
    Rename("RCNN_base.1.{p}", "backbone.stem.norm.{p}"),
    *_blocks("RCNN_base.4", "backbone.layer1"),
    *_blocks("RCNN_base.5", "backbone.layer2"),
    *_blocks("RCNN_base.6", "backbone.layer3"),
    *_blocks("RCNN_top.0", "roi_head.stages.0.shared.blocks"),
    Zeros("{*norm}.num_batches_tracked", COUNTED),
    # VGG-16
    *vgg_stages("RCNN_base"),
    Rename("RCNN_top.0.{p}", f"{BOX_HEAD}.fc1.{{p}}"),
    Rename("RCNN_top.3.{p}", f"{BOX_HEAD}.fc2.{{p}}"),
    # What both have
    Rename("RCNN_rpn.RPN_Conv.{p}", "rpn_head.conv.{p}"),
    Rename("RCNN_rpn.RPN_cls_score.{p}", "rpn_head.logits.{p}", ops=(pair_up,)),
    Rename("RCNN_rpn.RPN_bbox_pred.{p}", "rpn_head.deltas.{p}"),
    Rename("RCNN_cls_score.{p}", f"{BOX_HEAD}.logits.{{p}}", ops=(background_last,)),
    Rename("RCNN_bbox_pred.{p}", f"{BOX_HEAD}.deltas.{{p}}", ops=(take_rows(4),)),
)
