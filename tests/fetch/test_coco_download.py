from __future__ import annotations

import hashlib
import io
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_server import QUICK, Fault, FileServer

from zoo.errors import DataError, DownloadError, HashMismatchError
from zoo.fetch.coco import ARCHIVES, SERVER, Archive, Split, fetch_coco

ANNOTATIONS = {f"annotations/instances_{split}.json": b"{}" for split in ("val2017", "train2017")}
IMAGES = {"val2017/": b"", "val2017/000000000139.jpg": b"jpeg" * 50_000, "val2017/000000000285.jpg": b"jpeg"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        yield server


def zipped(members: Mapping[str, bytes], *, symlink: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            if symlink:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
    return buffer.getvalue()


def offered(server: FileServer, path: str, content: bytes, *faults: Fault, folder: str) -> Archive:
    server.serve("/" + path, content, *faults)
    md5 = hashlib.md5(content).hexdigest()  # noqa: S324
    return Archive(path=path, folder=folder, md5=md5, size=len(content), unpacked=2 * len(content))


Archives = dict[Split, tuple[Archive, ...]]


@pytest.fixture
def archives(server: FileServer) -> Archives:
    annotations = offered(server, "annotations/annotations.zip", zipped(ANNOTATIONS), folder="annotations")
    images = offered(server, "zips/val2017.zip", zipped(IMAGES), folder="val2017")
    return {"val2017": (annotations, images)}


def fetch(server: FileServer, root: Path, archives: Archives) -> Path:
    return fetch_coco("val2017", root=root, server=server.address, archives=archives, policy=QUICK)


def content(root: Path) -> dict[str, bytes]:
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".")}


COMPLETE = ANNOTATIONS | {name: body for name, body in IMAGES.items() if body}


