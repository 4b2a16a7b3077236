"""Image files and arrays to pixels, held against the size that the annotations give them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from zoo.errors import DataError
from zoo.types import Image, Size


class Decoder(Protocol):
    """An image file to its pixels, as a protocol names the library that does it.

    Attributes:
        name: of the library, for messages.
    """

    name: str

    def __call__(self, path: Path) -> npt.NDArray[np.uint8] | None:
        """Pixels (H, W, 3), BGR; None for what is no image. Raises OSError and what else the library raises."""
        ...


class OpenCvDecoder:
    """As `cv2.imread` gives an image, turned as its EXIF orientation says."""

    name = "OpenCV"

    def __call__(self, path: Path) -> npt.NDArray[np.uint8] | None:
        """Pixels (H, W, 3), BGR; see `Decoder`."""
        content = np.fromfile(path, dtype=np.uint8)
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
        return None if pixels is None else pixels.astype(np.uint8, copy=False)


class PillowDecoder:
    """As Pillow gives an image in RGB, not turned: EXIF is not looked at (torchvision's COCO data set)."""

    name = "Pillow"

    def __call__(self, path: Path) -> npt.NDArray[np.uint8] | None:
        """Pixels (H, W, 3), BGR; see `Decoder`."""
        with _any_size():
            try:
                with PillowImage.open(path) as image:
                    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
            except UnidentifiedImageError:
                return None


OPENCV = OpenCvDecoder()
"""What decodes where nothing is said."""


def decode(path: Path, size: Size | None = None, decoder: Decoder = OPENCV) -> npt.NDArray[np.uint8]:
    """An image file as uint8 (H, W, 3), BGR.

    Args:
        path: the file.
        size: (height, width) that its annotations were made for; None where nothing is known. A file whose header
            says otherwise is not decoded: a small file can hold an image that fills the memory.
        decoder: the library that does it.

    Raises:
        DataError: no such file, no image in it, or one of another size.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such image", next_step="check the path, or the folder given as data.root")
    header = None if size is None else _header_size(path)
    if size is not None and header not in (None, size, size[::-1]):  # turned by EXIF or not: known when it is decoded
        raise _other_size(path, header, size)
    try:
        pixels = decoder(path)
    except PermissionError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(message, next_step="make the file readable") from None
    except (cv2.error, OSError, ValueError, SyntaxError, OverflowError) as error:
        message = f"{path}: {decoder.name} cannot decode it ({reason(error)})"
        raise DataError(message, next_step="replace the file, or leave it out of the annotations") from None
    if pixels is None:
        raise DataError(f"{path}: not an image that {decoder.name} can decode", next_step="replace the damaged file")
    found = (pixels.shape[0], pixels.shape[1])
    if size is not None and found != size:
        raise _other_size(path, found, size)
    return pixels


def as_bgr(image: Image, size: Size | None = None, decoder: Decoder = OPENCV) -> npt.NDArray[np.uint8]:
    """A path or an RGB array as uint8 (H, W, 3), BGR.

    Args:
        image: the path or the array.
        size: (height, width) that a file has to have; None where nothing is known.
        decoder: the library that decodes a file.

    Raises:
        DataError: the file is no image, or one of another size.
        ValueError: the array is not uint8 (H, W, 3).
    """
    if not isinstance(image, np.ndarray):
        return decode(Path(image), size, decoder)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 array (H, W, 3) in RGB, got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image[:, :, ::-1])


def reason(error: Exception) -> str:
    """What an error says went wrong; of OpenCV's, without its own file and line."""
    return str(getattr(error, "err", "") or error).strip()


def _header_size(path: Path) -> Size | None:
    """(height, width) that the header of a file gives, before it is turned; None where Pillow does not know it."""
    try:
        with _any_size(), PillowImage.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, OverflowError):
        return None  # the decoder has the last word


@contextmanager
def _any_size() -> Iterator[None]:
    """Without Pillow's own limit: sizes are held against the annotations."""
    limit, PillowImage.MAX_IMAGE_PIXELS = PillowImage.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        PillowImage.MAX_IMAGE_PIXELS = limit


def _other_size(path: Path, found: Size | None, annotated: Size) -> DataError:
    """An image that is not the one its annotations were made for."""
    assert found is not None  # noqa: S101 - for mypy
    turned = ", which is turned" if found == annotated[::-1] else ""
    return DataError(
        f"{path}: {_text(found)}{turned}, and the annotations were made for {_text(annotated)}",
        next_step="correct height and width in the annotation file, or restore the image that it describes (mind the "
        "EXIF orientation)",
    )


def _text(size: Size) -> str:
    return f"{size[1]} x {size[0]} pixels"
