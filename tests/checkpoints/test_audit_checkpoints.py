"""`zoo fetch --check`: every mirror of every file is asked; a row without a live one is BLOCKED."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import QUICK, Fault, FileServer
from made_up import entry_yaml, make_catalogue

from zoo import cli
from zoo.catalog.entry import read_entry
from zoo.checkpoints import audit as audit_module
from zoo.checkpoints.audit import audit_checkpoints
from zoo.checkpoints.pins import LOCK_FILE, Pins

Capture = pytest.CaptureFixture[str]
BODY, OTHER = b"x" * 1234, b"y" * 99


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(audit_module.audit_checkpoints, "__defaults__", (QUICK,))
    with FileServer() as server:
        yield server


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b")


def mirrors(entries: Path, name: str, *urls: str, **changes: str) -> None:
    """Give an entry other mirrors."""
    lines = {"urls": f"    urls: {json.dumps(urls)}", **changes}
    (entries / f"{name}.yaml").write_text(entry_yaml(name, **lines), encoding="utf-8")


def check(folder: Path, *which: str) -> int:
    return cli.main(["fetch", "--check", *which, "--results-dir", str(folder / "results"), "--format", "json"])


def test_a_dead_mirror_is_a_note(server: FileServer, entries: Path, tmp_path: Path, capsys: Capture) -> None:
    alive, dead = server.serve("/a.pth", BODY), f"{server.address}/gone.pth"
    mirrors(entries, "mmdet_a", dead, alive)
    assert check(tmp_path, "mmdet_a") == 0
    output = capsys.readouterr()
    first, second = json.loads(output.out)
    seen = second.pop("last_seen")
    assert seen.startswith("20")
    shared = {"entry": "mmdet_a", "file": "checkpoint", "status": "ok", "hash_evidence": "published prefix"}
    assert first == shared | {
        "mirror": "dead",
        "bytes": "",
        "last_seen": "",
        "url": dead,
        "note": "HTTP 404 Not Found",
    }
    assert second == shared | {"mirror": "alive", "bytes": "1234", "url": alive, "note": ""}
    assert output.err == ""
    assert {seen.method for seen in server.seen} == {"HEAD"}


def test_a_row_without_a_live_mirror_is_blocked(
    server: FileServer, entries: Path, tmp_path: Path, capsys: Capture
) -> None:
    mirrors(entries, "mmdet_a", server.serve("/a.pth", BODY))
    mirrors(entries, "mmdet_b", f"{server.address}/gone.pth", f"{server.address}/lost.pth")
    assert check(tmp_path) == 1
    output = capsys.readouterr()
    assert [row["status"] for row in json.loads(output.out)] == ["ok", "BLOCKED", "BLOCKED"]
    assert "mmdet_b: checkpoint: BLOCKED: no mirror is alive" in output.err
    assert "next: check the network, ask again later" in output.err


def test_a_row_without_an_address_is_blocked(
    server: FileServer, entries: Path, tmp_path: Path, capsys: Capture
) -> None:
    mirrors(entries, "mmdet_a")
    assert check(tmp_path, "mmdet_a") == 1
    output = capsys.readouterr()
    (row,) = json.loads(output.out)
    assert (row["status"], row["url"], row["note"]) == ("BLOCKED", "", "no address is known")
    assert "no address is known" in output.err


def test_what_only_a_download_would_tell_is_not_called_blocked(
    server: FileServer, entries: Path, tmp_path: Path, capsys: Capture
) -> None:
    mirrors(entries, "mmdet_a", server.serve("/a.pth", BODY, Fault(status=405)))
    assert check(tmp_path, "mmdet_a") == 1
    output = capsys.readouterr()
    assert [row["status"] for row in json.loads(output.out)] == ["unknown"]
    assert "only a download would tell" in output.err


def test_a_file_of_another_size_than_was_pinned_is_another_file(
    server: FileServer, entries: Path, tmp_path: Path
) -> None:
    url = server.serve("/a.pth", BODY)
    mirrors(entries, "mmdet_a", url, sha256_prefix="")
    (entry,) = [read_entry("mmdet_a")]
    results = tmp_path / "results"
    assert [f.hash_evidence for f in audit_checkpoints([entry], results)] == ["none"]
    pin = Pins(read=[], write=results / LOCK_FILE).add([url], sha256="0" * 64, size=1233)
    (file,) = audit_checkpoints([entry], results)
    assert (file.status, file.hash_evidence) == ("BLOCKED", "first use")
    assert file.mirrors[0].reason == f"offers 1,234 bytes instead of the 1,233 pinned on {pin.pinned}"


def test_mirrors_of_different_sizes_say_so(server: FileServer, entries: Path, tmp_path: Path) -> None:
    mirrors(entries, "mmdet_a", server.serve("/a.pth", BODY), server.serve("/b.pth", OTHER))
    (file,) = audit_checkpoints([read_entry("mmdet_a")], tmp_path)
    assert {mirror.reason for mirror in file.mirrors} == {"mirrors of one file announce 99 and 1,234 bytes"}
    assert file.status == "ok"


def test_initial_weights_are_asked_for_too(server: FileServer, entries: Path, tmp_path: Path) -> None:
    mirrors(entries, "mmdet_a", server.serve("/a.pth", BODY))
    path = entries / "mmdet_a.yaml"
    text = path.read_text(encoding="utf-8")
    head = "defaults:\n  - override /initial: {}\n"
    (entries.parent / "initial").mkdir()
    initial = entries.parent / "initial" / "r50.yaml"
    initial.write_text(f"urls: [{server.address}/r50.pth]\nformat: pth\nkeymap: torchvision_resnet\n", encoding="utf-8")
    path.write_text(text.replace("defaults:\n", head.format("r50")), encoding="utf-8")
    files = audit_checkpoints([read_entry("mmdet_a")], tmp_path)
    assert [(file.role, file.status, file.hash_evidence) for file in files] == [
        ("checkpoint", "ok", "published prefix"),
        ("initial", "BLOCKED", "none"),
    ]
    own = entries.parent / "initial" / "published.yaml"
    own.write_text("urls: ${entry.checkpoint.urls}\nformat: pth\nkeymap: mmdet\n", encoding="utf-8")
    path.write_text(text.replace("defaults:\n", head.format("published")), encoding="utf-8")
    assert [file.role for file in audit_checkpoints([read_entry("mmdet_a")], tmp_path)] == ["checkpoint"]


@pytest.mark.parametrize("style", ["table", "csv"])
def test_embedded_weights_need_no_server(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cli.main(["fetch", "--check", "shapes_yolov8_p", "--format", style]) == 0
    out = capsys.readouterr().out
    if style == "csv":
        (row,) = csv.DictReader(io.StringIO(out))
        assert (row["mirror"], row["hash_evidence"]) == ("alive", "full")
    else:
        assert "1 of 1 mirrors alive; 1 files of 1 rows" in out


def test_nothing_named_is_nothing_fetched(capsys: Capture) -> None:
    assert cli.main(["fetch"]) == 2
    assert "nothing to fetch" in capsys.readouterr().err


def test_every_row_of_the_catalogue_has_initial_weights_that_can_be_read() -> None:
    from zoo.catalog.entry import read_entries
    from zoo.catalog.initial import initial_checkpoint

    found = {entry.parts.get("initial"): initial_checkpoint(entry) for entry in read_entries()}
    assert all(file.urls for file in found.values() if file is not None)
    assert {"torchvision_resnet50", "jwyang_vgg16"} <= set(found)
