"""Inference of Faster R-CNN R-50-FPN on the CPU, against torchvision's eager model of the same name.

    python benchmarks/inference_cpu.py [--rounds 5]

Peer: torchvision's `fasterrcnn_resnet50_fpn` with frozen batch normalisation, as its published
weights run, in inference mode. Both get the same weights and the same 800 x 1333 image, one thread,
and are run in turn; CPU seconds, median. The weights are drawn as the parity tests draw them, so
that there are proposals and detections to process, with the proposals' deltas made a tenth: drawn
at random they are far larger than any trained network's, and amplify float noise a hundredfold.
zoo's scores with folded normalisation and channels-last memory must equal its plain ones to 1e-5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.ops.misc import FrozenBatchNorm2d

from zoo.checkpoints.convert import Drop, Rename, convert
from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.models.detectors.base import Detector
from zoo.models.layers.conv import fold_batch_norm

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests"), str(Path(__file__).resolve().parent)]
import parity
from _timing import alternate

CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
TARGET = 1.4
SCORE_TOLERANCE = 1e-5


def ours(weights: dict[str, Tensor], *, fast: bool) -> Detector:
    """The entry, plain or with folded normalisation and channels-last memory."""
    parts = compose(ENTRY)
    detector = build_model(parts, parts["data"]["classes"])
    load_weights(detector, {key: value.clone() for key, value in weights.items()}, "mmdet")
    detector.eval()
    if fast:
        fold_batch_norm(detector)
        detector.use_channels_last()
    return detector


TORCHVISION_KEYS = (
    Drop("backbone.{*rest}.num_batches_tracked", "frozen normalisation has no counter"),
    Rename("backbone.{*rest}", "backbone.body.{*rest}"),
    Rename("neck.lateral_convs.{i}.conv.{p}", "backbone.fpn.inner_blocks.{i}.0.{p}"),
    Rename("neck.fpn_convs.{i}.conv.{p}", "backbone.fpn.layer_blocks.{i}.0.{p}"),
    Rename("rpn_head.rpn_conv.{p}", "rpn.head.conv.0.0.{p}"),
    Rename("rpn_head.rpn_cls.{p}", "rpn.head.cls_logits.{p}"),
    Rename("rpn_head.rpn_reg.{p}", "rpn.head.bbox_pred.{p}"),
    Rename("roi_head.bbox_head.shared_fcs.0.{p}", "roi_heads.box_head.fc6.{p}"),
    Rename("roi_head.bbox_head.shared_fcs.1.{p}", "roi_heads.box_head.fc7.{p}"),
    Rename("roi_head.bbox_head.fc_cls.{p}", "roi_heads.box_predictor.cls_score.{p}"),
    Rename("roi_head.bbox_head.fc_reg.{p}", "roi_heads.box_predictor.bbox_pred.{p}"),
)


def torchvisions(weights: dict[str, Tensor]) -> FasterRCNN:
    """torchvision's model with the same weights; its background class is the first instead of the last."""
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
    freeze_normalisation(model)
    reordered = dict(weights)
    for p in ("weight", "bias"):
        logits, deltas = (weights[f"roi_head.bbox_head.{name}.{p}"] for name in ("fc_cls", "fc_reg"))
        reordered[f"roi_head.bbox_head.fc_cls.{p}"] = torch.cat((logits[-1:], logits[:-1]))
        reordered[f"roi_head.bbox_head.fc_reg.{p}"] = torch.cat((torch.zeros_like(deltas[:4]), deltas))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state, _ = convert(reordered, TORCHVISION_KEYS, expected)
    model.load_state_dict(state)
    return model.eval()


def freeze_normalisation(model: nn.Module) -> None:
    """Replace every BatchNorm2d by the frozen one that torchvision's published weights run with."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], FrozenBatchNorm2d(module.num_features))


def picture(cell: int = 40) -> npt.NDArray[np.uint8]:
    """A deterministic 800 x 1333 mosaic, uint8 RGB, in which these weights find as much as in a photograph."""
    colours = np.random.default_rng(0).integers(0, 256, (800 // cell, 1333 // cell + 1, 3), dtype=np.uint8)
    return colours.repeat(cell, axis=0).repeat(cell, axis=1)[:, :1333]


def worst_score_difference(first: Detections, second: Detections) -> float:
    """Largest difference between the sorted scores of two runs; infinite where their counts differ, NaN of none."""
    if len(first) != len(second):
        return float("inf")
    return float((first.scores - second.scores).abs().max()) if len(first) else float("nan")


def main() -> int:
    """Print the ratio; 1 where it is below the target or the outputs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = {key: value * 0.1 if "rpn_reg" in key else value for key, value in parity.weights(CASE).items()}
    plain, fast, peer = ours(weights, fast=False), ours(weights, fast=True), torchvisions(weights)
    image = picture()
    tensor = torch.from_numpy(image).permute(2, 0, 1) / 255
    found = plain.predict([image])[0]
    difference = worst_score_difference(found, fast.predict([image])[0])
    print(f"{len(found)} detections; scores folded + channels-last against plain: {difference:.1e}")
    if not len(found) or difference > SCORE_TOLERANCE:
        print(f"outputs differ by more than {SCORE_TOLERANCE}: no ratio")
        return 1
    with torch.inference_mode():
        seconds = alternate(
            {
                "torchvision eager": lambda: peer([tensor]),
                "zoo plain": lambda: plain.predict([image]),
                "zoo folded + channels-last": lambda: fast.predict([image]),
            },
            rounds=options.rounds,
        )
    base = seconds["torchvision eager"]
    for name, value in seconds.items():
        print(f"{name:<28} {value:6.3f} CPU s   torchvision / it = {base / value:.2f}")
    ratio = base / seconds["zoo folded + channels-last"]
    print(f"target: at least {TARGET}; reached {ratio:.2f}")
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
