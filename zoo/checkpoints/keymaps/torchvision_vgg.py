"""VGG-16 for whole images, in torchvision's names; the box head begins with two of its fully connected layers."""

from __future__ import annotations

from zoo.checkpoints.convert import Drop, Fresh, KeyMap, Rename
from zoo.checkpoints.keymaps.jwyang import BOX_HEAD, vgg_stages
from zoo.checkpoints.keymaps.torchvision_resnet import NEW

KEY_MAP: KeyMap = (
    *vgg_stages("features"),
    Rename("classifier.0.{p}", f"{BOX_HEAD}.fc1.{{p}}"),
    Rename("classifier.3.{p}", f"{BOX_HEAD}.fc2.{{p}}"),
    Drop("classifier.6.{p}", "classifies whole images"),
    Fresh("rpn_head.{*p}", NEW),
    Fresh(f"{BOX_HEAD}.logits.{{p}}", NEW),
    Fresh(f"{BOX_HEAD}.deltas.{{p}}", NEW),
)
