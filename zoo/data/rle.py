"""COCO's run-length encoding of masks: the only module that writes or reads it.

Runs go down the columns, one after another; the first is of background, and empty where the first pixel is
foreground. The compressed text holds the runs as numbers, from the fourth on the difference to the run before last:
two's complements in groups of five bits, lowest first, each a character from "0" on whose bit 32 says that more
follow. Source of the format: pycocotools 2.0.11, by which polygons are rasterised and overlaps taken.

Legend: D masks, R runs of all of them, one mask after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from zoo.data.rle_runs import parse_runs
from zoo.types import Rle, Size

Bits: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Array = TypeVar("Array", bound=Any)
"""Of numpy or of torch, which is not imported here."""

FIRST = 128
"""What a mask's first character is marked by, until its text is cut off: a bit that no character has."""

_WIDE = 1 << 19
"""Numbers from this on have more than four characters."""

_LONGEST_NUMBER = 7
"""Characters of a number in the compressed text: 35 bits, more than the pixels of any image."""

_MASKS_PER_CALL = 255
"""pycocotools.mask.area overflows on 256 masks or more."""


def encode_windows(windows: Iterable[Bits], corners: Sequence[tuple[int, int]], size: Size) -> list[Rle]:
    """The encodings of images that are background but for a window each.

    Args:
        windows: (h, w) each, foreground; wholly inside the image. Quickest where they are laid out in columns, and
            each is made when it is asked for.
        corners: (row, column) of the first pixel of each.
        size: of the images.
    """
    if not corners:
        return []
    changes = _window_changes(windows, corners, size)
    return encode_texts(compact(number_codes(changes, size[0] * size[1])), size)


def encode_window(window: Bits, corner: tuple[int, int], size: Size) -> Rle:
    """The encoding of an image that is background but for one window; arguments as of `encode_windows`."""
    return encode_windows([window], [corner], size)[0]


def encode_edges(edges: Ints, count: int, size: Size) -> list[Rle]:
    """The encodings of masks by where runs of foreground begin and, past their end, stop in single columns.

    Args:
        edges: int64 (E,), ascending positions in all masks, laid out one after another with one place more than a mask
            has pixels.
        count: D, of the masks.
        size: of the masks.
    """
    pixels = size[0] * size[1]
    return encode_texts(compact(number_codes(_join_changes(edges, count, pixels), pixels)), size)


def run_lengths(mask: Bits) -> list[int]:
    """The runs of a mask (H, W), not compressed."""
    changes = _window_changes([mask], [(0, 0)], (mask.shape[0], mask.shape[1]))
    runs: list[int] = np.diff(changes, prepend=0).tolist()
    return runs


def decode(mask: Rle) -> npt.NDArray[np.uint8]:
    """The bitmap (H, W) of a mask, 1 on the object. (pycocotools' own decoder warns under numpy 2.)"""
    height, width = mask["size"]
    runs = parse_runs(mask["counts"])
    pixels = np.repeat((np.arange(len(runs)) & 1).astype(np.uint8), runs)
    return pixels.reshape(width, height).T


def from_segmentation(segmentation: Any, size: Size) -> Rle:
    """The encoding of a `segmentation` of COCO's JSON, as pycocotools makes it.

    Args:
        segmentation: polygons, which are rasterised and united; runs; or an encoding, which stays as it is.
        size: of the image.
    """
    return from_segmentations([segmentation], size)[0]


def from_segmentations(segmentations: Sequence[Any], size: Size) -> list[Rle]:
    """The encodings of several segmentations of one image, see `from_segmentation`.

    Their polygons, which have at least three points, are rasterised together: a call costs as much as a polygon.
    """
    from pycocotools import mask

    polygons = [polygon for one in segmentations if isinstance(one, list) for polygon in one]
    drawn = iter(mask.frPyObjects(polygons, *size) if polygons else ())
    encodings: list[Rle] = []
    for one in segmentations:
        if isinstance(one, list):
            parts = list(islice(drawn, len(one)))
            encodings.append(_as_text(parts[0] if len(parts) == 1 else mask.merge(parts)) if parts else _empty(size))
        elif isinstance(one["counts"], list):
            encodings.append(_as_text(mask.frPyObjects(one, *size)))
        else:
            encodings.append(cast(Rle, one))
    return encodings


def _as_text(encoded: Any) -> Rle:
    encoded["counts"] = encoded["counts"].decode("ascii")
    return cast(Rle, encoded)


def _empty(size: Size) -> Rle:
    return encode_window(np.zeros((0, 0), dtype=np.bool_), (0, 0), size)


def areas(masks: Sequence[Rle]) -> Floats:
    """Areas of masks, float64 (D,), in pixels."""
    from pycocotools import mask

    encoded = cast(list[Any], masks)
    parts = [mask.area(encoded[i : i + _MASKS_PER_CALL]) for i in range(0, len(masks), _MASKS_PER_CALL)]
    return np.concatenate([np.empty(0), *parts]).astype(np.float64)


