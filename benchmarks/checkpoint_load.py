"""A checkpoint file into a model, against the plain way.

    python benchmarks/checkpoint_load.py

Peer: what most programs do: build the model, `torch.load`, `load_state_dict`. zoo builds on the
meta device, maps the file (as it does with those of its store), assigns its tensors, and looks at
every weight once for NaN, which the peer does not. The same 168 MB file and architecture, page
cache warm, one thread, alternating, CPU seconds, median; every tensor must be equal first. Peak
memory is that of a fresh process each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
import parity
from _timing import alternate, peak_rss_mb

from zoo.catalog.entry import read_entry
from zoo.checkpoints.convert import convert
from zoo.checkpoints.keymaps import key_map
from zoo.config.build import build_model, load_detector
from zoo.config.compose import compose
from zoo.models.detectors.base import Detector

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
TARGET = 8.0
PARTS = compose(ENTRY)
CLASSES = PARTS["data"]["classes"]


def ours(path: Path) -> Detector:
    """The way of `zoo.load`."""
    return load_detector(PARTS, read_entry(ENTRY), CLASSES, path)[0]


def plain(path: Path) -> Detector:
    """Build, load, copy."""
    detector = build_model(PARTS, CLASSES)
    tensors = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    expected = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    detector.load_state_dict(convert(tensors, key_map("mmdet"), expected)[0])
    return detector.eval()


WAYS = {"plain": plain, "zoo": ours}


def added_memory(way: str, path: Path) -> float:
    """MB that one load adds to the peak of a fresh process, pages read lazily included when touched."""
    command = [sys.executable, __file__, "--once", way, str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Print the ratio; 1 where it is below the target."""
    if sys.argv[1:2] == ["--once"]:
        before = peak_rss_mb()
        WAYS[sys.argv[2]](Path(sys.argv[3]))
        print(peak_rss_mb() - before)
        return 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ZOO_CACHE": folder, parity.SHARED_FOLDER: folder}
        path = Path(folder) / "model.pth"
        torch.save({"meta": {}, "state_dict": parity.weights(CASE)}, path)
        first, second = ours(path).state_dict(), plain(path).state_dict()
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            print("the loaded weights differ; no ratio")
            return 1
        seconds = alternate({name: lambda way=way: way(path) for name, way in WAYS.items()}, rounds=5)  # type: ignore[misc]
        memory = {name: added_memory(name, path) for name in WAYS}
    for name, value in seconds.items():
        ratio = seconds["plain"] / value
        print(f"{name:<6} {value * 1e3:7.1f} CPU ms   plain / it = {ratio:5.2f}   peak memory +{memory[name]:.0f} MB")
    ratio = seconds["plain"] / seconds["zoo"]
    print(f"all tensors equal; target: at least {TARGET:.0f}; reached {ratio:.2f}")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
