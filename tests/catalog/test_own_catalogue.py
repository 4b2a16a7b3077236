"""Catalogues of one's own, beside the package's: `ZOO_CATALOG`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import zoo
from zoo import bench, cli
from zoo.catalog.entry import config_file, read_entry
from zoo.config.comments import options
from zoo.errors import UsageError

ORIGINAL = "shapes_retinanet_r10_fpn"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with one entry and a backbone, in a folder of a difficult name."""
    folder = tmp_path / "my cat's"
    for group, option, made_of in (("entry", "mine_retina", ORIGINAL), ("backbone", "narrow", "resnet10_small")):
        source = config_file(group, made_of)
        assert source is not None
        (folder / group).mkdir(parents=True)
        text = source.read_text(encoding="utf-8").replace("resnet10_small", "narrow")
        text = text.replace(f"name: {ORIGINAL}", "name: mine_retina\n  zoo: mine")
        (folder / group / f"{option}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("ZOO_CATALOG", f"{folder}{os.pathsep}")
    return folder


def test_it_is_listed_shown_and_built(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"mine_retina", ORIGINAL} < set(zoo.entries())
    assert read_entry("mine_retina").parts["backbone"] == "narrow"
    assert "narrow" in options("backbone")
    assert zoo.build("retina").classes == zoo.build(ORIGINAL).classes
    assert cli.main(["list", "mine", "--format", "names"]) == 0
    assert capsys.readouterr().out == "mine_retina\n"
    assert cli.main(["show", "mine_retina"]) == 0
    assert "narrow" in capsys.readouterr().out


def test_a_sweep_finds_it(
    own: Path, few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    few = [f"data.root={few_shapes}", "device=cpu", "workers=0", "measure=accuracy", "results.dir=results"]
    assert bench.main(["--multirun", "entry=glob(mine_*)", *few]) == 0
    assert "1 of 1 measured" in capsys.readouterr().out


def test_what_is_wrong_with_it_is_named(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "entry" / f"{ORIGINAL}.yaml").touch()
    with pytest.raises(UsageError, match=f"entry '{ORIGINAL}' is there twice"):
        zoo.entries()
    monkeypatch.setenv("ZOO_CATALOG", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="ZOO_CATALOG: no folder"):
        zoo.entries()
