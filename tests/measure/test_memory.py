"""Memory: the peak is a peak above what was there before, is reset, and is called by its name."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from zoo.measure.memory import CLEAR_REFS, Memory, peak_rss

MB = 1 << 20


def rise(megabytes: int) -> int:
    """The peak of a block of memory that is taken and given back."""
    memory = Memory(torch.device("cpu"))
    memory.reset()
    block = np.ones(megabytes * MB, dtype=np.uint8)
    del block
    return memory.result()["peak_bytes"]


def test_the_peak_stays_after_the_memory_is_gone() -> None:
    gc.collect()  # what earlier tests left must not go away while this one looks
    assert 256 * MB <= rise(512) <= 520 * MB


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="this system cannot reset the peak")
def test_what_was_there_before_does_not_count() -> None:
    first = rise(128)
    kept = np.ones(256 * MB, dtype=np.uint8)
    block = np.ones(256 * MB, dtype=np.uint8)  # a peak that is over when the next one begins
    del block
    assert rise(128) == pytest.approx(first, rel=0.02)
    assert kept.all()


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="this system cannot reset the peak")
def test_reset_begins_a_new_peak() -> None:
    memory = Memory(torch.device("cpu"))
    memory.reset()
    block = np.ones(256 * MB, dtype=np.uint8)
    high = peak_rss()
    del block
    assert memory.result()["peak_bytes"] >= 200 * MB
    memory.reset()
    assert memory.result()["peak_bytes"] < 8 * MB
    assert peak_rss() < high - 200 * MB


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peaks() -> None:
    memory = Memory(torch.device("cuda", 0))
    memory.reset()
    block = torch.ones(64 * MB, dtype=torch.uint8, device="cuda")
    del block
    peaks = memory.result()
    assert peaks["peak_reserved_bytes"] >= peaks["peak_allocated_bytes"] >= 64 * MB
