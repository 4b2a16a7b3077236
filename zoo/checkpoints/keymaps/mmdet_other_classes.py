"""mmdetection's detectors as the beginning of one with other classes: all but what names them."""

from __future__ import annotations

from zoo.checkpoints.convert import Drop, Fresh, KeyMap
from zoo.checkpoints.keymaps import mmdet

OTHER_CLASSES = "of other classes"

KEY_MAP: KeyMap = (
    Drop("roi_head.bbox_head.fc_cls.{p}", OTHER_CLASSES),
    Drop("roi_head.bbox_head.fc_reg.{p}", OTHER_CLASSES),
    *mmdet.KEY_MAP,
    Fresh("roi_head.stages.0.box_head.logits.{p}", OTHER_CLASSES),
    Fresh("roi_head.stages.0.box_head.deltas.{p}", OTHER_CLASSES),
)
