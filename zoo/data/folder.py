"""A folder of the user's own in COCO's format: which files in it are what, told by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import UsageError

SPLIT_NAMES = {"val": ("val", "valid", "validation"), "train": ("train", "training")}
"""Split -> what its files and folders are called."""

ROBOFLOW = "_annotations.coco.json"
"""Annotation file in the folder of each split, beside its images."""

_MAX_LISTED = 5
"""Files that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSplit:
    """One split of a folder.

    Attributes:
        annotations: file, relative to the root.
        images: folder, relative to the root.
        num_images: number of images that the annotations name.
        classes: names of the categories, in the order of their ids.
    """

    annotations: str
    images: str
    num_images: int
    classes: tuple[str, ...]


def find_split(
    root: Path, split: str, *, annotations: str | None = None, images: str | None = None, key: str = "data"
) -> FolderSplit | None:
    """The files of a split.

    Annotations are `*val*.json` in the root or in `annotations/`, or `_annotations.coco.json` in a folder of the
    split's name (as Roboflow exports them); images lie beside them, in `images/`, in a folder of the split's name, or
    in one inside the other. "val" is also "valid" or "validation".

    Args:
        root: the folder.
        split: "val" or "train".
        annotations: the annotation file, relative to the root, where the names in the folder do not say.
        images: the folder of images, likewise.
        key: of the configuration block that says these, for messages; none where they are arguments of a function.

    Returns:
        None where no file is called like annotations of the split.

    Raises:
        UsageError: there is no such folder or file, several files or folders may be meant, or the images are nowhere.
        DataError: the annotations are damaged.
    """
    from zoo.data.coco import CocoGroundTruth

    if not root.is_dir():
        raise UsageError(
            f"data.root={root}: no such folder", next_step="give the folder of your images and annotations"
        )
    choice = f"{_setting(key, 'annotations')}=FILE, relative to the root"
    file = find_annotations(root, split, choice) if annotations is None else root / annotations
    if file is None:
        return None
    truth = CocoGroundTruth.load(file)
    folder = root / images if images is not None else _image_folder(root, file, split, truth.file_names, key)
    return FolderSplit(
        annotations=_relative(file, root),
        images=_relative(folder, root),
        num_images=len(truth),
        classes=tuple(dict.fromkeys(truth.category_names)),
    )


def find_annotations(root: Path, split: str, choice: str) -> Path | None:
    """The annotation file of a split, by its name; None where no file is called like one.

    Args:
        root: the folder.
        split: "val" or "train".
        choice: how a user names one of several files, for the message.

    Raises:
        UsageError: several files may be meant.
    """
    candidates = _annotation_files(root, split)
    if len(candidates) > 1:
        raise UsageError(
            f"{root}: several files may be the {split} annotations: {_listed(root, candidates)}",
            next_step=f"choose one with {choice}",
        )
    return candidates[0] if candidates else None


def no_annotations(root: Path, split: str, key: str) -> UsageError:
    """The error for a folder without annotations of a split: it lists the JSON files there are."""
    there = sorted(path for path in root.rglob("*.json") if path.is_file()) if root.is_dir() else []
    listed = _listed(root, there) if there else "none"
    where = f"annotations/*{split}*.json or {split}/{ROBOFLOW}"
    return UsageError(
        f"{root}: no {split} annotations ({where}); JSON files there: {listed}",
        next_step=f"name the file with {_setting(key, 'annotations')}=FILE, relative to the root",
    )


def _annotation_files(root: Path, split: str) -> list[Path]:
    names = SPLIT_NAMES[split]
    token = re.compile(rf"(?<![a-z])({'|'.join(names)})(?![a-z])")
    files = [path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json"))]
    found = [path for path in files if token.search(path.stem.lower())]
    return found + [file for name in names if (file := root / name / ROBOFLOW).is_file()]


def _image_folder(root: Path, annotations: Path, split: str, names: Sequence[str], key: str) -> Path:
    """The one folder that has all images."""
    own = annotations.parent
    years = [path.name for path in root.glob("*20[0-9][0-9]") if path.is_dir()]
    splits = [name for name in (*SPLIT_NAMES[split], *years) if name.startswith(SPLIT_NAMES[split])]
    tried = [own, own / "images", root, root / "images"]
    tried += [folder for name in splits for folder in (root / name, root / name / "images", root / "images" / name)]
    tried = [folder for folder in dict.fromkeys(tried) if folder.is_dir()]
    found = [folder for folder in tried if not missing_images(folder, names)]
    if len(found) > 1:
        raise UsageError(
            f"{root}: several folders have the {split} images: {_listed(root, found)}",
            next_step=f"choose one with {_setting(key, 'images')}=FOLDER, relative to the root",
        )
    if not found:
        nearest = min(tried, key=lambda folder: len(missing_images(folder, names)))
        absent = missing_images(nearest, names)
        message = (
            f"{annotations}: its images are nowhere: {_relative(nearest, root)}/ lacks {len(absent)} of "
            f"{len(names)}, such as {absent[0]}"
        )
        raise UsageError(message, next_step=f"complete it, or name their folder with {_setting(key, 'images')}=FOLDER")
    return found[0]


def missing_images(folder: Path, names: Iterable[str]) -> list[str]:
    """The names of images that a folder lacks; each of its folders is listed once."""
    listings: dict[Path, set[str]] = {}
    missing = []
    for name in names:
        file = folder / name
        if file.parent not in listings:
            there = file.parent.is_dir()
            listings[file.parent] = {path.name for path in file.parent.iterdir()} if there else set()
        if file.name not in listings[file.parent]:
            missing.append(name)
    return missing


def _setting(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _listed(root: Path, paths: Sequence[Path]) -> str:
    rest = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return ", ".join(_relative(path, root) for path in paths[:_MAX_LISTED]) + rest


def complete(data: Mapping[str, Any]) -> dict[str, Any]:
    """A block of data settings with what it leaves null found in its folder; one that leaves nothing open as it is.

    The class list is that of the training annotations, if there are any, and what those of `split` have besides.

    Args:
        data: the block as `conf/data/folder.yaml` has it.

    Raises:
        UsageError, DataError: as `find_split` does; or there is no folder, or no annotations to evaluate on.
    """
    if all(data.get(key) is not None for key in ("annotations", "images", "num_images", "classes")):
        return dict(data)
    if data.get("root") is None:
        raise UsageError("no folder of data is given", next_step="add data.root=DIR (docs/your-data.md)")
    root, train = Path(data["root"]).expanduser(), data.get("train")
    found = find_split(root, "val", annotations=data.get("annotations"), images=data.get("images"))
    if found is None:
        raise no_annotations(root, "val", "data")
    learnt = None
    if train is not None:
        chosen = {"annotations": train.get("annotations"), "images": train.get("images")}
        learnt = find_split(root, "train", **chosen, key="data.train")
    names = (*(learnt.classes if learnt else ()), *found.classes)
    return {
        **data,
        "name": data.get("name") or root.resolve().name,
        "annotations": found.annotations,
        "images": found.images,
        "num_images": data.get("num_images") or found.num_images,
        "classes": data.get("classes") or list(dict.fromkeys(names)),
        "train": {**train, "annotations": learnt.annotations, "images": learnt.images} if train and learnt else None,
    }
