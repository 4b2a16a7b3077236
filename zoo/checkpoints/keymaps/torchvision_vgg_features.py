"""VGG-16 for whole images, in torchvision's names, of which a detector takes the convolutions."""

from __future__ import annotations

from zoo.checkpoints.convert import Drop, KeyMap
from zoo.checkpoints.keymaps.jwyang import vgg_stages
from zoo.checkpoints.keymaps.torchvision_resnet import NEW_LAYERS, WHOLE_IMAGES

KEY_MAP: KeyMap = (*vgg_stages("features"), Drop("classifier.{*p}", WHOLE_IMAGES), *NEW_LAYERS)
