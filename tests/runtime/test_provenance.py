"""Which code it is, in a checkout, in a plain source tree and as an installed package."""

from __future__ import annotations

import importlib.metadata
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoo.files import PROJECT
from zoo.runtime import provenance
from zoo.runtime.provenance import Code, bare_names, changed_files, code_state, zoo_version


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.usefixtures("uninstalled")
def test_a_source_tree_knows_its_version_without_being_installed() -> None:
    written = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert zoo_version() == code_state().version == written


@pytest.mark.parametrize("pyproject", [None, "[project]\nname = 'other'\nversion = '9'\n", "[project]\n", "]"])
def test_an_installed_package_asks_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyproject: str | None
) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    monkeypatch.setattr(provenance, "PROJECT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"zoo-bench": "1.2.3"}[name])
    assert zoo_version() == "1.2.3"
    assert code_state() == Code(version="1.2.3")


def test_a_class_keeps_its_name_and_loses_its_module() -> None:
    loss = {"_target_": "zoo.models.losses.regression.GIoULoss", "weight": 2.0, "name": "a.b"}
    node: dict[str, Any] = {"head": {"loss": [loss, None]}, "sides": [1, 2], "_target_": "Bare"}
    bare = bare_names(node)
    assert bare == {
        "head": {"loss": [{"_target_": "GIoULoss", "weight": 2.0, "name": "a.b"}, None]},
        "sides": [1, 2],
        "_target_": "Bare",
    }
    assert loss["_target_"] == "zoo.models.losses.regression.GIoULoss", "the configuration itself stays as it is"


def test_the_files_that_mean_something_else_than_in_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "zoo"
    package.mkdir()
    files = {name: package / f"{name}.py" for name in ("same", "commented", "changed", "elsewhere")}
    for path in files.values():
        path.write_text("LIMIT = 1\n", encoding="utf-8")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    code = Code(version="1", commit=git("rev-parse", "HEAD"), dirty=False)
    files["commented"].write_text("LIMIT = 1  # at most\n", encoding="utf-8")
    for name in ("changed", "elsewhere"):
        files[name].write_text("LIMIT = 2\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "PROJECT", tmp_path)
    of_the_number = [files[name] for name in ("same", "commented", "changed")]
    assert changed_files(code, of_the_number) == ["zoo/changed.py"]
    assert changed_files(replace(code, dirty=True), of_the_number) == [], "nobody knows what that was"
    assert changed_files(replace(code, commit="0" * 40), of_the_number) == []
    assert changed_files(replace(code, commit=None), of_the_number) == []
