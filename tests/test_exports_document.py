"""docs/exports.md, line by line, on the records of this repository."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from documents import ROOT, code_blocks
from made_up import files

from zoo import cli
from zoo.results.export.eee import SCHEMA_VERSION
from zoo.results.exporting import export_names

PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for machine in ("h100", "h200"):
        shutil.copytree(ROOT / "results" / "records", Path(machine, "results", "records"))
        for path in Path(machine, "results", "records").rglob("*.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            record["hardware"]["id"] = machine
            path.write_text(json.dumps(record), encoding="utf-8")
    lines = [line for block in code_blocks("docs/exports.md", "sh") for line in block.splitlines()]
    assert len(lines) == 10
    for line in lines:
        assert cli.main(shlex.split(line)[1:]) == 0, line
    exported = {path.parts[1] for path in Path("exports").rglob("*") if path.is_file()}
    assert exported == set(export_names()), "the page shows every format"
    machines = {name.split("/")[1] for name in files(Path("results"))}
    assert machines == {"h100", "h200"}
    assert (tmp_path / "results" / "tables").is_dir()


def test_the_page_names_every_format_and_state() -> None:
    assert all(f"`{name}`" in PAGE for name in export_names())
    assert f"{SCHEMA_VERSION}:" in PAGE
    for status in ("alive", "dead", "web page", "other file", "refuses HEAD", "not asked"):
        assert f"| {status} |" in PAGE
