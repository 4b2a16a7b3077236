"""Host-side preprocessing: samples, and pixels bit-equal to OpenCV's own integer recipe."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from zoo.data.images import as_bgr, decode
from zoo.data.preprocess import HostNormalizer, Preprocess
from zoo.data.size_rules import KeepRatio, Letterbox
from zoo.errors import DataError

Pixels = npt.NDArray[np.uint8]


def random_pixels(height: int, width: int, seed: int = 0) -> Pixels:
    pixels: Pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return pixels


def axis_weights(
    size_in: int, size_out: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Left index and the two integer weights of each output position, before clamping."""
    scale = 1.0 / (size_out / size_in)
    position = ((np.arange(size_out) + 0.5) * scale - 0.5).astype(np.float32)
    left = np.floor(position).astype(np.int64)
    fraction = (position - left.astype(np.float32)).astype(np.float32)
    one = np.round((np.float32(1) - fraction) * np.float32(2048)).astype(np.int64)
    two = np.round(fraction * np.float32(2048)).astype(np.int64)
    return left, one, two


def integer_resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bilinear resizing of bytes in the fixed-point arithmetic the published numbers were measured with."""
    left, a0, a1 = axis_weights(pixels.shape[1], width)
    below, above = left < 0, left >= pixels.shape[1] - 1
    a0, a1 = np.where(below | above, 2048, a0), np.where(below | above, 0, a1)
    left = left.clip(0, pixels.shape[1] - 1)
    right = (left + 1).clip(0, pixels.shape[1] - 1)
    source = pixels.astype(np.int64)
    rows = source[:, left] * a0[:, None] + source[:, right] * a1[:, None]  # (H, width, 3)
    top, b0, b1 = axis_weights(pixels.shape[0], height)
    upper, lower = (rows[(top + i).clip(0, pixels.shape[0] - 1)] >> 4 for i in (0, 1))
    mixed: npt.NDArray[np.int64] = ((b0[:, None, None] * upper) >> 16) + ((b1[:, None, None] * lower) >> 16) + 2
    resized: Pixels = (mixed >> 2).clip(0, 255).astype(np.uint8)
    return resized


def test_scale_factors_come_from_the_rounded_sizes() -> None:
    sample = Preprocess(KeepRatio(1333, 800))(random_pixels(480, 640), image_id=3)
    assert sample.scale == (1067 / 640, 800 / 480)
    assert sample.original_size == (480, 640)
    assert tuple(sample.pixels.shape) == (800, 1067, 3)
    assert sample.image_id == 3
    assert sample.batch_shape is None


@pytest.mark.parametrize(("height", "width"), [(37, 53), (61, 40), (50, 64), (97, 31)])
def test_pixels_follow_the_fixed_point_recipe(height: int, width: int) -> None:
    rgb = random_pixels(height, width)
    sample = Preprocess(KeepRatio(83, 50))(rgb)
    expected = integer_resize(rgb[:, :, ::-1], *sample.pixels.shape[:2])
    assert np.array_equal(sample.pixels.numpy(), expected)


def test_file_and_array_give_the_same_sample(tmp_path: Path) -> None:
    rgb = random_pixels(20, 30)
    cv2.imwrite(str(tmp_path / "image.png"), rgb[:, :, ::-1])
    transform = Preprocess(KeepRatio(60, 40))
    assert np.array_equal(transform(tmp_path / "image.png").pixels, transform(rgb).pixels)


def test_a_lone_image_has_the_batch_shape_of_its_rule() -> None:
    sample = Preprocess(Letterbox(long=64, stride=32, pad=0.5))(random_pixels(30, 60))
    assert tuple(sample.pixels.shape) == (32, 64, 3)
    assert sample.batch_shape == (64, 96)


def test_normalisation_may_come_before_the_resize() -> None:
    rgb = random_pixels(20, 30)
    normalizer = HostNormalizer([0.1, 0.2, 0.3], [0.5, 0.25, 0.125], divisor=255)
    sample = Preprocess(KeepRatio(30, 20), normalizer=normalizer)(rgb)
    shares = rgb[:, :, ::-1].astype(np.float32) / np.float32(255)
    centred = (shares.astype(np.float64) - [0.1, 0.2, 0.3]).astype(np.float32)
    expected = (centred.astype(np.float64) / [0.5, 0.25, 0.125]).astype(np.float32)
    assert sample.pixels.numpy().dtype == np.float32
    assert np.array_equal(sample.pixels.numpy(), expected)


def test_decode_honours_the_exif_orientation(tmp_path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(random_pixels(8, 16))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode(tmp_path / "turned.jpg").shape == (16, 8, 3)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_damaged_image_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.jpg"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        decode(file)


def test_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jpg: no such image") as caught:
        decode(tmp_path / "absent.jpg")
    assert "data.root" in caught.value.next_step


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_arrays_must_be_rgb_bytes(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 array"):
        as_bgr(array)
