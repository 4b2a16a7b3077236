"""COCO's evaluation protocol as constants, and the (area x IoU) bits in which all of its matchings run at once.

COCO matches detections to objects once for each of 4 area ranges and 10 IoU thresholds. These 40 matchings are
independent, so each gets one bit of an integer: bit `area * 10 + threshold`. Such an integer, a bit mask, says for one
detection (or object, or pair) in which of the 40 something holds, and one bitwise operation advances them all.

Source of the numbers: `Params.setDetParams` of pycocotools 2.0.11. Legend for shapes: A area ranges, T IoU
thresholds, R recall thresholds, N objects or detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # (T,)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)  # (R,)

AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Square pixels; both ends belong to the range, so an area of exactly 1024 is small and medium."""

_T = len(IOU_THRESHOLDS)
_ONE_AREA = (1 << _T) - 1
_EVERY_AREA = sum(1 << _T * a for a in range(len(AREA_RANGES)))

# The thresholds ascend, so an overlap passes the first n of them: n -> these bits, in each area range.
_FIRST_THRESHOLDS = np.array([((1 << n) - 1) * _EVERY_AREA for n in range(_T + 1)], dtype=np.int64)


def inside(areas: npt.NDArray[np.float64], sizes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(A, N): which of the areas (N,) lie in which range.

    Args:
        areas: square pixels.
        sizes: names of A area ranges; the bits of range number a are those of row a, and others mean nothing.
    """
    low, high = np.array([AREA_RANGES[size] for size in sizes]).T[:, :, None]  # (A, 1) each
    within: npt.NDArray[np.bool_] = (areas >= low) & (areas <= high)
    return within


def bits_of_areas(where: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """int64 (N,): the bits of the area ranges in which `where` (A, N) is true."""
    bits = np.zeros(where.shape[1], dtype=np.int64)
    for area, holds in enumerate(where):
        bits[holds] |= _ONE_AREA << _T * area
    return bits


def bits_of_overlaps(iou: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """int64 (N,): the bits whose threshold the overlaps (N,) reach."""
    return _FIRST_THRESHOLDS[np.searchsorted(IOU_THRESHOLDS, iou, side="right")]


def thresholds_in(bits: npt.NDArray[np.int64], area: int) -> npt.NDArray[np.bool_]:
    """(T, N): the bits (N,) of one area range, a row per threshold."""
    of_area = (bits >> _T * area & _ONE_AREA).astype(np.uint16)
    return (of_area >> np.arange(_T, dtype=np.uint16)[:, None] & 1).astype(bool)
