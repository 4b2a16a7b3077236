"""A new entry is one YAML: `zoo new` begins it, `zoo check` says what is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zoo import cli
from zoo.catalog.entry import read_entry
from zoo.catalog.keys import KeyList
from zoo.checkpoints.fetch_checkpoint import EMBEDDED
from zoo.config.check import check_entry
from zoo.errors import UsageError

LIKE = "shapes_retinanet_r10_fpn"
FILE = EMBEDDED / f"{LIKE}.safetensors"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty catalogue."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    monkeypatch.setenv("ZOO_CATALOG", str(folder))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_from_nothing_to_a_stored_list(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", "mine_retina", "--from", "retinanet_r10_fpn"]) == 0
    path = own / "entry" / "mine_retina.yaml"
    assert capsys.readouterr().out == f"{path}\nnext: fill it in, then zoo check mine_retina\n"
    entry, like = read_entry("mine_retina"), read_entry(LIKE)
    assert entry.parts == like.parts
    assert (entry.zoo, entry.license, entry.checkpoint.keymap) == ("mine", like.license, like.checkpoint.keymap)
    assert (entry.checkpoint.urls, entry.published) == ((), ())

    assert cli.main(["check", "mine_retina"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mine_retina: 634,410 parameters, 6 classes\n")
    assert [line.split()[1] for line in said.splitlines()[1:]] == ["address", "published", "list"]

    assert cli.main(["check", "mine_retina", "--checkpoint", str(FILE), "--store"]) == 0
    stored = KeyList.read(own / "keys" / "mine" / "retina.json")
    assert (stored.parameters, len(stored.shapes)) == (634_410, 96)
    checked = check_entry("mine_retina")
    assert checked.keys is not None
    assert dict(checked.keys.shapes) == dict(stored.shapes)


def test_without_a_checkpoint_a_run_is_blocked_and_says_what_to_do(
    own: Path, few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert cli.main(["new", "mine_retina", "--from", LIKE]) == 0
    monkeypatch.setattr(sys, "argv", ["zoo"])
    few = [f"data.root={few_shapes}", "device=cpu", "workers=0", "measure=accuracy", "results.dir=results"]
    assert cli.main(["run", "mine_retina", *few]) == 1
    said = capsys.readouterr().err
    assert "BLOCKED" in said
    assert said.strip().splitlines()[-1] == "next: give a file you have with checkpoint.path=FILE"
    assert cli.main(["run", "mine_retina", *few, f"checkpoint.path={FILE}"]) == 0


def test_the_classes_of_the_other_stay(own: Path) -> None:
    assert cli.main(["new", "mmdet_mine", "--from", "mmdet_faster_rcnn_r50_caffe_fpn_ms_1x_person"]) == 0
    assert read_entry("mmdet_mine").classes == ("person",)
    assert read_entry("mmdet_mine").zoo == "mmdet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Mine", "--from", LIKE], "'Mine' is no name of an entry"),
        ([LIKE, "--from", LIKE], f"there is an entry {LIKE} already"),
        (["mine_x", "--from", "retinanet_r11"], "closest: "),
    ],
)
def test_what_is_no_new_entry(
    own: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (own / "entry").exists()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("urls: []", "urls: [w-0123abcd.pth]", "'w-0123abcd.pth' is no address"),
        ("urls: []", "urls: [https://a.org/w-0123abcd.pth]", "announces sha256 0123abcd"),
        ("head: retinanet_small", "head: retinanet", "does not fit|do not fit|has no"),
        ("head: retinanet_small", "head: retinanet_smal", "override /head: no option 'retinanet_smal'"),
        ("published: []", 'published: [{metric: params_m, text: "0.8", source: a}]', "0.8 M parameters"),
        ("published: []", 'published: [{metric: fps, text: "9", source: a}]', "fps 9 names no hardware"),
        ("published: []", 'published: [{metric: box_AP, text: "101", source: a}]', "over 100 points"),
        ("urls: []", "keys: shapes/absent", "no keys/shapes/absent.json"),
        ("urls: []", "keys: shapes/mask_rcnn_r10_fpn", "634,410 parameters, where the list of keys has 983,268"),
        ("urls: []", "keys: shapes/mask_rcnn_r10_fpn", "checkpoint and model do not fit"),
    ],
)
def test_every_problem_is_named(
    own: Path, old: str, new: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "mine_retina", "--from", LIKE]) == 0
    edit(own / "entry" / "mine_retina.yaml", old, new)
    more = ["--checkpoint", str(FILE)] if old.startswith("head") else []
    assert cli.main(["check", "mine_retina", *more]) == 1
    said = capsys.readouterr().err
    assert any(part in said for part in problem.split("|")), said
    assert "1 of 1 entries not sound" in said


def test_faulty_use(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "shapes", "--checkpoint", str(FILE)]) == 2
    assert "--checkpoint is of one entry, not of 5" in capsys.readouterr().err
    assert cli.main(["check", LIKE, "--store"]) == 2
    assert "--store needs a file" in capsys.readouterr().err
    faulty = own / "faulty.json"
    for text in ("", "[]", '{"parameters": 1, "shapes": [[1]], "keys": {"a": 3}}', '{"parameters": 1}'):
        faulty.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match="not a list of keys"):
            KeyList.read(faulty)


def test_a_list_reads_back_in_its_order(tmp_path: Path) -> None:
    shapes = {"b.weight": (3, 2), "b.bias": (3,), "a.weight": (3, 2), "count": ()}
    KeyList(parameters=12, shapes=shapes).write(tmp_path / "k.json")
    assert list(KeyList.read(tmp_path / "k.json").shapes.items()) == list(shapes.items())
