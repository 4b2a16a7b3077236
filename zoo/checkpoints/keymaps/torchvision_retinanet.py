"""torchvision's RetinaNet: it has no background, and label 0 is a class that no object has."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename
from zoo.checkpoints.keymaps.torchvision import BACKBONE

DEPTH = 4
"""Convolutions of a tower."""


def tower(source: str, target: str) -> KeyMap:
    """Rules for a tower: each convolution with its normalisation, or with a bias.

    Until torchvision 0.12 convolutions and the activations between them were numbered together.
    """
    return (
        *(Rename(f"{source}.{2 * i}.{{p}}", f"{target}.convs.{i}.{{p}}") for i in range(DEPTH)),
        Rename(f"{source}.{{i}}.0.{{p}}", f"{target}.convs.{{i}}.{{p}}"),
        Rename(f"{source}.{{i}}.1.{{p}}", f"{target}.norms.{{i}}.{{p}}"),
    )


KEY_MAP: KeyMap = (
    *BACKBONE,
    *tower("head.classification_head.conv", "dense_head.class_tower"),
    *tower("head.regression_head.conv", "dense_head.box_tower"),
    Rename("head.classification_head.cls_logits.{p}", "dense_head.logits.{p}"),
    Rename("head.regression_head.bbox_reg.{p}", "dense_head.deltas.{p}"),
)
