"""JPEG to network input, against torchvision's reference transform.

    python benchmarks/image_chain.py [--images DIR]

zoo decodes and resizes with OpenCV and sends bytes to the device, where they are normalised and
padded; its host side ends with the bytes. Peer: torchvision's reference for detection (PIL decode,
float tensor, `GeneralizedRCNNTransform`), whose host side ends with the normalised, padded floats.
One thread, alternating, CPU seconds, median. The pixels must first be those of `cv2.imread` and
`cv2.resize`. DIR: a folder of JPEGs; without it a set is made up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms.functional import to_tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _timing import alternate

from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple

TARGET = 5.0
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def made_up_jpegs(folder: Path, count: int = 40) -> list[Path]:
    """Photograph-sized JPEGs with structure at several scales."""
    generator = np.random.default_rng(0)
    paths = []
    for i in range(count):
        height, width = (480, 640) if i % 3 else (640, 427)
        layers = [
            np.kron(generator.integers(0, 256, (height // s + 1, width // s + 1, 3)), np.ones((s, s, 1)))[
                :height, :width
            ]
            for s in (2, 9, 60)
        ]
        paths.append(folder / f"{i:03}.jpg")
        cv2.imwrite(str(paths[-1]), np.mean(layers, axis=0).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def main() -> int:
    """Print the ratios; 1 where the target is missed or a pixel differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(options.images.glob("*.jpg")) if options.images else made_up_jpegs(Path(folder))
        return compare(files, options.rounds)


def compare(files: list[Path], rounds: int) -> int:
    """Time the chains on these files."""
    transform = Preprocess(KeepRatio(1333, 800))
    normalizer = PixelNormalizer(MEAN, STD, channels="rgb", padding=PadToMultiple(32))
    reference = GeneralizedRCNNTransform(800, 1333, [m / 255 for m in MEAN], [s / 255 for s in STD])
    cpu = torch.device("cpu")
    for file in files:
        sample = transform(file)
        height, width = sample.pixels.shape[:2]
        expected = cv2.resize(cv2.imread(str(file)), (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[arg-type]
        if not np.array_equal(sample.pixels.numpy(), expected):
            print(f"{file}: pixels differ from cv2's; no ratio")
            return 1
    with torch.inference_mode():
        seconds = alternate(
            {
                "decode alone (cv2)": lambda: [cv2.imread(str(file)) for file in files],
                "zoo, bytes for the device": lambda: [transform(file) for file in files],
                "zoo, normalised on the CPU too": lambda: [normalizer([transform(file)], cpu) for file in files],
                "torchvision reference": lambda: [reference([to_tensor(Image.open(file))]) for file in files],
            },
            rounds,
        )
    peer = seconds["torchvision reference"]
    for name, value in seconds.items():
        print(f"{name:<32} {value / len(files) * 1e3:6.2f} CPU ms an image   torchvision / it = {peer / value:.2f}")
    ratio = peer / seconds["zoo, bytes for the device"]
    print(f"pixels of {len(files)} images identical to cv2's; target: at least {TARGET:.0f}; reached {ratio:.2f}")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
