"""Classification networks of PaddlePaddle's static graph that its detectors begin with: ResNets, plain and vd.

They have the names of variables that PaddleDetection's static graph has for its backbones.
"""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, Drop, Fresh, KeyMap
from zoo.checkpoints.keymaps import paddle_static
from zoo.checkpoints.keymaps.torchvision_resnet import NEW_LAYERS, WHOLE_IMAGES, backbone_rules

KEY_MAP: KeyMap = (
    *paddle_static.conv_norm("conv1", "bn_conv1", "backbone.stem"),
    *backbone_rules(paddle_static.KEY_MAP),
    Drop("fc_{*p}", WHOLE_IMAGES),
    *paddle_static.BESIDE_WEIGHTS,
    Fresh("{*layer}.num_batches_tracked", COUNTED),
    *NEW_LAYERS,
)
