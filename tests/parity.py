"""Parity cases: weights drawn from a manifest, and what the original implementation answered for them.

A manifest says of every checkpoint key: dtype, shape, how to draw it. The generator of a key is
numpy's RandomState, seeded with the crc32 of the key's name, so the weights are the same everywhere.
The cases in `tests/golden` are cut down (scripts/import_goldens.py); the whole ones, with end-to-end
answers on real images, are used where a folder of them lies beside the checkout.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from filelock import FileLock

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"

SHARED_FOLDER = "ZOO_TESTS_SHARED"
"""Environment variable: a folder of the test session, for files that its processes make once."""

needs_shared = pytest.mark.skipif(not (SHARED / "parity").is_dir(), reason="no parity cases beside the checkout")
needs_coco = pytest.mark.skipif(not (SHARED / "coco").is_dir(), reason="no COCO images beside the checkout")


def manifest(case: str) -> dict[str, Any]:
    """What the case's checkpoint holds.

    Returns:
        "tensors": key -> [dtype, shape, draw, ...]; "aliases": key -> the key whose tensor it is too;
        "order": all keys, in the order of the file.
    """
    content: dict[str, Any] = json.loads(_file(f"{case}.json").read_text(encoding="utf-8"))
    if "draws" in content:  # packed by scripts/import_goldens.py
        leaves = dict(_leaves(content["keys"]))
        tensors = {key: content["draws"][leaf] for key, leaf in leaves.items() if isinstance(leaf, int)}
        aliases = {key: leaf for key, leaf in leaves.items() if isinstance(leaf, str)}
        return {"tensors": tensors, "aliases": aliases, "order": list(leaves)}
    tensors = {**content["tensors"], **content.get("fixed", {})}
    return {"tensors": tensors, "aliases": content.get("aliases", {}), "order": content.get("order", list(tensors))}


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, int | str]]:
    for name, node in tree.items():
        if isinstance(node, dict):
            yield from _leaves(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def shapes(case: str) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the case's checkpoint, copies included, in the file's order."""
    content = manifest(case)
    return {key: tuple(content["tensors"][content["aliases"].get(key, key)][1]) for key in content["order"]}


def weights(case: str) -> dict[str, torch.Tensor]:
    """Every tensor of the case's checkpoint, in the file's order.

    Drawn once a session: this maps the file of them into memory. What a caller writes into them it keeps to itself.
    Benchmarks, which run outside of one, draw anew.
    """
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return _drawn(case)
    path = Path(folder, f"{case.replace('/', '_')}.pt")
    with FileLock(f"{path}.lock"):
        if not path.exists():
            part = path.with_suffix(".part")  # whoever draws them may be killed
            torch.save(_drawn(case), part)
            part.replace(path)
    tensors: dict[str, torch.Tensor] = torch.load(path, mmap=True, weights_only=True)
    return tensors


def _drawn(case: str) -> dict[str, torch.Tensor]:
    content = manifest(case)
    tensors = {key: torch.from_numpy(_draw(key, *spec)) for key, spec in content["tensors"].items()}
    return {key: tensors[content["aliases"].get(key, key)] for key in content["order"]}


def constants(case: str) -> dict[str, torch.Tensor]:
    """The tensors of the case's checkpoint that its method fixes: 0, 1, 2 and so on."""
    specs = manifest(case)["tensors"].items()
    return {key: torch.from_numpy(_draw(key, *spec)) for key, spec in specs if spec[2] == "arange"}


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
    elif kind == "arange":
        values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    else:
        assert kind == "const"
        values = np.full(shape, arguments[0], dtype=np.float64)
    return np.asarray(values).astype(dtype)


def golden(case: str, part: str = "net") -> dict[str, npt.NDArray[Any]]:
    """The answers to a part of a case, by name: `<stage>/sample`, `<stage>/stats`, or the whole stage.

    Parts are "net", network stages, "netx60", the same for 60 times the input, "e2e/<image>", "loss", "grad";
    empty where the case does not have it.
    """
    with np.load(_file(f"{case}.npz") if part.startswith("net") else SHARED / "parity" / f"{case}.npz") as archive:
        prefix = f"{part}/"
        return {key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)}


def sample(values: torch.Tensor, count: int = 256) -> npt.NDArray[np.float64]:
    """The values of a stage at the places its golden sample was taken."""
    flat = values.detach().cpu().double().numpy().ravel()
    if flat.size <= count:
        return np.asarray(flat)
    places = np.random.RandomState(flat.size % 2**32).randint(0, flat.size, count)
    return np.asarray(flat[places])


def assert_stage(
    name: str, values: torch.Tensor, answers: dict[str, npt.NDArray[Any]], tolerance: float = 1e-4
) -> None:
    """A network stage agrees with the original to `tolerance` of its standard deviation."""
    worst = stage_error(name, values, answers)
    assert worst <= tolerance, f"{name}: off by {worst:.2g} standard deviations"


def stage_error(name: str, values: torch.Tensor, answers: dict[str, npt.NDArray[Any]]) -> float:
    """How far a network stage is from the original's at most, in standard deviations of the stage."""
    if name in answers:
        expected, got = answers[name].ravel(), values.detach().cpu().double().numpy().ravel()
        spread = float(expected.std())
    else:
        assert tuple(values.shape) == tuple(answers[f"{name}/shape"].astype(int)), name
        expected = answers[f"{name}/sample"]
        got = sample(values)[: len(expected)]
        spread = float(answers[f"{name}/stats"][1])
    return float(np.abs(got - expected).max()) / spread
