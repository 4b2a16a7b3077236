"""Bitmaps on a device to COCO's run-length encodings: what reaches the host is their text.

Legend: D masks, n of them at a time, H and W of a mask, R runs of all masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.data.rle import encode_texts, number_codes
from zoo.types import Rle, Size

_PIXELS_AT_A_TIME = 1 << 24
"""Pixels, with all their intermediate values in float32, that are worked on together."""

_CHANGES_AT_A_TIME = 1 << 28
"""Pixels whose changes are looked for together: one wait for the device for so many."""

Bitmaps = Callable[[slice], Tensor]
"""Of some of the masks, bool (n, W, H): column by column, as runs go."""


def encode_bitmaps(bitmaps: Bitmaps, count: int, size: Size, device: torch.device, work: int = 0) -> list[Rle]:
    """The encodings of masks that are made on a device, a bounded number at a time.

    The host waits twice: for the number of runs, and for the text. Of very large or very many masks the runs are
    found in several goes, with one wait more for each.

    Args:
        bitmaps: makes some of the masks.
        count: D.
        size: of the masks.
        device: on which they are made.
        work: values in between that a mask takes at a time, where they are more than its pixels.
    """
    if not count:
        return []
    pixels = size[0] * size[1]
    parts = []
    for many in _slices(0, count, _CHANGES_AT_A_TIME // (pixels + 1)):
        changed = torch.empty((many.stop - many.start, pixels + 1), dtype=torch.bool, device=device)
        for few in _slices(many.start, many.stop, _PIXELS_AT_A_TIME // max(pixels, work, 1)):
            _mark_changes(bitmaps(few).flatten(1), changed[few.start - many.start : few.stop - many.start])
        parts.append(changed.flatten().nonzero()[:, 0] + many.start * (pixels + 1))
    codes = number_codes(torch.cat(parts), pixels)
    return encode_texts(_compacted(codes).numpy(force=True), size)


def _slices(begin: int, end: int, most: int) -> Iterator[slice]:
    """Of so many each, at least one, and a shorter last one."""
    step = max(most, 1)
    for start in range(begin, end, step):
        yield slice(start, min(start + step, end))


def _mark_changes(flat: Tensor, changed: Tensor) -> None:
    """Which pixels differ from the one before, the first from background; the end of a mask always counts.

    Args:
        flat: bool (n, W * H).
        changed: bool (n, W * H + 1), written.
    """
    changed[:, :1] = flat[:, :1]
    torch.ne(flat[:, 1:], flat[:, :-1], out=changed[:, 1:-1])
    changed[:, -1:] = True


def _compacted(codes: Tensor) -> Tensor:
    """The characters of `number_codes`, uint8, without the gaps between, and zeros behind.

    How many there are is not asked for: the host would have to wait for it.
    """
    characters = codes.view(torch.uint8)
    present = characters != 0
    place = present.cumsum(0) * present  # what is no character goes to place 0, which is cut off
    text = torch.zeros(len(characters) + 1, dtype=torch.uint8, device=codes.device)
    return text.scatter_(0, place, characters)[1:]
