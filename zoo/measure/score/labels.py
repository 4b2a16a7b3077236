"""Category ids that mean other classes than the annotations' ids do: which of the usual numberings fits the objects?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from zoo.data.coco import CocoGroundTruth
from zoo.measure.score.sample import Ints, Sample, clearly_better

_OVERLAP = 0.5
_FEWEST = 12
"""Detections on objects from which something can be said of their classes."""

_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids from 1 to 90 that no category of COCO has."""


def other_numbering(sample: Sample, truth: CocoGroundTruth) -> str | None:
    """What the category ids count, where it is clearly not the annotations' ids; None where it is, or nobody can tell.

    Args:
        sample: detections with boxes that are where the objects are.
        truth: the annotations.
    """
    given, actual = sample.found(_OVERLAP)
    if len(given) < _FEWEST:
        return None
    as_written = float((given == actual).mean())
    shares = {text: _agreement(given, actual, meaning) for text, meaning in _numberings(truth)}
    best = max(shares, key=lambda text: shares[text])
    learnt = _agreement(given[1::2], actual[1::2], _commonest(given[::2], actual[::2]))
    if shares[best] > learnt - 0.1 and clearly_better(shares[best], as_written, len(given), by=0.2):
        return best
    if learnt >= 0.5 and clearly_better(learnt, as_written, len(given) // 2, by=0.3):
        return "the ids of classes in another order"
    return None


def _agreement(given: Ints, actual: Ints, meaning: Mapping[int, int]) -> float:
    meant = np.array([meaning.get(category, -1) for category in given.tolist()], dtype=np.int64)
    return float((meant == actual).mean()) if len(actual) else 0.0


def _numberings(truth: CocoGroundTruth) -> Iterator[tuple[str, Mapping[int, int]]]:
    """Ways to number the categories, in words, and the annotations' id that each number means."""
    ids = sorted(truth.category_ids.tolist())
    yield f"positions in the class list from 0 (0 to {len(ids) - 1})", dict(enumerate(ids))
    yield f"positions in the class list from 1 (1 to {len(ids)})", dict(enumerate(ids, start=1))
    yield "the annotations' ids less 1", {category - 1: category for category in ids}
    yield "the annotations' ids plus 1", {category + 1: category for category in ids}
    coco = [category for category in range(1, 91) if category not in _COCO_GAPS]
    if len(ids) == len(coco):
        yield "COCO's own ids (1 to 90, with gaps)", dict(zip(coco, ids, strict=True))


def _commonest(given: Ints, actual: Ints) -> dict[int, int]:
    """The class of most objects that each category lies on; classes that would be taken twice are left out."""
    pairs = Counter(zip(given.tolist(), actual.tolist(), strict=True))
    meaning: dict[int, int] = {}
    for (category, object_category), _ in pairs.most_common():
        if category not in meaning and object_category not in meaning.values():
            meaning[category] = object_category
    return meaning
