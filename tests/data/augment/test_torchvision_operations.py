"""Operations of torchvision's recipes agree with `torchvision.transforms.v2` from the same draws, bit by bit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from labeled_images import make_image
from PIL import Image as PillowImage
from torchvision import tv_tensors
from torchvision.transforms import v2

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.masks import AnnotatedMasks, resize_bitmaps, resize_bitmaps_torch
from zoo.data.augment.settings import (
    FixedSizeCrop,
    HFlip,
    IoUCrop,
    PhotometricDistort,
    ScaleJitter,
    ShortestSize,
    ViewTransform,
    ZoomOut,
)
from zoo.data.augment.torchvision_operations import operation
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import ResizeError
from zoo.data.rle import encode_window

SHORT = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)


class TorchGenerator:
    """Draws as numpy's generator does, from torch's global stream: what the original draws from the same seed."""

    def random(self, size: int | None = None, dtype: type = np.float64) -> Any:
        return torch.rand(1).numpy()[0] if size is None else torch.rand(size).numpy()

    def uniform(self, low: float, high: float) -> float:
        return float(torch.empty(1).uniform_(low, high))

    def integers(self, high: int) -> int:
        return int(torch.randint(high, (1,)))

    def permutation(self, number: int) -> np.ndarray:
        return torch.randperm(number).numpy()


def scene(seed: int, size: tuple[int, int], count: int = 5) -> tuple[LabeledImage, np.ndarray]:
    """An image of smooth blocks with boxes, keypoints and masks, and its masks as bitmaps (G, H, W)."""
    generator = np.random.default_rng(seed)
    height, width = size
    blocks = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.asarray(PillowImage.fromarray(blocks).resize((width, height), PillowImage.Resampling.BICUBIC))
    first = generator.uniform(0, 0.7, (count, 2)) * (width, height)
    last = first + generator.uniform(0.05, 0.3, (count, 2)) * (width, height)
    places = generator.uniform(0, 1, (count, 17, 2)) * (width, height)
    visible = generator.integers(0, 3, (count, 17, 1))
    bitmaps = generator.integers(0, 2, (count, *size), dtype=np.uint8)
    encoded = SimpleNamespace(rle=lambda annotation: encode_window(bitmaps[annotation] > 0, (0, 0), size))
    image = LabeledImage(
        pixels=pixels,
        labels=np.arange(count),
        boxes=np.concatenate((first, last), axis=1).astype(np.float32),
        outlines=np.empty((count, 0, 2), np.float32),
        masks=AnnotatedMasks(cast(CocoGroundTruth, encoded), np.arange(count), size),
        keypoints=np.where(visible > 0, np.concatenate((places, visible), axis=2), 0).astype(np.float32),
        original_size=size,
    )
    return image, bitmaps


def original(image: LabeledImage, bitmaps: np.ndarray, transform: v2.Transform, seed: int) -> tuple[Any, ...]:
    """What the installed transform makes of an image: pixels BGR, boxes, masks, labels, without empty boxes."""
    torch.manual_seed(seed)
    given = {
        "image": PillowImage.fromarray(np.ascontiguousarray(image.pixels[:, :, ::-1])),
        "boxes": tv_tensors.BoundingBoxes(torch.from_numpy(image.boxes.copy()), format="XYXY", canvas_size=image.size),
        "masks": tv_tensors.Mask(torch.from_numpy(bitmaps)),
        "labels": torch.from_numpy(image.labels),
    }
    made = transform(given)
    kept = (made["boxes"][:, 2:] > made["boxes"][:, :2]).all(dim=1)
    pixels = np.asarray(made["image"])[:, :, ::-1]
    return pixels, made["boxes"][kept].numpy(), made["masks"][kept].numpy(), made["labels"][kept].numpy()


def ours(image: LabeledImage, settings: ViewTransform, seed: int) -> LabeledImage:
    torch.manual_seed(seed)
    return operation(settings)(image, cast(np.random.Generator, TorchGenerator()))


MEAN = (123, 117, 104)

CASES: dict[str, tuple[ViewTransform, v2.Transform, int]] = {
    "hflip": (HFlip(kind="hflip"), v2.RandomHorizontalFlip(0.5), 4),
    "photometric_distort": (PhotometricDistort(kind="photometric_distort"), v2.RandomPhotometricDistort(), 40),
    "zoom_out": (
        ZoomOut(kind="zoom_out", fill=MEAN),
        v2.RandomZoomOut(fill={PillowImage.Image: MEAN, tv_tensors.Mask: 0}),
        10,
    ),
    "iou_crop": (IoUCrop(kind="iou_crop"), v2.RandomIoUCrop(), 60),
    "scale_jitter": (ScaleJitter(kind="scale_jitter", side=256), v2.ScaleJitter(target_size=(256, 256)), 20),
    "shortest_size": (
        ShortestSize(kind="shortest_size", short=tuple(side // 4 for side in SHORT), long=200),
        v2.RandomShortestSize(min_size=[side // 4 for side in SHORT], max_size=200),
        12,
    ),
}
"""Our settings, the installed transform, and how many seeds are compared."""


@pytest.mark.parametrize("name", CASES)
def test_the_same_draws_give_the_same_bits(name: str) -> None:
    settings, transform, seeds = CASES[name]
    changed = 0
    for seed in range(seeds):
        image, bitmaps = scene(seed, (60 + seed, 131 - 2 * seed) if seed % 3 else (90, 70))
        pixels, boxes, masks, labels = original(image, bitmaps, transform, seed)
        made = ours(image, settings, seed)
        assert np.array_equal(made.pixels, pixels)
        assert np.array_equal(made.boxes, boxes)
        assert np.array_equal(made.bitmaps(), masks)
        assert np.array_equal(made.labels, labels)
        changed += not np.array_equal(image.pixels, pixels)
    assert changed >= seeds // 4


def test_defaults_are_those_of_the_installed_package() -> None:
    distort, zoom, crop = v2.RandomPhotometricDistort(), v2.RandomZoomOut(), v2.RandomIoUCrop()
    colours = PhotometricDistort(kind="photometric_distort")
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert getattr(colours, name) == getattr(distort, name)
    assert colours.probability == distort.p
    assert ZoomOut(kind="zoom_out", fill=MEAN).sides == zoom.side_range
    part = IoUCrop(kind="iou_crop")
    assert list(part.overlaps) == crop.options
    assert (*part.scale, *part.ratio) == (crop.min_scale, crop.max_scale, crop.min_aspect_ratio, crop.max_aspect_ratio)
    assert part.trials == crop.trials
    assert ScaleJitter(kind="scale_jitter", side=1).scale == v2.ScaleJitter(target_size=(1, 1)).scale_range


def test_crops_of_one_size_lie_along_the_diagonal_and_are_filled_up() -> None:
    """Worked example: one draw places the part both ways; the installed package has no such transform any more."""
    image, bitmaps = scene(0, (40, 100))
    settings = FixedSizeCrop(kind="fixed_size_crop", size=(50, 30), fill=MEAN)
    torch.manual_seed(0)
    left = int(70 * torch.rand(1))
    made = ours(image, settings, 0)
    assert 0 < left < 70
    assert np.array_equal(made.pixels[:40], image.pixels[:, left : left + 30])
    assert (made.pixels[40:] == MEAN[::-1]).all()
    boxes = (image.boxes - np.array([left, 0, left, 0], dtype=np.float32)).clip(
        0, np.array([30, 40, 30, 40], dtype=np.float32)
    )
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert 0 < kept.sum() < len(kept)
    assert np.array_equal(made.boxes, boxes[kept])
    assert made.keypoints is not None
    assert image.keypoints is not None
    places = image.keypoints[kept] - np.array([left, 0, 0], dtype=np.float32)
    shown = (places[..., 2] > 0) & (places[..., 0] >= 0) & (places[..., 0] <= 30)
    assert 0 < shown.sum() < shown.size
    assert np.array_equal(made.keypoints, np.where(shown[..., None], places, 0))
    masks = made.bitmaps()
    assert np.array_equal(masks[:, :40], bitmaps[kept][:, :, left : left + 30])
    assert not masks[:, 40:].any()
    both, _ = scene(0, (100, 90))
    high = ours(both, FixedSizeCrop(kind="fixed_size_crop", size=(60, 60), fill=MEAN), 3)
    torch.manual_seed(3)
    share = torch.rand(1)
    top, left = int(40 * share), int(30 * share)
    assert np.array_equal(high.pixels, both.pixels[top : top + 60, left : left + 60])


def test_a_crop_of_an_image_that_fits_draws_nothing() -> None:
    image, _ = scene(0, (40, 50))
    settings = FixedSizeCrop(kind="fixed_size_crop", size=(40, 50), fill=MEAN)
    torch.manual_seed(3)
    assert operation(settings)(image, cast(np.random.Generator, TorchGenerator())) is image
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert drawn == torch.rand(1)


def test_an_image_without_an_object_is_not_cropped() -> None:
    """The original draws overlaps for it until one leaves it as it is."""
    image = make_image((20, 30), 7)
    assert operation(IoUCrop(kind="iou_crop"))(image, np.random.default_rng(0)) is image


def test_keypoints_move_with_the_picture() -> None:
    image, _ = scene(2, (40, 50))
    assert image.keypoints is not None
    larger = ours(image, ScaleJitter(kind="scale_jitter", side=100, scale=(1.0, 1.0)), 0)
    assert larger.size == (80, 100)
    assert larger.scale == (2.0, 2.0)
    assert larger.keypoints is not None
    assert np.array_equal(larger.keypoints, image.keypoints * np.array([2, 2, 1], dtype=np.float32))
    canvas = ours(image, ZoomOut(kind="zoom_out", fill=MEAN, probability=1.0), 1)
    shift = canvas.boxes[0, :2] - image.boxes[0, :2]
    labelled = image.keypoints[..., 2] > 0
    assert canvas.keypoints is not None
    assert not canvas.keypoints[~labelled].any()
    assert canvas.keypoints[labelled] == pytest.approx(image.keypoints[labelled] + np.append(shift, 0), abs=1e-4)


def test_nothing_is_left_of_an_image_that_is_too_thin() -> None:
    with pytest.raises(ResizeError, match="without a pixel"):
        ours(make_image((1, 500), 7), ScaleJitter(kind="scale_jitter", side=100), 0)


def test_overlaps_need_one_that_ends_the_search() -> None:
    with pytest.raises(ValueError, match=r"overlaps has 1\.0"):
        IoUCrop(kind="iou_crop", overlaps=(0.1, 0.9))


def test_bitmaps_are_resized_as_torch_does_it() -> None:
    """612 to 60 columns: of the sources 25 * 10.2 = 255 and two more OpenCV's nearest neighbour is the one before."""
    columns = (np.arange(612) % 255).astype(np.uint8)[None, None].repeat(2, 1)
    resized = resize_bitmaps_torch(columns, (2, 60))
    expected = torch.nn.functional.interpolate(torch.from_numpy(columns)[None], size=(2, 60))[0].numpy()
    assert np.array_equal(resized, expected)
    assert resized[0, 0, 25] == 0
    assert resize_bitmaps(columns, (2, 60))[0, 0, 25] == 254
