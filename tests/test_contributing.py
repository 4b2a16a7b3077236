"""CONTRIBUTING.md and docs/your-entry.md, step by step, in a tree of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, commands_and_files


def follow(document: str, folder: Path, tree: Path) -> str:
    """Do what a document says, in a folder, with the package of a tree; returns what the commands printed."""
    program = folder / ".bin" / "zoo"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zoo "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": f"{tree}:{folder}"}
    said = []
    for step, content in commands_and_files(document):
        if step != "bash":
            (folder / step).parent.mkdir(parents=True, exist_ok=True)
            (folder / step).write_text(content, encoding="utf-8")
            continue
        done = subprocess.run(["bash", "-c", f"set -e\n{content}"], cwd=folder, env=environment, capture_output=True)
        assert done.returncode == 0, f"{content}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        said.append(done.stdout.decode())
    return "\n".join(said)


@pytest.mark.long
def test_contributing(tmp_path: Path) -> None:
    """An entry and a backbone, added to a copy of the project exactly as the document says."""
    for name in ("zoo", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    said = follow("CONTRIBUTING.md", tmp_path, tmp_path)
    first, second = [line for line in said.splitlines() if "parameters, 6 classes" in line]
    assert first.startswith("shapes_plain: 932,734 parameters")
    assert not second.startswith("shapes_plain: 932,734"), "the second is with the new backbone"
    assert (tmp_path / "conf/entry/shapes_plain.yaml").is_file()
    assert "backbone         plain" in said


@pytest.mark.long
def test_an_entry_of_ones_own(tmp_path: Path) -> None:
    said = follow("docs/your-entry.md", tmp_path, ROOT)
    assert "mine_retinanet: 634,410 parameters, 6 classes" in said
    assert (tmp_path / "my-zoo/entry/mine_retinanet.yaml").is_file()
    assert (tmp_path / "my-zoo/backbone/tiny.yaml").is_file()
