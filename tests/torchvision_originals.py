"""The original of each entry of the torchvision zoo: the installed model, with drawn weights, and ours beside it.

The original is built as its publisher builds it with published weights, so that everything comes that goes with them:
frozen normalisations, their eps, the layers that are trained. Only the values are drawn. What is drawn is the same on
every machine: the generator of a key is numpy's, seeded with the crc32 of its name.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import FCOS
from torchvision.ops.misc import FrozenBatchNorm2d

from zoo.catalog.entry import entry_names, read_entry
from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.models.detectors.base import Detector
from zoo.models.layers.skip_init import SkipInit

PREFIX = "torchvision_"

LEGACY = "_legacy"
"""Ending of an entry of older weights of the same builder."""


def entries() -> list[str]:
    """The entries of the zoo."""
    return [name for name in entry_names() if name.startswith(PREFIX)]


def builder(entry: str) -> str:
    """The name of the installed package's function that builds an entry's model."""
    return entry.removeprefix(PREFIX).removesuffix(LEGACY)


def published_weights(entry: str) -> Any:
    """The member of the installed package's weights that an entry is of; its `meta` has what is published."""
    members = get_model_weights(builder(entry))
    return members["COCO_LEGACY" if entry.endswith(LEGACY) else "COCO_V1"]


def original(entry: str, *, training: bool = False) -> nn.Module:
    """The installed model of an entry, with drawn weights, in eval mode or as it is trained.

    Args:
        entry: an entry of the zoo.
        training: in training mode.
    """
    with _drawing_weights(), SkipInit():
        model: nn.Module = get_model(builder(entry), weights=published_weights(entry))
    _calibrate(model.eval())
    return model.train(training)


def without_storage(entry: str) -> nn.Module:
    """The installed model of an entry on the meta device: names and shapes, and what is trained."""
    nothing = mock.patch.object(nn.Module, "load_state_dict", return_value=None)
    with mock.patch.object(WeightsEnum, "get_state_dict", return_value={}), nothing, SkipInit("meta"):
        model: nn.Module = get_model(builder(entry), weights=published_weights(entry))
    return model


def ours(entry: str, overrides: Sequence[str] = (), *, like: nn.Module | None = None) -> Detector:
    """Our eval-mode model of an entry, with the weights of its original through the entry's key map.

    Args:
        entry: an entry of the zoo.
        overrides: of its configuration.
        like: the original, where there is one already.
    """
    config, row = compose(entry, overrides), read_entry(entry)
    with SkipInit("meta"):
        model = build_model(config, row.classes or config["data"]["classes"])
    weights = drawn(entry) if like is None else like.state_dict()
    # Cloned: training one of the two must not move the other.
    load_weights(model, {key: tensor.clone() for key, tensor in weights.items()}, row.checkpoint.keymap)
    return model.eval()


@functools.lru_cache(maxsize=1)
def drawn(entry: str) -> dict[str, Tensor]:
    """The state dict of an entry's original, as its published file would hold it."""
    return dict(original(entry).state_dict())


@contextmanager
def _drawing_weights() -> Iterator[None]:
    """While it lasts, a model that loads published weights draws them instead, and nothing is downloaded."""

    def draw_in_place(model: nn.Module, state: Mapping[str, Tensor], *_: Any, **__: Any) -> None:
        for key, tensor in model.state_dict().items():
            tensor.copy_(_draw(key, tensor))

    with (
        mock.patch.object(WeightsEnum, "get_state_dict", return_value={}),
        mock.patch.object(nn.Module, "load_state_dict", draw_in_place),
        torch.no_grad(),
    ):
        yield


TARGETS = {
    "rpn.head.cls_logits": (0.0, 1.0),
    "rpn.head.bbox_pred": (0.0, 0.3),
    "cls_score": (0.0, 1.2),
    "bbox_pred": (0.0, 0.6),
    "cls_logits": (-4.0, 1.0),
    "bbox_reg": (0.0, 0.3),
    "bbox_ctrness": (0.0, 1.0),
    "classification_head.module_list": (0.0, 2.0),
    "mask_fcn_logits": (0.0, 2.0),
    "kps_score_lowres": (0.0, 2.0),
}
"""Mean and standard deviation of what a layer says of an image, by a part of its name; the first that fits counts.

So there are many detections, of many classes, with scores on both sides of every threshold.
"""