def _join_changes(edges: Ints, count: int, pixels: int) -> Ints:
    """All changes of masks, see `number_codes`, from where runs of foreground begin and stop in single columns.

    Args:
        edges: (E,), see `encode_edges`.
        count: D, of the masks.
        pixels: of each.
    """
    ends = np.arange(1, count + 1) * (pixels + 1) - 1
    # A run that stops at the foot of one column and begins at the head of the next is one run.
    differ = edges[1:] != edges[:-1]
    lasting = np.ones(len(edges), dtype=np.bool_)
    lasting[1:] &= differ
    lasting[:-1] &= differ
    edges = edges[lasting]
    places = np.searchsorted(edges, ends)
    at_end = places[places < len(edges)]
    at_end = at_end[edges[at_end] % (pixels + 1) == pixels]
    if len(at_end):
        edges = np.delete(edges, at_end)
        places = np.searchsorted(edges, ends)
    changes = np.empty(len(edges) + count, dtype=np.int64)
    inner = np.ones(len(changes), dtype=np.bool_)
    inner[places + np.arange(count)] = False
    changes[inner] = edges
    changes[~inner] = ends
    return changes


def number_codes(changes: Array, pixels: int) -> Array:
    """The characters of all runs of masks, one mask after another: the bytes of whole numbers, 0 where there is none.

    The first character of a mask has FIRST added. Nothing here depends on what an array is made by: it serves numpy's
    arrays and torch's tensors on any device, and waits for no value of them.

    Args:
        changes: int64 (R,), where each run ends, as positions in all masks, laid out one after another with one
            place more than a mask has pixels: its last run ends there.
        pixels: of one mask.

    Returns:
        (R,), of 4 bytes each, or of 8 for masks of more pixels than 4 characters can tell.
    """
    wide = pixels >= _WIDE
    last = changes % (pixels + 1) == pixels
    begins = last & False
    begins[1:] = last[:-1]
    runs = changes + 0
    later = runs[1:]
    later -= changes[:-1]
    runs -= begins * 1  # the place more
    begins[:1] = True
    if not wide:
        runs = runs.astype(np.int32) if isinstance(runs, np.ndarray) else runs.int()
    differ = ~begins  # from the fourth run of a mask on
    for i in (1, 2):
        later = differ[i:]
        later &= ~begins[:-i]
    value = runs + 0
    later = value[2:]
    later -= runs[:-2] * differ[2:]
    sign = 63 if wide else 31
    magnitude = value ^ value >> sign
    codes = (value & 0) + FIRST
    codes *= begins
    present = codes | -1  # all bits where a number has so many characters, none elsewhere
    for i in range(_LONGEST_NUMBER if wide else 4):
        more = (16 << 5 * i) - 1 - magnitude >> sign
        codes += ((value >> 5 * i & 31) + 48 + (more & 32) & present) << 8 * i
        present = more
    return cast(Array, codes)


def compact(codes: Ints) -> Bytes:
    """The characters of `number_codes` without the gaps between."""
    characters = codes.view(np.uint8)
    return np.compress(characters != 0, characters)


def encode_texts(characters: Bytes, size: Size) -> list[Rle]:
    """The encodings of masks whose characters stand one after another.

    Args:
        characters: FIRST is added to the first of each mask.
        size: of the masks.
    """
    begins = np.flatnonzero(characters >= FIRST).tolist()
    whole = (characters & ~np.uint8(FIRST)).tobytes().decode("ascii")
    return [Rle(size=list(size), counts=whole[begin:end]) for begin, end in pairwise((*begins, len(whole)))]


def _window_changes(windows: Iterable[Bits], corners: Sequence[tuple[int, int]], size: Size) -> Ints:
    """The changes of images with a window each."""
    height = size[0]
    found, heights = zip(*((_edges(window), window.shape[0]) for window in windows), strict=True)
    owner = np.arange(len(found)).repeat([len(edges) for edges in found])  # (E,)
    rows = np.array(heights, dtype=np.int64)
    start = np.array([column * height + row for row, column in corners], dtype=np.int64)
    edges = np.concatenate(found)
    edges += edges // (rows + 1)[owner] * (height - rows - 1)[owner] + start[owner]
    edges += owner * (size[0] * size[1] + 1)
    return _join_changes(edges, len(found), size[0] * size[1])


def _edges(window: Bits) -> Ints:
    """Where runs begin and, past their end, stop in a window (h, w), if each column has a pixel more, of background."""
    rows, columns = window.shape
    flat = np.zeros(columns * (rows + 1) + 1, dtype=np.bool_)  # columns one after another, each behind such a pixel
    flat[1:].reshape(columns, rows + 1)[:, :rows] = window.T
    edges: Ints = (flat[1:] != flat[:-1]).nonzero()[0]
    return edges
