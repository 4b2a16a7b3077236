"""Memory: the peak is a peak, is reset, and is called by its name."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from zoo.measure.memory import CLEAR_REFS, Memory, peak_rss

MB = 1 << 20


def test_the_peak_stays_after_the_memory_is_gone() -> None:
    gc.collect()  # what earlier tests left must not go away while this one looks
    memory = Memory(torch.device("cpu"))
    memory.reset()
    before = peak_rss()
    block = np.ones(512 * MB, dtype=np.uint8)
    del block
    peak = memory.result()["memory"]
    assert peak["kind"] == "host RSS"
    assert peak["peak_rss_bytes"] >= before + 256 * MB


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="this system cannot reset the peak")
def test_reset_begins_a_new_peak() -> None:
    block = np.ones(256 * MB, dtype=np.uint8)
    high = peak_rss()
    del block
    memory = Memory(torch.device("cpu"))
    memory.reset()
    result = memory.result()["memory"]
    assert result["since"] == "reset"
    assert result["peak_rss_bytes"] < high - 200 * MB


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peaks() -> None:
    memory = Memory(torch.device("cuda", 0))
    memory.reset()
    block = torch.ones(64 * MB, dtype=torch.uint8, device="cuda")
    del block
    peak = memory.result()["memory"]
    assert peak["kind"] == "cuda"
    assert peak["peak_reserved_bytes"] >= peak["peak_allocated_bytes"] >= 64 * MB
