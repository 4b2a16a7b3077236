"""Committed results against what was measured just now: green where they hold, one failure for each cause."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_up import WEIGHTS, cell, file_all, make_catalogue, make_entry, make_hardware, make_record

from zoo.catalog.entry import read_entry
from zoo.checkpoints.pins import LOCK_FILE
from zoo.errors import UsageError
from zoo.results.bias import FEWEST_ROWS
from zoo.results.evidence import NOTHING
from zoo.results.record import Record
from zoo.results.table import current_folder, write_tables
from zoo.results.verify import markdown
from zoo.results.verify.checks import Cause
from zoo.results.verify.comparison import compare
from zoo.results.verify.verification import Verification, verify
from zoo.runtime.hardware import Gpu, Hardware
from zoo.terminal import ABSENT

ENTRIES = ("mmdet_a", "mmdet_b", "paddle_c")
HERE, RUNNER = "h200-sxm", "cpu-of-a-runner"
MEASURED = {
    "box_AP": 37.41,
    "box_AP50": 58.1,
    "fps": 60.0,
    "memory": {"kind": "device", "peak_allocated_bytes": 1_000_000},
    "params": 41_532_886,
    "macs": 207_000_000_000,
}
URL = "https://example.org/w-047c8118.pth"
"""The one address of every entry of the made-up catalogue."""


@dataclass
class Folders:
    """Committed results, with their tables and pins, and those of a sweep."""

    committed: Path
    measured: Path

    def commit(self, *records: Record) -> None:
        file_all(self.committed, *records)
        write_tables(self.committed)

    def pin(self, sha256: str = WEIGHTS) -> None:
        pin = {"pinned": "2026-01-01", "sha256": sha256, "size": 9}
        (self.committed / LOCK_FILE).write_text(json.dumps({URL: pin}), encoding="utf-8")

    def measure(self, *records: Record) -> None:
        file_all(self.measured, *records)

    def verify(self, *names: str) -> Verification:
        return verify(self.measured, self.committed, [read_entry(name) for name in names or ENTRIES])


def row(entry: str, machine: str | Hardware = HERE, **more: Any) -> Record:
    measured = MEASURED | more.pop("measured", {})
    return make_record(entry, hardware=machine, measured=measured, **more)


def unmeasured(entry: str, status: Any = "blocked", machine: str = RUNNER, **more: Any) -> Record:
    return make_record(entry, status=status, reason="no mirror", hardware=machine, images=None, **more)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Two of three rows are committed and were measured again, on another machine, with the same numbers."""
    make_catalogue(tmp_path, monkeypatch, *ENTRIES)
    folders = Folders(tmp_path / "committed", tmp_path / "measured")
    folders.commit(row("mmdet_a"), row("mmdet_b"))
    folders.measure(row("mmdet_a", RUNNER), row("mmdet_b", RUNNER))
    folders.pin()
    return folders


def only(found: Verification, cause: Cause) -> tuple[str, str]:
    """Subject and message of the one failure there is."""
    (failure,) = found.failures
    assert failure.cause is cause
    assert failure.next_step
    assert not found.holds
    return failure.subject, failure.message


def test_the_same_numbers_on_another_machine_hold(folders: Folders) -> None:
    folders.measure(unmeasured("paddle_c"))
    found = folders.verify()
    assert found.holds
    assert not found.failures
    assert found.notes == ["paddle_c: blocked, and no record of it is committed: no mirror"]
    compared = {item.metric for item in found.comparisons}
    assert compared == {"box_AP", "box_AP50", "params", "macs"}, "speed and memory are those of a machine"
    assert found.summary == (
        "2 of 3 rows measured on cpu-of-a-runner; 8 numbers held against the committed ones, 0 of them moved"
    )


def test_nothing_is_written(folders: Folders) -> None:
    before = {path: path.read_bytes() for path in folders.committed.parent.rglob("*") if path.is_file()}
    folders.verify()
    assert {path: path.read_bytes() for path in folders.committed.parent.rglob("*") if path.is_file()} == before


# nothing measured


