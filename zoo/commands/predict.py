"""`zoo predict`: what a model finds in images of one's own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from zoo.commands.command import Command, completed
from zoo.commands.completers import entries
from zoo.commands.output import add_format, print_rows
from zoo.errors import DataError, UsageError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Endings of image files, where a folder is given."""


def _predict(options: argparse.Namespace) -> int:
    if not 0 <= options.score <= 1:
        raise UsageError(f"--score {options.score:g} is not from 0 to 1", next_step="leave it out for 0.5")
    images = _images(options.image)
    targets = {} if options.out is None else _targets(options.out, images)
    import zoo

    classes = options.classes and options.classes.split(",")
    model = zoo.load(options.entry, options.checkpoint, options.device, checkpoint_classes=classes)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in images:
        found = model.predict([path])[0].above(options.score)
        if options.out is not None:
            found.draw(path).save(targets[path])
        for one in found:
            corners = dict(zip(("x1", "y1", "x2", "y2"), (f"{side:.2f}" for side in one.box), strict=True))
            rows.append({"image": str(path), "class": one.name, "score": f"{one.score:.4f}", **corners})
        if options.format == "table":
            names = [one.name for one in found]
            counted = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
            print(f"{path}: {counted or f'nothing above {options.score:g}'}", flush=True)
    if options.format != "table":
        print_rows(rows, options.format)
    elif options.out is not None:
        print(f"{len(images)} drawn into {options.out}")
    return 0


def _images(given: list[Path]) -> list[Path]:
    """The images that files and folders mean, each once.

    Raises:
        DataError: there is no such file, or a folder holds no image.
    """
    images: list[Path] = []
    for path in given:
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not found:
            raise DataError(f"no image in {path}", next_step="give image files, or a folder that holds some")
        images += found
    for path in images:
        if not path.is_file():
            raise DataError(f"no image {path}", next_step="give image files that are there, or a folder of them")
    return list(dict.fromkeys(images))


def _targets(folder: Path, images: Sequence[Path]) -> dict[Path, Path]:
    """Where the picture of each image goes: images of the same name from two folders have a number behind it.

    Raises:
        UsageError: that would be one of the images.
    """
    targets: dict[Path, Path] = {}
    for image in images:
        names = (f"{image.stem}{f'_{i}' if i > 1 else ''}.png" for i in count(1))
        targets[image] = next(folder / name for name in names if folder / name not in targets.values())
    for image in images:
        if image.resolve() in {target.resolve() for target in targets.values()}:
            raise UsageError(f"--out {folder} would overwrite {image}", next_step="choose another folder")
    return targets


def _arguments(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("entry", metavar="ENTRY", help="an entry; its zoo may be left out"), entries)
    parser.add_argument("image", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="draw into this folder, a picture an image")
    parser.add_argument("--score", type=float, default=0.5, help="lowest score; default: %(default)s")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of your own; default: the published")
    parser.add_argument(
        "--classes", metavar="NAME,...", help="of these weights, in label order, where the file has none"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")
    add_format(parser)


COMMANDS = (
    Command(
        name="predict",
        theme="runs",
        about="find objects in images of your own, and draw them",
        run=_predict,
        arguments=_arguments,
    ),
)
