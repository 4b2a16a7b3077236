"""Two states of the results row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up import make_record

from zoo.errors import UsageError
from zoo.results.compare.rows import RowPair, compare_snapshots, pair_lines, render_pairs
from zoo.results.compare.snapshots import Snapshot, present
from zoo.results.ledger import Ledger
from zoo.results.record import Record
from zoo.terminal import ABSENT


@pytest.fixture
def snapshot(tmp_path: Path) -> Any:
    """Makes the state that some records are."""

    def of(*records: Record) -> Snapshot:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for record in records:
            Ledger(folder).file(record)
        return present(folder)

    return of


def states(pairs: list[RowPair]) -> list[tuple[str, str]]:
    return [(pair.label, pair.state) for pair in pairs]


def moved(pair: RowPair) -> dict[str, tuple[float | None, float | None]]:
    return {number.column: (number.old, number.new) for number in pair.numbers}


def test_rows_are_new_gone_changed_or_as_they_were(snapshot: Any) -> None:
    old = snapshot(make_record("mmdet_a"), make_record("mmdet_b"), make_record("paddle_c"))
    new = snapshot(make_record("mmdet_a"), make_record("mmdet_b", measured={"box_AP": 36.0}), make_record("jwyang_d"))
    pairs = compare_snapshots(old, new)
    assert states(pairs) == [
        ("mmdet_a", "unchanged"),
        ("mmdet_b", "changed"),
        ("paddle_c", "gone"),
        ("jwyang_d", "new"),
    ]
    assert [moved(pair) for pair in pairs] == [
        {},
        {"box_AP": (37.41, 36.0)},
        {"box_AP": (37.41, None)},
        {"box_AP": (None, 37.41)},
    ]
    text = render_pairs(pairs, old, new)
    assert "(new): 1 new, 1 gone, 1 changed, 1 unchanged\n" in text
    (line,) = [line for line in text.splitlines() if "mmdet_b" in line]
    assert [cell.strip() for cell in line.strip("|").split("|")][1:7] == [
        *("changed", "h200-sxm", "box_AP", "37.41", "36", "-1.41")
    ]


def test_conditions_are_rows_of_their_own(snapshot: Any) -> None:
    bf16 = make_record("mmdet_a", conditions=("precision=bf16",), measured={"box_AP": 30.0})
    pairs = compare_snapshots(snapshot(make_record("mmdet_a")), snapshot(make_record("mmdet_a"), bf16))
    assert states(pairs) == [("mmdet_a", "unchanged"), ("mmdet_a (precision=bf16)", "new")]


def test_another_machine_compares_in_accuracy_and_complexity_alone(snapshot: Any) -> None:
    numbers = {"box_AP": 37.41, "params": 41_000_000, "fps": 60.0, "memory": {"peak_allocated_bytes": 10**9}}
    old = snapshot(make_record(measured=numbers))
    other = {**numbers, "box_AP": 37.45, "fps": 3.0, "memory": {"peak_allocated_bytes": 2 * 10**9}}
    new = snapshot(make_record(measured=other, hardware="cpu"))
    (pair,) = pairs = compare_snapshots(old, new)
    assert (pair.state, moved(pair)) == ("other machine", {"box_AP": (37.41, 37.45)})
    (line,) = pair_lines(pairs, full=False)
    assert line["machine"] == "h200-sxm -> cpu"
    assert float(pair_lines(pairs, full=True)[0]["delta"]) == 37.45 - 37.41
    assert line["delta"] == "+0.04"
    assert "speed and memory do not" in render_pairs(pairs, old, new)
    same = compare_snapshots(old, snapshot(make_record(measured={**numbers, "fps": 3.0}, hardware="cpu")))
    assert moved(same[0]) == {"box_AP": (37.41, 37.41)}, "that it did not move is said"


def test_a_machine_that_joins_is_held_beside_one_that_was_there(snapshot: Any) -> None:
    one, two, three = (make_record(hardware=name) for name in ("a", "b", "c"))
    pairs = compare_snapshots(snapshot(one, two), snapshot(two, three))
    found = [(pair.state, pair.old and pair.old.machine, pair.new and pair.new.machine) for pair in pairs]
    assert found == [("unchanged", "b", "b"), ("other machine", "a", "c")]
    pairs = compare_snapshots(snapshot(one), snapshot(one, two, three))
    assert [pair.state for pair in pairs] == ["unchanged", "other machine", "other machine"]
    pairs = compare_snapshots(snapshot(one, two, three), snapshot(one))
    assert [pair.state for pair in pairs] == ["unchanged", "gone", "gone"]


def test_on_the_same_machine_everything_compares(snapshot: Any) -> None:
    old, new = (snapshot(make_record(measured={"box_AP": 37.41, "fps": fps})) for fps in (60.0, 66.0))
    (pair,) = compare_snapshots(old, new)
    assert moved(pair) == {"fps": (60.0, 66.0)}


def test_latencies_of_onnx_belong_to_their_cpu(snapshot: Any) -> None:
    def timed(p50: float, cpu: str) -> Snapshot:
        onnx = {"p50": p50, "p95": 9.0, "cpu": cpu, "onnxruntime": "1", "threads": 1}
        made = snapshot(make_record(measured={"box_AP": 37.41, "onnx_latency_ms": onnx}))
        assert isinstance(made, Snapshot)
        return made

    assert moved(compare_snapshots(timed(5.0, "EPYC"), timed(6.0, "EPYC"))[0]) == {"onnx_p50_ms": (5.0, 6.0)}
    assert compare_snapshots(timed(5.0, "EPYC"), timed(6.0, "Xeon"))[0].state == "unchanged"


def test_a_number_that_was_not_there_is_a_change_without_a_difference(snapshot: Any) -> None:
    old, new = snapshot(make_record()), snapshot(make_record(measured={"box_AP": 37.41, "fps": 60.0}))
    (line,) = pair_lines(compare_snapshots(old, new), full=False)
    assert (line["metric"], line["old"], line["new"], line["delta"]) == ("fps", ABSENT, "60", ABSENT)


def test_other_weights_are_said_whatever_the_numbers(snapshot: Any) -> None:
    old, new = snapshot(make_record()), snapshot(make_record(weights="b" * 64))
    (pair,) = pairs = compare_snapshots(old, new)
    assert (pair.state, pair.numbers) == ("changed", ())
    (line,) = pair_lines(pairs, full=False)
    assert (line["metric"], line["old"], line["new"], line["delta"]) == ("weights", "00000000", "bbbbbbbb", ABSENT)


def test_more_seeds_make_no_other_row(snapshot: Any) -> None:
    drawn = [make_record(trained=True, hash_evidence="none", seed=seed, training={}) for seed in (0, 1)]
    pairs = compare_snapshots(snapshot(drawn[0]), snapshot(*drawn))
    assert states(pairs) == [("mmdet_a (trained)", "unchanged")]


@pytest.mark.parametrize("machine", ["h200-sxm", "cpu"])
def test_versions_of_a_measurement_are_not_mixed(snapshot: Any, machine: str) -> None:
    old, new = snapshot(make_record()), snapshot(make_record(version=2, hardware=machine))
    with pytest.raises(UsageError, match=r"accuracy by protocol 'mmdet' in 2 versions .* 1 \(mmdet_a\), 2 \(mmdet_a\)"):
        compare_snapshots(old, new)
    with pytest.raises(UsageError, match="two protocols, mmdet and paddle"):
        compare_snapshots(old, snapshot(make_record(protocol="paddle", hardware=machine)))


def test_versions_of_speed_matter_on_the_same_machine_alone(snapshot: Any) -> None:
    timed = {"box_AP": 37.41, "fps": 60.0}
    old = snapshot(make_record(measured=timed))
    with pytest.raises(UsageError, match="speed in 2 versions"):
        compare_snapshots(old, snapshot(make_record(measured=timed, versions={"speed": 7})))
    elsewhere = snapshot(make_record(measured=timed, versions={"speed": 7}, hardware="cpu"))
    assert compare_snapshots(old, elsewhere)[0].state == "other machine"
    accuracy_alone = snapshot(make_record(measured={"box_AP": 37.41}, version=1))
    assert moved(compare_snapshots(old, accuracy_alone)[0]) == {"fps": (60.0, None)}
