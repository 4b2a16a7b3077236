"""Classification networks as PaddleDetection keeps them since its version 2 for its detectors to begin with.

Their layers are called as in its backbones, with or without the prefix of the backbone: it goes by the ends of names.
"""

from __future__ import annotations

from dataclasses import replace

from zoo.checkpoints.convert import COUNTED, Drop, Fresh, KeyMap
from zoo.checkpoints.keymaps import paddle
from zoo.checkpoints.keymaps.torchvision_resnet import NEW_LAYERS, WHOLE_IMAGES, backbone_rules

PREFIXED = backbone_rules(paddle.KEY_MAP)

KEY_MAP: KeyMap = (
    *PREFIXED,
    *(replace(rule, source=rule.source.removeprefix("backbone.")) for rule in PREFIXED),
    Drop("fc.{p}", WHOLE_IMAGES),
    Drop("out.{p}", WHOLE_IMAGES),
    Fresh("{*layer}.num_batches_tracked", COUNTED),
    *NEW_LAYERS,
)
