"""Weights that are no numbers are found when a file is loaded, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from frameworks import stand_ins
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.catalog.entry import read_entry
from zoo.checkpoints.finite import is_finite
from zoo.checkpoints.own import read_own
from zoo.checkpoints.readers import read
from zoo.errors import CheckpointError

NAN, INF = float("nan"), float("inf")


def state(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        "conv.weight": torch.full((4, 3), 6e4, dtype=dtype),  # 12 of them are more than half precision holds
        "bn.running_var": torch.ones(3, dtype=dtype),
        "bn.num_batches_tracked": torch.tensor(7),
        "empty": torch.zeros(0, 4, dtype=dtype),
        "largest": torch.full((3,), torch.finfo(dtype).max, dtype=dtype),
    }


def as_torch(tensors: dict[str, Tensor], path: Path) -> str:
    torch.save({"state_dict": tensors}, path)
    return "pth"


def as_legacy(tensors: dict[str, Tensor], path: Path) -> str:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return "pth"


def as_safetensors(tensors: dict[str, Tensor], path: Path) -> str:
    save_file(tensors, path)
    return "safetensors"


def as_network(tensors: dict[str, Tensor], path: Path) -> str:
    with stand_ins({"ultralytics.nn.tasks.DetectionModel": ((nn.Module,), {})}) as made:
        network = made["DetectionModel"]()
        for name, tensor in tensors.items():
            network.register_buffer(name.replace(".", "_"), tensor)
        torch.save({"model": network}, path)
    return "ultralytics"


WRITERS = (as_torch, as_legacy, as_safetensors, as_network)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_keys_and_values_are_counted(tmp_path: Path, write: Any, dtype: torch.dtype, value: float) -> None:
    tensors = state(dtype)
    tensors["conv.weight"][1, 1:] = value
    tensors["bn.running_var"][2] = value
    kind = write(tensors, tmp_path / "w")
    first, second = ("conv_weight", "bn_running_var") if write is as_network else ("conv.weight", "bn.running_var")
    message = rf"w: 3 values are NaN or infinite, in .*{first} \(2 of 12\)"
    for reading in (read, own):
        with pytest.raises(CheckpointError, match=message) as caught:
            reading(tmp_path / "w", kind)
        assert f"{second} (1 of 3)" in caught.value.message
        assert "before the training diverged" in caught.value.next_step


def own(path: Path, _format: str) -> dict[str, Tensor]:
    return read_own(path, read_entry("ultralytics_yolov8n").checkpoint).tensors


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_sums_that_overflow_are_no_reason(tmp_path: Path, write: Any, dtype: torch.dtype) -> None:
    assert len(read(tmp_path / "w", write(state(dtype), tmp_path / "w"))) == 5


def test_infinities_that_cancel_are_found(tmp_path: Path) -> None:
    tensors = {f"w{i}": torch.tensor([INF, -INF, 1.0]) for i in range(7)}
    as_torch(tensors, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"14 values .*w4 \(2 of 3\) and 2 more"):
        read(tmp_path / "w.pth", "pth")


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.complex64], ids=str
)
@pytest.mark.parametrize("value", [NAN, INF])
def test_one_value_is_found_wherever_it_stands(dtype: torch.dtype, value: float) -> None:
    for at in range(67):  # more than one row of every vector register, and a rest
        tensor = torch.linspace(-1, 1, 67).to(dtype)
        assert is_finite(tensor)
        tensor[at] = value
        assert not is_finite(tensor)
    assert is_finite(torch.tensor(1.0, dtype=dtype))
    assert not is_finite(torch.tensor(value, dtype=dtype))
    assert is_finite(torch.tensor([[1.0, value]], dtype=dtype)[:, :1])  # a view, beside the value
