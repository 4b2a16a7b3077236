"""The convolutions of VGG-16 in torchvision's names, which a detector begins with."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap
from zoo.checkpoints.keymaps.jwyang import vgg_stages
from zoo.checkpoints.keymaps.torchvision_resnet import NEW_LAYERS

KEY_MAP: KeyMap = (*vgg_stages("features"), *NEW_LAYERS)
