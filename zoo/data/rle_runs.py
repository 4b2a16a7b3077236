"""Reading COCO's run-length encodings, many at a time: the runs in compressed texts, and where masks are foreground.

`zoo.data.rle` says what such a text is. Most of its numbers have one character, so all characters are taken for whole
numbers first, and the few longer ones are put right.

Legend: D masks, N pairs of runs of all of them, one mask after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.types import Rle

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.int32]
"""Positions or numbers of pixels: 2^30 at most."""

MORE = 80
"""Characters from this on say that their number has another."""

_LONGEST_NUMBER = 7
"""Characters of a number: 35 bits, more than the pixels of any image."""

_MASKS_AT_A_TIME = 1 << 10
_CHARACTERS_AT_A_TIME = 1 << 20
"""Few enough that their runs stay in a processor's cache, or at least need little memory."""

_TOO_LARGE = "a number is larger than any image"


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunPairs:
    """The runs of masks in pairs, each of background and of the foreground behind it.

    Attributes:
        background: (N,), pixels.
        foreground: (N,), pixels; 0 where a text ends with background.
        pairs: int64 (D,), how many each mask has, at least 1.
        is_open: bool (D,), whether a text ends with background.
    """

    background: Pixels
    foreground: Pixels
    pairs: Ints
    is_open: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForegroundRuns:
    """Where masks are foreground, as positions in their images, column by column.

    Attributes:
        sizes: int64 (D, 2), height and width of the images.
        start: (N,), the first pixel of each run, ascending within a mask.
        stop: (N,), the pixel behind its last; equal to `start` for a run that is empty.
        runs: int64 (D,), how many each mask has, at least 1: the last may be empty, at the mask's last pixel.
    """

    sizes: Ints
    start: Pixels
    stop: Pixels
    runs: Ints

    @classmethod
    def of(cls, masks: Sequence[Rle]) -> ForegroundRuns:
        """Read masks. Raises ValueError for one that cannot be read or has not the pixels of its image."""
        sizes = np.array([side for mask in masks for side in mask["size"]], dtype=np.int64).reshape(-1, 2)
        pixels = sizes[:, 0] * sizes[:, 1]
        found = _run_pairs([mask["counts"] for mask in masks])
        ends = found.pairs.cumsum()
        first = ends - found.pairs
        both = found.background + found.foreground
        # Positions go on from mask to mask; with its predecessor's pixels taken off each begins at 0.
        steps = both.copy()
        steps[first[1:]] -= pixels[:-1].astype(np.int32)
        stop = steps.cumsum(dtype=np.int32)
        # What no 32 bits hold turns negative before it can look like a number of pixels.
        least = min(int(runs.min(initial=0)) for runs in (found.background, found.foreground, both, stop))
        if least < 0 or not np.array_equal(stop[ends - 1], pixels):
            raise ValueError("a mask has not as many pixels as its image")
        start = stop - found.foreground
        empty = np.flatnonzero(start[ends - 1] == stop[ends - 1])  # its last run
        rows = ends[empty] - 1
        before = np.maximum(stop[rows - 1] - 1, start[rows - 1])
        start[rows] = stop[rows] = np.where(found.pairs[empty] > 1, before, 0)
        return cls(sizes=sizes, start=start, stop=stop, runs=found.pairs)


def in_parts(masks: Sequence[Rle]) -> Iterator[slice]:
    """Neighbouring masks that are quickest to read at a time."""
    begin = 0
    while begin < len(masks):
        lengths = [len(mask["counts"]) for mask in masks[begin : begin + _MASKS_AT_A_TIME]]
        count = np.searchsorted(np.cumsum(lengths), _CHARACTERS_AT_A_TIME, side="right")
        end = begin + max(1, int(count))
        yield slice(begin, end)
        begin = end


def parse_runs(counts: str) -> Ints:
    """The runs in a compressed text, int64 (R,).

    Raises:
        ValueError: the text is empty or cut off, has a character that is none of the format's, or a number beyond any
            image.
    """
    found = _run_pairs([counts])
    runs = np.stack([found.background, found.foreground], axis=1).ravel()
    return runs[: len(runs) - int(found.is_open[0])].astype(np.int64)


