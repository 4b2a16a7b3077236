"""Measured beside published as text, and two records of one entry beside each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_up import ROW, cell, make_entry, make_record

from zoo.catalog.entry import Entry
from zoo.errors import UsageError
from zoo.results.compare.records import compare_records, render_comparison
from zoo.results.diff import diff_rows, passes, render_diff
from zoo.results.record import Record
from zoo.runtime.provenance import Code
from zoo.terminal import ABSENT

R50 = make_entry(cell("37.4", line=25), cell("21.4", metric="fps", hardware="V100"), name="mmdet_r50")
R101 = make_entry(cell("39.4", line=31), cell("15.6", metric="fps", hardware="V100"), name="mmdet_r101")
X101 = make_entry(cell("41.2", line=33), cell("13.8", metric="fps", hardware="V100"), name="mmdet_x101")
YOLO = make_entry(cell("37.3"), cell("0.99", metric="latency_ms"), name="ultralytics_n", zoo="ultralytics")
ENTRIES = {entry.name: entry for entry in (R50, R101, X101, YOLO)}


def record_of(entry: Entry, box: float, fps: float | None = None, /, **more: Any) -> Record:
    measured = {"box_AP": box} if fps is None else {"box_AP": box, "fps": fps}
    return make_record(**{"entry": entry.name, "measured": measured, **more})


def cells_of(text: str, *starts: str) -> list[str]:
    """The cells of the one line of a rendered table that begins with these cells."""
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    (line,) = [line for line in lines if line[: len(starts)] == list(starts)]
    return line


def test_rows_are_in_catalogue_order() -> None:
    records = [record_of(YOLO, 37.3), record_of(X101, 41.2), record_of(R101, 39.4)]
    assert [row.record.entry for row in diff_rows(records, ENTRIES) if row.metric == "box_AP"] == [
        "mmdet_r101",
        "mmdet_x101",
        "ultralytics_n",
    ]


def test_one_line_a_published_number() -> None:
    text = render_diff(diff_rows([record_of(R50, 37.412)], ENTRIES))
    assert "Measured on h200-sxm: 1 EXACT" in text
    assert cells_of(text, "mmdet_r50", "box_AP")[2:] == ["37.4", "README.md:25", "37.412", "+0.012", "EXACT", ""]


def test_speed_stands_beside_theirs_with_the_ratio() -> None:
    records = [record_of(R50, 37.4, 60.0), record_of(R101, 39.4, 45.0), record_of(X101, 41.2, 36.0)]
    text = render_diff(diff_rows(records, ENTRIES))
    first = cells_of(text, "mmdet_r101", "fps")
    assert first[2:] == ["45.00 images/s", "h200-sxm", "15.6 images/s", "V100", "2.88", "NOT-COMPARED", ""]
    assert cells_of(text, "mmdet_r50", "fps")[-3:] == ["2.80", "NOT-COMPARED", ""], "too few rows for a usual ratio"


ONNX = {"p95": 40.0, "cpu": "EPYC 9654", "onnxruntime": "1.31.1", "threads": 1}


def test_a_latency_of_onnx_stands_beside_onnx_and_its_cpu() -> None:
    rows = {"n": ("80.4", "0.99", 16.0, 30.0), "s": ("128.4", "1.20", 20.0, 60.0), "m": ("234.7", "1.83", 32.0, None)}
    rows["x"] = ("479.1", "3.53", 40.0, 99.0)
    entries, records = {}, []
    for name, (onnx, tensorrt, eager, ours) in rows.items():
        cpu = cell(onnx, metric="latency_ms", hardware="CPU, ONNX")
        gpu = cell(tensorrt, metric="latency_ms", hardware="A100, TensorRT")
        entry = make_entry(cpu, gpu, name=f"ultralytics_{name}", zoo="ultralytics")
        measured: dict[str, Any] = {"latency_ms": {"p50": eager}}
        if ours is not None:
            measured["onnx_latency_ms"] = {**ONNX, "p50": ours, "cpu": "Xeon 8275CL" if name == "x" else ONNX["cpu"]}
        entries[entry.name] = entry
        records.append(record_of(entry, 37.3, measured=measured))
    text = render_diff(diff_rows(records, entries))
    where = "EPYC 9654, onnxruntime 1.31.1, 1 thread"
    assert cells_of(text, "ultralytics_m", "onnx_latency_ms")[2:] == [
        *(ABSENT, "h200-sxm", "234.7 ms", "CPU, ONNX", ABSENT, "NOT-ASKED", "")
    ]
    assert cells_of(text, "ultralytics_n", "onnx_latency_ms")[2:] == [
        *("30.00 ms", where, "80.4 ms", "CPU, ONNX", "0.37", "NOT-COMPARED", "")
    ]
    assert cells_of(text, "ultralytics_x", "onnx_latency_ms")[3] == "Xeon 8275CL, onnxruntime 1.31.1, 1 thread"
    assert cells_of(text, "ultralytics_s", "latency_ms")[2:] == [
        *("20.00 ms", "h200-sxm", "1.20 ms", "A100, TensorRT", "16.67", "NOT-COMPARED", "")
    ]


def test_latencies_of_onnx_compare_on_one_cpu_only() -> None:
    old = record_of(YOLO, 37.3, measured={"onnx_latency_ms": {**ONNX, "p50": 30.0}})
    new = record_of(YOLO, 37.3, measured={"onnx_latency_ms": {**ONNX, "p50": 33.0}})
    deltas = {change.metric: change.delta for change in compare_records(old, new).changes}
    assert deltas["onnx_latency_ms.p50"] == 3.0
    new = record_of(YOLO, 37.3, measured={"onnx_latency_ms": {**ONNX, "p50": 33.0, "cpu": "Xeon 8275CL"}})
    deltas = {change.metric: change.delta for change in compare_records(old, new).changes}
    assert deltas["onnx_latency_ms.p50"] is None


def test_a_speed_not_asked_for_is_shown_without_a_ratio() -> None:
    text = render_diff(diff_rows([record_of(R50, 37.4), record_of(R101, 39.4, 45.0)], ENTRIES))
    assert cells_of(text, "mmdet_r50", "fps")[2] == ABSENT
    assert cells_of(text, "mmdet_r50", "fps")[-3:] == [ABSENT, "NOT-ASKED", ""]


def test_machines_are_reported_apart() -> None:
    text = render_diff(diff_rows([record_of(R50, 37.4, 60.0), record_of(R101, 39.4, 4.0, hardware="cpu")], ENTRIES))
    assert text.index("Measured on cpu") < text.index("Measured on h200-sxm")
    assert cells_of(text, "mmdet_r50", "fps")[-3:] == ["2.80", "NOT-COMPARED", ""]


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"measured": {"box_AP": 37.46}}, True),  # NUMERIC
        ({"partial": True, "measured": {"box_AP": 36.9}}, True),
        ({"hash_evidence": "other weights", "measured": {"box_AP": 36.9}}, True),
        ({"changes": ("neck=pafpn",), "measured": {"box_AP": 36.9}}, True),
        ({"conditions": ("precision=bf16",), "measured": {"box_AP": 36.9}}, True),
        ({"known": False, "measured": {"box_AP": 36.9}}, True),
        ({"measured": {"box_AP": 36.9}}, False),  # DRIFT
        ({"status": "blocked", "reason": "link dead"}, False),
        ({"status": "failed", "reason": "out of memory"}, False),
        ({"entry": "mmdet_gone", "status": "failed", "reason": "out of memory"}, False),
    ],
)
def test_what_passes(changes: dict[str, Any], good: bool) -> None:
    assert passes(diff_rows([record_of(R50, 37.4, **changes)], ENTRIES)) is good


def test_conflicting_carriers_do_not_pass() -> None:
    torn = make_entry(cell("41.2"), cell("41.5", source="metafile.yml"), name="mmdet_r50")
    assert not passes(diff_rows([record_of(R50, 41.2)], {"mmdet_r50": torn}))


def test_no_records_do_not_pass() -> None:
    assert not passes(diff_rows([], ENTRIES))


def test_records_without_a_row_of_the_catalogue_are_shown() -> None:
    changed = record_of(R50, 38.0, name="with_pafpn", changes=("neck=pafpn",))
    left = record_of(R50, 38.0, entry="mmdet_gone")
    text = render_diff(diff_rows([changed, left], ENTRIES))
    assert cells_of(text, "with_pafpn")[4:] == [
        "38.00",
        ABSENT,
        "NOT-COMPARED",
        "a changed composition of mmdet_r50",
    ]
    assert cells_of(text, "mmdet_gone")[-1] == "not in the catalogue"


def test_a_reason_cannot_break_the_table() -> None:
    blocked = record_of(R50, 0.0, status="blocked", reason="404\n| gone |", measured={})
    assert "404 \\| gone \\|" in render_diff(diff_rows([blocked], ENTRIES))


def test_versions_of_one_measurement_are_not_mixed() -> None:
    old, new = record_of(R50, 37.4), record_of(R101, 39.4, version=2)
    found = r"accuracy by protocol 'mmdet' in 2 versions .* 1 \(mmdet_r50\), 2 \(mmdet_r101\)"
    with pytest.raises(UsageError, match=found):
        render_diff(diff_rows([old, new], ENTRIES))
    with pytest.raises(UsageError, match="2 versions"):
        compare_records(old, record_of(R50, 37.4, version=2))
    with pytest.raises(UsageError, match="two protocols, mmdet and paddle"):
        compare_records(old, record_of(R50, 37.4, protocol="paddle"))
    blocked = record_of(R101, 0.0, status="blocked", version=2, measured={})
    assert "BLOCKED" in render_diff(diff_rows([old, blocked], ENTRIES)), "a run without a number mixes nothing"
    timed = record_of(R101, 0.0, measured={"fps": 45.0}, version=2)
    assert "45.00" in render_diff(diff_rows([old, timed], ENTRIES)), "its speed is of the one version that speed has"
    other = record_of(R101, 0.0, measured={"fps": 45.0}, versions={"speed": 7})
    assert "45.00" in render_diff(diff_rows([old, other], ENTRIES)), "the first has no speed"
    with pytest.raises(UsageError, match=r"speed in 2 versions .* 2 \(mmdet_r50\), 7 \(mmdet_r101\)"):
        render_diff(diff_rows([record_of(R50, 37.4, 60.0), other], ENTRIES))


def test_two_records_of_one_entry() -> None:
    old = record_of(R50, 37.4, 60.0, code=Code(version="1", commit="aaa"))
    new = record_of(R50, 37.5, 66.0, code=Code(version="1", commit="bbb"))
    compared = compare_records(old, new)
    assert [(c.metric, c.old, c.new) for c in compared.changes] == [("box_AP", 37.4, 37.5), ("fps", 60.0, 66.0)]
    assert [c.delta for c in compared.changes] == pytest.approx([0.1, 6.0])
    assert compared.circumstances == {"commit": ("aaa", "bbb")}
    text = render_comparison(old, new)
    assert cells_of(text, "box_AP") == ["box_AP", "37.4", "37.5", "+0.1"]
    assert cells_of(text, "commit") == ["commit", "aaa", "bbb"]


def test_two_conditions_of_one_entry() -> None:
    old, new = record_of(R50, 37.4), record_of(R50, 37.3, conditions=("precision=bf16",), row="b" * 64)
    assert compare_records(old, new).circumstances == {
        "composition": (ROW, "b" * 64),
        "precision": ("fp32", "bf16"),
    }


def test_circumstances_are_shown_with_short_hashes() -> None:
    old, new = record_of(R50, 37.4), record_of(R50, 37.3, changes=("neck=pafpn",), row="b" * 64)
    text = render_comparison(old, new)
    assert cells_of(text, "composition") == ["composition", "f" * 12, "b" * 12]
    assert cells_of(text, "changes") == ["changes", ABSENT, "neck=pafpn"]


def test_a_record_of_several_commits_names_what_each_measured() -> None:
    old = record_of(R50, 37.4, 60.0, code=Code(version="1", commit="aaa"))
    timed = record_of(R50, 37.4, 61.0, code=Code(version="1", commit="bbb"))
    new = replace(old, parts={**old.parts, "speed": timed.parts["speed"]})
    assert compare_records(old, new).circumstances == {"commit": ("aaa", "aaa (accuracy); bbb (speed)")}


def test_two_machines_compare_in_accuracy_only() -> None:
    old = record_of(R50, 37.4, measured={"box_AP": 37.4, "fps": 4.0, "memory": {"peak_bytes": 1}})
    new = record_of(
        R50,
        37.4,
        hardware="cpu",
        measured={"box_AP": 37.4, "fps": 60.0, "memory": {"peak_bytes": 2}, "box_AP50": 58.1},
    )
    deltas = {change.metric: change.delta for change in compare_records(old, new).changes}
    assert deltas == {"box_AP": 0.0, "fps": None, "memory.peak_bytes": None, "box_AP50": None}
    assert compare_records(old, new).circumstances == {"hardware": ("h200-sxm", "cpu")}


def test_two_entries_do_not_compare() -> None:
    with pytest.raises(UsageError, match="two entries, mmdet_r50 and mmdet_r101"):
        compare_records(record_of(R50, 37.4), record_of(R101, 39.4))


def test_a_truth_value_is_no_number() -> None:
    old, new = (record_of(R50, 37.4, measured={"box_AP": 37.4, "exact": exact}) for exact in (False, True))
    assert [change.metric for change in compare_records(old, new).changes] == ["box_AP"]
