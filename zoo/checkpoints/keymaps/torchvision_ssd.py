"""torchvision's SSD300 and SSDlite320: logits of every default box, the background first."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checkpoints.convert import COUNTED, KeyMap, Rename, Zeros
from zoo.checkpoints.keymaps.jwyang import vgg_stages
from zoo.checkpoints.keymaps.mobilenet_v3 import LAST, bottleneck, normalised
from zoo.checkpoints.tensor_ops import background_last_of

ANCHORS = (4, 6, 6, 6, 4, 4)
"""Default boxes of a cell of each level of SSD300."""

ANCHORS_LITE = (6,) * 6
"""The same of SSDlite320."""

SPLIT = 13
"""The bottleneck of MobileNetV3 in the middle of which the first map is taken: its other parts come with the second."""

VGG: KeyMap = (
    *vgg_stages("backbone.features"),
    *(Rename(f"backbone.extra.0.{1 + 2 * i}.{{p}}", f"backbone.stages.4.{2 * i}.{{p}}") for i in range(3)),
    Rename("backbone.scale_weight", "neck.scale"),
    Rename("backbone.extra.0.7.1.{p}", "neck.fc6.{p}"),
    Rename("backbone.extra.0.7.3.{p}", "neck.fc7.{p}"),
    *(Rename(f"backbone.extra.{i + 1}.{{layer}}.{{p}}", f"neck.blocks.{i}.{{layer}}.{{p}}") for i in range(4)),
)

MOBILENET: KeyMap = (
    *normalised("backbone.features.0.0", "backbone.stem"),
    *(rule for i in range(1, SPLIT) for rule in bottleneck(i, f"backbone.features.0.{i}.block")),
    *normalised(f"backbone.features.0.{SPLIT}", f"backbone.blocks.{SPLIT - 1}.expansion"),
    *bottleneck(SPLIT, "backbone.features.1.0"),
    *(rule for i in range(SPLIT + 1, LAST) for rule in bottleneck(i, f"backbone.features.1.{i - SPLIT}.block")),
    *normalised(f"backbone.features.1.{LAST - SPLIT}", "backbone.last"),
    *normalised("backbone.extra.{block}.{layer}", "neck.blocks.{block}.{layer}"),
)


def _logits(anchors: Sequence[int], layer: str) -> KeyMap:
    """The layer that gives the logits of each level, which has so many default boxes a cell."""
    return [
        Rename(
            f"head.classification_head.module_list.{level}.{layer}",
            f"dense_head.logits.{level}.{layer}",
            ops=(background_last_of(count),),
        )
        for level, count in enumerate(anchors)
    ]


KEY_MAP: KeyMap = (
    *VGG,
    *MOBILENET,
    Zeros("{*norm}.num_batches_tracked", COUNTED),
    # A convolution a level, or a depthwise one with its normalisation and a 1x1
    *_logits(ANCHORS, "{p}"),
    Rename("head.regression_head.module_list.{level}.{p}", "dense_head.deltas.{level}.{p}"),
    *normalised("head.classification_head.module_list.{level}.0", "dense_head.logits.{level}.0"),
    *normalised("head.regression_head.module_list.{level}.0", "dense_head.deltas.{level}.0"),
    *_logits(ANCHORS_LITE, "1.{p}"),
    Rename("head.regression_head.module_list.{level}.1.{p}", "dense_head.deltas.{level}.1.{p}"),
)
