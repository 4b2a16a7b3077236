"""A training step of Faster R-CNN R-50-FPN, against torchvision's model of the same name.

    python benchmarks/training_step.py [--device cuda] [--height 320 --width 416] [--rounds 5]

A step is everything from images and boxes to changed weights: normalisation, forward pass, losses,
backward pass, SGD with momentum. Peer: torchvision's `fasterrcnn_resnet50_fpn` with frozen batch
normalisation, as its recipe has it; here zoo's is frozen too. Both get the same weights, images and
boxes, the same frozen stages, proposals and numbers of sampled anchors and regions, and are run in
turn; median of CPU seconds with one thread, or of seconds on a GPU. The numbers of regions must be
equal, and the losses agree as far as random sampling lets them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
import parity
from _timing import alternate, cpu_seconds
from inference_cpu import CASE, ours, picture, torchvisions

from zoo.models.detectors.base import Detector
from zoo.types import Sample, Target

TARGET = 1.0
LOSS_TOLERANCE = 0.1
"""Relative, of the whole loss: the two draw other anchors and regions."""

IMAGES = 2
OBJECTS = 8
"""Images of a step, and objects in each."""

RATE = 1e-5
"""Small, so that weights that were never trained stay where losses are finite."""

Step = Callable[[], Tensor]


def boxes(height: int, width: int, seed: int) -> Tensor:
    """OBJECTS boxes (N, 4) of 24 to 200 pixels."""
    generator = np.random.default_rng(seed)
    sides = generator.uniform(24, min(200, height, width), (OBJECTS, 2))
    corners = generator.uniform(0, 1, (OBJECTS, 2)) * (np.array([width, height]) - sides)
    return torch.from_numpy(np.concatenate((corners, corners + sides), axis=1).astype(np.float32))


def our_step(
    weights: dict[str, Tensor], pixels: list[Tensor], targets: list[Target], device: str
) -> tuple[Detector, Step]:
    """zoo's model, and one step of it, which gives the loss before it."""
    detector: Detector = ours(weights, fast=False).to(device).train()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    size = (pixels[0].shape[0], pixels[0].shape[1])
    samples = [Sample(image.flip(2).contiguous(), i, size, (1.0, 1.0)) for i, image in enumerate(pixels)]  # BGR
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=RATE, momentum=0.9)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        losses = detector(samples, targets)
        assert isinstance(losses, dict)
        return _finish(torch.stack(list(losses.values())).sum(), optimizer)

    return detector, step


def peer_step(
    weights: dict[str, Tensor], pixels: list[Tensor], targets: list[Target], device: str
) -> tuple[FasterRCNN, Step]:
    """torchvision's model, and one step of it, which gives the loss before it."""
    model: FasterRCNN = torchvisions(weights).to(device).train()
    height, width = pixels[0].shape[:2]
    model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
    model.rpn._post_nms_top_n = {"training": 1000, "testing": 1000}
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE, momentum=0.9)
    wanted = [{"boxes": t.boxes.to(device), "labels": t.labels.to(device) + 1} for t in targets]

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        images = [image.to(device).permute(2, 0, 1) / 255 for image in pixels]
        return _finish(torch.stack(list(model(images, wanted).values())).sum(), optimizer)

    return model, step


def _finish(loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def regions(head: nn.Module, step: Step) -> tuple[int, float]:
    """How many regions a step's box head gets, and the loss of the step."""
    seen: list[int] = []
    with head.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0]))):
        loss = float(step())
    return seen[0], loss


def gpu_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call, up to the end of its work on the GPU."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> int:
    """Print the ratio; 1 where it is below the target or the outputs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--height", type=int, default=320)
    parser.add_argument("--width", type=int, default=416)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = {key: value * 0.1 if "rpn_reg" in key else value for key, value in parity.weights(CASE).items()}
    whole = torch.from_numpy(picture())
    pixels = [whole[i * 100 :, i * 100 :][: options.height, : options.width].contiguous() for i in range(IMAGES)]
    labels = torch.arange(OBJECTS)
    targets = [Target(boxes(image.shape[0], image.shape[1], seed=i), labels) for i, image in enumerate(pixels)]
    detector, zoo_step = our_step(weights, pixels, targets, options.device)
    peer, torchvision_step = peer_step(weights, pixels, targets, options.device)
    our_regions, our_loss = regions(detector.get_submodule("roi_head.stages.0.box_head"), zoo_step)
    its_regions, its_loss = regions(peer.get_submodule("roi_heads.box_head"), torchvision_step)
    print(f"regions {our_regions} and {its_regions}, losses {our_loss:.4f} and {its_loss:.4f} (zoo, torchvision)")
    if our_regions != its_regions or not abs(our_loss - its_loss) <= LOSS_TOLERANCE * its_loss:
        print("outputs differ: no ratio")
        return 1
    clock = cpu_seconds if options.device == "cpu" else gpu_seconds
    seconds = alternate({"torchvision": torchvision_step, "zoo": zoo_step}, options.rounds, clock)
    for name, value in seconds.items():
        print(f"{name:<12} {value:7.3f} s a step")
    ratio = seconds["torchvision"] / seconds["zoo"]
    print(f"torchvision / zoo = {ratio:.2f}; target: at least {TARGET}")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
