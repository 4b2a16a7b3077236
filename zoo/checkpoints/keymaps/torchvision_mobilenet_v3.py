"""torchvision's MobileNetV3-Large for whole images, which detectors begin with."""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, Drop, Fresh, KeyMap
from zoo.checkpoints.keymaps.mobilenet_v3 import mobilenet_v3
from zoo.checkpoints.keymaps.torchvision_resnet import NEW_LAYERS, WHOLE_IMAGES

KEY_MAP: KeyMap = (
    *mobilenet_v3("features"),
    Drop("classifier.{*p}", WHOLE_IMAGES),
    Fresh("{*layer}.num_batches_tracked", COUNTED),
    *NEW_LAYERS,
)
