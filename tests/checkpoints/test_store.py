from __future__ import annotations

import errno
import hashlib
import json
import logging
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from file_server import QUICK, Fault, FileServer

from zoo.checkpoints.pins import Pins
from zoo.checkpoints.store import CheckpointStore
from zoo.errors import CheckpointError, DownloadError, HashMismatchError
from zoo.fetch.cache import cache_root

BODY = random.Random(2).randbytes(150_000)
OTHER = random.Random(3).randbytes(150_000)
SHA = hashlib.sha256(BODY).hexdigest()
OTHER_SHA = hashlib.sha256(OTHER).hexdigest()
TODAY = datetime.now(UTC).date().isoformat()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        yield server


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "results" / "checkpoints.lock"


@pytest.fixture
def store(tmp_path: Path, lock: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "cache", Pins([], lock), policy=QUICK)


def flip_a_bit(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)


def test_a_stored_file_lies_under_its_hash(server: FileServer, store: CheckpointStore) -> None:
    url = server.serve("/model-1.pth", BODY)
    stored = store.fetch([url + "?download=1"], published_prefix=None)
    assert stored.path == store.root / "sha256" / SHA[:2] / SHA / "model-1.pth"
    assert stored.path.read_bytes() == BODY
    assert (stored.sha256, stored.size, stored.url) == (SHA, len(BODY), url + "?download=1")
    assert not list((store.root / "incoming").iterdir())


def test_the_second_fetch_asks_nobody(server: FileServer, store: CheckpointStore) -> None:
    url = server.serve("/a.pth", BODY)
    first = store.fetch([url], published_prefix=SHA[:8])
    server.files.clear()
    assert store.fetch([url], published_prefix=SHA[:8]) == first
    assert len(server.seen) == 1


