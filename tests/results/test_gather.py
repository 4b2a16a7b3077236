"""What other records say of one: noise floors, usual ratios, a switch that accounts for it, a zoo to one side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from made_up import cell, make_entry, make_record

from zoo.catalog.entry import Entry
from zoo.results.attribution import Trial
from zoo.results.bias import find_biases
from zoo.results.diff import diff_rows, passes, render_diff
from zoo.results.evidence import Evidence, row_key
from zoo.results.gather import gather_evidence
from zoo.results.record import Record
from zoo.results.statistics import holm, sign_test, t_quantile
from zoo.results.verdict import judge

THREE = (cell("37.4"), cell("58.1", metric="box_AP50"), cell("40.4", metric="box_AP75"))
OFF = {"box_AP": 37.1, "box_AP50": 57.9, "box_AP75": 40.0}
RIGHT = {"box_AP": 37.38, "box_AP50": 58.13, "box_AP75": 40.36}


def trial(switch: str, values: Mapping[str, float]) -> Trial:
    return Trial(switch=switch, source="docs/faq.md", values=values)


def tried(record: Record, entry: Entry, *trials: Trial) -> dict[str, tuple[str, str | None]]:
    evidence = gather_evidence([record], {entry.name: entry}, {row_key(record): trials})
    return {metric: (found.verdict, found.reason) for metric, found in judge(record, entry, evidence).items()}


def test_one_switch_that_brings_every_number_inside_explains() -> None:
    record, entry = make_record(measured=OFF), make_entry(*THREE)
    found = tried(record, entry, trial("bicubic", RIGHT), trial("padding 32", {**OFF, "box_AP": 37.4}))
    assert found == {
        "box_AP": ("EXPLAINED", "with bicubic (docs/faq.md): 37.380; 2 switches tried"),
        "box_AP50": ("EXPLAINED", "with bicubic (docs/faq.md): 58.130; 2 switches tried"),
        "box_AP75": ("EXPLAINED", "with bicubic (docs/faq.md): 40.360; 2 switches tried"),
    }


def test_only_what_is_outside_is_explained() -> None:
    measured = {**OFF, "box_AP50": 58.12}
    found = tried(make_record(measured=measured), make_entry(*THREE), trial("bicubic", RIGHT))
    assert [name for name, _ in found.values()] == ["EXPLAINED", "EXACT", "EXPLAINED"]


def test_a_switch_that_pushes_another_number_out_explains_nothing() -> None:
    found = tried(make_record(measured=OFF), make_entry(*THREE), trial("bicubic", {**RIGHT, "box_AP50": 59.0}))
    assert found["box_AP"] == ("DRIFT", "best candidate: bicubic (37.380); 1 switch tried")
    assert found["box_AP50"] == ("DRIFT", "no switch brings it nearer; 1 switch tried")


def test_two_switches_that_explain_are_both_named_and_it_stays_a_drift() -> None:
    found = tried(make_record(measured=OFF), make_entry(*THREE), trial("bicubic", RIGHT), trial("nms 0.6", RIGHT))
    assert found["box_AP"] == (
        "DRIFT",
        "bicubic (37.380) and nms 0.6 (37.380) each bring every published number inside; 2 switches tried",
    )


def test_what_fits_already_is_left_alone() -> None:
    record, entry = make_record(measured=RIGHT), make_entry(*THREE)
    assert tried(record, entry, trial("bicubic", RIGHT)) == tried(record, entry)
    assert tried(make_record(measured=OFF), entry)["box_AP"] == ("DRIFT", None), "nothing was tried"


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ((), "DRIFT"),
        ((37.1,), "DRIFT"),
        ((37.1, 37.2), "EXPLAINED"),
        ((37.1, 37.8), "DRIFT"),  # one of them lies on the other side
    ],
)
def test_one_number_needs_two_further_rows(others: tuple[float, ...], name: str) -> None:
    names = [f"mmdet_{letter}" for letter in "abc"][: 1 + len(others)]
    entries = {name: make_entry(cell("37.4"), name=name) for name in names}
    records = [make_record(name, measured={"box_AP": ap}) for name, ap in zip(names, (37.0, *others), strict=True)]
    trials = {row_key(record): [trial("bicubic", {"box_AP": 37.41})] for record in records}
    found = judge(records[0], entries["mmdet_a"], gather_evidence(records, entries, trials))["box_AP"]
    assert found.verdict == name
    if name == "DRIFT":
        assert found.reason is not None
        assert "of a row with 1 published metric it is named only once 2 further rows of the zoo say the same" in (
            found.reason
        )


def test_a_switch_of_a_training_is_not_asked_for() -> None:
    record = make_record(measured=OFF, trained=True, hash_evidence="none")
    assert tried(record, make_entry(*THREE), trial("bicubic", RIGHT)) == tried(record, make_entry(*THREE))


def noisy(floor: float, **more: Any) -> Record:
    return make_record(measured={"box_AP": 37.4, "noise": {"floor": {"box_AP": floor}}}, **more)


@pytest.mark.parametrize(
    ("floor", "more", "name"),
    [
        (0.08, {}, "NUMERIC"),
        (0.01, {}, "DRIFT"),  # measured, and smaller than the usual one
        (0.5, {}, "DRIFT"),  # never over 0.10
        (0.01, {"hardware": "other"}, "NUMERIC"),  # of another machine: the usual floor
        (0.01, {"partial": True, "images": 50}, "NUMERIC"),
    ],
)
def test_the_noise_floor_is_that_of_machine_and_architecture(floor: float, more: dict[str, Any], name: str) -> None:
    entry = make_entry(cell("37.4"))
    record = make_record(measured={"box_AP": 37.58 if floor in (0.08, 0.5) and not more else 37.49})
    if floor == 0.08:
        record = make_record(measured={"box_AP": 37.52})
    if floor == 0.5:
        record = make_record(measured={"box_AP": 37.56})
    evidence = gather_evidence([noisy(floor, **more)], {entry.name: entry})
    assert judge(record, entry, evidence)["box_AP"].verdict == name


MEMORY = {  # of published, on an H200: the last three stand out
    **{f"mmdet_plain{i}": ratio for i, ratio in enumerate((0.87, 0.88, 0.88, 0.89, 0.87))},
    "mmdet_amp": 0.54,
    "mmdet_mask_fpg": 0.69,
    "mmdet_retinanet_fpg": 0.40,
}


def test_ratios_of_memory_stand_out_within_their_zoo() -> None:
    entries = {name: make_entry(cell("4.0", metric="train_memory_gb", hardware="V100"), name=name) for name in MEMORY}
    records = [make_record(name, measured={"train_memory_gb": 4.0 * ratio}) for name, ratio in MEMORY.items()]
    evidence = gather_evidence(records, entries)
    found = {record.entry: judge(record, entries[record.entry], evidence)["train_memory_gb"] for record in records}
    drifting = [name for name, outcome in found.items() if outcome.verdict == "DRIFT"]
    assert drifting == ["mmdet_amp", "mmdet_mask_fpg", "mmdet_retinanet_fpg"]
    assert {outcome.verdict for name, outcome in found.items() if "plain" in name} == {"NUMERIC"}
    assert found["mmdet_amp"].reason == (
        "0.54 of 4.0 on V100; the median of the zoo's 8 rows on h200-sxm is 0.87: 0.62 of it, outside ±15%"
    )
    assert not passes(diff_rows(records, entries, evidence))


@pytest.mark.parametrize(("share", "name"), [(0.71, "NUMERIC"), (1.29, "NUMERIC"), (0.69, "DRIFT"), (1.31, "DRIFT")])
def test_speed_may_differ_by_more(share: float, name: str) -> None:
    names = [f"mmdet_{i}" for i in range(6)]
    entries = {name: make_entry(cell("20.0", metric="fps", hardware="V100"), name=name) for name in names}
    speeds = dict(zip(names, (60.0, 60.0, 60.0, 60.0, 60.0, 60.0 * share), strict=True))
    records = [make_record(name, measured={"fps": fps}) for name, fps in speeds.items()]
    evidence = gather_evidence(records, entries)
    assert judge(records[-1], entries[names[-1]], evidence)["fps"].verdict == name
    alone = gather_evidence(records[:3] + records[-1:], entries)
    assert judge(records[-1], entries[names[-1]], alone)["fps"].verdict == "NOT-COMPARED", "four rows"


def test_other_conditions_and_machines_are_no_reference() -> None:
    names = [f"mmdet_{i}" for i in range(5)]
    entries = {name: make_entry(cell("20.0", metric="fps", hardware="V100"), name=name) for name in names}
    records = [make_record(name, measured={"fps": 60.0}) for name in names]
    records[2] = make_record(names[2], measured={"fps": 60.0}, hardware="other")
    assert judge(records[0], entries[names[0]], gather_evidence(records, entries))["fps"].verdict == "NOT-COMPARED"
    records[2] = make_record(names[2], measured={"fps": 99.0}, conditions=("precision=fp16",))
    evidence = gather_evidence(records, entries)
    assert judge(records[0], entries[names[0]], evidence)["fps"].verdict == "NOT-COMPARED"
    assert judge(records[2], entries[names[2]], evidence)["fps"].reason == "measured with precision=fp16"


def test_numbers_of_another_version_are_no_reference() -> None:
    names = [f"mmdet_{i}" for i in range(10)]
    entries = {name: make_entry(cell("20.0", metric="fps", hardware="V100"), name=name) for name in names}
    before = [make_record(name, measured={"fps": 30.0}, versions={"speed": 1}) for name in names[:5]]
    today = [make_record(name, measured={"fps": 60.0}) for name in names[5:]]
    evidence = gather_evidence([*before, *today], entries)
    for records, ratio in ((before, "1.50"), (today, "3.00")):
        found = judge(records[0], entries[records[0].entry], evidence)["fps"]
        assert found.verdict == "NUMERIC"
        assert f"the median of the zoo's 5 rows on h200-sxm is {ratio}: 1.00 of it" in str(found.reason)
    evidence = gather_evidence([*before, *today[:4]], entries)
    assert judge(today[0], entries[names[5]], evidence)["fps"].verdict == "NOT-COMPARED", "four rows of its version"


def test_what_was_amiss_stands_in_the_reason_of_a_speed() -> None:
    published = (cell("37.4"), cell("20.0", metric="fps", hardware="V100"))
    note = "throttled in 1 of 3 rounds (power_cap)"
    measured = {"box_AP": 37.4, "fps": 60.0, "timed": {"images": 200, "note": note}}
    found = judge(make_record(measured=measured), make_entry(*published))
    assert found["fps"].reason == f"published for V100, measured on h200-sxm; {note}"
    assert found["box_AP"].reason is None
    measured["timed"] = {"images": 200, "note": ""}
    assert judge(make_record(measured=measured), make_entry(*published))["fps"].reason == (
        "published for V100, measured on h200-sxm"
    )


def lying(deltas: list[float]) -> tuple[list[Record], dict[str, Entry]]:
    entries = {f"mmdet_{i:02}": make_entry(cell("37.4"), name=f"mmdet_{i:02}") for i in range(len(deltas))}
    records = [
        make_record(name, measured={"box_AP": 37.4 + delta}) for name, delta in zip(entries, deltas, strict=True)
    ]
    return records, entries


def test_a_zoo_to_one_side_is_an_alarm_though_every_row_fits() -> None:
    records, entries = lying([-0.03] * 11 + [0.01])
    rows = diff_rows(records, entries)
    assert {row.outcome.verdict for row in rows} == {"EXACT"}
    assert not passes(rows)
    assert (
        "mmdet: 11 of 12 rows lie below the published box_AP, by -0.027 on average (sign test with Holm's adjustment, "
        "p = 0.0063): something that all rows share"
    ) in render_diff(rows)
    assert passes(diff_rows(*lying([-0.03] * 6 + [0.01] * 6)))
    assert passes(diff_rows(*lying([-0.03] * 5))), "too few rows to say so"


def test_several_tests_make_each_harder() -> None:
    one = find_biases({("m", "mmdet", "box_AP"): [-0.01] * 8})
    assert [bias.probability for bias in one] == [pytest.approx(0.0078125)]  # 2 / 2 ** 8
    assert find_biases({("m", "mmdet", "box_AP"): [-0.01] * 8, ("m", "mmdet", "mask_AP"): [0.01, -0.01] * 4}) == []


def test_distributions() -> None:
    """Values of printed tables: Student's t to three decimals, binomial tails exactly."""
    two_sided = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {df: round(t_quantile(0.975, df), 3) for df in two_sided} == two_sided
    one_sided = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 10: 1.812}
    assert {df: round(t_quantile(0.95, df), 3) for df in one_sided} == one_sided
    assert sign_test(9, 1) == sign_test(1, 9) == pytest.approx(22 / 1024)
    assert sign_test(5, 5) == 1.0
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": 0.03, "c": 0.06, "b": 0.06}
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_nothing_is_no_evidence() -> None:
    record, entry = make_record(measured=OFF), make_entry(*THREE)
    assert judge(record, entry) == judge(record, entry, Evidence())
