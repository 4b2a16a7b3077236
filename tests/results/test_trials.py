"""Which records are trials of a run: those that one listed switch tells from it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from made_up import cell, make_entry, make_record

from zoo.catalog.switches import Switch
from zoo.results import trials as module
from zoo.results.evidence import row_key
from zoo.results.explain import Explanation, Untried, explanation_document, explanation_rows
from zoo.results.gather import gather_evidence
from zoo.results.record import Record
from zoo.results.trials import trials_of, trials_of_rows

OWN: dict[str, Any] = {"protocol": {"channels": "rgb", "divisor": 32}, "precision": "auto", "batch_size": "auto"}
COLOURS = Switch(name="colours", overrides=("protocol.channels=bgr",), source="README.md")
PADDING = Switch(name="padding", overrides=("protocol.divisor=1",), source="docs/pad.md")
HALF = Switch(name="half", overrides=("precision=fp16",), source="README.md")
CUT = Switch(name="cut", overrides=("rescore.max_detections=100",), source="README.md")
DIGITS = Switch(name="digits", overrides=("rescore.box_decimals=null",), source="README.md")
SWITCHES = (COLOURS, PADDING, HALF, CUT, DIGITS)


def run(**more: Any) -> Record:
    return make_record(**{"measured": {"box_AP": 37.0}, "config": OWN, **more})


def changed(switch: Switch, value: float = 37.4, **more: Any) -> Record:
    """The run with a switch changed."""
    key, _, text = switch.overrides[0].partition("=")
    group, _, name = key.rpartition(".")
    config = {**OWN, group: {**OWN.get(group, {}), name: text}} if group else {**OWN, name: text}
    if group == "rescore" and text == "null":
        config[group] = {name: None}
    overrides = ["device=cpu", *switch.overrides]
    role = "conditions" if not group else "changes"
    given = {"measured": {"box_AP": value}, "config": config, "overrides": overrides, role: switch.overrides}
    return make_record(**{**given, **more})


def names(*records: Record, of: Record | None = None) -> list[str]:
    return [trial.switch for trial in trials_of(of or run(), records, SWITCHES)]


def test_in_the_order_of_the_list_with_their_numbers() -> None:
    found = trials_of(run(), [changed(HALF, 36.9), changed(COLOURS, 37.4), changed(CUT), changed(DIGITS)], SWITCHES)
    assert [trial.switch for trial in found] == ["colours", "half", "cut", "digits"]
    assert found[0].values == {"box_AP": 37.4}
    assert found[0].source == "README.md"
    assert found[1].values == {"box_AP": 36.9}


def test_the_newest_of_several_counts() -> None:
    old = changed(COLOURS, 30.0, finished="2026-01-01T00:00:00+00:00")
    new = changed(COLOURS, 31.0, finished="2026-02-01T00:00:00+00:00")
    for records in ([old, new], [new, old]):
        (trial,) = trials_of(run(), records, SWITCHES)
        assert trial.values == {"box_AP": 31.0}


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "1" * 64},
        {"annotations": "b" * 64},
        {"images": 100},
        {"hardware": "h100"},
        {"version": 2},
        {"entry": "mmdet_b"},
        {"status": "failed", "measured": {}},
        {"trained": True},
        {"measured": {"fps": 20.0}},
    ],
)
def test_no_trial_of_another_subject(other: dict[str, Any]) -> None:
    assert names(changed(COLOURS)) == ["colours"]
    assert names(changed(COLOURS, **other)) == []


def test_two_changes_are_no_trial() -> None:
    both = {"channels": "bgr", "divisor": 1}
    overrides = [*COLOURS.overrides, *PADDING.overrides]
    assert names(changed(COLOURS, config={**OWN, "protocol": both}, overrides=overrides)) == []
    # a row that was composed otherwise then, whatever the command line said
    assert names(changed(COLOURS, config={**OWN, "protocol": {**both, "divisor": 16}})) == []


def test_the_run_itself_is_no_trial_and_neither_is_another_value() -> None:
    assert names(run()) == []
    other: dict[str, Any] = {
        "config": {**OWN, "protocol": {"channels": "grb", "divisor": 32}},
        "overrides": ["protocol.channels=grb"],
    }
    assert names(changed(COLOURS, **other)) == []


def test_trials_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_switches", lambda *_: SWITCHES)
    records = [run(), changed(COLOURS), run(entry="mmdet_b")]
    found = trials_of_rows(records)
    assert list(found) == [row_key(run())]
    assert [trial.switch for trial in found[row_key(run())]] == ["colours"]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Explanation:
    """A row of three numbers that the colours explain."""
    monkeypatch.setattr(module, "read_switches", lambda *_: SWITCHES)
    metrics = ("box_AP", "box_AP50", "box_AP75")
    entry = make_entry(*(cell(text, metric) for metric, text in zip(metrics, ("37.4", "58.1", "40.4"), strict=True)))
    record = run(measured=dict(zip(metrics, (37.0, 57.5, 40.0), strict=True)))
    others = [
        changed(COLOURS, measured=dict(zip(metrics, (37.42, 58.12, 40.31), strict=True))),
        changed(PADDING, measured=dict(zip(metrics, (37.4, 57.0, 40.0), strict=True))),
    ]
    records = [record, *others]
    evidence = gather_evidence(records, {entry.name: entry}, trials_of_rows(records))
    untried = (Untried(switch="half", reason="it needs device=cuda"),)
    return Explanation(entry=entry, record=record, evidence=evidence, switches=SWITCHES, untried=untried)


def test_the_one_switch_is_named(explained: Explanation) -> None:
    assert explained.is_off
    assert not explained.is_alarm
    assert explained.named == "colours"
    assert {outcome.verdict for outcome in explained.verdicts.values()} == {"EXPLAINED"}


def test_a_line_a_switch(explained: Explanation) -> None:
    rows = {row["switch"]: row for row in explanation_rows(explained)}
    assert list(rows) == ["published", "measured", "colours", "padding", "half"]
    assert rows["published"]["box_AP50"] == "58.1"
    assert rows["measured"]["meets"] == "0 of 3"
    assert (rows["colours"]["box_AP75"], rows["colours"]["meets"]) == ("40.31", "3 of 3")
    assert (rows["padding"]["meets"], rows["padding"]["named by"], rows["padding"]["tier"]) == (
        "1 of 3",
        "docs/pad.md",
        "2",
    )
    assert rows["half"]["note"] == "it needs device=cuda"
    assert explanation_rows(explained, full=True)[3]["box_AP"] == "37.4"


def test_the_document(explained: Explanation) -> None:
    said = explanation_document(explained)
    assert said["named"] == "colours"
    assert said["noise"] == dict.fromkeys(("box_AP", "box_AP50", "box_AP75"), 0.05)
    assert [one["meets"] for one in said["tried"]] == [["box_AP", "box_AP50", "box_AP75"], ["box_AP"]]
    assert said["untried"] == [{"switch": "half", "reason": "it needs device=cuda"}]


def test_two_switches_that_do_are_an_alarm(explained: Explanation) -> None:
    again = changed(PADDING, measured={"box_AP": 37.38, "box_AP50": 58.1, "box_AP75": 40.4})
    first = changed(COLOURS, measured={"box_AP": 37.42, "box_AP50": 58.12, "box_AP75": 40.31})
    records = [explained.record, first, again]
    evidence = gather_evidence(records, {explained.entry.name: explained.entry}, trials_of_rows(records))
    both = Explanation(entry=explained.entry, record=explained.record, evidence=evidence, switches=SWITCHES)
    assert both.is_alarm
    assert both.named is None
    assert "colours" in str(both.verdicts["box_AP"].reason)
    assert "padding" in str(both.verdicts["box_AP"].reason)