def test_a_cache_that_cannot_be_written_is_read(
    server: FileServer, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("/a.pth", BODY)
    store.fetch([url], published_prefix=SHA[:8])

    def refuse(path: Path, _label: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("zoo.checkpoints.store.locked", refuse)
    assert store.fetch([url], published_prefix=SHA[:8]).sha256 == SHA
    with pytest.raises(DownloadError, match="Read-only file system"):
        store.fetch([server.serve("/b.pth", OTHER)], published_prefix=OTHER_SHA[:8])


def test_the_evidence_says_what_was_published(server: FileServer, store: CheckpointStore, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY)
    for _ in range(2):  # downloaded, and from the store
        assert store.fetch([url], published_prefix=None, published_sha256=SHA).hash_evidence == "full"
        assert store.fetch([url], published_prefix=SHA[:8], published_sha256=SHA).hash_evidence == "full"
    for _ in range(2):
        assert store.fetch([url], published_prefix=SHA[:8]).hash_evidence == "published prefix"
    bare = server.serve("/b.pt", OTHER)
    for _ in range(2):
        assert store.fetch([bare], published_prefix=None).hash_evidence == "first use"
    assert CheckpointStore(store.root).fetch([bare], published_prefix=None).hash_evidence == "none"


@pytest.mark.parametrize("damage", ["bit flip", "cut", "emptied"])
def test_a_damaged_file_is_fetched_again(
    server: FileServer, store: CheckpointStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.serve("/a.pth", BODY)
    path = store.fetch([url], published_prefix=None).path
    if damage == "bit flip":
        flip_a_bit(path)
    else:
        path.write_bytes(BODY[:70_000] if damage == "cut" else b"")
    with caplog.at_level(logging.WARNING):
        again = store.fetch([url], published_prefix=None)
    assert again.path.read_bytes() == BODY
    assert caplog.messages == [f"{path}: the cached file is damaged; it is removed and fetched again"]
    assert len(server.seen) == 2


def test_a_damaged_file_is_not_used_without_a_network(server: FileServer, store: CheckpointStore) -> None:
    url = server.serve("/a.pth", BODY)
    flip_a_bit(store.fetch([url], published_prefix=None).path)
    server.files.clear()
    with pytest.raises(DownloadError, match=r"a\.pth: could not be downloaded\n.*HTTP 404"):
        store.fetch([url], published_prefix=None)


@pytest.mark.parametrize("index", ["", "{}", "[]", '{"sha256": "00"}'])
def test_a_damaged_index_heals(server: FileServer, tmp_path: Path, index: str) -> None:
    store = CheckpointStore(tmp_path, policy=QUICK)
    url = server.serve("/a.pth", BODY)
    store.fetch([url], published_prefix=None)
    (index_file,) = (tmp_path / "index").glob("*.json")
    index_file.write_text(index)
    assert store.fetch([url], published_prefix=None).path.read_bytes() == BODY
    assert json.loads(index_file.read_text()) == {"sha256": SHA, "url": url}


def test_a_renamed_file_is_still_found(server: FileServer, store: CheckpointStore) -> None:
    url = server.serve("/a.pth", BODY)
    path = store.fetch([url], published_prefix=None).path
    renamed = path.rename(path.with_name("b.pth"))
    assert store.fetch([url], published_prefix=None).path == renamed
    assert len(server.seen) == 1


def test_a_file_of_another_version_is_not_used(server: FileServer, store: CheckpointStore) -> None:
    """A stale cache: the file is intact, but since then the publisher has named another hash."""
    url = server.serve("/a.pth", BODY)
    CheckpointStore(store.root, policy=QUICK).fetch([url], published_prefix=None)
    server.serve("/a.pth", OTHER)
    assert store.fetch([url], published_prefix=OTHER_SHA[:8]).sha256 == OTHER_SHA


def test_a_published_prefix_that_does_not_fit(server: FileServer, store: CheckpointStore, lock: Path) -> None:
    url = server.serve("/a-00000000.pth", BODY)
    with pytest.raises(HashMismatchError) as caught:
        store.fetch([url], published_prefix="00000000")
    rejected = re.search(r"kept as (.*)\)", caught.value.message)
    assert caught.value.message.startswith("a-00000000.pth: not the file it should be")
    assert f"sha256 is {SHA}, but the published one begins with 00000000" in caught.value.message
    assert "checkpoint.path=FILE" in caught.value.next_step
    assert rejected is not None
    assert Path(rejected[1]).name == "a-00000000.pth.rejected"
    assert Path(rejected[1]).read_bytes() == BODY
    assert not (store.root / "sha256").exists()
    assert not lock.exists()


def test_the_first_use_is_pinned(server: FileServer, store: CheckpointStore, lock: Path) -> None:
    urls = [server.serve("/b.pt", BODY), server.address + "/mirror/b.pt"]
    store.fetch(urls, published_prefix=None)
    entry = {"sha256": SHA, "size": len(BODY), "pinned": TODAY}
    assert json.loads(lock.read_text()) == dict.fromkeys(urls, entry)
    assert lock.read_text().splitlines()[1:4] == [
        f'  "{urls[0]}": {{',
        f'    "pinned": "{TODAY}",',
        f'    "sha256": "{SHA}",',
    ]


@pytest.mark.parametrize("prefix", [None, OTHER_SHA[:8]])
def test_a_file_that_changed_since_its_pin_is_noticed(
    server: FileServer, tmp_path: Path, lock: Path, prefix: str | None
) -> None:
    """With a published prefix too: two files can share their first 32 bits."""
    pinned = {"sha256": (prefix or "").ljust(64, "0"), "size": len(BODY), "pinned": "2025-05-01"}
    url = server.serve("/a.pth", OTHER)
    lock.parent.mkdir()
    lock.write_text(json.dumps({url: pinned}))
    store = CheckpointStore(tmp_path / "cache", Pins([lock], tmp_path / "mine.lock"), policy=QUICK)
    with pytest.raises(HashMismatchError) as caught:
        store.fetch([server.address + "/gone.pth", url], published_prefix=prefix)
    assert f"{url}: has changed since it was pinned on 2025-05-01: sha256 is {OTHER_SHA}" in caught.value.message
    assert "remove its pin from checkpoints.lock" in caught.value.next_step


def test_no_more_is_taken_than_the_pinned_file_has(server: FileServer, tmp_path: Path, lock: Path) -> None:
    url = server.serve("/a.pth", BODY + b"more")
    lock.parent.mkdir()
    lock.write_text(json.dumps({url: {"sha256": SHA, "size": len(BODY), "pinned": "2025-05-01"}}))
    store = CheckpointStore(tmp_path / "cache", Pins([lock], tmp_path / "mine.lock"), policy=QUICK)
    with pytest.raises(HashMismatchError, match="pinned on 2025-05-01: 150,004 bytes instead of 150,000"):
        store.fetch([url], published_prefix=None)


def test_a_prefix_is_pinned_in_full(server: FileServer, store: CheckpointStore, lock: Path) -> None:
    url = server.serve("/a.pth", BODY)
    store.fetch([url], published_prefix=SHA[:8])
    assert json.loads(lock.read_text())[url]["sha256"] == SHA


def test_a_pin_finds_the_file_without_an_index(server: FileServer, store: CheckpointStore) -> None:
    """Another mirror, or an index that was lost: the digest alone leads to the file."""
    first, second = server.serve("/a.pth", BODY), server.address + "/elsewhere/a.pth"
    store.fetch([first, second], published_prefix=None)
    assert store.fetch([second], published_prefix=None).url is None
    assert len(server.seen) == 1


def test_a_pin_and_a_published_hash_that_contradict(server: FileServer, store: CheckpointStore) -> None:
    url = server.serve("/a.pth", BODY)
    store.fetch([url], published_prefix=None)
    with pytest.raises(
        HashMismatchError, match=f"a.pth: the file pinned on {TODAY} is not the published one"
    ) as caught:
        store.fetch([url], published_prefix=None, published_sha256=OTHER_SHA)
    assert "checkpoints.lock" in caught.value.next_step


def test_mirrors_share_the_file(server: FileServer, store: CheckpointStore) -> None:
    gone, good = server.address + "/gone.pth", server.serve("/a.pth", BODY)
    assert store.fetch([gone, good], published_prefix=None).url == good
    assert store.fetch([gone, good], published_prefix=None).url == good
    assert [seen.path for seen in server.seen] == ["/gone.pth", "/a.pth"]


def test_no_address(store: CheckpointStore) -> None:
    with pytest.raises(DownloadError, match="no address is known") as caught:
        store.fetch([], published_prefix=None)
    assert "checkpoint.path=FILE" in caught.value.next_step


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert CheckpointStore().root == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    assert cache_root().name == "zoo"


SCRIPT = """
import sys
from pathlib import Path
from zoo.checkpoints.pins import Pins
from zoo.checkpoints.store import CheckpointStore
store = CheckpointStore(Path(sys.argv[2]), Pins([], Path(sys.argv[3])))
print(store.fetch([sys.argv[1]], published_prefix=None).sha256)
"""


def test_two_processes_share_one_download(server: FileServer, tmp_path: Path, lock: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(hold_after=1000))
    command = [sys.executable, "-c", SCRIPT, url, str(tmp_path / "cache"), str(lock)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second,
    ):
        server.release.set()
        printed = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert printed == [SHA + "\n"] * 2
    assert len(server.seen) == 1


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my favourite.bin"
    path.write_bytes(BODY)
    return path


URLS = ["https://host/a.pth", "https://mirror/a.pth"]


def test_an_own_file_that_is_the_published_one(store: CheckpointStore, own: Path, lock: Path) -> None:
    full = store.register_local(own, urls=URLS, published_prefix=None, published_sha256=SHA)
    assert (full.path, full.url, full.sha256, full.size) == (own, None, SHA, len(BODY))
    assert full.hash_evidence == "full"
    assert store.register_local(own, urls=URLS, published_prefix=SHA[:8]).hash_evidence == "published prefix"
    assert not lock.exists()  # only what an address delivers is pinned


def test_an_own_file_that_is_the_pinned_one(store: CheckpointStore, own: Path, lock: Path) -> None:
    Pins([], lock).add(URLS, sha256=SHA, size=len(BODY))
    assert store.register_local(own, urls=URLS[1:], published_prefix=None).hash_evidence == "first use"
    assert store.register_local(own, urls=URLS, published_prefix=SHA[:8]).hash_evidence == "published prefix"


def test_an_own_file_that_is_another(store: CheckpointStore, own: Path, lock: Path) -> None:
    assert store.register_local(own, urls=URLS, published_prefix="00000000").hash_evidence == "other weights"
    assert (
        store.register_local(own, urls=URLS, published_prefix=None, published_sha256=OTHER_SHA).hash_evidence
        == "other weights"
    )
    assert store.register_local(own, urls=URLS, published_prefix=None).hash_evidence == "other weights"
    Pins([], lock).add(URLS, sha256=OTHER_SHA, size=len(OTHER))
    assert store.register_local(own, urls=URLS, published_prefix=None).hash_evidence == "other weights"
    assert store.register_local(own, urls=URLS, published_prefix=SHA[:8]).hash_evidence == "other weights"


def test_an_own_file_that_is_not_there(store: CheckpointStore, tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "under a file").touch()
    faults = {
        "missing.pth": "there is no such file",
        ".": "that is a folder, not a file",
        "empty.pth": "the file is empty",
        "under a file/a.pth": "it cannot be read: Not a directory",
    }
    for name, fault in faults.items():
        path = tmp_path / name
        with pytest.raises(CheckpointError, match=re.escape(f"checkpoint.path={path}: {fault}")) as caught:
            store.register_local(path, urls=URLS, published_prefix=None)
        assert "leave checkpoint.path out" in caught.value.next_step
