"""The two orders in which COCO's evaluation looks at detections: by category, and by image within a category.

Legend for shapes: D detections, K categories. A group is one category in one image, numbered
category * images + image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int32]
"""Positions among all detections, of which there are several arrays at a time: half the memory of int64."""

_SCORE_BITS = 31  # of a float32 that is not negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Detections by category, best score first; equal scores by image, then as in the input.

    Attributes:
        input_index: (D,), position in the input.
        group: (D,), number of the group.
        rank: (D,), position within its group: 0 for the best of this category in this image.
        first_of_category: (K + 1,), where each category begins.
        by_group: (D,), positions in this ranking, group after group, best score first in each.
    """

    input_index: Places
    group: Ints | Places
    rank: Places
    first_of_category: Ints
    by_group: Places


def rank_detections(
    image_index: Ints | Places, category_index: Ints | Places, scores: Floats, *, images: int, categories: int
) -> Ranking:
    """Order detections of `images` images and `categories` categories.

    Args:
        image_index: one number per detection, below `images`.
        category_index: one number per detection; one with the number `categories` is left out.
        scores: one finite number per detection.
    """
    by_image = order_by(image_index).astype(np.int32)
    input_index = by_image.take(_by_category_and_score(category_index.take(by_image), scores, by_image))
    del by_image
    category = category_index.take(input_index)
    first_of_category = np.searchsorted(category, np.arange(categories + 1))
    input_index, category = input_index[: first_of_category[-1]], category[: first_of_category[-1]]
    if categories * images >= 1 << 31:  # else 32 bits are enough, and half the memory
        category = category.astype(np.int64)
    group = category * images
    group += image_index.take(input_index)
    del category
    by_group = order_by(group).astype(np.int32)
    rank = np.empty_like(by_group)
    rank[by_group] = ranks_in_runs(group[by_group])
    return Ranking(
        input_index=input_index,
        group=group,
        rank=rank,
        first_of_category=first_of_category,
        by_group=by_group,
    )


def _by_category_and_score(category: Ints | Places, scores: Floats, order: Places) -> Ints:
    """Positions by category, in each by falling score, in each as they are.

    Args:
        category: (D,).
        scores: (D,), in another order.
        order: (D,), where the score of each is.
    """
    single = scores.astype(np.float32) + np.float32(0)  # the sum turns -0 into 0, whose bits are in order
    if np.array_equal(single, scores) and single.min(initial=0) >= 0:  # what detectors give
        single = single.take(order)
        keys = category.astype(np.int64)
        keys <<= _SCORE_BITS
        keys |= np.int32((1 << _SCORE_BITS) - 1) - single.view(np.int32)  # the higher the score, the lower the key
        return _order_in_place(keys)
    return np.lexsort((-scores[order], category))


def order_by(keys: Ints | Places) -> Ints:
    """A stable argsort of integers that are not negative.

    Key and position packed into one integer need neither an argsort nor stability, and numpy's plain sort of
    integers is many times as fast.
    """
    return _order_in_place(keys.astype(np.int64))


def _order_in_place(keys: Ints) -> Ints:
    """`order_by`, in the memory of the keys."""
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)) >> 63 - bits:  # no room for the position
        return np.argsort(keys, kind="stable")
    keys <<= bits
    keys |= np.arange(len(keys), dtype=np.int32)
    keys.sort()
    keys &= (1 << bits) - 1
    return keys


def ranks_in_runs(keys: Ints | Places) -> Places:
    """Positions within runs of equal keys: 5 5 5 7 7 -> 0 1 2 0 1."""
    ranks = np.arange(len(keys), dtype=np.int32)
    begins = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    begins = np.append(0, begins)[: len(keys)]
    ranks -= begins.astype(np.int32).repeat(np.diff(begins, append=len(keys)))
    return ranks
