"""What the names in PaddleDetection's files tell: of which of its three zoos they are, and which block is meant.

The same detectors were published three times under names of their own, and with other conventions: the address of a
file does not say of which time it is, its keys do.
"""

from __future__ import annotations

from zoo.checkpoints.convert import Foreign, KeyMap

STATIC: KeyMap = (Foreign("cls_score_w", "a file of PaddleDetection's static graph (until 2020)"),)
"""Rules that refuse files of the static graph."""

DYGRAPH_2020: KeyMap = (
    Foreign("bbox_head.bbox_score_0.{p}", "a file of PaddleDetection's first dygraph zoo (December 2020)"),
)
"""Rules that refuse files of the first dygraph zoo."""

_VERSION_2 = "a file of PaddleDetection 2.x (from February 2021 on)"

VERSION_2: KeyMap = (
    Foreign("bbox_head.bbox_score.{p}", _VERSION_2),
    Foreign("bbox_head.bbox_score_stage0.{p}", _VERSION_2),
)
"""Rules that refuse files written after the R-CNNs were rewritten."""

BLOCKS = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5} | {f"b{i}": i for i in range(1, 23)}
"""Name of a block in its stage -> its number; the third stage of a ResNet-101 counts on from a to b1."""
