"""What the words of `zoo diff` mean, and what it leaves out."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_up import make_catalogue, make_record

from zoo import cli
from zoo.catalog.switches import Switch
from zoo.results import trials as trials_module
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.results.table import current_folder, write_tables

Capture = pytest.CaptureFixture[str]

COLOURS = Switch(name="colours", overrides=("protocol.channels=bgr",), source="README.md")
OWN: dict[str, Any] = {"protocol": {"channels": "rgb"}}
TRIAL = "mmdet_a+channels-bgr"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of two rows, which is the present folder's `results`."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b")
    monkeypatch.setattr(trials_module, "read_switches", lambda *_: (COLOURS,))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    Ledger(folder).file(make_record("mmdet_a", config=OWN))
    Ledger(folder).file(make_record("mmdet_b", config=OWN))
    return folder


def trial(**more: Any) -> Record:
    changed = {"changes": COLOURS.overrides, "overrides": list(COLOURS.overrides), "measured": {"box_AP": 36.0}}
    return make_record(**{"config": {"protocol": {"channels": "bgr"}}, **changed, **more})


def diff(*words: str) -> int:
    return cli.main(["diff", *words, "--results-dir", "results"])


def run_folder(name: str, record: Record) -> None:
    Path(name).mkdir()
    record.write(Path(name, "record.json"))


def test_runs_with_one_switch_changed_are_left_out_unless_named(results: Path, capsys: Capture) -> None:
    Ledger(results).file(trial())
    for words in ([], ["mmdet"], ["mmdet_a"], ["mmdet_*"]):
        assert diff(*words) == 0
        text = capsys.readouterr().out
        assert "bgr" not in text
        assert text.endswith("1 run with one switch changed left out: see zoo explain mmdet_a\n")
    assert diff("mmdet_b") == 0
    assert "left out" not in capsys.readouterr().out
    for word in (TRIAL, "*bgr"):
        assert diff(word) == 0
        text = capsys.readouterr().out
        assert "a changed composition of mmdet_a" in text
        assert "left out" not in text


def test_what_is_left_out_is_said_beside_json(results: Path, capsys: Capture) -> None:
    Ledger(results).file(trial())
    Ledger(results).file(trial(entry="mmdet_b"))
    assert diff("--format", "json") == 0
    output = capsys.readouterr()
    assert {row["entry"] for row in json.loads(output.out)} == {"mmdet_a", "mmdet_b"}
    said = "2 runs with one switch changed left out: see zoo explain ENTRY, of mmdet_a, mmdet_b\n"
    assert output.err == said


@pytest.mark.parametrize(
    ("own", "called"),
    [({"name": "colours_swapped"}, "colours_swapped"), ({"measured": {"box_AP": 36.0, "fps": 9.0}}, "channels=bgr")],
)
def test_a_changed_run_that_is_somebodys_own_is_shown(
    results: Path, capsys: Capture, own: dict[str, Any], called: str
) -> None:
    Ledger(results).file(trial(**own))
    assert diff("mmdet_a") == 0
    text = capsys.readouterr().out
    assert called in text
    assert "left out" not in text


def test_a_run_beside_the_rows_answers_to_the_name_it_is_filed_under(results: Path, capsys: Capture) -> None:
    Ledger(results).file(make_record("mmdet_b", partial=True, conditions=("data.limit=8",), config=OWN))
    (path,) = (results / "local").rglob("*.json")
    assert diff(path.stem) == 0
    text = capsys.readouterr().out
    assert "1 PARTIAL" in text
    assert "EXACT" not in text


def test_two_run_folders_compare(results: Path, capsys: Capture) -> None:
    run_folder("old", make_record("mmdet_a"))
    run_folder("new", make_record("mmdet_a", measured={"box_AP": 37.0}))
    assert diff("old", "./new") == 0
    output = capsys.readouterr()
    assert "37.41" in output.out
    assert "not compared by image: no old/predictions.json (name the folders of two runs)\n" in output.out
    assert diff("old", "new/record.json", "--format", "csv") == 0
    output = capsys.readouterr()
    (line, *_) = csv.DictReader(io.StringIO(output.out))
    assert (line["about"], line["metric"], line["old"], line["new"]) == ("record", "box_AP", "37.41", "37.0")
    assert "not compared by image" in output.err
    assert diff("old") == 2
    assert diff("old", "new", "old") == 2


def test_states_of_the_results_compare_in_every_format(results: Path, capsys: Capture) -> None:
    write_tables(results)
    version = current_folder(results).name
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "add", "results"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "records"], check=True)
    Ledger(results).file(make_record("mmdet_b", config=OWN, measured={"box_AP": 37.0}))
    for words in (["git:HEAD"], [version], [f"table:{version[:6]}"]):
        assert diff(*words) == 0
        assert "(old) and the records in results (new): 1 changed, 1 unchanged\n" in capsys.readouterr().out
    assert diff("git:HEAD", version, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert diff("git:HEAD", "--format", "json") == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["entry"], line["metric"], line["new"]) == ("mmdet_b", "box_AP", "37.0")
    assert float(line["delta"]) == pytest.approx(-0.41)
    assert diff("git:HEAD", "--format", "csv") == 0
    assert capsys.readouterr().out.startswith("entry,state,machine,metric,old,new,delta,old measured,new measured\n")
    assert diff("git:HEAD", "git:HEAD", "--format", "csv") == 0
    assert capsys.readouterr().out == "entry,state,machine,metric,old,new,delta,old measured,new measured\n"
    assert diff("git:HEAD", "git:HEAD", "git:HEAD") == 2
    assert "two states" in capsys.readouterr().err


def test_versions_are_not_mixed_in_any_form(results: Path, capsys: Capture) -> None:
    write_tables(results)
    version = current_folder(results).name
    run_folder("old", make_record("mmdet_a"))
    run_folder("new", make_record("mmdet_a", version=2))
    for path in (results / "records").rglob("*.json"):
        path.unlink()
    Ledger(results).file(make_record("mmdet_a", config=OWN, version=2))
    for words in (["old", "new"], [version]):
        assert diff(*words) == 2
        error = capsys.readouterr().err
        assert "accuracy by protocol 'mmdet' in 2 versions does not compare" in error
        assert "next: run the entries of the older version again" in error
    Ledger(results).file(make_record("mmdet_b", config=OWN, version=1))
    assert diff() == 2


def test_a_word_of_two_meanings_says_how_to_write_either(results: Path, capsys: Capture) -> None:
    (results / "tables" / "beef00000000").mkdir(parents=True)
    Ledger(results).file(make_record("mmdet_a", name="beef", config=OWN))
    assert diff("beef") == 2
    error = capsys.readouterr().err
    assert "error: 'beef' is a table version and entries\n" in error
    assert "next: write table:beef or entry:beef\n" in error
    assert diff("entry:beef") == 0
    assert "beef" in capsys.readouterr().out
    assert diff("table:beef") == 0
    assert "2 new" in capsys.readouterr().out
    run_folder("mmdet_b", make_record("mmdet_b"))
    assert diff("mmdet_b") == 2
    assert "next: write ./mmdet_b or entry:mmdet_b\n" in capsys.readouterr().err
    assert diff("entry:mmdet_b") == 0
    assert diff("./mmdet_b", "mmdet_b/record.json") == 0


def test_a_file_or_folder_that_is_no_record_hides_no_entry(results: Path, capsys: Capture) -> None:
    Path("mmdet_a").mkdir()
    Path("mmdet").write_text("notes", encoding="utf-8")
    assert diff("mmdet_a") == 0
    assert diff("mmdet") == 0
    assert "Measured on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["git:HEAD", "mmdet"], "error: git:HEAD is a commit and mmdet entries: they do not compare"),
        (["old", "mmdet_a"], "error: old is a record and mmdet_a entries: they do not compare"),
        (["old", "gone.json"], "error: no record file gone.json"),
        (["./mmdet_a"], "error: no record file ./mmdet_a"),
        (["mmdet_aa"], "error: no entry fits 'mmdet_aa'; closest: mmdet_a"),
        (["0d00ac62c881"], "error: no entry fits '0d00ac62c881'"),
        (["table:0d00ac62c881"], "error: no table version '0d00ac62c881'"),
        (["git:HEAD"], "error: results: in no git checkout"),
    ],
)
def test_words_that_cannot_be_compared(results: Path, capsys: Capture, words: list[str], message: str) -> None:
    run_folder("old", make_record("mmdet_a"))
    assert diff(*words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "\nnext: " in output.err
