"""A mask head's grids into COCO's run-length encodings, against the ways of mmdetection and torchvision.

    python benchmarks/mask_rle.py [--device cuda]

100 grids of 28 x 28 on boxes of all sizes in an image of 480 x 640; one thread, alternating, CPU
seconds, median; on a GPU the time until the encodings are on the host. Peers: mmdetection's way on
CPUs (each window sampled by itself, laid into an image, the image encoded by pycocotools), its way on
GPUs (every mask sampled over the whole image), and torchvision's `paste_masks_in_image` with the same
encoder. The strings must equal those of mmdetection's ways first (on a GPU, which rounds otherwise,
nearly all); torchvision pastes by another rule, so that its masks only resemble them.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _timing import alternate, clock_of

from zoo.models.masks import paste

DETECTIONS, GRID, SIZE = 100, 28, (480, 640)
TARGETS = {"cpu": {"mmdetection, windows": 2.5, "torchvision": 12.0}, "cuda": {"torchvision": 4.0}}
EQUAL = {"cpu": 1.0, "cuda": 0.98}
"""Least share of strings equal to mmdetection's; a GPU rounds otherwise."""
ALIKE = 0.9
"""Least IoU, on average, of masks pasted by another rule: what is timed is the same task."""


def scene() -> tuple[Tensor, Tensor]:
    """Smooth blobs (D, S, S) in [0, 1] and boxes (D, 4) of which the average covers 7 % of the image."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((DETECTIONS, 1, 7, 7), generator=generator) + 1
    smooth = F.interpolate(noise, size=(GRID, GRID), mode="bicubic", align_corners=False)[:, 0]
    height, width = SIZE
    sides = torch.rand((DETECTIONS, 2), generator=generator) ** 2 * torch.tensor([width, height]) * 0.8 + 8
    corners = torch.rand((DETECTIONS, 2), generator=generator) * (torch.tensor([width, height]) - sides)
    return (2 * smooth).sigmoid(), torch.cat((corners, corners + sides), dim=1)


def sample(grid: Tensor, box: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values (h, w) of a grid (S, S) stretched over a box (4,), at pixel centres."""
    x = (columns + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (rows + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    places = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=2)
    return F.grid_sample(grid[None, None], places[None], align_corners=False)[0, 0]


def encode(masks: np.ndarray) -> list[str]:
    """Bitmaps (D, H, W) encoded image by image."""
    encoder: Any = coco_mask.encode
    return [encoder(np.asfortranarray(mask))["counts"].decode("ascii") for mask in masks]


def windows(grids: Tensor, boxes: Tensor) -> list[str]:
    """mmdetection on CPUs."""
    masks = np.zeros((len(grids), *SIZE), dtype=np.uint8)
    for mask, grid, box in zip(masks, grids, boxes, strict=True):
        x1, y1 = (int(v) for v in (box[:2].floor() - 1).clamp(min=0))
        x2, y2 = (min(int(v), side) for v, side in zip(box[2:].ceil() + 1, SIZE[::-1], strict=True))
        mask[y1:y2, x1:x2] = sample(grid, box, torch.arange(y1, y2), torch.arange(x1, x2)) >= 0.5
    return encode(masks)


def whole(grids: Tensor, boxes: Tensor) -> list[str]:
    """mmdetection on GPUs."""
    rows, columns = (torch.arange(side, device=grids.device) for side in SIZE)
    masks = [sample(grid, box, rows, columns) >= 0.5 for grid, box in zip(grids, boxes, strict=True)]
    return encode(torch.stack(masks).byte().cpu().numpy())


def torchvision(grids: Tensor, boxes: Tensor) -> list[str]:
    """torchvision's models."""
    return encode((paste_masks_in_image(grids[:, None], boxes, SIZE)[:, 0] > 0.5).byte().cpu().numpy())


def zoo(grids: Tensor, boxes: Tensor) -> list[str]:
    """This project."""
    return [mask["counts"] for mask in paste(grids, boxes, SIZE)]


WAYS = {"zoo": zoo, "mmdetection, windows": windows, "mmdetection, whole": whole, "torchvision": torchvision}


def main() -> int:
    """Print the ratios; 1 where one is below its target."""
    parser = ArgumentParser()
    parser.add_argument("--device", choices=sorted(TARGETS), default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    grids, boxes = (tensor.to(device) for tensor in scene())
    ways = WAYS if device == "cpu" else {name: way for name, way in WAYS.items() if way is not windows}
    answers = {name: way(grids, boxes) for name, way in ways.items()}
    peers = [answers[name] for name in ways if name.startswith("mmdetection")]
    equal = min(np.mean([ours == its for ours, its in zip(answers["zoo"], peer, strict=True)]) for peer in peers)
    if equal < EQUAL[device]:
        print(f"{1 - equal:.0%} of the encodings differ; no ratio")
        return 1
    likeness = np.mean([_iou(*pair) for pair in zip(answers["zoo"], answers["torchvision"], strict=True)])
    if likeness < ALIKE:
        print(f"torchvision's masks are others: IoU {likeness:.2f}; no ratio")
        return 1
    calls: dict[str, Callable[[], object]] = {name: partial(way, grids, boxes) for name, way in ways.items()}
    seconds = alternate(calls, rounds=7, seconds_of=clock_of(device))
    failed = False
    for name, value in seconds.items():
        ratio, target = value / seconds["zoo"], TARGETS[device].get(name)
        failed |= target is not None and ratio < target
        wanted = f"   target: at least {target}" if target else ""
        print(f"{name:<22} {value * 1e3:7.1f} ms   it / zoo = {ratio:5.2f}{wanted}")
    print(f"{equal:.0%} of {DETECTIONS} strings equal mmdetection's; IoU with torchvision's {likeness:.3f}")
    return int(failed)


def _iou(first: str, second: str) -> float:
    overlap: Any = coco_mask.iou
    masks = [{"size": list(SIZE), "counts": counts.encode("ascii")} for counts in (first, second)]
    return float(overlap(masks[:1], masks[1:], [0])[0, 0])


if __name__ == "__main__":
    sys.exit(main())
