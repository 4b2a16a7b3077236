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
from zoo.data.detections import Detections
from zoo.data.rle import decode
from zoo.data.size_rules import KeepRatio
from zoo.models.detectors.base import Detector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.samplers import RandomSampler
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


def take_few_regions(pair: Pair, proposals: int, samples: int, detections: int) -> None:
    """Let both models of two stages look at few regions of an image: the second stage is most of the work.

    Args:
        pair: both models.
        proposals: the best of the first stage.
        samples: regions that are trained on.
        detections: the best of the second stage, of which masks or keypoints are found.
    """
    theirs: Any = pair.theirs
    theirs.rpn._post_nms_top_n = {"training": proposals, "testing": proposals}
    theirs.roi_heads.fg_bg_sampler.batch_size_per_image = samples
    theirs.roi_heads.detections_per_img = detections
    own = pair.own
    assert isinstance(own, TwoStageDetector)
    rpn, roi = own.rpn_head, own.roi_head
    rpn.proposals = replace(rpn.proposals, post_nms_top_n=proposals)
    rpn.training_proposals = replace(rpn.training_proposals, post_nms_top_n=proposals)
    roi.last_stage.sampler = RandomSampler(samples, 0.25, always_draw=True)
    roi.detections = replace(roi.detections, max_detections=detections)


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


def assert_same_detections(pair: Pair, pictures: Sequence[Picture], nms_iou: float, least: int = 50) -> None:
    """Both find the same in a batch, of which there is plenty, of many classes and scores.

    Args:
        pair: both models.
        pictures: a batch.
        nms_iou: the overlap above which the lower score falls.
        least: detections that are expected of each picture.
    """
    with torch.inference_mode():
        expected = pair.theirs.eval()(_tensors(pictures))
        found = pair.own.eval()(_samples(pair, pictures))
    for theirs, own in zip(expected, found, strict=True):
        assert len(theirs["boxes"]) == len(own) >= least
        assert len(theirs["labels"].unique()) >= min(least // 5, len(pair.own.classes))
        answers = {name: values.numpy() for name, values in theirs.items()}
        answers["labels"] = answers["labels"] - pair.first_label
        pair_detections(answers, own, nms_iou, box=0.02, score=1e-4)
        _assert_same_shapes(theirs, own)


def _assert_same_shapes(theirs: dict[str, Tensor], own: Detections) -> None:
    """Masks are equal, and keypoints, where there are any."""
    assert ("masks" in theirs, "keypoints" in theirs) == (own.masks is not None, own.keypoints is not None)
    if own.masks is not None:
        masks = torch.from_numpy(np.stack([decode(mask) for mask in own.masks])).bool()
        expected = theirs["masks"][:, 0] > 0.5
        assert expected.any(dim=(1, 2)).sum() > len(expected) / 2
        assert (masks != expected).sum() <= 1e-6 * expected.numel()
    if own.keypoints is not None:
        assert torch.allclose(own.keypoints[..., :2], theirs["keypoints"][..., :2], rtol=0, atol=0.02)
        assert torch.allclose(own.keypoints[..., 2], theirs["keypoints_scores"], rtol=1e-4, atol=1e-4)


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
    images, described = _tensors(pictures), [_described(pair, *given) for given in zip(pictures, targets, strict=True)]
    torch.manual_seed(0)
    expected = theirs(images, described)
    torch.manual_seed(0)
    _, scaled = theirs.transform(images, described)  # type: ignore[operator] # draws a size for each picture
    losses = own(_samples(pair, pictures), [_target(pair, target) for target in scaled])
    assert {names[name] for name in expected} == set(losses)
    for name, loss in expected.items():
        assert torch.allclose(losses[names[name]], loss, rtol=1e-5, atol=1e-7), name
    for model, values in ((theirs, expected), (own, losses)):
        model.zero_grad()
        torch.stack(list(values.values())).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    _assert_same_gradients(pair)


def _described(pair: Pair, image: Picture, target: Objects) -> dict[str, Tensor]:
    """Objects as the original takes them, with what else its kind is trained on."""
    boxes, labels = target
    described = {"boxes": boxes, "labels": labels}
    if pair.own.has_keypoints:
        described["labels"] = torch.ones_like(labels)
        generator = torch.Generator().manual_seed(len(labels))
        places = torch.rand(len(boxes), 17, 3, generator=generator) * torch.tensor([1.2, 1.2, 2.99])  # some outside
        sides = boxes[:, None, 2:] - boxes[:, None, :2]
        described["keypoints"] = torch.cat(
            (boxes[:, None, :2] + places[..., :2] * sides, places[..., 2:].floor()), dim=2
        )
    if pair.own.has_masks:
        described["masks"] = torch.zeros(len(boxes), *image.shape[:2], dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(described["masks"], boxes.long().tolist(), strict=True):
            mask[y1 : y2 + 1, x1 : (x1 + x2) // 2 + 1] = 1
    return described


def _target(pair: Pair, described: dict[str, Tensor]) -> Target:
    """The same as ours takes it."""
    labels, masks, keypoints = (described.get(name) for name in ("labels", "masks", "keypoints"))
    assert labels is not None
    return Target(described["boxes"], labels - pair.first_label, masks=masks, keypoints=keypoints)


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
