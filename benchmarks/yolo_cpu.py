"""Inference of YOLOv8 on the CPU, against Ultralytics' own fused model.

    python benchmarks/yolo_cpu.py [--rounds 5]

Peer: the `ultralytics` package itself, which zoo does not depend on and which this program needs to be
installed in the same environment (AGPL-3.0). Its network is built from its own description, takes the
same weights, is fused, and gets the same 640 x 640 input, one thread, in turn; CPU seconds, median.
Both run up to decoded boxes and class scores, which must agree first. The weights are drawn as the
parity tests draw them.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.models.detectors.dense import DenseDetector
from zoo.models.layers.conv import fold_batch_norm
from zoo.types import Batch, ImageGeometry

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
import parity
from _timing import alternate

MODELS = ("yolov8n", "yolov8m")
SIDE = 640
TARGET = 1.0
SCORE_TOLERANCE = 1e-4


def ours(model: str, weights: dict[str, Tensor]) -> DenseDetector:
    """The entry as its protocol runs it, with folded normalisation, and channels-last memory."""
    parts = compose(f"ultralytics_{model}")
    detector = build_model(parts, parts["data"]["classes"])
    load_weights(detector, weights, "ultralytics")
    fold_batch_norm(detector.eval())
    detector.use_channels_last()
    assert isinstance(detector, DenseDetector)
    return detector


def theirs(model: str, weights: dict[str, Tensor]) -> Any:
    """The original's model of the same name, fused."""
    from ultralytics.nn.tasks import DetectionModel  # type: ignore[import-not-found]

    network = DetectionModel(f"{model}.yaml", nc=80, verbose=False)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network.eval().fuse(verbose=False)


def main() -> int:
    """Print the ratios; 1 where one is below the target or the outputs differ, 2 without the peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if find_spec("ultralytics") is None:
        print("the peer is missing: install ultralytics in an environment of its own beside zoo, and run this there")
        return 2
    torch.set_num_threads(1)
    return max(compare(model, options.rounds) for model in MODELS)


@torch.inference_mode()
def compare(model: str, rounds: int) -> int:
    """Print the ratio of one model; 1 where it is below the target or the outputs differ."""
    weights = parity.weights(f"ultralytics/{model}")
    detector, peer = ours(model, weights), theirs(model, weights)
    pixels = np.random.RandomState(0).random_sample((1, 3, SIDE, SIDE)).astype(np.float32)
    images = torch.from_numpy(pixels)
    size = (SIDE, SIDE)
    batch = Batch(
        images.contiguous(memory_format=torch.channels_last), [ImageGeometry(size, size, (1.0, 1.0), size, size)], [0]
    )
    scores = peer(images)[0][0, 4:84].T
    difference = float((detector.network(batch).logits[0].sigmoid() - scores).abs().max())
    print(f"{model}: scores differ by at most {difference:.1e}")
    if difference > SCORE_TOLERANCE:
        print(f"outputs differ by more than {SCORE_TOLERANCE}: no ratio")
        return 1
    seconds = alternate({"ultralytics": lambda: peer(images), "zoo": lambda: detector.network(batch)}, rounds=rounds)
    ratio = seconds["ultralytics"] / seconds["zoo"]
    for name, value in seconds.items():
        print(f"  {name:<12} {value:6.3f} CPU s")
    print(f"  target: at least {TARGET}; reached {ratio:.2f}")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