def test_no_measured_row_fails(folders: Folders) -> None:
    folders.measured = folders.measured.with_name("empty")
    folders.measure(row("paddle_c", RUNNER, partial=True, images=8))
    subject, message = only(folders.verify("paddle_c"), Cause.NOTHING_MEASURED)
    assert subject == str(folders.measured)
    assert message == "no row was measured; 1 of what was measured is no whole row by its own settings: paddle_c"


def test_an_empty_folder_fails(folders: Folders) -> None:
    folders.measured = folders.measured.with_name("empty")
    folders.measured.mkdir()
    found = folders.verify()
    assert [failure.cause for failure in found.failures] == [
        Cause.NOTHING_MEASURED,
        Cause.LOST_ROW,
        Cause.LOST_ROW,
    ]
    assert found.notes == ["paddle_c: no record of the whole row, and none is committed"]


# stale table


def test_a_table_that_is_not_what_its_records_say_is_stale(folders: Folders) -> None:
    table = current_folder(folders.committed) / f"{HERE}.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("37.41", "37.42"), encoding="utf-8")
    subject, message = only(folders.verify(), Cause.STALE_TABLE)
    assert subject == f"tables/{table.parent.name}"
    assert message == f"not what the committed records say: {HERE}.csv"


def test_tables_of_another_version_are_stale(folders: Folders) -> None:
    current = current_folder(folders.committed)
    current.rename(current.with_name("0123456789ab"))
    subject, message = only(folders.verify(), Cause.STALE_TABLE)
    assert subject == f"tables/{current.name}"
    assert message == "there is none of the present catalogue: the committed ones are of 0123456789ab"


@pytest.mark.parametrize(("moved", "holds"), [(0.05, True), (-0.05, True), (0.06, False), (-0.06, False)])
def test_accuracy_may_move_within_the_noise_floor_on_whatever_machine(
    folders: Folders, moved: float, holds: bool
) -> None:
    folders.measure(row("mmdet_a", RUNNER, measured={"box_AP50": 58.1 + moved}))
    found = folders.verify()
    assert found.holds == holds
    if not holds:
        subject, message = only(found, Cause.STALE_TABLE)
        assert subject == "mmdet_a"
        assert message == f"not as committed of {HERE}: box_AP50 58.100 → {58.1 + moved:.3f} (±0.05)"


def test_a_measured_noise_floor_of_either_machine_counts(folders: Folders) -> None:
    folders.commit(row("mmdet_a", measured={"noise": {"floor": {"box_AP50": 0.08}}}))
    folders.measure(row("mmdet_a", RUNNER, measured={"box_AP50": 58.17}))
    assert folders.verify().holds
    folders.measure(row("mmdet_a", RUNNER, measured={"box_AP50": 58.19}))
    assert only(folders.verify(), Cause.STALE_TABLE)[1].endswith("box_AP50 58.100 → 58.190 (±0.08)")


def test_a_floor_of_nothing_on_one_chip_is_none_of_all_chips(folders: Folders) -> None:
    folders.commit(row("mmdet_a", measured={"noise": {"floor": {"box_AP50": 0.0}}}))
    folders.measure(row("mmdet_a", measured={"box_AP50": 58.14}))
    assert folders.verify().holds


@pytest.mark.parametrize("metric", ["params", "macs"])
def test_counts_are_exact(folders: Folders, metric: str) -> None:
    folders.measure(row("mmdet_a", RUNNER, measured={metric: MEASURED[metric] + 1}))  # type: ignore[operator]
    subject, message = only(folders.verify(), Cause.STALE_TABLE)
    assert subject == "mmdet_a"
    assert message.endswith("(exact)")


