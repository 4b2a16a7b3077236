"""torchvision's FCOS: it has no background, and label 0 is a class that no object has."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename
from zoo.checkpoints.keymaps.torchvision import BACKBONE

DEPTH = 4
"""Convolutions of a tower."""


def tower(source: str, target: str) -> KeyMap:
    """Rules for a tower: convolutions, their normalisations and activations are numbered together."""
    return tuple(
        Rename(f"{source}.{3 * i + place}.{{p}}", f"{target}.{layers}.{i}.{{p}}")
        for i in range(DEPTH)
        for place, layers in enumerate(("convs", "norms"))
    )


KEY_MAP: KeyMap = (
    *BACKBONE,
    *tower("head.classification_head.conv", "dense_head.class_tower"),
    *tower("head.regression_head.conv", "dense_head.box_tower"),
    Rename("head.classification_head.cls_logits.{p}", "dense_head.logits.{p}"),
    Rename("head.regression_head.bbox_reg.{p}", "dense_head.deltas.{p}"),
    Rename("head.regression_head.bbox_ctrness.{p}", "dense_head.centerness.{p}"),
)
