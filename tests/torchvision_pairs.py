"""Our model of an entry of the torchvision zoo beside the original: what both say of pictures, and of their losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pairing import pair_detections
from torch import Tensor, nn
from torchvision_originals import original, ours

from zoo.catalog.entry import read_entry
from zoo.checkpoints.convert import convert
from zoo.checkpoints.keymaps import key_map
from zoo.data.size_rules import KeepRatio
from zoo.models.detectors.base import Detector
from zoo.types import Target

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), RGB."""

Objects = tuple[Tensor, Tensor]
"""Boxes (G, 4) in pixels of a picture, and labels int64 (G,): COCO's category ids."""

BACKGROUND = "__background__"
"""Name of label 0 where a head scores it like any other class."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models with the same weights.

    Attributes:
        entry: an entry of the zoo.
        theirs: the installed package's.
        own: ours.
    """

    entry: str
    theirs: nn.Module
    own: Detector

    @property
    def first_label(self) -> int:
        """What the original calls our label 0."""
        return 0 if self.own.classes[0] == BACKGROUND else 1


def make_pair(entry: str, short: int, long: int) -> Pair:
    """Both models of an entry, in eval mode, on images of this size where the entry keeps their ratio.

    Args:
        entry: an entry of the zoo.
        short: pixels of an image's shorter side.
        long: most pixels of its longer side.
    """
    theirs = original(entry)
    own = ours(entry, like=theirs)
    transforms: tuple[Any, Any] = (theirs.transform, own.transform)
    if isinstance(transforms[1].size_rule, KeepRatio):
        transforms[0].min_size, transforms[0].max_size = (short,), long
        transforms[1].size_rule = replace(transforms[1].size_rule, short=short, long=long)
    return Pair(entry, theirs, own)


def picture(height: int, width: int, seed: int) -> Picture:
    """Coarse colours under noise."""
    generator = np.random.RandomState(seed)
    coarse = torch.from_numpy(generator.uniform(0, 255, (1, 3, 5, 7))).float()
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    found: Picture = (smooth + generator.normal(0, 12, smooth.shape)).clip(0, 255).round().astype(np.uint8)
    return found


def objects(shape: Sequence[int], count: int, seed: int) -> Objects:
    """So many objects of all sizes in a picture of this shape."""
    generator, size = np.random.RandomState(seed), np.asarray((shape[1], shape[0]))
    corner = generator.uniform(0, 0.7, (count, 2)) * size
    far = np.minimum(corner + generator.uniform(0.05, 0.9, (count, 2)) * size, size)
    boxes = torch.from_numpy(np.concatenate((corner, far), axis=1)).float()
    return boxes, torch.from_numpy(generator.randint(1, 91, count))


def assert_same_detections(pair: Pair, pictures: Sequence[Picture], nms_iou: float) -> None:
    """Both find the same in a batch, of which there is plenty, of many classes and scores."""
    with torch.inference_mode():
        expected = pair.theirs.eval()(_tensors(pictures))
        found = pair.own.eval()(_samples(pair, pictures))
    for theirs, own in zip(expected, found, strict=True):
        assert len(theirs["boxes"]) == len(own) >= 50
        assert len(theirs["labels"].unique()) >= 10
        answers = {name: values.numpy() for name, values in theirs.items()}
        answers["labels"] = answers["labels"] - pair.first_label
        pair_detections(answers, own, nms_iou, box=0.02, score=1e-4)


def assert_same_losses(
    pair: Pair, pictures: Sequence[Picture], targets: Sequence[Objects], names: dict[str, str]
) -> None:
    """Both have the same losses of a batch, and the same gradients.

    Args:
        pair: both models.
        pictures: a batch.
        targets: objects of each picture.
        names: of the original's losses, to ours.
    """
    theirs, own = pair.theirs.train(), pair.own.train()
    torch.manual_seed(0)
    expected = theirs(_tensors(pictures), [{"boxes": boxes, "labels": labels} for boxes, labels in targets])
    batch = own.prepare(_samples(pair, pictures))
    scaled = []
    for (boxes, labels), geometry in zip(targets, batch.geometries, strict=True):
        factors = torch.tensor(geometry.size[::-1]) / torch.tensor(geometry.original_size[::-1])
        scaled.append(Target(boxes * factors.repeat(2), labels - pair.first_label))
    torch.manual_seed(0)
    losses = own(batch, scaled)
    assert {names[name] for name in expected} == set(losses)
    for name, loss in expected.items():
        assert torch.allclose(losses[names[name]], loss, rtol=1e-5, atol=1e-7), name
    for model, values in ((theirs, expected), (own, losses)):
        model.zero_grad()
        torch.stack(list(values.values())).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    _assert_same_gradients(pair)


def _assert_same_gradients(pair: Pair) -> None:
    """Norms of all that both train: of each tensor, and together."""
    gradients = {name: x.grad for name, x in pair.theirs.named_parameters() if x.grad is not None}
    values = {**pair.theirs.state_dict(), **gradients}
    shapes = {name: tuple(x.shape) for name, x in pair.own.state_dict().items()}
    expected, _ = convert(values, key_map(read_entry(pair.entry).checkpoint.keymap), shapes)
    frozen = {name for name, x in pair.theirs.named_parameters() if x.grad is None}
    unfrozen, _ = convert(
        {name: torch.full_like(x, name in frozen) for name, x in values.items() if x.is_floating_point()},
        key_map(read_entry(pair.entry).checkpoint.keymap),
        {name: shape for name, shape in shapes.items() if pair.own.state_dict()[name].is_floating_point()},
    )
    trained = {
        name: x.grad for name, x in pair.own.named_parameters() if x.grad is not None and not unfrozen[name].any()
    }
    assert len(trained) == len(gradients)
    norms = torch.stack([torch.stack((x.norm(), expected[name].norm())) for name, x in trained.items()])  # (P, 2)
    own, theirs = norms.norm(dim=0)
    assert torch.allclose(own, theirs, rtol=1e-4)
    assert torch.allclose(norms[:, 0], norms[:, 1], rtol=1e-3, atol=1e-5 * float(theirs))


def _tensors(pictures: Sequence[Picture]) -> list[Tensor]:
    return [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in pictures]


def _samples(pair: Pair, pictures: Sequence[Picture]) -> list[Any]:
    return [pair.own.transform(image, i) for i, image in enumerate(pictures)]
