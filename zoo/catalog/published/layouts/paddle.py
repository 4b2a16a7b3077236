"""PaddleDetection: https://github.com/PaddlePaddle/PaddleDetection, configs/*/README.md, in Chinese and English.

Speed is of a whole evaluation on one V100, images from disk to boxes.
"""

from __future__ import annotations

import re

from zoo.catalog.published.layouts import Column, Layout, Sentence

LAYOUT = Layout(
    zoo="paddle",
    columns={
        "box ap": Column("box_AP"),
        "mask ap": Column("mask_AP"),
        "inf time (fps)": Column("fps", "V100"),
    },
    others=frozenset({"backbone", "configs", "download", "image/gpu", "lr schd", "type"}),
    key_column="configs",
    key=re.compile(r"(?<![^/()\s])([^/()\s]+)\.ya?ml\)"),
    translations={
        "骨架网络": "backbone",
        "网络类型": "type",
        "每张gpu图片个数": "image/gpu",
        "学习率策略": "lr schd",
        "推理时间(fps)": "inf time (fps)",
        "下载": "download",
        "配置文件": "configs",
    },
    sentences=(
        Sentence(
            "PSS-DET",
            re.compile(r"(?<!\d)(\d++(?:\.\d++)?)\s*FPS"),
            "paddle_faster_rcnn_enhance_3x",
            Column("fps", "V100"),
        ),
        Sentence(
            "PSS-DET",
            re.compile(r"COCO mAP\D{0,12}?(\d++(?:\.\d++)?)%"),
            "paddle_faster_rcnn_enhance_3x",
            Column("box_AP"),
        ),
    ),
)