def are_whole(counts: Sequence[str], pixels: Sequence[int | None]) -> bool:
    """Whether all of some compressed texts can be read and have as many pixels as they should.

    Args:
        counts: D texts.
        pixels: of the image of each; None where that is not known.
    """
    for begin in range(0, len(counts), _MASKS_AT_A_TIME):
        part = slice(begin, begin + _MASKS_AT_A_TIME)
        try:
            found = _run_pairs(counts[part])
        except ValueError:
            return False
        first = found.pairs.cumsum() - found.pairs
        outside, inside = (
            np.add.reduceat(runs, first, dtype=np.int64) for runs in (found.background, found.foreground)
        )
        total = outside + inside
        expected = [have if want is None else want for want, have in zip(pixels[part], total, strict=True)]
        least = min(found.background.min(), found.foreground.min())
        if least < 0 or not np.array_equal(total, expected):
            return False
    return True


def _run_pairs(counts: Sequence[str]) -> _RunPairs:
    """The runs in compressed texts, one at least. Raises ValueError as `parse_runs` does."""
    # Behind each text stands one run more, the foreground behind its background, until it proves to have that already.
    text = np.frombuffer("0".join((*counts, "")).encode("ascii"), dtype=np.uint8)
    ends = np.cumsum([len(one) + 1 for one in counts], dtype=np.int64)
    if text.min() < 48 or text.max() >= 112:
        raise ValueError("a character is not of the format")
    if np.diff(ends, prepend=0).min() < 2:
        raise ValueError("the text is empty")
    if (text[ends - 2] >= MORE).any():
        raise ValueError("the last number is cut off")
    is_last = text < MORE
    longer = np.flatnonzero(~is_last)
    numbers = np.diff(ends - np.searchsorted(longer, ends), prepend=0)
    is_open = numbers & 1 == 0
    needless = ends[~is_open] - 1
    is_last[needless] = False
    pairs = numbers >> 1
    values = _sign(text[is_last])
    owner = longer - np.arange(len(longer)) - np.searchsorted(needless, longer)  # the number of each of its characters
    _put_together(values, owner, text[longer])
    background, foreground = _add_up(values.reshape(-1, 2), pairs)
    foreground[pairs.cumsum()[is_open] - 1] = 0
    return _RunPairs(background=background, foreground=foreground, pairs=pairs, is_open=is_open)


def _sign(characters: npt.NDArray[np.uint8]) -> Pixels:
    """The numbers of one character each, and the highest bits of those that have more."""
    bits = characters - np.uint8(48)
    bits &= 31
    bits ^= 16
    signed = bits.view(np.int8)
    signed -= 16
    return signed.astype(np.int32)


def _put_together(values: Pixels, owner: Ints, characters: npt.NDArray[np.uint8]) -> None:
    """Give numbers of several characters their lower bits, in place. Raises ValueError for one beyond any image.

    Args:
        values: numbers; the highest bits of these.
        owner: which number each of the characters is of, ascending.
        characters: all but the last of each number, lowest bits first.
    """
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    if not len(begins):
        return
    count = np.diff(begins, append=len(owner))
    if count.max() >= _LONGEST_NUMBER:
        raise ValueError(_TOO_LARGE)
    place = np.arange(len(owner)) - begins.repeat(count)
    low = np.add.reduceat((characters - np.int64(48) & 31) << 5 * place, begins)
    owner = owner[begins]
    whole = (values[owner].astype(np.int64) << 5 * count) + low
    values[owner] = whole
    if not np.array_equal(values[owner], whole):
        raise ValueError(_TOO_LARGE)


def _add_up(values: Pixels, pairs: Ints) -> tuple[Pixels, Pixels]:
    """Runs of background and of foreground, (N,) each, from the numbers of texts.

    Args:
        values: (N, 2), the difference to the run before last; the first three of each text are none, and the first
            has no part in the sum of those behind it. It is changed.
        pairs: (D,), how many are of each text.
    """
    first = pairs.cumsum() - pairs
    head = values[first, 0]
    values[first, 0] = 0
    lanes = []
    for column in (0, 1):
        total = np.zeros(len(values) + 1, dtype=np.int32)
        lane = values[:, column].copy().cumsum(dtype=np.int32, out=total[1:])  # four times as fast on a copy
        lane -= total[first].repeat(pairs)
        lanes.append(lane)
    background, foreground = lanes
    background[first] = head
    return background, foreground
