"""Image files as people have them: damaged, turned, of another size than the annotations say, larger than memory."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from zoo.data.images import as_bgr, decode
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio, Letterbox
from zoo.errors import DataError


def write(path: Path, height: int, width: int, orientation: int | None = None) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def png(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b""))
    return path


def test_an_image_of_the_annotated_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", 30, 40)
    assert np.array_equal(decode(path, (30, 40)), decode(path))
    assert decode(path).shape == (30, 40, 3)


@pytest.mark.parametrize("size", [(40, 30), (15, 20), (30, 41)])
def test_another_size_than_the_annotations_say(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write(tmp_path / "a.png", 30, 40)
    with pytest.raises(DataError, match=rf"a\.png: 40 x 30 pixels.* made for {size[1]} x {size[0]} pixels") as raised:
        decode(path, size)
    assert "height and width" in raised.value.next_step


def test_turned_by_exif(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", 30, 40, orientation=6)
    assert decode(path, (40, 30)).shape == (40, 30, 3)  # annotated as it is shown
    with pytest.raises(DataError, match="30 x 40 pixels, which is turned, and the annotations were made for 40 x 30"):
        decode(path, (30, 40))


def test_a_large_image_in_a_small_file_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = png(tmp_path / "bomb.png", 30_000, 30_000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"bomb\.png: 30000 x 30000 pixels"):
        decode(path, (30, 40))


def test_more_pixels_than_opencv_decodes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bomb\.png: OpenCV cannot decode it"):
        decode(png(tmp_path / "bomb.png", 40_000, 40_000))


def test_what_pillow_does_not_know_is_left_to_opencv(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.png: not an image that OpenCV can decode"):
        decode(path, (30, 40))
    path.write_bytes(b"")
    with pytest.raises(DataError, match="not an image"):
        decode(path, (30, 40))
    with pytest.raises(DataError, match="no such image"):
        decode(tmp_path, (30, 40))


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png", 30, 40)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(Permission denied\)"):
        decode(path)


@pytest.mark.parametrize("size", [(1, 6000), (6000, 1)])
def test_too_thin_to_be_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    path, rule = write(tmp_path / "thin.png", *size), KeepRatio(1333, 800)
    with pytest.raises(DataError, match=rf"thin\.png: {size[1]} x {size[0]} pixels cannot be resized"):
        Preprocess(rule)(path, 7, size)
    with pytest.raises(DataError, match="the image of id 7: "):
        Preprocess(rule)(as_bgr(path), 7)
    letterbox = Preprocess(Letterbox(long=640, stride=32, pad=0.5))  # leaves a pixel, as its original does
    assert min(letterbox(path, 7, size).pixels.shape[:2]) == 1
