"""Which detection answers which of the original's: one to one, within what float32 noise moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from zoo.data.detections import Detections
from zoo.models.boxes import EXCLUSIVE

MIN_IOU = 0.99

THIN = 0.1
"""Pixels of a side, of which what rounding moves is no small part."""

TIE = 1e-4
"""Of an overlap and the threshold of suppression: so near, rounding decides whether the box is kept."""


def pair_detections(
    answers: dict[str, npt.NDArray[Any]], found: Detections, nms_iou: float, *, box: float = 0.02, score: float = 3e-4
) -> dict[int, int]:
    """Pair the original's best detections with those found, of the same class, place and score.

    Boxes of one class may lie nearly on top of each other, so no detection is taken twice. A box whose overlap
    with a better one of its class is the threshold of suppression itself may be here and not there, or the other way
    round, and where one more is here, the original's last falls out. Of what was cut to next to nothing at the border
    the place alone counts.

    Args:
        answers: of the original, "boxes" (N, 4), "scores" (N,) and "labels" (N,): all, or the best, of one image.
        found: of the same image, all.
        nms_iou: the original's threshold of suppression within a class.
        box: how far a side may be off, in pixels.
        score: how far a score may be off.

    Returns:
        Index of the answer -> index of its detection, in the order of the answers.

    Raises:
        AssertionError: an answer has no detection, or a detection above the last answer's score has no answer.
    """
    boxes, scores, labels = (torch.from_numpy(answers[name]) for name in ("boxes", "scores", "labels"))
    given = Detections(boxes, scores, labels)
    shifts = (given.boxes[:, None] - found.boxes).abs().amax(dim=2)  # (N, M)
    alike = (given.scores[:, None] - found.scores).abs() <= score
    same = given.labels[:, None] == found.labels
    thin = EXCLUSIVE.size(given.boxes).amin(dim=1) <= THIN  # (N,)
    overlap = (EXCLUSIVE.iou(given.boxes, found.boxes) >= MIN_IOU) | thin[:, None]
    fits = same & alike & (shifts <= box) & overlap
    nearest = shifts.argsort(dim=1, stable=True)
    pairs = match_one_to_one([[int(j) for j in order if fits[i, j]] for i, order in enumerate(nearest)])

    least = float(given.scores.min()) + score if len(given) else 0.0
    extra = [j for j in range(len(found)) if j not in pairs.values() and float(found.scores[j]) > least]
    unexplained = [j for j in extra if not is_tie(found, j, nms_iou)]
    assert not unexplained, f"found, but not by the original: {unexplained}"

    missing = [i for i in range(len(given)) if i not in pairs and not is_tie(given, i, nms_iou)]
    assert len(missing) <= len(extra), f"found by the original only: {missing}"
    last = min((float(given.scores[i]) for i in pairs), default=1.0) + score
    assert all(float(given.scores[i]) <= last for i in missing), f"found by the original only: {missing}"
    return pairs


def match_one_to_one(candidates: Sequence[Sequence[int]]) -> dict[int, int]:
    """The most pairs of rows and columns that there are, by augmenting paths (Kuhn 1955).

    Args:
        candidates: the columns that each row may take, in the order of preference.

    Returns:
        Row -> column, in the order of the rows; rows without a column of their own are left out.
    """
    takers: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column in candidates[row]:
            if column not in seen:
                seen.add(column)
                if column not in takers or place(takers[column], seen):
                    takers[column] = row
                    return True
        return False

    for row in range(len(candidates)):
        place(row, set())
    return dict(sorted((row, column) for column, row in takers.items()))


def is_tie(detections: Detections, index: int, nms_iou: float) -> bool:
    """Whether rounding decides on a detection: a better one of its class overlaps it by the threshold."""
    better = (detections.labels == detections.labels[index]) & (detections.scores > detections.scores[index])
    overlaps: Tensor = EXCLUSIVE.iou(detections.boxes[[index]], detections.boxes[better])
    return bool(((overlaps - nms_iou).abs() <= TIE).any())
