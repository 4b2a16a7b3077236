"""mmdetection: https://github.com/open-mmlab/mmdetection, configs/*/README.md.

Speed and memory were taken on V100 cards (docs/en/model_zoo.md).
"""

from __future__ import annotations

import re

from zoo.catalog.published.layouts import Column, Layout

LAYOUT = Layout(
    zoo="mmdet",
    columns={
        "box ap": Column("box_AP"),
        "mask ap": Column("mask_AP"),
        "mem (gb)": Column("train_memory_gb", "V100"),
        "inf time (fps)": Column("fps", "V100"),
    },
    others=frozenset(
        {
            "backbone",
            "class name",
            "config",
            "download",
            "loss type",
            "lr schd",
            "method",
            "neck",
            "pre-traind model",
            "style",
        }
    ),
    key_column="config",
    key=re.compile(r"(?<![^/()\s])([^/()\s]+)\.py\)"),
)
