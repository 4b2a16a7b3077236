"""The embedded `shapes` data set: drawn on first use into COCO's own layout, byte-identical on every machine.

Six classes of textured shapes in small images, with what makes COCO hard in small: occlusion, truncation, all three
size ranges, crowds, masks as polygons and as run lengths. Nothing is downloaded; a digest over every byte is checked
against the one that is recorded here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from zoo.data.shapes.scenes import CLASSES, Pixels, Scene, draw_scene
from zoo.errors import DataError
from zoo.fetch.cache import cache_root, locked, progress

log = logging.getLogger(__name__)

Split = Literal["train", "val"]

VERSION = 1
"""Goes up with any change of a pixel or an annotation, and the digests with it."""

IMAGES: dict[Split, int] = {"train": 2000, "val": 200}
"""How many images each split has. An image does not depend on how many there are: fewer are the first of them."""

SHA256: dict[Split, str] = {
    "train": "6820cb813ed804f1fc1b70fa0d00e136f972534fb5ba5feb4aab12a09f8bb5fd",
    "val": "86fa203fdf947ceee76862e7e8585f053a3983344d2108bf3af717a40d148a40",
}
"""What `digest` gives for each split of this version."""

_STREAMS: dict[Split, int] = {"train": 0, "val": 1}  # apart, so that no image of one split is in the other


def prepare_shapes(split: Split, root: Path | None = None) -> Path:
    """The root folder of the data set with one split in it; draws what is not there or was changed.

    Afterwards the root has COCO's own layout: `annotations/instances_<split>.json`, `<split>/*.bmp`. Every byte is
    hashed at each call, which takes a fraction of a second. Of several processes one draws and the others wait; a
    call that was killed is made up for by the next one.

    Args:
        split: "val" (17 MB) or "train" (170 MB).
        root: `<cache>/shapes/v<version>` where it is None. Files of the same names in it are replaced.

    Raises:
        DataError: this machine draws other bytes than recorded, the folder holds images of another origin, or the
            disk refuses.
    """
    root = root if root is not None else default_root()
    try:
        if digest(root, split) != SHA256[split]:
            with locked(root / f".{split}", f"shapes {split}"):
                if digest(root, split) != SHA256[split]:  # not drawn by the process that held the lock before
                    _draw_into(root, split)
    except OSError as error:
        raise DataError(
            f"shapes {split}: cannot use {error.filename or root}: {error.strerror or error}",
            next_step="free some space there or make it writable, or name another folder with ZOO_CACHE=DIR",
        ) from None
    return root


def default_root() -> Path:
    """The folder of the cache that the data set lies in once it was drawn."""
    return cache_root() / "shapes" / f"v{VERSION}"


def digest(root: Path, split: Split) -> str | None:
    """The sha256 over all files of a split, their names included, in lower-case hex; None where it is not there."""
    annotations, images = _annotations(root, split), root / split
    if not annotations.is_file() or not images.is_dir():
        return None
    return digest_of(annotations, images.iterdir())


def digest_of(annotations: Path, images: Iterable[Path]) -> str:
    """The same over an annotation file and images, wherever they lie. Raises OSError where one cannot be read."""
    total, paths = hashlib.sha256(), [annotations, *sorted(images)]
    with progress("hash", total=len(paths), unit="files") as bar:
        for path in paths:
            content = path.read_bytes()
            total.update(f"{path.name} {len(content)}\n".encode())
            total.update(content)
            bar.update()
    return total.hexdigest()


def _annotations(root: Path, split: Split) -> Path:
    return root / "annotations" / f"instances_{split}.json"


def _draw_into(root: Path, split: Split) -> None:
    """Draw a split beside its place, check it, and move it there.

    Raises:
        DataError: what was drawn, or what then lies in the root, is not the data set.
    """
    staging = root / f".{split}.drawing"
    shutil.rmtree(staging, ignore_errors=True)  # of a call that was killed
    try:
        draw(split, IMAGES[split], staging)
        drawn = digest(staging, split)
        if drawn != SHA256[split]:
            raise DataError(
                f"shapes {split}: this machine drew other bytes than everyone's (sha256 {drawn}, not {SHA256[split]})",
                next_step="install the locked versions with `make setup`; if that does not help, report it together "
                "with the versions of Python and numpy and the kind of processor",
            )
        (root / split).mkdir(exist_ok=True)
        for path in sorted((staging / split).iterdir()):
            path.replace(root / split / path.name)
        _annotations(root, split).parent.mkdir(exist_ok=True)
        _annotations(staging, split).replace(_annotations(root, split))  # last: without it a split is not there
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if digest(root, split) != SHA256[split]:
        raise DataError(
            f"{root / split} holds files that are not of the data set",
            next_step="remove that folder and run again: it is drawn anew",
        )
    log.info("shapes %s: drew %d images into %s", split, IMAGES[split], root)


def draw(split: Split, images: int, root: Path) -> None:
    """Write the first images of a split and their annotations, in COCO's own layout.

    Args:
        images: how many.
        root: a folder, made where it is not there.
    """
    (root / split).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with progress(f"drawing shapes {split}", total=images, unit="images") as bar:
        for image_id in range(1, images + 1):
            scene = draw_scene(VERSION, _STREAMS[split], image_id)
            name = f"{image_id:012}.bmp"
            (root / split / name).write_bytes(bitmap(scene.pixels))
            rows.append(_image_row(scene, image_id, name))
            for row in scene.annotations():
                annotations.append({"id": len(annotations) + 1, "image_id": image_id, **row})
            bar.update()
    path = _annotations(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_document(rows, annotations))


def bitmap(pixels: Pixels) -> bytes:
    """An image as a BMP file of 24 bits a pixel, uncompressed.

    Of the lossless formats that OpenCV and browsers read it is the one whose bytes are fixed by its pixels alone:
    those of a PNG depend on the version of the library that compresses it.

    Args:
        pixels: uint8 (H, W, 3), RGB.
    """
    height, width, _ = pixels.shape
    padding = bytes(-3 * width % 4)  # a row of the file is a multiple of four bytes
    rows = b"".join(row.tobytes() + padding for row in pixels[::-1, :, ::-1])  # from the lowest one up, BGR
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    start = 14 + len(info)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + rows


def _image_row(scene: Scene, image_id: int, name: str) -> dict[str, Any]:
    height, width, _ = scene.pixels.shape
    return {"id": image_id, "file_name": name, "height": height, "width": width}


def _document(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> bytes:
    """COCO's annotation file, one object a line."""
    categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES, start=1)]
    info = {"description": "zoo: embedded shapes", "version": str(VERSION)}
    tables = [f'"info":{json.dumps(info, sort_keys=True)}']
    for key, rows in (("images", images), ("categories", categories), ("annotations", annotations)):
        lines = ",\n".join(json.dumps(row, sort_keys=True, separators=(",", ":")) for row in rows)
        tables.append(f'"{key}":[\n{lines}\n]')
    return ("{" + ",\n".join(tables) + "}\n").encode("ascii")
