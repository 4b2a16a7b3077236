"""docs/diff.md, line by line, on the records of this repository."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import scored_set
from documents import ROOT, code_blocks
from scored_runs import without_image, write_data, write_run

from zoo import cli
from zoo.results.table import current_folder


def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "results" / "records", "results/records")
    shutil.copytree(current_folder(ROOT / "results"), "results/tables/0d00ac62c881")
    for command in (
        "init --quiet .",
        "add results/tables results/records",
        "commit --quiet --message first",
        "commit --quiet --message second --allow-empty",
    ):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *command.split()], check=True)
    write_data(Path("data"))
    write_run(Path("old"), scored_set.detections(), Path("data"))
    write_run(Path("new"), without_image(7), Path("data"))
    lines = [line for block in code_blocks("docs/diff.md", "sh") for line in block.splitlines()]
    assert len(lines) == 11
    for line in lines:
        assert cli.main([*shlex.split(line)[1:], "--results-dir", "results"]) == 0, line
        output = capsys.readouterr()
        assert output.out, line
        assert "not compared by image" not in output.out + output.err, line
