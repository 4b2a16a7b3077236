"""MobileNetV3-Large as torchvision names it, in its detectors' files and in its classifier's."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename, Rule

LAST = 16
"""Number of the last 1x1; the stem has 0, and bottlenecks 1 to 15 lie between."""

SQUEEZED = (4, 5, 6, 11, 12, 13, 14, 15)
"""Bottlenecks that weigh their channels; there a part of the bottleneck more has a number."""


def normalised(source: str, target: str) -> tuple[Rename, ...]:
    """Rules for a convolution and the normalisation behind it."""
    return (
        Rename(f"{source}.0.weight", f"{target}.conv.weight"),
        Rename(f"{source}.1.{{p}}", f"{target}.norm.{{p}}"),
    )


def bottleneck(number: int, source: str) -> KeyMap:
    """Rules for the parts of a bottleneck, which are numbered where they exist.

    Args:
        number: 1 to 15.
        source: what its parts' numbers follow in the file's keys.
    """
    parts = ("expansion", "depthwise", "squeeze", "reduction")
    exists = {"expansion": number > 1, "squeeze": number in SQUEEZED}
    target = f"backbone.blocks.{number - 1}"
    rules: list[Rule] = []
    for i, part in enumerate(part for part in parts if exists.get(part, True)):
        if part == "squeeze":
            rules.append(Rename(f"{source}.{i}.{{layer}}.{{p}}", f"{target}.{part}.{{layer}}.{{p}}"))
        else:
            rules += normalised(f"{source}.{i}", f"{target}.{part}")
    return tuple(rules)


def mobilenet_v3(source: str) -> KeyMap:
    """Rules for the whole of it.

    Args:
        source: what its layers' numbers follow in the file's keys.
    """
    blocks = (rule for number in range(1, LAST) for rule in bottleneck(number, f"{source}.{number}.block"))
    return (
        *normalised(f"{source}.0", "backbone.stem"),
        *blocks,
        *normalised(f"{source}.{LAST}", "backbone.last"),
    )
