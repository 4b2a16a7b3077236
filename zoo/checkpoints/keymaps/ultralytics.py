"""Ultralytics YOLOv8, detect and segment: every version of the files uses the same names, which count the layers."""

from __future__ import annotations

from zoo.checkpoints.convert import Constant, KeyMap, Rename


def _conv(source: str, target: str) -> KeyMap:
    """A convolution with its normalisation."""
    return (
        Rename(f"{source}.conv.weight", f"{target}.conv.weight"),
        Rename(f"{source}.bn.{{p}}", f"{target}.norm.{{p}}"),
    )


def _csp(source: str, target: str) -> KeyMap:
    """A cross-stage partial block."""
    return (
        *_conv(f"{source}.cv1", f"{target}.split"),
        *_conv(f"{source}.cv2", f"{target}.merge"),
        *_conv(f"{source}.m.{{i}}.cv1", f"{target}.blocks.{{i}}.conv1"),
        *_conv(f"{source}.m.{{i}}.cv2", f"{target}.blocks.{{i}}.conv2"),
    )


def _branches(source: str, target: str) -> KeyMap:
    """The prediction branches of all levels."""
    return (
        Rename(f"{source}.{{level}}.2.{{p}}", f"{target}.{{level}}.2.{{p}}"),
        *_conv(f"{source}.{{level}}.{{i}}", f"{target}.{{level}}.{{i}}"),
    )


KEY_MAP: KeyMap = (
    # Backbone
    *_conv("model.0", "backbone.stem"),
    *_conv("model.1", "backbone.stages.0.reduce"),
    *_csp("model.2", "backbone.stages.0.csp"),
    *_conv("model.3", "backbone.stages.1.reduce"),
    *_csp("model.4", "backbone.stages.1.csp"),
    *_conv("model.5", "backbone.stages.2.reduce"),
    *_csp("model.6", "backbone.stages.2.csp"),
    *_conv("model.7", "backbone.stages.3.reduce"),
    *_csp("model.8", "backbone.stages.3.csp"),
    *_conv("model.9.cv1", "backbone.pooling.reduce"),
    *_conv("model.9.cv2", "backbone.pooling.merge"),
    # Neck
    *_csp("model.12", "neck.top_down_p4"),
    *_csp("model.15", "neck.top_down_p3"),
    *_conv("model.16", "neck.reduce_p3"),
    *_csp("model.18", "neck.bottom_up_p4"),
    *_conv("model.19", "neck.reduce_p4"),
    *_csp("model.21", "neck.bottom_up_p5"),
    # Head
    *_branches("model.22.cv2", "dense_head.box_branches"),
    *_branches("model.22.cv3", "dense_head.class_branches"),
    Constant("model.22.dfl.conv.weight", range(16)),
    # Masks
    *_branches("model.22.cv4", "dense_head.mask_branch.coefficients"),
    *_conv("model.22.proto.cv1", "dense_head.mask_branch.prototypes.conv1"),
    Rename("model.22.proto.upsample.{p}", "dense_head.mask_branch.prototypes.upsample.{p}"),
    *_conv("model.22.proto.cv2", "dense_head.mask_branch.prototypes.conv2"),
    *_conv("model.22.proto.cv3", "dense_head.mask_branch.prototypes.output"),
)
