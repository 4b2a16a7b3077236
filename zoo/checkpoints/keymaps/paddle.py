"""PaddleDetection since its version 2, written after its R-CNNs were rewritten: 80 classes, the background last.

Backbones, necks and RPNs have the names of the first dygraph zoo; linear layers are stored (in, out) as there.
"""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.keymaps.paddle_2020 import (
    BOX_HEAD,
    PYRAMID,
    RESIDUAL_STAGES,
    conv_norm,
    linear,
    residual_stage,
)
from zoo.checkpoints.paddle_names import BLOCKS, DYGRAPH_2020, STATIC

STAGES = {2: "backbone.layer1", 3: "backbone.layer2", 4: "backbone.layer3", 5: "backbone.layer4"}
"""Stage as Paddle counts -> its name here."""


def _extras(stage: int, target: str) -> KeyMap:
    """Rules for what a stage of a ResNet-D with deformable convolutions has besides."""
    return tuple(
        rule
        for block, number in BLOCKS.items()
        for rule in (
            *conv_norm(f"backbone.res{stage}.res{stage}{block}.short.conv", f"{target}.{number}.shortcut"),
            Rename(
                f"backbone.res{stage}.res{stage}{block}.branch2b.conv_offset.{{p}}",
                f"{target}.{number}.conv2.conv_offset.{{p}}",
            ),
        )
    )


def _res2net_stage(stage: int, target: str) -> KeyMap:
    """Rules for the blocks of a stage of a Res2Net."""
    source = f"backbone.res{stage}.blocks.{{block}}"
    return (
        *conv_norm(f"{source}.branch1", f"{target}.{{block}}.shortcut"),
        *conv_norm(f"{source}.branch2a", f"{target}.{{block}}.conv1"),
        *conv_norm(f"{source}.branch2b.{{scale}}", f"{target}.{{block}}.conv2.convs.{{scale}}"),
        *conv_norm(f"{source}.branch2c", f"{target}.{{block}}.conv3"),
    )


def _stem(source: str) -> KeyMap:
    """Rules for a stem of one convolution or of three."""
    deep = (rule for i in (1, 2, 3) for rule in conv_norm(f"{source}.conv1_{i}", f"backbone.stem.{i - 1}"))
    return (*conv_norm(f"{source}.conv1", "backbone.stem"), *deep)


MASKS, MASK_HEAD = "mask_head.head.upsample", "roi_head.mask_head"

KEY_MAP: KeyMap = (
    *DYGRAPH_2020,
    *STATIC,
    *_stem("backbone.conv1"),
    *_stem("backbone.res1"),
    *RESIDUAL_STAGES,
    *(rule for stage, target in STAGES.items() for rule in _extras(stage, target)),
    *(rule for stage, target in STAGES.items() for rule in _res2net_stage(stage, target)),
    *PYRAMID,
    *linear("bbox_head.head.fc6", f"{BOX_HEAD}.fc1"),
    *linear("bbox_head.head.fc7", f"{BOX_HEAD}.fc2"),
    *residual_stage("bbox_head.head.res5", 5, "roi_head.stages.0.shared.blocks"),
    *linear("bbox_head.bbox_score", f"{BOX_HEAD}.logits"),
    *linear("bbox_head.bbox_delta", f"{BOX_HEAD}.deltas"),
    *(Rename(f"{MASKS}.mask_inter_feat_{i}.{{p}}", f"{MASK_HEAD}.convs.{i - 1}.{{p}}") for i in (1, 2, 3, 4)),
    Rename(f"{MASKS}.conv5_mask.{{p}}", f"{MASK_HEAD}.upsample.{{p}}"),
    Rename("mask_head.mask_fcn_logits.{p}", f"{MASK_HEAD}.logits.{{p}}"),
    Zeros("{*norm}.num_batches_tracked", COUNTED),
)
