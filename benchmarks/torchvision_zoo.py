"""Inference of torchvision's thirteen detectors on the CPU, each against the installed package's own.

    python benchmarks/torchvision_zoo.py [PART_OF_A_NAME ...] [--rounds 5] [--short 400]

Both get the same drawn weights and the same 640 x 480 image, which they resize to a shorter side of 400 pixels (the
published numbers are of 800) or to the square of an SSD: from pixels to detections, one thread, in turn; CPU seconds,
median. zoo runs as its protocol has it, and its scores must be the original's first; and once more with folded
normalisation and channels-last memory, whose float noise the proposals of drawn weights may amplify.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoo.models.layers.conv import fold_batch_norm

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
import torchvision_originals as originals
from _timing import alternate

TARGET = 1.0
SCORE_TOLERANCE = 1e-4


def picture() -> npt.NDArray[np.uint8]:
    """A deterministic 640 x 480 mosaic under fine noise, uint8 RGB."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 200, (12, 16, 3)).repeat(40, axis=0).repeat(40, axis=1)
    return (coarse + generator.integers(0, 40, coarse.shape)).astype(np.uint8)


@torch.inference_mode()
def compare(entry: str, rounds: int, short: int) -> float:
    """Print the times of one entry. Returns zoo's by the original's; infinity where their scores differ."""
    peer: Any = originals.original(entry)
    overrides = []
    if peer.transform.fixed_size is None:
        peer.transform.min_size, peer.transform.max_size = (short,), 2 * short
        overrides = [f"protocol.transform.size_rule.{side}" for side in (f"short={short}", f"long={2 * short}")]
    plain, fast = (originals.ours(entry, overrides, like=peer) for _ in range(2))
    fold_batch_norm(fast)
    fast.use_channels_last()
    image = picture()
    tensor = torch.from_numpy(image).permute(2, 0, 1) / 255
    expected = peer([tensor])[0]["scores"].sort(descending=True).values
    found = plain.predict([image])[0].scores.sort(descending=True).values
    if len(found) != len(expected) or not torch.allclose(found, expected, rtol=0, atol=SCORE_TOLERANCE):
        print(f"{entry}: {len(found)} detections instead of {len(expected)}, or other scores: no ratio")
        return float("inf")
    seconds = alternate(
        {
            "torchvision": lambda: peer([tensor]),
            "zoo": lambda: plain.predict([image]),
            "zoo, folded, channels last": lambda: fast.predict([image]),
        },
        rounds=rounds,
    )
    base, ours, faster = seconds.values()
    name = entry.removeprefix(originals.PREFIX)
    row = f"{name:<37} {len(expected):>5} {base:>11.3f} {ours:>7.3f} {ours / base:>6.2f} {faster / base:>6.2f}"
    print(row, flush=True)
    return ours / base


def main() -> int:
    """Print a row for each entry; 1 where one takes longer than the target, or its scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="parts of the names of entries; all where none is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=400, help="pixels of the shorter side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries = [name for name in originals.entries() if not options.parts or any(p in name for p in options.parts)]
    print(f"{'entry':<37} {'found':>5} {'torchvision':>11} {'zoo':>7} {'ratio':>6} {'folded':>6}")
    worst = max(compare(entry, options.rounds, options.short) for entry in entries)
    print(f"target: at most {TARGET} of the original's CPU seconds; the slowest takes {worst:.2f}")
    return int(worst > TARGET)


if __name__ == "__main__":
    sys.exit(main())
