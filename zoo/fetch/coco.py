"""COCO 2017 from its own server, into COCO's own layout, for runs that name no `data.root`."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from zoo.errors import DataError
from zoo.fetch.cache import cache_root, disk_errors, locked, progress
from zoo.fetch.download import download
from zoo.fetch.hashes import ExpectedFile
from zoo.fetch.transport import RetryPolicy

Split = Literal["val2017", "train2017"]

_INSTEAD = "give the folder of a COCO you have with data.root=DIR"
_BAD_ARCHIVE = "remove {} and run again, or " + _INSTEAD

MOST_EXPANSION = 100
"""Times its own size that an archive may unpack to; COCO's annotations take four times theirs."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError)
"""What zipfile raises for archives that are not whole, encrypted (RuntimeError), or compressed in unknown ways."""

DATA_SETS = ("coco2017", "coco2017_keypoints")
"""Names of the data sets whose files these are; their annotations lie in the same archive."""

SERVER = "http://images.cocodataset.org"
"""Without TLS, as https://cocodataset.org/#download links it; the md5 sums below stand in for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One archive of a data set.

    Attributes:
        path: path on the server.
        folder: name of the folder that unpacking adds to the root.
        md5: digest of the archive, lower-case hex.
        size: bytes of the archive.
        unpacked: bytes of its contents, rounded up (for the check of free space).
    """

    path: str
    folder: str
    md5: str
    size: int
    unpacked: int

    @property
    def name(self) -> str:
        """File name of the archive."""
        return PurePosixPath(self.path).name


_ANNOTATIONS = Archive(
    path="annotations/annotations_trainval2017.zip",
    folder="annotations",
    md5="f4bbac642086de4f52a3fdda2de5fa2c",
    size=252_907_541,
    unpacked=850_000_000,
)

ARCHIVES: Mapping[Split, tuple[Archive, ...]] = {
    "val2017": (
        _ANNOTATIONS,
        Archive(
            path="zips/val2017.zip",
            folder="val2017",
            md5="442b8da7639aecaf257c1dceb8ba8c80",
            size=815_585_330,
            unpacked=830_000_000,
        ),
    ),
    "train2017": (
        _ANNOTATIONS,
        Archive(
            path="zips/train2017.zip",
            folder="train2017",
            md5="cced6f7f71b7629ddf16f17bbcfab6b2",
            size=19_336_861_798,
            unpacked=19_600_000_000,
        ),
    ),
}
"""What each split needs. Sizes and md5 sums as the server delivers them."""


def fetch_coco(
    split: Split,
    *,
    root: Path | None = None,
    server: str = SERVER,
    archives: Mapping[Split, tuple[Archive, ...]] = ARCHIVES,
    policy: RetryPolicy | None = None,
) -> Path:
    """The root folder of COCO with one split in it; downloads and unpacks what is not there yet.

    Afterwards the root has COCO's own layout: `annotations/instances_<split>.json`, `<split>/*.jpg`.
    A call that was killed is continued by the next one; a complete root is recognised at once.

    Args:
        split: "val2017" (1 GB with the annotations) or "train2017" (20 GB).
        root: `<cache>/coco` where it is None.
        server: a mirror with the same paths.
        archives: what to fetch for each split.
        policy: patience of the downloads.

    Raises:
        DownloadError: the server does not deliver, or the disk refuses.
        HashMismatchError: an archive is not COCO's.
        DataError: there is not enough space, or an archive is damaged or leaves its folder.
    """
    root = root if root is not None else default_root()
    if all(_is_complete(root, archive) for archive in archives[split]):
        return root
    with disk_errors(root, f"COCO {split}"), locked(root / ".coco", f"COCO {split}"):
        missing = [archive for archive in archives[split] if not _is_complete(root, archive)]
        _check_space(root, sum(_space_needed(root, archive) for archive in missing), f"COCO {split}")
        for archive in missing:
            _fetch_archive(root, archive, server, policy)
    return root


