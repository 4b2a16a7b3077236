"""Ultralytics YOLOv8: https://github.com/ultralytics/ultralytics, README.md.

Latency is a mean over COCO val images on an Amazon EC2 P4d instance: its CPU, and one of its A100 cards.
"""

from __future__ import annotations

import re

from zoo.catalog.published.layouts import Column, Layout

LAYOUT = Layout(
    zoo="ultralytics",
    columns={
        "map val 50-95": Column("box_AP"),
        "map box 50-95": Column("box_AP"),
        "map mask 50-95": Column("mask_AP"),
        "speed cpu onnx (ms)": Column("latency_ms", "CPU, ONNX"),
        "speed a100 tensorrt (ms)": Column("latency_ms", "A100, TensorRT"),
        "params (m)": Column("params_m"),
        "flops (b)": Column("flops_b"),
    },
    others=frozenset({"model", "size (pixels)"}),
    key_column="model",
    key=re.compile(r"\[(YOLO[^\[\]]+)\]|^(YOLO\S+)$"),
)