def test_a_number_that_is_gone_has_moved(folders: Folders) -> None:
    record = row("mmdet_a", RUNNER)
    del record.measured["box_AP50"]
    folders.measure(record)
    assert (
        only(folders.verify(), Cause.STALE_TABLE)[1]
        == f"not as committed of {HERE}: box_AP50 58.100 → {ABSENT} (±0.05)"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weights": "1" * 64}, "its checkpoint was another file"),
        ({"annotations": "b" * 64}, "its data was other data"),
        ({"row": "e" * 64}, "the row was composed otherwise"),
        ({"version": 2}, "its accuracy is of version 2, and today's of version 1"),
    ],
)
def test_a_committed_record_of_something_else_is_stale(folders: Folders, change: dict[str, Any], why: str) -> None:
    folders.commit(row("mmdet_a", **change))
    subject, message = only(folders.verify(), Cause.STALE_TABLE)
    assert subject == "mmdet_a"
    assert message == f"the committed record of {HERE} is of something else: {why}"


def test_rows_of_which_none_is_committed_have_nothing_to_hold_them_against(folders: Folders) -> None:
    folders.measured = folders.measured.with_name("new")
    folders.measure(row("paddle_c", RUNNER))
    subject, message = only(folders.verify("paddle_c"), Cause.STALE_TABLE)
    assert subject == str(folders.committed)
    assert message.endswith("there is nothing to hold them against")
    folders.measure(row("mmdet_a", RUNNER), row("mmdet_b", RUNNER))
    found = folders.verify()
    assert found.holds, "beside others a new row is welcome"
    assert found.notes == ["paddle_c: measured, and no record of it is committed"]


def on_a_gpu(machine: str = HERE) -> Hardware:
    hardware = make_hardware(machine)
    hardware.gpu = Gpu(name="NVIDIA H200", memory_bytes=2**37, compute_capability="9.0")
    return hardware


@pytest.mark.parametrize(
    ("machine", "change", "holds"),
    [
        (on_a_gpu(), {"fps": 43.0}, True),
        (on_a_gpu(), {"fps": 41.0}, False),
        (on_a_gpu(), {"fps": 79.0}, False),
        (HERE, {"fps": 10.0}, True),
        (on_a_gpu(RUNNER), {"fps": 10.0}, True),
        (HERE, {"memory": {"kind": "device", "peak_allocated_bytes": 1_140_000}}, True),
        (HERE, {"memory": {"kind": "device", "peak_allocated_bytes": 1_160_000}}, False),
        (RUNNER, {"memory": {"kind": "host", "peak_allocated_bytes": 9_000_000}}, True),
    ],
    ids=["near", "slow", "fast", "a CPU shows it", "another GPU", "small", "large", "another machine's memory"],
)
def test_speed_and_memory_ask_for_the_same_machine(
    folders: Folders, machine: Any, change: dict[str, Any], holds: bool
) -> None:
    folders.measure(row("mmdet_a", machine, measured=change))
    found = folders.verify()
    assert found.holds == holds
    if not holds:
        assert only(found, Cause.STALE_TABLE)[0] == "mmdet_a"


def test_another_version_of_the_speed_is_not_compared() -> None:
    old, new = row("mmdet_a"), row("mmdet_a", versions={"speed": 9})
    compared = {item.metric for item in compare(old, new, make_entry(cell("37.4")), NOTHING)}
    assert compared == {"box_AP", "box_AP50", "params", "macs", "memory.peak_allocated_bytes"}


def test_each_condition_is_held_against_its_own(folders: Folders) -> None:
    half: dict[str, Any] = {"conditions": ("precision=bf16",), "measured": {"box_AP": 37.2}}
    folders.commit(row("mmdet_a", **half))
    folders.measure(row("mmdet_a", RUNNER, **half))
    found = folders.verify()
    assert found.holds
    assert len(found.comparisons) == 12
    folders.measure(row("mmdet_a", RUNNER, conditions=("device=cpu",)))
    assert len(folders.verify().comparisons) == 16, "the kind of device goes with the machine"


def test_trainings_are_draws(folders: Folders) -> None:
    folders.commit(row("mmdet_a", trained=True))
    folders.measure(row("mmdet_a", RUNNER, trained=True, measured={"box_AP": 30.0}))
    assert folders.verify().holds


# lost row


