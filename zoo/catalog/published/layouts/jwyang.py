"""faster-rcnn.pytorch of jwyang: https://github.com/jwyang/faster-rcnn.pytorch, README.md.

Rows are told apart by the files they link to; the one without a file by its name. Trained on 8 Titan X (Pascal).
"""

from __future__ import annotations

import re

from zoo.catalog.published.layouts import Column, Layout

LAYOUT = Layout(
    zoo="jwyang",
    columns={
        "map": Column("box_AP"),
        "time/epoch": Column("hours_per_epoch", "8 Titan X (Pascal)"),
        "mem/gpu": Column("train_memory_mb", "Titan X (Pascal)"),
    },
    others=frozenset({"model", "#gpus", "batch size", "lr", "lr_decay", "max_epoch"}),
    key_column="model",
    key=re.compile(r"(?<![^/()\s])([^/()\s]+)\.pth|^([\w-]+)$"),
    entries={
        "VGG-16": "jwyang_faster_rcnn_vgg16_s800_6e",
        "faster_rcnn_1_6_14657": "jwyang_faster_rcnn_r101_s800_6e",
        "faster_rcnn_1_10_14657": "jwyang_faster_rcnn_r101_s800_10e",
        "faster_rcnn_1_6_9771": "jwyang_faster_rcnn_r101_s600_6e",
        "faster_rcnn_1_10_9771": "jwyang_faster_rcnn_r101_s600_10e",
    },
)
