"""`zoo merge`: results of other machines come into one folder by the ledger's own rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up import MACHINE, file_all, files, make_record

from zoo import cli
from zoo.checkpoints.pins import LOCK_FILE
from zoo.errors import CheckpointError, UsageError
from zoo.results.ledger import Ledger
from zoo.results.merge import merge_folders
from zoo.results.record import CheckpointRecord, Record

Capture = pytest.CaptureFixture[str]
JANUARY, FEBRUARY, MARCH = (f"2026-0{month}-01T00:00:00+00:00" for month in (1, 2, 3))
SPEED = {"fps": 60.0, "latency_ms": {"p50": 16.0}, "timed": {"rounds": 3, "images": 64}}
ROW = f"records/{MACHINE}/mmdet_a.json"
URL = "https://example.org/w.pt"


def results(folder: Path, *records: Record) -> Path:
    file_all(folder, *records)
    return folder


def accuracy(finished: str = JANUARY, **more: Any) -> Record:
    return make_record(**{"finished": finished, **more})


def speed(finished: str = FEBRUARY, images: int = 64, **more: Any) -> Record:
    return make_record(measured=SPEED | {"timed": {"rounds": 3, "images": images}}, finished=finished, **more)


def outcomes(*folders: Path, into: Path, dry_run: bool = False) -> list[str]:
    return [line.outcome for line in merge_folders(folders, into, dry_run=dry_run)]


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text(encoding="utf-8") for name in files(folder)}


def pins(folder: Path, sha256: str, pinned: str = "2026-01-01") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pin = {"pinned": pinned, "sha256": sha256, "size": 9}
    (folder / LOCK_FILE).write_text(json.dumps({URL: pin}), encoding="utf-8")


def test_machines_stand_side_by_side(tmp_path: Path) -> None:
    a = results(tmp_path / "a", accuracy(hardware="h100"))
    b = results(tmp_path / "b", accuracy(hardware="h200"))
    into = tmp_path / "all"
    assert outcomes(a, b, into=into) == ["added", "added"]
    assert files(into) == ["records/h100/mmdet_a.json", "records/h200/mmdet_a.json"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_runs_of_one_identity_become_one_record_in_any_order(tmp_path: Path, order: Sequence[int]) -> None:
    folders = [results(tmp_path / "a", accuracy()), results(tmp_path / "b", speed())]
    into = tmp_path / "all"
    lines = merge_folders([folders[i] for i in order], into)
    assert [line.outcome for line in lines] == [["joined", "added"][i] for i in order], "the latest is filed first"
    (record,) = Ledger(into).records()
    assert record == file_all(tmp_path / "c", accuracy(), speed())
    assert record.measured == {"box_AP": 37.41, **SPEED}


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    a = results(tmp_path / "a", accuracy(), make_record("mmdet_b", status="blocked", reason="no"))
    b, into = results(tmp_path / "b", speed()), tmp_path / "all"
    outcomes(a, b, into=into)
    before = contents(into)
    assert outcomes(a, b, into=into) == ["unchanged"] * 3
    assert contents(into) == before


def test_an_older_run_adds_what_is_missing_and_replaces_nothing(tmp_path: Path) -> None:
    into = results(tmp_path / "all", accuracy(MARCH, measured={"box_AP": 37.5}))
    old = results(tmp_path / "old", accuracy(JANUARY), speed(FEBRUARY))
    (line,) = merge_folders([old], into)
    assert line.outcome == "joined"
    (record,) = Ledger(into).records()
    assert record.measured == {"box_AP": 37.5, **SPEED}
    assert record.times.finished == MARCH


def test_of_each_measurement_the_latest_stands(tmp_path: Path) -> None:
    into = results(tmp_path / "all", accuracy(JANUARY, measured={"box_AP": 1.0}), speed(MARCH))
    other = results(tmp_path / "b", accuracy(FEBRUARY, measured={"box_AP": 2.0}))
    (line,) = merge_folders([other], into)
    assert Ledger(into).records()[0].measured == {"box_AP": 2.0, **SPEED}
    assert line.notes == (f"accuracy kept: the record before measured it at {FEBRUARY}, this run at {JANUARY}",)


def test_a_run_of_fewer_images_replaces_nothing(tmp_path: Path) -> None:
    into = results(tmp_path / "all", speed(JANUARY, images=64))
    (line,) = merge_folders([results(tmp_path / "b", speed(MARCH, images=8))], into)
    assert Ledger(into).records()[0].measured["timed"] == {"rounds": 3, "images": 64}
    assert line.notes == ("speed kept: the record before has it of 64 images, this run of 8",)


def test_a_part_of_a_split_stays_beside_the_whole(tmp_path: Path) -> None:
    into = results(tmp_path / "all", accuracy())
    part = accuracy(MARCH, partial=True, images=4, conditions=["data.limit=4"])
    assert outcomes(results(tmp_path / "b", part), into=into) == ["added"]
    assert files(into) == [f"local/{MACHINE}/mmdet_a+limit-4.json", ROW]


def test_a_file_of_another_checkpoint_is_not_mixed_in(tmp_path: Path) -> None:
    into = results(tmp_path / "all", accuracy(JANUARY))
    (line,) = merge_folders([results(tmp_path / "b", speed(MARCH, weights="1" * 64))], into)
    assert Ledger(into).records()[0].measured == SPEED
    assert line.notes == ("accuracy of the record before replaced: its checkpoint was another file",)


@pytest.mark.parametrize(("finished", "left"), [(JANUARY, []), (MARCH, [f"local/{MACHINE}/mmdet_a+blocked.json"])])
def test_a_blocked_run_is_forgotten_once_the_row_was_measured_after_it(
    tmp_path: Path, finished: str, left: list[str]
) -> None:
    blocked = make_record(status="blocked", reason="no network", finished=finished)
    for name, there, coming in (("first", blocked, accuracy(FEBRUARY)), ("then", accuracy(FEBRUARY), blocked)):
        into = results(tmp_path / name, there)
        merge_folders([results(tmp_path / f"{name}-other", coming)], into)
        assert files(into) == [*left, ROW]


def test_damaged_files_are_named_and_left_out(tmp_path: Path, capsys: Capture) -> None:
    other = results(tmp_path / "b", accuracy())
    (other / f"records/{MACHINE}/mmdet_b.json").write_text("{", encoding="utf-8")
    into = tmp_path / "all"
    assert cli.main(["merge", str(other), "--results-dir", str(into), "--format", "json"]) == 1
    output = capsys.readouterr()
    good, bad = json.loads(output.out)
    assert (good["outcome"], good["filed_as"]) == ("added", ROW)
    assert (bad["outcome"], bad["filed_as"]) == ("left out", "")
    assert "not valid JSON" in bad["notes"]
    assert "1 files left out" in output.err
    assert files(into) == [ROW]


def test_a_damaged_file_in_the_way_is_kept_aside(tmp_path: Path) -> None:
    into = results(tmp_path / "all", accuracy())
    (into / ROW).write_text("{", encoding="utf-8")
    (line,) = merge_folders([results(tmp_path / "b", accuracy())], into)
    assert line.outcome == "added"
    assert "mmdet_a.damaged" in line.notes[0]
    assert Ledger(into).records() == [accuracy()]


def test_a_check_writes_nothing_and_says_the_same(tmp_path: Path, capsys: Capture) -> None:
    into = results(tmp_path / "all", accuracy())
    other = results(tmp_path / "b", speed(), accuracy(hardware="h100"))
    pins(other, "1" * 64)
    before = contents(into)
    would = merge_folders([other], into, dry_run=True)
    assert contents(into) == before
    assert not (into / LOCK_FILE).exists()
    assert cli.main(["merge", str(other), "--check", "--results-dir", str(into)]) == 0
    assert f"would be merged into {into}: 1 added, 1 joined" in capsys.readouterr().out
    assert merge_folders([other], into) == would
    assert files(into) == ["records/h100/mmdet_a.json", ROW]


def test_pins_are_gathered_with_the_earliest_day(tmp_path: Path) -> None:
    a, b, into = results(tmp_path / "a", accuracy()), results(tmp_path / "b", accuracy()), tmp_path / "all"
    pins(a, "1" * 64, "2026-02-02")
    pins(b, "1" * 64, "2026-01-01")
    merge_folders([a, b], into)
    assert json.loads((into / LOCK_FILE).read_text(encoding="utf-8"))[URL]["pinned"] == "2026-01-01"


@pytest.mark.parametrize("dry_run", [False, True])
def test_pins_that_disagree_stop_everything(tmp_path: Path, dry_run: bool) -> None:
    other, into = results(tmp_path / "a", accuracy()), tmp_path / "all"
    pins(other, "1" * 64)
    pins(into, "2" * 64)
    with pytest.raises(CheckpointError, match=f"{URL} delivered two files: 1+, pinned on 2026-01-01"):
        merge_folders([other], into, dry_run=dry_run)
    assert files(into) == []


def test_a_record_of_another_file_than_was_pinned_stops_everything(tmp_path: Path) -> None:
    run = accuracy()
    run.checkpoint = CheckpointRecord(sha256="1" * 64, size=9, hash_evidence="first use", url=URL)
    other, into = results(tmp_path / "a", run), tmp_path / "all"
    pins(into, "2" * 64)
    with pytest.raises(CheckpointError, match="was measured with another file than was pinned"):
        merge_folders([other], into)
    assert files(into) == []


def test_a_folder_of_no_results_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (("none", "no folder"), ("empty", "holds no results")):
        with pytest.raises(UsageError, match=message):
            merge_folders([tmp_path / folder], tmp_path / "all")
    into = results(tmp_path / "all", accuracy())
    with pytest.raises(UsageError, match="is the folder to merge into"):
        merge_folders([into], into)


def test_records_of_an_older_layout_are_found_on_both_sides(tmp_path: Path) -> None:
    def trained(folder: Path, seed: int) -> Path:
        run = accuracy(trained=True, seed=seed, conditions=[f"seed={seed}"])
        run.write(folder / f"trained/seed_{seed}/records/{MACHINE}/mmdet_a.json")
        return folder

    into = trained(tmp_path / "all", 1)
    assert outcomes(trained(tmp_path / "a", 1), trained(tmp_path / "b", 2), into=into, dry_run=True) == [
        "unchanged",
        "added",
    ]
    assert outcomes(trained(tmp_path / "a", 1), trained(tmp_path / "b", 2), into=into) == ["unchanged", "added"]
    assert files(into) == [f"records/{MACHINE}/mmdet_a+trained+seed-{seed}.json" for seed in (1, 2)]


def test_the_latest_run_says_which_weights_a_record_is_of(tmp_path: Path) -> None:
    folders = [
        results(tmp_path / "a", accuracy(JANUARY)),
        results(tmp_path / "b", accuracy(FEBRUARY, weights="1" * 64)),
        results(tmp_path / "c", speed(MARCH)),
    ]
    into = tmp_path / "all"
    assert outcomes(*folders, into=into) == ["joined", "unchanged", "added"]
    assert Ledger(into).records()[0].measured == {"box_AP": 37.41, **SPEED}
    assert outcomes(*folders, into=into) == ["unchanged"] * 3


@pytest.mark.parametrize("theirs", [FEBRUARY, JANUARY])
@pytest.mark.parametrize("version", [1, 3])
def test_of_two_versions_of_a_measurement_the_newer_stands(tmp_path: Path, theirs: str, version: int) -> None:
    into = results(tmp_path / "all", accuracy("2026-01-15T00:00:00+00:00", version=version))
    merge_folders([results(tmp_path / "b", accuracy(theirs, version=2))], into)
    assert Ledger(into).records()[0].parts["accuracy"].version == max(version, 2)
