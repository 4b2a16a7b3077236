"""YOLOv8's masks into COCO's run-length encodings, against Ultralytics' own order of work.

    python benchmarks/yolo_masks.py [--device cuda]

300 detections of all sizes in an input of 640 x 640, with smooth prototypes; an image of the input's
resolution, a smaller and a larger one; both methods that YOLOv8 has had. On a CPU one thread, alternating,
CPU seconds, median; on a GPU the time until the encodings are on the host. The peer does as Ultralytics:
sums of prototypes (with the older method their sigmoid), all masks enlarged to the input, cut to their
boxes, compared with the threshold, cut to the image and resized, then encoded one by one by pycocotools.
The strings must be equal first: all of them on a CPU; on a GPU, which rounds otherwise, nearly all.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _timing import alternate, clock_of
from mask_rle import encode

from zoo.models.heads.yolo_masks import MaskMethod, PrototypeMasks
from zoo.types import FeatureSpec, ImageGeometry, Size

DETECTIONS, PROTOTYPES, INPUT = 300, 32, (640, 640)
IMAGES: dict[str, tuple[Size, Size]] = {
    "480 x 640": ((480, 640), (480, 640)),
    "333 x 500": ((426, 640), (333, 500)),
    "720 x 960": ((480, 640), (720, 960)),
}
"""(height, width) in the input, and of the file."""
TARGETS = {"cpu": 20.0, "cuda": 4.0}
ALIKE = {"cpu": 1.0, "cuda": 0.98}
"""Least share of equal strings."""


def scene(size: Size, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients (D, C), prototypes (C, H, W) and boxes (D, 4) in the input, which cover 8 % of the image each."""
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn((DETECTIONS, PROTOTYPES), generator=generator) / 2
    noise = torch.randn((1, PROTOTYPES, INPUT[0] // 64, INPUT[1] // 64), generator=generator)
    prototypes = F.interpolate(noise, (INPUT[0] // 4, INPUT[1] // 4), mode="bicubic", align_corners=False)[0]
    extent = torch.tensor(size[::-1])
    sides = torch.rand((DETECTIONS, 2), generator=generator) ** 2 * extent * 0.8 + 8
    first = (torch.tensor(INPUT[::-1]) - extent) // 2
    corners = first + torch.rand((DETECTIONS, 2), generator=generator) * (extent - sides)
    return coefficients.to(device), prototypes.to(device), torch.cat((corners, corners + sides), dim=1).to(device)


def place(size: Size, original_size: Size) -> ImageGeometry:
    """Where the image lies in the input."""
    scale = (size[1] / original_size[1], size[0] / original_size[0])
    offset = ((INPUT[1] - size[1]) // 2, (INPUT[0] - size[0]) // 2)
    return ImageGeometry(size, size, scale, original_size, INPUT, offset)


@torch.inference_mode()
def ultralytics(
    coefficients: Tensor, prototypes: Tensor, boxes: Tensor, placed: ImageGeometry, method: MaskMethod
) -> list[str]:
    """Its order of work, whole masks throughout."""
    grids = (coefficients @ prototypes.flatten(1)).view(-1, *prototypes.shape[1:])
    if method == "probabilities":
        grids = grids.sigmoid()
    masks = F.interpolate(grids[None], INPUT, mode="bilinear", align_corners=False)[0]  # (D, 640, 640)
    columns = torch.arange(INPUT[1], device=boxes.device)[None, None]
    rows = torch.arange(INPUT[0], device=boxes.device)[None, :, None]
    x1, y1, x2, y2 = boxes[:, :, None, None].unbind(dim=1)
    masks = masks * ((columns >= x1) * (columns < x2) * (rows >= y1) * (rows < y2))
    bits = masks.gt_(0.5 if method == "probabilities" else 0.0)
    (left, top), (height, width) = placed.offset, placed.size
    bits = bits[:, top : top + height, left : left + width]
    if placed.size == placed.original_size:
        return encode(bits.byte().cpu().numpy())
    if method == "logits":
        resized = F.interpolate(bits[None], placed.original_size, mode="bilinear", align_corners=False)[0]
        return encode(resized.byte().cpu().numpy())
    small = bits.byte().cpu().numpy()
    return encode(np.stack([cv2.resize(mask, placed.original_size[::-1]) for mask in small]))


def ratio(image: str, method: MaskMethod, device: str) -> float | None:
    """How many times as long Ultralytics' way takes; None where the masks are others. Prints what it finds."""
    placed = place(*IMAGES[image])
    tensors = scene(placed.size, device)
    branch = PrototypeMasks([FeatureSpec(32, stride) for stride in (8, 16, 32)], PROTOTYPES, method)

    def zoo() -> list[str]:
        with torch.inference_mode():
            return [mask["counts"] for mask in branch.paste(*tensors, placed)]

    def peer() -> list[str]:
        return ultralytics(*tensors, placed, method)

    equal = np.mean([ours == its for ours, its in zip(zoo(), peer(), strict=True)])
    if equal < ALIKE[device]:
        print(f"{image}, {method}: {1 - equal:.1%} of the encodings differ; no ratio")
        return None
    candidates: dict[str, Callable[[], object]] = {"zoo": zoo, "Ultralytics": peer}
    seconds = alternate(candidates, rounds=5, seconds_of=clock_of(device))
    found = seconds["Ultralytics"] / seconds["zoo"]
    ours_ms, its_ms = (1e3 * seconds[name] for name in ("zoo", "Ultralytics"))
    print(f"{image}, {method:<13}  zoo {ours_ms:6.1f} ms   Ultralytics {its_ms:7.1f} ms   ", end="")
    print(f"Ultralytics / zoo = {found:5.1f}   target: at least {TARGETS[device]:g}   equal strings {equal:.1%}")
    return found


def main() -> int:
    """Print the ratios; 1 where one is below its target."""
    parser = ArgumentParser()
    parser.add_argument("--device", choices=sorted(TARGETS), default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    methods: tuple[MaskMethod, ...] = ("logits", "probabilities")
    ratios = [ratio(image, method, device) for image in IMAGES for method in methods]
    return int(any(found is None or found < TARGETS[device] for found in ratios))


if __name__ == "__main__":
    sys.exit(main())