@pytest.mark.parametrize("status", ["blocked", "failed"])
def test_a_committed_row_that_cannot_be_measured_any_more_is_lost(folders: Folders, status: Any) -> None:
    folders.measure(unmeasured("mmdet_b", status, finished="2026-01-02T00:00:00+00:00"))
    subject, message = only(folders.verify(), Cause.LOST_ROW)
    assert subject == "mmdet_b"
    assert message == f"committed as measured, and now {status}: no mirror"


def test_a_row_measured_after_it_failed_is_measured(folders: Folders) -> None:
    folders.measure(unmeasured("mmdet_b", "failed", finished="2025-12-31T00:00:00+00:00"))
    assert folders.verify().holds


def test_a_committed_row_without_any_record_now_is_lost(folders: Folders) -> None:
    folders.commit(row("paddle_c"))
    subject, message = only(folders.verify(), Cause.LOST_ROW)
    assert subject == "paddle_c"
    assert message == "committed as measured, and now without a record of the whole row"
    assert folders.verify("mmdet_a", "mmdet_b").holds, "nobody asked for it"


def test_a_measurement_that_is_not_made_any_more_is_lost(folders: Folders) -> None:
    record = make_record("mmdet_a", hardware=RUNNER, measured={"box_AP": 37.41, "box_AP50": 58.1})
    record.skipped["complexity"] = "the device has too little memory for it"
    folders.measured = folders.measured.with_name("poorer")
    folders.measure(record)
    subject, message = only(folders.verify("mmdet_a"), Cause.LOST_ROW)
    assert subject == "mmdet_a"
    assert message.endswith(
        "complexity is committed, and was not measured now: the device has too little memory for it"
    )


# unpinned checkpoint


@pytest.mark.parametrize("evidence", ["first use", "none", "published prefix"])
def test_a_file_without_a_whole_hash_or_a_pin_fails(folders: Folders, evidence: Any) -> None:
    (folders.committed / LOCK_FILE).unlink()
    folders.commit(row("mmdet_a", hash_evidence=evidence))
    folders.measure(row("mmdet_a", RUNNER, hash_evidence=evidence))
    subject, message = only(folders.verify("mmdet_a"), Cause.UNPINNED_CHECKPOINT)
    assert subject == "mmdet_a"
    assert f"(sha256 000000000000..., evidence: {evidence})" in message


def test_a_pin_of_another_file_is_none(folders: Folders) -> None:
    folders.pin("1" * 64)
    assert only(folders.verify("mmdet_a"), Cause.UNPINNED_CHECKPOINT)[0] == "mmdet_a"


# new alarm


def drift(entry: str, machine: str, **more: Any) -> Record:
    return row(entry, machine, measured={"box_AP": 36.0}, **more)


def test_a_new_alarm_fails(folders: Folders) -> None:
    folders.commit(row("mmdet_a", measured={"box_AP": 37.49}))
    folders.measure(row("mmdet_a", RUNNER, measured={"box_AP": 37.53}))
    subject, message = only(folders.verify(), Cause.NEW_ALARM)
    assert subject == "mmdet_a"
    assert message == "box_AP DRIFT, and not so by the committed records: 37.530 against 37.4"


def test_a_zoo_to_one_side_is_an_alarm_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"mmdet_{letter}" for letter in "abcdefghijkl"[: 2 * FEWEST_ROWS]]
    make_catalogue(tmp_path, monkeypatch, *names)
    folders = Folders(tmp_path / "committed", tmp_path / "measured")
    pin = {"pinned": "2026-01-01", "sha256": "0" * 64, "size": 9}
    folders.commit(*(row(name, measured={"box_AP": 37.4 + 0.02 * (-1) ** i}) for i, name in enumerate(names)))
    (folders.committed / LOCK_FILE).write_text(json.dumps({URL: pin}), encoding="utf-8")
    folders.measure(*(row(name, RUNNER, measured={"box_AP": 37.42}) for name in names))
    subject, message = only(folders.verify(*names), Cause.NEW_ALARM)
    assert subject == "mmdet"
    assert "12 of 12 rows lie above the published box_AP" in message
    folders.commit(*(row(name, measured={"box_AP": 37.43}) for name in names))
    found = folders.verify(*names)
    assert found.holds
    assert found.notes == ["mmdet: box_AP above, as the committed records have it"]


