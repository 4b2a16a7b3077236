"""Folders are called what they are called: Hydra's grammar must not see it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from zoo.config.compose import compose
from zoo.config.overrides import check
from zoo.config.paths import PATH_SETTINGS, as_typed, quote, quote_path, resolve_path
from zoo.config.settings import Settings
from zoo.errors import UsageError
from zoo.schema import fields_of

ENTRY = "shapes_faster_rcnn_r10_fpn"
ODD = ["/data/äö", "a b", "a=b", "a,b", "(a)", "[a]", "{a}", "it's", "a:b", "a\\", "文", "null", "1e3", "a'\\'", "${x"]


@given(st.text(min_size=1).filter(lambda text: "$" not in text))
def test_quoting_keeps_every_text(text: str) -> None:
    assert OverridesParser.create().parse_override(f"data.root={quote(text)}").value() == text


@pytest.mark.parametrize("path", ODD[:-1])
def test_odd_paths_are_composed_as_they_are(path: str) -> None:
    if path == "null":
        assert compose(ENTRY, ["data.root=null"])["data"]["root"] is None
    else:
        assert compose(ENTRY, [f"data.root={path}"])["data"]["root"] == path


def test_every_setting_that_holds_a_path_is_quoted() -> None:
    paths = {field.key for field in fields_of(Settings) if "path" in field.type.split(" | ")[0]}
    assert paths <= set(PATH_SETTINGS)
    assert {"data.root", "checkpoint.path", "results.dir"} <= paths


def test_what_is_left_alone() -> None:
    for override in ("data.root='a b'", 'data.root="a b"', "data.root=null", "data.limit=a b", "~neck", "seed=0,1"):
        assert quote_path(override) == override
    assert quote_path("+data.root=a b") == "+data.root='a b'"


def test_a_command_for_a_person_has_no_quotes_but_its_own() -> None:
    for written in ("results.dir=my results", "+data.root=/data/äö"):
        assert as_typed(quote_path(written)) == written
    for kept in (
        'data.root="a b"',
        "protocol.name='a b'",
        "data.root='a','b'",
        "seed=0",
        "data.root=''",
        r"data.root='it\'s'",
    ):
        assert as_typed(kept) == kept


def test_commas_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert quote_path("data.root=x y,z", multirun=True) == "data.root='x y','z'"
    assert quote_path("data.root=x y,z") == "data.root='x y,z'"
    there = f"{tmp_path}/a,b"
    assert quote_path(f"data.root={there}", multirun=True) == f"data.root='{there}'"


def test_the_folder_of_a_sweep_is_the_one_that_hydra_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a=b, (c) [d] äö"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEPS", "sweeps of mine")
    for written in ("hydra.sweep.dir='${oc.env:SWEEPS}'", "hydra.sweep.dir=${oc.env:SWEEPS}"):
        checked = check(["-m", f"entry={ENTRY}", written])
        assert checked.sweep_dir == folder / "sweeps of mine"
        handed_over = OverridesParser.create().parse_override(checked.given[-1])
        assert handed_over.value() == str(folder / "sweeps of mine")
    default = check(["-m", f"entry={ENTRY}"]).sweep_dir
    assert default is not None
    assert default.parent == folder / "multirun"
    with pytest.raises(UsageError, match=r"hydra\.sweep\.dir is needed before any job"):
        resolve_path("hydra.sweep.dir=${entry.name}")
