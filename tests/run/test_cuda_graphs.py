"""What graphs are made of: one memory for all, what a capture reads, and the recorder, with stand-ins for CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from zoo.run.cuda_graphs import ALIGNMENT, WARM_UP, Arena, CudaRecorder, Reads

CPU = torch.device("cpu")


def test_tensors_lie_side_by_side_in_their_own_layout() -> None:
    arena = Arena(CPU)
    wanted = [
        torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.rand(3, dtype=torch.float64),
        torch.rand(1, 6, 4).transpose(1, 2),
        torch.rand(1, 8, 2)[:, ::2],  # with holes, which are not kept
    ]
    found = arena.like(wanted)
    for tensor, like in zip(found, wanted, strict=True):
        assert (tensor.shape, tensor.dtype) == (like.shape, like.dtype)
        assert (tensor.data_ptr() - found[0].data_ptr()) % ALIGNMENT == 0
        tensor.copy_(like)
    assert [tensor.stride() for tensor in found[:3]] == [tensor.stride() for tensor in wanted[:3]]
    assert all(map(torch.equal, found, wanted))
    assert arena.bytes == 4 * ALIGNMENT
    (larger,) = arena.like([torch.empty(5 * ALIGNMENT, dtype=torch.uint8)])
    assert (len(larger), arena.bytes) == (5 * ALIGNMENT, 4 * ALIGNMENT + 6 * ALIGNMENT), "half as large again at least"
    assert all(map(torch.equal, found, wanted)), "what lay in the block before stays"


def test_a_capture_keeps_what_it_reads_alive() -> None:
    weight, constant, image = nn.Parameter(torch.rand(3, 3)), torch.ones(3), torch.rand(2, 3)
    with torch.inference_mode(), Reads() as reads:
        hidden = torch.nn.functional.linear(image, weight).add_(constant)
        _result = torch.cat([hidden.relu(), constant[None]]).sum()
    assert {id(tensor) for tensor in reads.kept} == {id(image), id(weight), id(constant)}


class Stream:
    """A stream that notes which others it waits for."""

    def __init__(self, _device: object = None) -> None:
        self.waited_for: list[Stream] = []

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """What stands in the place of CUDA: the last of these streams is the current one."""
    current = [Stream()]

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        before = list(current)
        current.append(stream)
        try:
            yield
        finally:
            current[:] = before

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 7))
    return current


def test_all_captures_are_on_the_stream_of_their_warm_up_and_in_one_pool(
    streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    captures: list[dict[str, Any]] = []

    @contextmanager
    def capture(_graph: object, **how: Any) -> Iterator[None]:
        captures.append(how)
        yield

    segments = [
        {"segment_pool_id": pool, "total_size": size} for pool, size in (((0, 0), 1), ((0, 7), 20), ((0, 7), 300))
    ]
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: "replayed"))
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    recorder, ran_on = CudaRecorder(torch.device("cuda", 0)), list[Stream]()
    for _ in range(2):
        recorder.warm_up(lambda: ran_on.append(streams[-1]))
        replay = recorder.record(lambda: None)
        assert replay() == "replayed"
    (own,) = set(ran_on)
    assert own is not streams[0]
    assert len(ran_on) == 2 * WARM_UP
    assert captures == [{"pool": (0, 7), "stream": own, "capture_error_mode": "thread_local"}] * 2
    assert own.waited_for == [streams[0]] * 2, "inputs are written there"
    assert streams[0].waited_for == [own] * 2, "weights are cast, and constants made"
    assert recorder.pool_bytes == 320


def test_a_capture_that_fails_gives_the_stream_back(streams: list[Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def capture(_graph: object, *, stream: Stream, **_how: Any) -> Iterator[None]:
        streams.append(stream)
        yield  # and no more, where an error comes: as PyTorch 2.11 has it

    def work() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    first = streams[-1]
    with pytest.raises(RuntimeError, match="when stream is capturing"):
        CudaRecorder(torch.device("cuda", 0)).record(work)
    assert streams == [first]


def test_what_comes_after_graphs_that_are_forgotten_has_a_pool_of_its_own(
    streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, waited_for = iter([(0, 1), (0, 2)]), list[torch.device]()
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: [{"segment_pool_id": (0, 1), "total_size": 1}])
    recorder = CudaRecorder(torch.device("cuda", 0))
    assert recorder.pool_bytes == 1
    recorder.forget()
    assert waited_for == [torch.device("cuda", 0)]
    assert recorder.pool_bytes == 0


def test_a_call_on_another_stream_waits_for_that_of_the_call_before(streams: list[Stream]) -> None:
    first, second = streams[0], Stream()
    recorder = CudaRecorder(torch.device("cuda", 0))
    recorder.follow()
    streams.append(second)
    recorder.follow()
    recorder.follow()
    assert (first.waited_for, second.waited_for) == ([], [first])
    streams.append(first)
    recorder.follow()
    assert first.waited_for == [second]