def test_an_alarm_of_speed_asks_for_committed_records_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"mmdet_{letter}" for letter in "abcde"]
    make_catalogue(tmp_path, monkeypatch, *names)
    folders = Folders(tmp_path / "committed", tmp_path / "measured")
    folders.commit(*map(row, names))
    folders.pin()
    slow = {"fps": 30.0}
    folders.measure(row("mmdet_a", RUNNER, measured=slow), *(row(name, RUNNER) for name in names[1:]))
    found = folders.verify(*names)
    assert found.holds
    assert found.notes == ["mmdet_a: fps DRIFT, and no record of cpu-of-a-runner is committed"]
    folders.measured = folders.measured.with_name("here")
    folders.measure(row("mmdet_a", measured=slow), *(row(name) for name in names[1:]))
    subject, message = only(folders.verify(*names), Cause.NEW_ALARM)
    assert subject == "mmdet_a"
    assert message.startswith("fps DRIFT")


def test_an_alarm_that_was_there_is_listed(folders: Folders) -> None:
    folders.commit(drift("mmdet_a", HERE))
    folders.measure(drift("mmdet_a", RUNNER))
    found = folders.verify()
    assert found.holds
    assert found.notes[-1] == "mmdet_a: box_AP DRIFT, as the committed records have it"


def test_a_row_that_was_never_measured_and_breaks_is_an_alarm(folders: Folders) -> None:
    folders.measure(unmeasured("paddle_c", "failed"))
    subject, message = only(folders.verify(), Cause.NEW_ALARM)
    assert subject == "paddle_c"
    assert message == "FAILED: no mirror"
    folders.commit(unmeasured("paddle_c", "failed", HERE))
    assert folders.verify().holds, "known to be broken"


# what is not a failure of results


def test_there_has_to_be_a_folder_of_its_own(folders: Folders) -> None:
    with pytest.raises(UsageError, match="is the folder of the committed results"):
        verify(folders.committed, folders.committed, [])
    with pytest.raises(UsageError, match="no folder"):
        verify(folders.committed / "nowhere", folders.committed, [])


# as Markdown


def test_markdown_says_what_moved_and_what_to_do(folders: Folders) -> None:
    folders.measure(row("mmdet_a", RUNNER, measured={"box_AP": 37.0}))
    text = markdown.render(folders.verify("mmdet_a", "mmdet_b"))
    lines = [re.sub(" +", " ", line) for line in text.splitlines()]
    assert lines[0] == "### Results: 2 failures"
    assert any(line.startswith("| **stale table** | mmdet_a | not as committed of h200-sxm: box_AP") for line in lines)
    assert any(line.startswith("| **new alarm** | mmdet_a | box_AP DRIFT") for line in lines)
    assert "| mmdet_a | box_AP | h200-sxm | 37.410 | 37.000 | -0.410 | ±0.05 | **moved** |" in lines
    assert lines.count("<details><summary>Measured beside published</summary>") == lines.count("</details>") == 1


def test_markdown_of_results_that_hold_has_no_table_of_failures(folders: Folders) -> None:
    text = markdown.render(folders.verify())
    assert "### Results: they hold" in text
    assert "cause" not in text
    assert "Numbers that are not the committed ones" not in text


def test_markdown_fits_a_comment(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    found = folders.verify("mmdet_a", "mmdet_b")
    monkeypatch.setattr(markdown, "LIMIT", len(markdown.render(found)) - 20)
    text = markdown.render(found)
    assert len(text) <= markdown.LIMIT
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.endswith("This is not all of it: `zoo verify` prints the rest.\n")


def test_a_cell_of_markdown_is_one_line(folders: Folders) -> None:
    folders.measure(make_record("paddle_c", status="failed", reason="a | b\n<c>", hardware=RUNNER, images=None))
    assert "FAILED: a \\| b &lt;c>" in markdown.render(folders.verify())