def test_the_layout_is_that_of_coco(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    root = fetch(server, tmp_path / "coco", archives)
    assert root == tmp_path / "coco"
    assert content(root) == COMPLETE


def test_a_complete_root_asks_nobody(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    fetch(server, tmp_path, archives)
    asked = len(server.seen)
    assert fetch(server, tmp_path, archives) == tmp_path
    assert len(server.seen) == asked


def test_splits_share_the_annotations(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    fetch(server, tmp_path, archives)
    train = offered(server, "zips/train2017.zip", zipped({"train2017/1.jpg": b"jpeg"}), folder="train2017")
    archives["train2017"] = (archives["val2017"][0], train)
    fetch_coco("train2017", root=tmp_path, server=server.address, archives=archives, policy=QUICK)
    assert (tmp_path / "train2017" / "1.jpg").read_bytes() == b"jpeg"
    assert [seen.path for seen in server.seen].count("/annotations/annotations.zip") == 1


def test_the_default_root_is_in_the_cache(
    server: FileServer, archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert fetch_coco("val2017", server=server.address, archives=archives, policy=QUICK) == tmp_path / "coco"


def test_a_cut_archive_is_continued(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    server.faults["/zips/val2017.zip"].append(Fault(cut_after=150_000))
    fetch(server, tmp_path, archives)
    assert "Range" in server.seen[-1].headers
    assert (tmp_path / "val2017" / "000000000139.jpg").is_file()


def test_a_killed_unpacking_is_done_again(
    server: FileServer, archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("zoo.fetch.coco._move_into", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path, archives)
    assert not (tmp_path / "annotations").exists()
    (tmp_path / ".val2017.zip.unpacking" / "val2017").mkdir(parents=True)  # as a power cut would leave it
    (tmp_path / ".val2017.zip.unpacking" / "val2017" / "half.jpg").touch()
    (tmp_path / "val2017").mkdir()
    fetch(server, tmp_path, archives)
    assert sorted(path.name for path in (tmp_path / "val2017").iterdir()) == ["000000000139.jpg", "000000000285.jpg"]
    assert [seen.path for seen in server.seen].count("/annotations/annotations.zip") == 1
    assert not list(tmp_path.rglob("*.zip"))


def test_what_is_there_beside_it_stays(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    own = tmp_path / "annotations" / "mine.json"
    own.parent.mkdir()
    own.write_text("{}")
    fetch(server, tmp_path, archives)
    assert own.read_text() == "{}"
    assert (tmp_path / "annotations" / "instances_val2017.json").is_file()


@pytest.mark.parametrize(
    "name", ["/etc/x.jpg", "../x.jpg", "val2017/../../x.jpg", "C:/x.jpg", "..\\x.jpg", "\\\\host\\share\\x.jpg"]
)
def test_a_member_that_leaves_the_folder_is_refused(server: FileServer, tmp_path: Path, name: str) -> None:
    archive = offered(server, "zips/val2017.zip", zipped({"val2017/1.jpg": b"", name: b"x"}), folder="val2017")
    root = tmp_path / "coco"
    with pytest.raises(DataError, match=r"val2017\.zip: member .* leaves its folder") as caught:
        fetch(server, root, {"val2017": (archive,)})
    assert "data.root=DIR" in caught.value.next_step
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_symbolic_link_is_refused(server: FileServer, tmp_path: Path) -> None:
    archive = offered(server, "zips/val2017.zip", zipped({"val2017": b"/etc"}, symlink=True), folder="val2017")
    with pytest.raises(DataError, match=r"member 'val2017' leaves its folder"):
        fetch(server, tmp_path, {"val2017": (archive,)})
    assert not (tmp_path / "val2017").exists()


def flipped(archive: bytes) -> bytes:
    """The same archive with one bit of its first member changed."""
    return archive[:60] + bytes([archive[60] ^ 1]) + archive[61:]


@pytest.mark.parametrize("damaged", [b"PK but not a zip", flipped(zipped({"val2017/1.jpg": b"jpeg" * 99}))])
def test_a_damaged_archive_is_named(server: FileServer, tmp_path: Path, damaged: bytes) -> None:
    archive = offered(server, "zips/val2017.zip", damaged, folder="val2017")
    with pytest.raises(DataError, match=r"val2017\.zip: damaged archive") as caught:
        fetch(server, tmp_path, {"val2017": (archive,)})
    assert f"remove {tmp_path / '.archives' / 'val2017.zip'}" in caught.value.next_step
    assert not (tmp_path / "val2017").exists()


def encrypted(archive: bytes) -> bytes:
    """An archive that says of its members that they need a password."""
    changed = bytearray(archive)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(mark)
        while start >= 0:
            changed[start + flags] |= 1
            start = changed.find(mark, start + 4)
    return bytes(changed)


def test_an_encrypted_archive_is_damaged(server: FileServer, tmp_path: Path) -> None:
    archive = offered(server, "zips/val2017.zip", encrypted(zipped(IMAGES)), folder="val2017")
    with pytest.raises(DataError, match=r"val2017\.zip: damaged archive: .*password"):
        fetch(server, tmp_path, {"val2017": (archive,)})


def test_an_archive_that_unpacks_to_far_more_than_itself(server: FileServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("val2017/1.jpg", bytes(10**6))
    archive = offered(server, "zips/val2017.zip", buffer.getvalue(), folder="val2017")
    with pytest.raises(DataError, match=r"val2017\.zip: would unpack to 1,000,000 bytes"):
        fetch(server, tmp_path, {"val2017": (archive,)})
    assert content(tmp_path) == {}


def test_a_marker_that_is_no_text_is_not_believed(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    fetch(server, tmp_path, archives)
    (tmp_path / ".val2017.zip.unpacked").write_bytes(b"\xff\xfe")
    assert content(fetch(server, tmp_path, archives)) == COMPLETE


def test_an_archive_without_its_folder(server: FileServer, tmp_path: Path) -> None:
    archive = offered(server, "zips/val2017.zip", zipped({"images/1.jpg": b""}), folder="val2017")
    with pytest.raises(DataError, match=r"val2017\.zip: has no folder val2017/"):
        fetch(server, tmp_path, {"val2017": (archive,)})


def test_another_archive_is_refused(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    size = archives["val2017"][1].size
    server.serve("/zips/val2017.zip", bytes(size))
    with pytest.raises(HashMismatchError, match=r"val2017\.zip: not the file it should be\n.*md5 is") as caught:
        fetch(server, tmp_path, archives)
    assert "data.root=DIR" in caught.value.next_step


def test_a_dead_server_is_named(server: FileServer, archives: Archives, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match=r"annotations\.zip: could not be downloaded\n  http.*: HTTP 404") as caught:
        fetch(server, tmp_path, archives)
    assert caught.value.next_step.startswith("check the network, or give the folder of a COCO you have with data.root")


def test_a_disk_too_small_is_said_before_anything_is_fetched(
    server: FileServer, archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(DataError, match=r"COCO val2017: needs 0\.00 GB in .*, where 0\.00 GB are free") as caught:
        fetch(server, tmp_path, archives)
    assert "ZOO_CACHE=DIR" in caught.value.next_step
    assert not server.seen


def test_the_table_of_archives() -> None:
    assert SERVER.endswith("images.cocodataset.org")
    val, train = ARCHIVES["val2017"], ARCHIVES["train2017"]
    assert val[0] is train[0]
    for archive in {*val, *train}:
        assert len(archive.md5) == 32
        assert archive.unpacked > archive.size > 2e8
