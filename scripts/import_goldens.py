"""Cut a parity case down to what the tests carry: the manifest, and a few golden values of every network stage.

    python scripts/import_goldens.py PARITY_DIR mmdet/faster_rcnn_r50_fpn_1x_coco [CASE ...]

A parity case is a manifest (how to draw the weights of every checkpoint key) and, beside it, what the
original implementation answered for them; without answers only the manifest is taken. The end-to-end
answers need images and stay where they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TESTS = Path(__file__).resolve().parents[1] / "tests" / "golden"
SAMPLED = 256
"""Values that a case samples of a stage."""
KEPT = 64
"""Values kept of each sample."""
STAGES = ("net/", "netx60/")
"""The stages for the synthetic input, and for one of 60 times its size."""


def main() -> None:
    """Write tests/golden/<case>.json and, where there are answers, .npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parity", type=Path)
    parser.add_argument("cases", nargs="+", metavar="case")
    options = parser.parse_args()
    for case in options.cases:
        manifest = json.loads((options.parity / f"{case}.json").read_text(encoding="utf-8"))
        target = TESTS / f"{case}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(pack(manifest), separators=(",", ":")) + "\n", encoding="utf-8")
        answers = options.parity / f"{case}.npz"
        if answers.exists():
            with np.load(answers) as archive:
                stages = {key: archive[key] for key in archive.files if key.startswith(STAGES)}
            np.savez_compressed(target.with_suffix(".npz"), allow_pickle=False, **shorten(stages))


def pack(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without repetition: each kind of draw once, and the keys as a tree.

    A leaf is the position of its draw, or the whole key whose tensor it shares; leaves in the order
    of the file.
    """
    draws: list[Any] = []
    tree: dict[str, Any] = {}
    tensors = {**manifest["tensors"], **manifest.get("fixed", {})}
    aliases = manifest.get("aliases", {})
    order = manifest.get("order", list(tensors))
    for key in order:
        if key not in aliases and tensors[key] not in draws:
            draws.append(tensors[key])
        *path, name = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = aliases[key] if key in aliases else draws.index(tensors[key])
    if list(leaves(tree)) != order:
        raise ValueError("the keys do not come in the order of a tree")
    return {"source": manifest["source"], "draws": draws, "keys": tree}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, int | str]:
    """The leaves of a tree by their dotted keys."""
    found: dict[str, int | str] = {}
    for name, node in tree.items():
        found |= leaves(node, f"{prefix}{name}.") if isinstance(node, dict) else {f"{prefix}{name}": node}
    return found


def shorten(stages: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Every stage as shape, spread and a short sample, whole ones too."""
    short: dict[str, npt.NDArray[Any]] = {}
    for key, value in stages.items():
        if key.endswith("/sample"):
            short[key] = value[:KEPT]
        elif key.endswith(("/shape", "/stats")) or value.size <= KEPT:
            short[key] = value
        else:
            flat = value.astype(np.float64).ravel()
            places = np.random.RandomState(flat.size % 2**32).randint(0, flat.size, SAMPLED)
            chosen = flat[places] if flat.size > SAMPLED else flat
            short[f"{key}/shape"] = np.array(value.shape, dtype=np.float32)
            short[f"{key}/stats"] = np.array([flat.mean(), flat.std(), flat.min(), flat.max()], dtype=np.float32)
            short[f"{key}/sample"] = chosen[:KEPT].astype(np.float32)
    return short


if __name__ == "__main__":
    main()
