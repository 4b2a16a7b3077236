"""README and docs/running.md are true: their commands parse and run, their Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ENTRY

from zoo import bench, cli
from zoo.catalog.entry import read_entries
from zoo.checkpoints import fetch_checkpoint as fetch_module
from zoo.checkpoints.store import StoredFile
from zoo.commands.runs import run_arguments
from zoo.config.overrides import MULTIRUN, check

ROOT = Path(__file__).resolve().parents[1]
PAGES = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/running.md")]


def blocks(language: str) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
    return [block for page in PAGES for block in pattern.findall(page)]


COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks("sh")
    for line in block.splitlines()
    if shlex.split(line, comments=True)
]


PRINTING = ("list", "show", "published")
"""Commands that need neither records nor a network."""

RUNNING = ("run", "train")


def named(command: list[str]) -> str:
    return " ".join(command)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "make"], ids=named)
def test_make_targets_exist(command: list[str]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--directory", str(ROOT), *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def arguments_of(command: list[str]) -> list[str] | None:
    """The command line of the runner that a command means, through either door; None for any other command."""
    if "--help" in command:
        return None
    if command[:3] == ["python", "-m", "zoo.bench"]:
        return command[3:]
    if command[0] != "zoo" or command[1] not in RUNNING:
        return None
    return [*run_arguments(command[2:]), *(["run=train"] if command[1] == "train" else [])]


def sweeps(arguments: list[str]) -> bool:
    return any(argument in MULTIRUN for argument in arguments)


RUNS = [arguments for command in COMMANDS if (arguments := arguments_of(command)) is not None]


@pytest.mark.parametrize("arguments", [c for c in RUNS if not sweeps(c)], ids=named)
def test_overrides_compose(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["zoo.bench"])
    assert bench.main([*arguments, "--cfg", "job"]) == 0


@pytest.mark.parametrize("arguments", [c for c in RUNS if sweeps(c)], ids=named)
def test_sweeps_find_entries_and_launchers(arguments: list[str]) -> None:
    assert check(arguments).sweep_dir is not None
    for argument in arguments:
        if argument.startswith("hydra/launcher="):
            assert (ROOT / "conf" / "hydra" / "launcher" / f"{argument.partition('=')[2]}.yaml").is_file()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "zoo" and c[1] in PRINTING], ids=named)
def test_catalogue_commands_run(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command[1:]) == 0
    assert ENTRY in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "zoo" and c[1] not in PRINTING], ids=named)
def test_other_commands_parse(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # What these do has tests of its own: they need records, images or a network.
    assert cli.main([command[1], "--help"]) == 0
    assert f"zoo {command[1]}" in capsys.readouterr().out or command[1] in RUNNING


def test_no_command_is_left_out() -> None:
    assert len(COMMANDS) >= 10
    assert {c[0] for c in COMMANDS} <= {"make", "zoo", "python", "."}, "`.` is the shell's: . .venv/bin/activate"
    assert {c[1] for c in COMMANDS if c[0] == "."} <= {".venv/bin/activate"}


def test_python_runs(
    faster_rcnn_pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def local(*_: Any, **__: Any) -> StoredFile:
        return StoredFile(path=faster_rcnn_pth, url=None, sha256="0" * 64, size=1, hash_evidence="other weights")

    monkeypatch.setattr(fetch_module, "fetch_checkpoint", local)
    monkeypatch.chdir(tmp_path)
    mosaic = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite("image.jpg", mosaic.repeat(5, axis=0).repeat(5, axis=1))
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102 - it is what users are told to run
    assert re.search(r"^[a-z ]+ \d\.\d+ \[\d+\.\d+, .*\]$", capsys.readouterr().out, flags=re.MULTILINE)


def test_the_table_of_rows_counts_the_catalogue() -> None:
    counted = Counter(entry.zoo for entry in read_entries())
    rows = re.findall(r"^\| `(\w+)` \| (\d+)(?: of (\d+))?[:, ]", PAGES[0], flags=re.MULTILINE)
    assert {zoo: int(count) for zoo, count, _ in rows} == counted
    assert all(count == total for _, count, total in rows if total)
    published, total, own = (
        int(number) for number in re.findall(r"(\d+) of (\d+) rows of .*, and (\d+) of its own", PAGES[0])[0]
    )
    assert (published, total, own) == (counted.total() - counted["shapes"],) * 2 + (counted["shapes"],)


def test_the_table_of_rows_says_what_hashes_there_are() -> None:
    found: dict[str, Counter[str]] = {}
    for entry in read_entries():
        checkpoint = entry.checkpoint
        kind = "whole" if checkpoint.sha256 else "prefix" if checkpoint.sha256_prefix else "none"
        found.setdefault(entry.zoo, Counter())[kind if checkpoint.urls else "no file"] += 1
    # If this changes, the column "its files are known by" has to.
    assert found == {
        "mmdet": {"prefix": 36},
        "ultralytics": {"whole": 5, "none": 5},
        "paddle": {"none": 12},
        "jwyang": {"none": 4, "no file": 1},
        "torchvision": {"prefix": 8, "whole": 5},
        "shapes": {"whole": 5},
    }


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", text)
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
