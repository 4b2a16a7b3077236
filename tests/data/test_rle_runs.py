"""Run lengths read back: many texts at once, and what is wrong with one of them."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data import rle_runs
from zoo.data.rle import encode_window, run_lengths
from zoo.data.rle_runs import ForegroundRuns, are_whole, in_parts, parse_runs
from zoo.types import Rle

FULL = encode_window(np.ones((2, 2), dtype=bool), (0, 0), (4, 4))


def random_masks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    masks = [rng.random(tuple(rng.integers(1, 30, 2))) < rng.random() for _ in range(count)]
    # Runs of one to four characters, and what touches the corners of its image.
    large = np.zeros((700, 600), dtype=bool)
    large[10:650, 3:500] = True
    return [*masks, large, ~large, np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool)]


def encode(mask: np.ndarray) -> Rle:
    return encode_window(mask, (0, 0), (mask.shape[0], mask.shape[1]))


def test_a_text_is_read_as_it_was_written() -> None:
    for mask in random_masks(40):
        assert parse_runs(encode(mask)["counts"]).tolist() == run_lengths(mask)


def test_foreground_of_several_masks() -> None:
    masks = random_masks(40)
    found = ForegroundRuns.of([encode(mask) for mask in masks])
    ends = found.runs.cumsum()
    assert found.sizes.tolist() == [list(mask.shape) for mask in masks]
    for mask, begin, end in zip(masks, ends - found.runs, ends, strict=True):
        start, stop = found.start[begin:end], found.stop[begin:end]
        inside = np.zeros(mask.size, dtype=bool)
        for a, b in zip(start, stop, strict=True):
            inside[a:b] = True
        assert np.array_equal(inside.reshape(mask.shape[::-1]).T, mask)
        assert (stop[:-1] > start[:-1]).all()
        assert (np.diff(start) >= 0).all()
        assert start[-1] < mask.size


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ("", "empty"),
        ("P", "cut off"),
        ("\N{EURO SIGN}", "character"),
        ("ooooooo0", "larger"),
        ("oooooo7", "larger"),
        ("0", "pixels"),
        ("R?", "pixels"),
        ("@l0N", "pixels"),  # 16, 28, -2
        ("oooo?oooo?oooo?", "pixels"),
    ],
)
def test_broken_texts(counts: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rle_runs, "_MASKS_AT_A_TIME", 2)
    for place in range(3):
        texts = [FULL["counts"]] * 3
        texts[place] = counts
        assert not are_whole(texts, [16] * 3)
        with pytest.raises(ValueError, match=problem):
            ForegroundRuns.of([Rle(size=[4, 4], counts=text) for text in texts])


def test_whole_texts() -> None:
    texts = [FULL["counts"]] * 5
    assert are_whole([], [])
    assert are_whole(texts, [16] * 5)
    assert are_whole(texts, [16, None, 16, None, None])
    assert not are_whole(texts, [16, 16, 16, 16, 15])


def test_parts_are_as_large_as_their_texts_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rle_runs, "_MASKS_AT_A_TIME", 3)
    monkeypatch.setattr(rle_runs, "_CHARACTERS_AT_A_TIME", 10)
    masks = [Rle(size=[4, 4], counts="0" * length) for length in (1, 1, 1, 5, 5, 1, 30, 1)]
    assert [(part.start, part.stop) for part in in_parts(masks)] == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(in_parts([])) == []
