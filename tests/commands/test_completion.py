"""A shell completes commands, entries and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import cli


def completions(line: str) -> list[str]:
    """What bash is offered behind a line."""
    read, write = os.pipe()
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }
    # argcomplete answers on descriptor 8
    code = f"import os, sys; os.dup2({write}, 8); from zoo.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env=environment, pass_fds=[write], check=True, capture_output=True)
    os.close(write)
    with os.fdopen(read) as file:
        return [word.strip() for word in file.read().splitlines()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("zoo pub", ["published"]),
        ("zoo show shapes_yolo", ["shapes_yolov8_p"]),
        ("zoo list yolov8n", ["yolov8n", "yolov8n_seg"]),
        ("zoo run shapes_yolov8_p run.max", ["run.max_steps="]),
        ("zoo run shapes_yolov8_p backbone=resnet50_f", ["backbone=resnet50_fpg"]),
        ("zoo list --form", ["--format"]),
    ],
)
def test_lines_are_completed(line: str, offered: list[str]) -> None:
    assert completions(line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_ARGCOMPLETE" in script
    assert "zoo" in script
    if shell == "bash":
        path = tmp_path / "completion.bash"
        path.write_text(script, encoding="utf-8")
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def test_an_unknown_shell_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    assert "no bash|zsh|fish 'tcsh'" in capsys.readouterr().err
