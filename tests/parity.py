"""Parity cases: weights drawn from a manifest, and what the original implementation answered for them.

A manifest says of every checkpoint key: dtype, shape, how to draw it. The generator of a key is
numpy's RandomState, seeded with the crc32 of the key's name, so the weights are the same everywhere.
The cases in `tests/golden` are cut down; the whole ones, with end-to-end answers on real images, are
used where a folder of them lies beside the checkout.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not (SHARED / "parity").is_dir(), reason="no parity cases beside the checkout")
needs_coco = pytest.mark.skipif(not (SHARED / "coco").is_dir(), reason="no COCO images beside the checkout")


def manifest(case: str) -> dict[str, Any]:
    """The manifest of a case: {"tensors": {key: [dtype, shape, draw, ...]}, ...}."""
    content: dict[str, Any] = json.loads(_file(f"{case}.json").read_text(encoding="utf-8"))
    return content


def weights(case: str) -> dict[str, torch.Tensor]:
    """Every tensor of the case's checkpoint, in the file's order."""
    content = manifest(case)
    tensors = {key: torch.from_numpy(_draw(key, *spec)) for key, spec in content["tensors"].items()}
    aliases = content.get("aliases", {})  # keys of one and the same tensor
    return {key: tensors[aliases.get(key, key)] for key in content.get("order", tensors)}


def _file(name: str) -> Path:
    """A file the tests carry, or else one of the whole cases."""
    return GOLDEN / name if (GOLDEN / name).exists() else SHARED / "parity" / name


def _draw(key: str, dtype: str, shape: list[int], kind: str, *arguments: float) -> npt.NDArray[Any]:
    generator = np.random.RandomState(zlib.crc32(key.encode()))
    if kind == "normal":
        mean, std = arguments
        values = mean + std * generator.standard_normal(shape)
    elif kind == "uniform":
        low, high = arguments
        values = generator.uniform(low, high, shape)
    else:
        assert kind == "const"
        values = np.full(shape, arguments[0], dtype=np.float64)
    return np.asarray(values).astype(dtype)


def golden(case: str) -> dict[str, npt.NDArray[Any]]:
    """The network stages of a case, by name: `<stage>/sample`, `<stage>/stats`, or the whole stage."""
    with np.load(_file(f"{case}.npz")) as archive:
        return {key.removeprefix("net/"): archive[key] for key in archive.files}


def sample(values: torch.Tensor, count: int = 256) -> npt.NDArray[np.float64]:
    """The values of a stage at the places its golden sample was taken."""
    flat = values.detach().double().numpy().ravel()
    if flat.size <= count:
        return np.asarray(flat)
    places = np.random.RandomState(flat.size % 2**32).randint(0, flat.size, count)
    return np.asarray(flat[places])


def assert_stage(
    name: str, values: torch.Tensor, answers: dict[str, npt.NDArray[Any]], tolerance: float = 1e-4
) -> None:
    """A network stage agrees with the original to `tolerance` of its standard deviation."""
    if name in answers:
        expected, got = answers[name].ravel(), values.detach().double().numpy().ravel()
        spread = float(expected.std())
    else:
        assert tuple(values.shape) == tuple(answers[f"{name}/shape"].astype(int)), name
        expected = answers[f"{name}/sample"]
        got = sample(values)[: len(expected)]
        spread = float(answers[f"{name}/stats"][1])
    worst = float(np.abs(got - expected).max()) / spread
    assert worst <= tolerance, f"{name}: off by {worst:.2g} standard deviations"
