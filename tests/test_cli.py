"""The quick front door: what its commands print, how they end, and that they stay quick."""

from __future__ import annotations

import csv
import functools
import hashlib
import http.server
import io
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up import entry_yaml, make_catalogue, make_record

from zoo import cli
from zoo.catalog.entry import entry_names
from zoo.commands import catalogue as catalogue_commands
from zoo.commands import commands
from zoo.results.ledger import Ledger

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three made-up entries in two zoos; returns the folder of their YAML."""
    return make_catalogue(tmp_path, monkeypatch, "mmdet_r101", "mmdet_r50", "paddle_r50")


def run(*arguments: str | Path) -> int:
    return cli.main([str(argument) for argument in arguments])


# --- the catalogue --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ((), ["mmdet_r101", "mmdet_r50", "paddle_r50"]),
        (("mmdet",), ["mmdet_r101", "mmdet_r50"]),
        (("*_r50",), ["mmdet_r50", "paddle_r50"]),
        (("r50",), ["mmdet_r50"]),
        (("paddle", "mmdet_r50"), ["mmdet_r50", "paddle_r50"]),
    ],
)
def test_list_takes_zoos_globs_and_names(
    catalogue: Path, capsys: Capture, which: tuple[str, ...], names: list[str]
) -> None:
    assert run("list", *which, "--format", "names") == 0
    assert capsys.readouterr().out.split() == names


@pytest.mark.parametrize(
    ("which", "near"), [("mmdte", "mmdet"), ("mmdet_r5", "mmdet_r50"), ("mmdet_x*", "mmdet_r"), ("r51", "r50")]
)
def test_nothing_listed_is_an_error_with_the_closest(catalogue: Path, capsys: Capture, which: str, near: str) -> None:
    assert run("list", which) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert f"error: no entry fits '{which}'; closest:" in output.err
    assert near in output.err
    assert "next: see `zoo list`" in output.err


def test_list_says_how_strong_the_hash_is(catalogue: Path, capsys: Capture) -> None:
    digest = f'    sha256: "{"a" * 64}"'
    (catalogue / "mmdet_r50.yaml").write_text(entry_yaml("mmdet_r50", sha256_prefix=digest), encoding="utf-8")
    (catalogue / "paddle_r50.yaml").write_text(entry_yaml("paddle_r50", sha256_prefix=""), encoding="utf-8")
    assert run("list", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["checkpoint"] for row in rows] == ["prefix", "full", "first use"]
    assert rows[0] == {
        "entry": "mmdet_r101",
        "upstream": "faster-rcnn",
        "detector": "",
        "backbone": "resnet50",
        "neck": "",
        "loss": "",
        "schedule": "",
        "box_AP": "37.4",
        "mask_AP": "",
        "keypoint_AP": "",
        "checkpoint": "prefix",
    }


def test_list_as_csv_and_as_a_table(catalogue: Path, capsys: Capture) -> None:
    assert run("list", "paddle", "--format", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["entry"], row["box_AP"]) == ("paddle_r50", "37.4")
    assert run("list", "paddle") == 0
    header, _, line = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["entry", "upstream"]
    assert "box_AP" in header
    assert "mask_AP" not in header, "none of these rows publishes one"
    assert line.split()[:2] == ["paddle_r50", "faster-rcnn"]


def test_show(catalogue: Path, capsys: Capture) -> None:
    assert run("show", "r50") == 0
    text = capsys.readouterr().out
    for part in (
        "mmdet_r50",
        "  faster-rcnn of mmdet, weights under Apache-2.0",
        "also in other zoos: paddle_r50",
        "backbone         resnet50",
        "sha256 047c8118... (prefix)",
        "https://example.org/w-047c8118.pth",
        "37.4 AP points, README.md:25",
        "21.4 images/s on V100, README.md:25",
        "mmdet            version 3",
        "zoo run mmdet_r50",
    ):
        assert part in text


def test_show_as_json(catalogue: Path, capsys: Capture) -> None:
    assert run("show", "paddle_r50", "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["protocol"] == {"name": "mmdet", "version": 3}
    assert shown["published"][0]["text"] == "37.4"
    assert run("show", "paddle_r50", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[-1] == {"of": "protocol", "name": "mmdet", "value": "version 3", "source": ""}
    box = {"of": "published", "name": "box_AP", "value": "37.4 AP points", "source": "README.md:25"}
    assert box in rows


def test_show_says_what_is_missing(catalogue: Path, capsys: Capture) -> None:
    assert run("show", "mmdet_r51") == 2
    assert "no entry 'mmdet_r51'; closest: mmdet_r50" in capsys.readouterr().err
    (catalogue.parent / "protocol" / "mmdet.yaml").unlink()
    assert run("show", "mmdet_r50") == 2
    assert "its protocol 'mmdet' has no name and version" in capsys.readouterr().err


def test_published(catalogue: Path, capsys: Capture) -> None:
    assert run("published", "paddle", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == {
        "entry": "paddle_r50",
        "metric": "fps",
        "text": "21.4",
        "unit": "images/s",
        "source": "README.md",
        "line": "25",
        "hardware": "V100",
        "conflict": "",
    }
    assert run("published") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 * 2


def test_published_shows_what_carriers_disagree_about(catalogue: Path, capsys: Capture) -> None:
    other = '    - {metric: box_AP, text: "37.9", source: metafile.yml}'
    (catalogue / "mmdet_r50.yaml").write_text(entry_yaml("mmdet_r50", other=other), encoding="utf-8")
    assert run("published", "mmdet_r50", "--format", "csv") == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [row["conflict"] for row in rows] == ["37.4 / 37.9", "", "37.4 / 37.9"]


TABLE = """| Backbone | box AP | Config |
|---|---|---|
| R-50 | 37.4* | [c](faster-rcnn_r50_fpn_1x_coco.py) |
| R-50 | 37.9 | [c](faster-rcnn_r50_fpn_1x_coco.py) |
"""


def test_published_reads_files(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "README.md"
    path.write_text(TABLE, encoding="utf-8")
    assert run("published", "--format", "csv", "--read", path) == 0
    output = capsys.readouterr()
    first, second = csv.DictReader(io.StringIO(output.out))
    assert first == {
        "place": f"{path}:3",
        "side": "",
        "row": "R-50",
        "entry": "mmdet_faster_rcnn_r50_fpn_1x",
        "metric": "box_AP",
        "text": "37.4",
        "hardware": "",
        "raw": "37.4*",
        "conflict": "37.4 / 37.9",
    }
    assert second["conflict"] == "37.4 / 37.9"
    issue = f"{path}:3: column 'box ap': a footnote mark (*): left off"
    assert output.err == f"\nissues\n  {issue}\n"
    assert run("published", "--read", path) == 0
    output = capsys.readouterr()
    assert output.out.endswith(f"\nissues\n  {issue}\n")
    assert output.err == ""


def test_published_says_what_it_cannot_read(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "README.md"
    assert run("published", "--read", path) == 2
    assert f"error: no file {path}" in capsys.readouterr().err
    path.write_text("# Title\n", encoding="utf-8")
    assert run("published", "--read", path) == 1
    error = capsys.readouterr().err
    assert f"error: {path}: no table with a published number\nnext: a table needs one of these columns:" in error
    assert run("published", "mmdet", "--read", path) == 2
    assert "error: --read takes files, and mmdet is asked for as well" in capsys.readouterr().err


def test_every_entry_of_the_project_can_be_shown(capsys: Capture) -> None:
    for name in entry_names():
        assert run("show", name) == 0, name
        assert f"zoo run {name}" in capsys.readouterr().out
    assert run("published") == 0


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server with one file, `weights.pth`; yields its address."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(b"weights")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_fetch_goes_on_after_a_failure(
    catalogue: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(b"weights").hexdigest()
    urls = {"good": f"    urls: [{server}/weights.pth]", "dead": f"    urls: [{server}/gone.pth]"}
    prefix = f'    sha256_prefix: "{digest[:8]}"'
    for name, url, hash_line in (
        ("mmdet_r101", urls["dead"], prefix),
        ("mmdet_r50", urls["good"], prefix),
        ("paddle_r50", urls["good"], ""),
    ):
        (catalogue / f"{name}.yaml").write_text(entry_yaml(name, urls=url, sha256_prefix=hash_line), encoding="utf-8")
    assert run("fetch", "*", "--results-dir", tmp_path / "results") == 1
    output = capsys.readouterr()
    first, second = output.out.splitlines()
    assert first.startswith("mmdet_r50: ")
    assert first.endswith(f"sha256 {digest[:8]}, published prefix)")
    assert second.endswith(f"sha256 {digest[:8]}, first use)")
    assert "mmdet_r101: BLOCKED: " in output.err
    assert "next: " in output.err
    assert digest in (tmp_path / "results" / "checkpoints.lock").read_text(encoding="utf-8")
    assert run("fetch", "paddle_r50", "--results-dir", tmp_path / "results") == 0


# --- results --------------------------------------------------------------------------------------


@pytest.fixture
def results(catalogue: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    Ledger(folder).file(make_record("mmdet_r50", measured={"box_AP": 37.41, "fps": 60.0}))
    return folder


def test_table_and_its_check(results: Path, capsys: Capture) -> None:
    assert run("table", "--check", "--results-dir", results) == 1
    assert "out of date: " in capsys.readouterr().out
    assert run("table", "--results-dir", results) == 0
    written = [line.split("/")[-1] for line in capsys.readouterr().out.splitlines()]
    assert written == [f"{name}.{kind}" for name in ("h200-sxm", "_machines") for kind in ("csv", "json", "md")]
    assert run("table", "--check", "--results-dir", results) == 0
    Ledger(results).file(make_record("paddle_r50", hardware="cpu"))
    (results / "records" / "h200-sxm" / "mmdet_r50.json").unlink()
    assert run("table", "--results-dir", results) == 0
    assert "h200-sxm.md: no record is of this machine any more" in capsys.readouterr().out


def test_diff_is_a_gate(results: Path, capsys: Capture) -> None:
    assert run("diff", "--results-dir", results) == 0
    assert "EXACT" in capsys.readouterr().out
    drifting = make_record("paddle_r50", measured={"box_AP": 36.5})
    Ledger(results).file(drifting)
    assert run("diff", "--results-dir", results) == 1
    assert "DRIFT" in capsys.readouterr().out
    assert run("diff", "mmdet", "--results-dir", results) == 0
    assert run("diff", "paddle_*", "--results-dir", results) == 1
    assert run("diff", "r50", "--results-dir", results) == 0, "the preferred zoo's"


@pytest.mark.parametrize("command", ["diff", "table"])
def test_no_records_are_a_failure(catalogue: Path, tmp_path: Path, capsys: Capture, command: str) -> None:
    assert run(command, "--results-dir", tmp_path / "nowhere") == 1
    error = capsys.readouterr().err
    assert "no records to read under" in error
    assert "next: measure something first: python -m zoo.bench" in error


def test_diff_of_entries_without_records(results: Path, capsys: Capture) -> None:
    assert run("diff", "mmdet_r101", "--results-dir", results) == 1
    assert "no records to read" in capsys.readouterr().err
    assert run("diff", "mmdet_r5", "--results-dir", results) == 2
    assert "closest: mmdet_r50" in capsys.readouterr().err


def test_diff_of_a_changed_composition_by_its_own_name(results: Path, capsys: Capture) -> None:
    Ledger(results).file(make_record("mmdet_r50", name="with_pafpn", changes=("neck=pafpn",)))
    assert run("diff", "with_*", "--results-dir", results) == 0
    output = capsys.readouterr().out
    assert "a changed composition of mmdet_r50" in output
    assert "EXACT" not in output
    assert run("diff", "mmdet_r50", "--results-dir", results) == 0
    output = capsys.readouterr().out
    assert "EXACT" in output
    assert "with_pafpn" in output, "what a row was changed to is shown with it"


def test_diff_shows_attempts(results: Path, capsys: Capture) -> None:
    Ledger(results).file(make_record("paddle_r50", status="blocked", reason="link dead", weights=None))
    assert run("diff", "paddle_r50", "--results-dir", results) == 1
    assert "link dead" in capsys.readouterr().out


def test_diff_of_two_records(tmp_path: Path, capsys: Capture) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    make_record(measured={"box_AP": 37.4}).write(old)
    make_record(measured={"box_AP": 37.6}).write(new)
    assert run("diff", old, new) == 0
    assert "+0.2" in capsys.readouterr().out
    assert run("diff", old) == 2
    assert run("diff", old, tmp_path / "gone.json") == 2
    assert "no record file" in capsys.readouterr().err
    make_record(version=2).write(new)
    assert run("diff", old, new) == 2
    assert "2 versions" in capsys.readouterr().err


# --- the door itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lits"], "no command 'lits'; closest: list"),
        (["list", "--format", "cvs"], "no format 'cvs'; closest: csv"),
        (["show"], "the following arguments are required: ENTRY"),
        (["list", "--fast"], "zoo list does not take --fast"),
    ],
)
def test_usage_errors(capsys: Capture, arguments: list[str], message: str) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert f"error: {message}" in error
    assert "next: see `zoo" in error


def test_without_a_command_there_is_help(capsys: Capture) -> None:
    assert run() == 0
    text = capsys.readouterr().out
    assert text.count("  zoo ") == 3, "three examples"
    for line in re.findall(r"^  (zoo [^#]+?) +#", text, flags=re.MULTILINE):
        assert shlex.split(line)[1] in {command.name for command in commands()}
    assert max(map(len, text.splitlines())) <= 80


def test_show_settings(capsys: Capture) -> None:
    assert run("show", "shapes_yolov8_p", "--settings", "--format", "json") == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["schedule.epochs"]["value"] == "16"
    assert rows["schedule.accumulate_to"]["meaning"]
    assert rows["data.num_images"]["meaning"] == "number of images of the whole split."
    assert rows["backbone.blocks"] == {
        "setting": "backbone.blocks",
        "value": "[1,2,2,1]",
        "meaning": "bottlenecks of each stage",
    }
    assert rows["protocol.normalize.padding.fill"]["value"] == "114"


def test_help_and_version(capsys: Capture) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("list", "show", "published", "fetch", "table", "diff"))
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("zoo ")


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue_commands, "resolve", interrupt)
    assert run("show", "anything") == 1
    assert capsys.readouterr().err == "interrupted; what was finished is kept\n"


HEAVY = ("torch", "torchvision", "pandas", "numpy", "hydra", "omegaconf", "requests", "cv2")


QUICK = [["list"], ["show", entry_names()[0]], ["published"], ["published", "--read"], ["diff"], ["--version"]]


@pytest.mark.parametrize("command", QUICK)
def test_the_quick_commands_import_nothing_heavy(tmp_path: Path, command: list[str]) -> None:
    if command[-1] == "--read":
        (tmp_path / "README.md").write_text(TABLE.replace("*", ""), encoding="utf-8")
        command = [*command, str(tmp_path / "README.md")]
    if command == ["diff"]:
        Ledger(tmp_path).file(make_record(entry_names()[0]))
        command = ["diff", "--results-dir", str(tmp_path)]
    code = f"""
import sys
from zoo.cli import main
status = main({command!r})
print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr, end="")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