DISTANCES = (2.0, 1.0)
"""The same of the distances of FCOS, of which those below 0 are cut off."""

OTHERS = (0.2, 1.0)
"""The same of every other layer with a bias."""

FEW = 8
"""Places of which nothing is learnt about the spread of a layer."""


def _draw(key: str, tensor: Tensor) -> Tensor:
    """The values of one key."""
    generator = np.random.RandomState(zlib.crc32(key.encode()))
    layer, _, name = key.rpartition(".")
    shape = tuple(tensor.shape)
    if name == "num_batches_tracked":
        values = np.full(shape, 7)
    elif name == "running_var":
        values = generator.uniform(0.5, 1.5, shape)
    elif name in ("running_mean", "bias"):
        values = 0.1 * generator.standard_normal(shape)
    elif tensor.dim() <= 1:  # of a normalisation; a residual branch adds little
        values = generator.uniform(*((0.2, 0.6) if layer.endswith("bn3") else (0.7, 1.3)), shape)
    else:
        values = generator.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values)).to(tensor.dtype)


@torch.no_grad()
def _calibrate(model: Any) -> None:
    """Fit running statistics and the layers with a bias to what they see in an image, each as it is reached.

    Without it the signal of a random network grows, or comes to be the same everywhere: scores of 0 and 1, and boxes
    on the border.
    """
    seen: set[nn.Module] = set()
    targets = {**TARGETS, "bbox_reg": DISTANCES} if isinstance(model, FCOS) else TARGETS

    def normalisation(module: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)  # (C, N * H * W)
        if module in seen or x.shape[1] < FEW:
            return
        seen.add(module)
        module.running_mean.add_(x.mean(dim=1))
        module.running_var.mul_(x.var(dim=1) + 1e-4)

    def layer(name: str, module: Any, output: Tensor) -> Tensor:
        x = output.transpose(0, 1).flatten(1)  # (C, N * H * W)
        if module in seen or x.shape[1] < FEW:
            return output
        seen.add(module)
        mean, std = next((target for part, target in targets.items() if part in name), OTHERS)
        spread = x.std(dim=1)
        factor = std / spread.clamp(min=1e-3)
        shift: Tensor = mean - x.mean(dim=1) * factor + module.bias  # its own bias stays on top: means differ a little
        ends = (1, -1) if isinstance(module, nn.ConvTranspose2d) else (-1, 1)
        module.weight.mul_(factor.view(*ends, *(1,) * (module.weight.dim() - 2)))
        module.bias.mul_(factor).add_(shift)
        channels = (1, -1, *(1,) * (output.dim() - 2))
        return output * factor.view(channels) + shift.view(channels)

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            hooks.append(module.register_forward_pre_hook(normalisation))
        elif isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d) and module.bias is not None:
            hooks.append(module.register_forward_hook(lambda m, _, x, name=name: layer(name, m, x)))
    sizes = (model.transform.min_size, model.transform.max_size)
    model.transform.min_size, model.transform.max_size = (192,), 320
    if two_stages := hasattr(model, "roi_heads"):  # a few regions say enough of the second stage
        most = (model.rpn._post_nms_top_n, model.roi_heads.detections_per_img)
        model.rpn._post_nms_top_n, model.roi_heads.detections_per_img = {"testing": 40}, 1
    pictures = [_picture(5, 0.6, 0.1), _picture(2, 1.0, 0.02), _picture(9, 0.9, 0.05), _picture(17, 0.3, 0.01)]
    has_statistics = any(isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d) for module in model.modules())
    model(pictures if has_statistics else pictures[:1])
    model.transform.min_size, model.transform.max_size = sizes
    if two_stages:
        model.rpn._post_nms_top_n, model.roi_heads.detections_per_img = most
    for hook in hooks:
        hook.remove()


def _picture(cells: int, contrast: float, noise: float) -> Tensor:
    """Float (3, 192, 256) in [0, 1]: coarse colours under fine noise."""
    generator = np.random.RandomState(cells)
    coarse = torch.from_numpy(generator.uniform(0, contrast, (1, 3, 3 * cells, 4 * cells))).float()
    coarse += float(generator.uniform(0, 1 - contrast))
    fine = torch.from_numpy(generator.uniform(-noise, noise, (3, 192, 256))).float()
    picture: Tensor = nn.functional.interpolate(coarse, (192, 256), mode="bilinear")[0] + fine
    return picture.clamp(0, 1)