def default_root() -> Path:
    """The folder of the cache that COCO lies in once it was fetched."""
    return cache_root() / "coco"


def _place(root: Path, archive: Archive) -> Path:
    """Where an archive lies until it is unpacked."""
    return root / ".archives" / archive.name


def _marker(root: Path, archive: Archive) -> Path:
    """Present once an archive is unpacked to its last file; holds its md5."""
    return root / f".{archive.name}.unpacked"


def _is_complete(root: Path, archive: Archive) -> bool:
    marker = _marker(root, archive)
    return (
        (root / archive.folder).is_dir()
        and marker.is_file()
        and marker.read_text(encoding="utf-8", errors="replace").strip() == archive.md5
    )


def _space_needed(root: Path, archive: Archive) -> int:
    """Bytes that an archive still needs on disk: the rest of itself, and its contents."""
    place = _place(root, archive)
    arrived = [place, place.with_name(f"{place.name}.part")]
    return archive.unpacked + archive.size - sum(path.stat().st_size for path in arrived if path.is_file())


def _check_space(root: Path, needed: int, label: str) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"{label}: needs {needed / 1e9:.2f} GB in {root}, where {free / 1e9:.2f} GB are free",
            next_step=f"free some space there, name a folder on another disk with ZOO_CACHE=DIR, or {_INSTEAD}",
        )


def _fetch_archive(root: Path, archive: Archive, server: str, policy: RetryPolicy | None) -> None:
    """Download one archive, unpack it, mark it as done, and remove it."""
    arrived = download(
        [f"{server.rstrip('/')}/{archive.path}"],
        _place(root, archive),
        expect=ExpectedFile(size=archive.size, md5=archive.md5),
        label=archive.name,
        instead=_INSTEAD,
        policy=policy,
    )
    # Unpacked beside its place first: a killed run never leaves a folder that only looks complete.
    staging = root / f".{archive.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _unpack(arrived.path, staging)
        _move_into(staging, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if not (root / archive.folder).is_dir():
        raise DataError(f"{archive.name}: has no folder {archive.folder}/", next_step=_BAD_ARCHIVE.format(arrived.path))
    _marker(root, archive).write_text(archive.md5 + "\n", encoding="utf-8")
    arrived.path.unlink()


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive into a folder, after a look at every name in it.

    Raises:
        DataError: it is damaged, or one of its members would not stay inside the folder.
    """
    next_step = _BAD_ARCHIVE.format(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                if not _stays_inside(member):
                    raise DataError(f"{path.name}: member {member.filename!r} leaves its folder", next_step=next_step)
            unpacked = sum(member.file_size for member in members)
            if unpacked > MOST_EXPANSION * path.stat().st_size:
                raise DataError(f"{path.name}: would unpack to {unpacked:,} bytes", next_step=next_step)
            _check_space(path.parent, unpacked, f"unpacking {path.name}")
            with progress(f"unpacking {path.name}", total=len(members), unit="files") as bar:
                for member in members:
                    archive.extract(member, folder)
                    bar.update()
    except _DAMAGED as error:
        raise DataError(f"{path.name}: damaged archive: {error}", next_step=next_step) from None


def _stays_inside(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a plain file or folder below the folder it is unpacked into, on every system."""
    name = member.filename
    # zipfile has cut the name at a NUL already; what was behind it is another name to others.
    if "\0" in member.orig_filename or not name.strip("/"):
        return False
    if stat.S_ISLNK(member.external_attr >> 16):
        return False
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return True


def _move_into(staging: Path, root: Path) -> None:
    """Move what was unpacked to its place: whole folders in one step, into one that exists file by file."""
    for source in sorted(staging.iterdir()):
        target = root / source.name
        if source.is_dir() and target.is_dir():
            _move_into(source, target)
        else:
            source.replace(target)
