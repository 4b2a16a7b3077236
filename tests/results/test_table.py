"""Tables from records: the same bytes every time, and four ways for a cell not to hold a number."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import cell, make_catalogue, make_entry, make_record

from zoo.errors import UsageError, ZooError
from zoo.measure.measurement import measurement
from zoo.results.ledger import Ledger
from zoo.results.table import check_tables, current_folder, frame, stale_tables, write_tables
from zoo.runtime.provenance import Code

PARTS, OPTIONAL = ("accuracy", "speed", "memory", "complexity"), ("noise", "onnx_latency", "train_memory")

MEASURED: dict[str, Any] = {
    "box_AP": 37.4123,
    "box_AP50": 58.1,
    "box_AP75": 40.4,
    "box_AP_small": 21.2,
    "box_AP_medium": 41.0,
    "box_AP_large": 48.1,
    "fps": 61.25,
    "latency_ms": {"p50": 16.04, "p95": 19.96},
    "timed": {"images": 200, "note": "throttled in 1 of 3 rounds (power_cap)"},
    "memory": {"kind": "device", "peak_allocated_bytes": 1_234_567_890, "peak_reserved_bytes": 2_000_000_000},
    "params": 41_532_886,
    "macs": 207_070_000_000,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder: one row measured, one asked for its speed alone, one blocked."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "paddle_c", "ultralytics_d")
    folder = tmp_path / "results"
    add(folder, "ultralytics_d", measured={"fps": 300.0})
    add(folder, "mmdet_a", measured=MEASURED, code=Code(version="1", commit="6ff6315abcdef", dirty=True))
    add(folder, "mmdet_b", status="blocked", reason="link dead", weights=None, images=None)
    return folder


def add(folder: Path, name: str, **changes: Any) -> None:
    Ledger(folder).file(make_record(name, **changes))


def read_csv(folder: Path, hardware: str = "h200-sxm") -> pd.DataFrame:
    text = (current_folder(folder) / f"{hardware}.csv").read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).set_index("entry", drop=False)


def test_cells_have_fixed_decimals(results: Path) -> None:
    write_tables(results)
    row = read_csv(results).loc["mmdet_a"]
    assert row.to_dict() == {
        "entry": "mmdet_a",
        "status": "measured",
        "upstream": "faster-rcnn",
        "backbone": "resnet50",
        "neck": "",
        "schedule": "",
        "loss": "",
        "weights": "00000000",
        "hash_evidence": "published prefix",
        "data": "coco2017",
        "split": "val2017",
        "images": "5000",
        "protocol": "mmdet",
        "protocol_version": "1",
        "precision": "fp32",
        "noise_box_AP": "",
        "published_box_AP": "37.4",
        "box_AP": "37.41",
        "box_AP50": "58.10",
        "box_AP75": "40.40",
        "box_AP_small": "21.20",
        "box_AP_medium": "41.00",
        "box_AP_large": "48.10",
        "box_delta": "+0.01",
        "box_verdict": "EXACT",
        "published_mask_AP": "",
        "mask_AP": "",
        "mask_AP50": "",
        "mask_AP75": "",
        "mask_AP_small": "",
        "mask_AP_medium": "",
        "mask_AP_large": "",
        "mask_delta": "",
        "mask_verdict": "",
        **dict.fromkeys(("published_keypoint_AP", "keypoint_AP", "keypoint_AP50", "keypoint_AP75"), ""),
        **dict.fromkeys(("keypoint_AP_medium", "keypoint_AP_large", "keypoint_delta", "keypoint_verdict"), ""),
        "reason": "",
        "fps": "61.25",
        "latency_p50_ms": "16.0",
        "latency_p95_ms": "20.0",
        "speed_note": "throttled in 1 of 3 rounds (power_cap)",
        "published_onnx_ms": "",
        "onnx_p50_ms": "",
        "onnx_on": "",
        "published_train_memory_gb": "",
        "published_train_memory_mb": "",
        "train_memory_gb": "",
        "memory_gb": "1.235",
        "memory_kind": "device",
        "params_m": "41.53",
        "gmacs": "207.1",
        "hardware": "h200-sxm",
        **{f"{name}_date": "2026-01-01" for name in PARTS},
        **{f"{name}_commit": "6ff6315a+dirty" for name in PARTS},
        **{f"{name}_version": str(measurement(name).version) for name in PARTS[1:]},
        **{f"{name}_{what}": "" for name in OPTIONAL for what in ("date", "commit", "version")},
    }


def test_a_cell_says_why_it_holds_no_number() -> None:
    records = [
        make_record(status="blocked", reason="link | dead:\n404", weights=None, images=None, hardware=None),
        make_record(status="failed", reason="out of memory"),
        make_record(measured={"fps": 300.0}),
    ]
    rows = frame(records, {"mmdet_a": make_entry(cell("37.4"))})
    dash = "\N{EN DASH}"
    columns = ["box_AP", "fps", "memory_kind", "box_verdict", "mask_AP", "weights", "hardware"]
    assert rows[columns].to_numpy().tolist() == [
        ["BLOCKED", "BLOCKED", "BLOCKED", "BLOCKED", "", dash, "no machine"],
        ["FAILED", "FAILED", "FAILED", "FAILED", "", "00000000", "h200-sxm"],
        [dash, "300.00", dash, "NOT-ASKED", "", "00000000", "h200-sxm"],
    ]
    assert rows["reason"].tolist() == ["link | dead: 404", "out of memory", "the run did not measure it"]


def test_attempts_are_not_in_the_tables(results: Path) -> None:
    add(results, "paddle_c", partial=True, images=7)
    write_tables(results)
    rows = read_csv(results)
    assert list(rows["entry"]) == ["mmdet_a", "mmdet_b", "paddle_c", "ultralytics_d"]
    assert list(rows["status"]) == ["measured", "missing", "missing", "measured"]


def test_a_row_without_a_record_has_a_hyphen_for_everything_measured(results: Path) -> None:
    write_tables(results)
    row = read_csv(results).loc["mmdet_b"].to_dict()
    told = {name: row.pop(name) for name in ("entry", "status", "upstream", "backbone", "published_box_AP", "hardware")}
    assert list(told.values()) == ["mmdet_b", "missing", "faster-rcnn", "resnet50", "37.4", "h200-sxm"]
    empty = {name for name, text in row.items() if text == ""}
    assert {"reason", "mask_AP", "published_onnx_ms", "box_delta"} <= empty, "the row has no such number"
    assert {row[name] for name in row.keys() - empty} == {"-"}
    assert {"box_AP", "box_verdict", "fps", "memory_gb", "params_m", "weights", "speed_commit"} <= row.keys() - empty


def test_each_condition_has_a_row_of_its_own(results: Path) -> None:
    add(results, "mmdet_a", conditions=("precision=bf16",), measured={"box_AP": 37.4})
    write_tables(results)
    rows = read_csv(results)
    rows = rows[rows["status"] == "measured"]
    assert list(rows["entry"]) == ["mmdet_a", "mmdet_a (precision=bf16)", "ultralytics_d"]
    assert list(rows["precision"]) == ["fp32", "bf16", "fp32"]
    assert list(rows["box_verdict"]) == ["EXACT", "NOT-COMPARED", "NOT-ASKED"]
    assert list(rows["reason"])[1] == "measured with precision=bf16"


def test_each_number_has_the_date_and_the_commit_of_its_own_measurement(results: Path) -> None:
    code = Code(version="1", commit="b" * 40)
    speed = {"fps": 99.0, "timed": {"images": 200, "note": ""}}
    timed = make_record("mmdet_a", measured=speed, code=code, finished="2026-02-03T00:00:00+00:00")
    Ledger(results).file(timed)
    write_tables(results)
    row = read_csv(results).loc["mmdet_a"]
    assert (row["box_AP"], row["accuracy_date"], row["accuracy_commit"]) == ("37.41", "2026-01-01", "6ff6315a+dirty")
    assert (row["fps"], row["speed_date"], row["speed_commit"]) == ("99.00", "2026-02-03", "bbbbbbbb")
    text = (current_folder(results) / "h200-sxm.md").read_text(encoding="utf-8")
    accuracy, _, _, measured = (part for part in text.split("\n## ")[1:])
    assert [cells[-3:-1] for cells in table_rows(accuracy, "mmdet_a")] == [["2026-01-01", "6ff6315a+dirty"]]
    stamps = "2026-01-01 6ff6315a+dirty"
    assert table_rows(measured, "mmdet_a") == [["mmdet_a", stamps, "", "2026-02-03 bbbbbbbb", stamps, stamps, "", ""]]
    dash = "\N{EN DASH}"
    assert table_rows(measured, "ultralytics_d") == [
        ["ultralytics_d", dash, "", "2026-01-01 " + dash, dash, dash, "", ""]
    ]
    assert table_rows(measured, "mmdet_b") == [["mmdet_b", "-", "", "-", "-", "-", "", ""]]


def table_rows(markdown: str, entry: str) -> list[list[str]]:
    """The cells of the lines of Markdown tables that begin with an entry."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    return [cells for cells in lines if cells[0] == entry]


def test_rows_are_in_catalogue_order(results: Path) -> None:
    add(results, "paddle_c")
    add(results, "mmdet_b")
    write_tables(results)
    assert list(read_csv(results)["entry"]) == ["mmdet_a", "mmdet_b", "paddle_c", "ultralytics_d"]


def test_markdown_counts_and_names_its_version(results: Path) -> None:
    _, as_json, markdown = write_tables(results)[:3]
    text = markdown.read_text(encoding="utf-8")
    assert "2 of 4 rows measured, 2 without a record on this machine.\n" in text
    version = current_folder(results).name
    document = json.loads(as_json.read_text(encoding="utf-8"))
    assert document["table_version"] == version
    assert document["rows"] == read_csv(results).to_dict("records")
    assert f"Protocols: mmdet 1. Table version: `{version}`" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 4 * (2 + 4)
    add(results, "mmdet_a", conditions=("precision=bf16",))
    add(results, "paddle_c", trained=True, hash_evidence="none")
    text = write_tables(results)[2].read_text(encoding="utf-8")
    told = "2 of 4 rows measured, 2 without a record on this machine. Beside them 2 under other conditions, or trained"
    assert told in text


def test_text_cannot_break_the_markdown(results: Path) -> None:
    add(results, "mmdet_b", conditions=("data.split=a|b",))
    markdown = write_tables(results)[2]
    assert "measured with data.split=a\\|b" in markdown.read_text(encoding="utf-8")


def test_a_latency_of_onnx_is_shown_with_its_cpu() -> None:
    onnx = {"p50": 31.44, "p95": 40.0, "cpu": "EPYC 9654", "onnxruntime": "1.31.1", "threads": 4}
    entry = make_entry(cell("80.4", metric="latency_ms", hardware="CPU, ONNX"))
    columns = ["published_onnx_ms", "onnx_p50_ms", "onnx_on"]
    dash = "\N{EN DASH}"
    for record, expected in (
        (make_record(measured={"onnx_latency_ms": onnx}), ["80.4", "31.4", "EPYC 9654"]),
        (make_record(measured={"latency_ms": {"p50": 16.3}}), ["80.4", dash, dash]),
        (make_record(status="failed", reason="out of memory"), ["80.4", "FAILED", "FAILED"]),
    ):
        assert frame([record], {entry.name: entry})[columns].to_numpy().tolist() == [expected]


def test_writing_twice_gives_the_same_bytes(results: Path) -> None:
    first = {path: path.read_bytes() for path in write_tables(results)}
    assert {path: path.read_bytes() for path in write_tables(results)} == first
    assert check_tables(results) == []


def test_check_names_what_is_out_of_date(results: Path) -> None:
    csv, as_json, markdown, *others = (
        current_folder(results) / f"{name}.{kind}"
        for name in ("h200-sxm", "_machines")
        for kind in ("csv", "json", "md")
    )
    assert check_tables(results) == [csv, as_json, markdown, *others], "missing"
    write_tables(results)
    markdown.write_text(markdown.read_text(encoding="utf-8") + "edited\n", encoding="utf-8")
    assert check_tables(results) == [markdown]
    write_tables(results)
    csv.write_bytes(csv.read_bytes().replace(b"\n", b"\r\n"))
    assert check_tables(results) == [csv]


def test_each_machine_has_its_own_tables(results: Path) -> None:
    add(results, "mmdet_a", measured={"fps": 4.0}, hardware="cpu")
    assert [path.name for path in write_tables(results)] == [
        f"{machine}.{kind}" for machine in ("cpu", "h200-sxm", "_machines") for kind in ("csv", "json", "md")
    ]
    assert list(read_csv(results, "cpu")["fps"]) == ["4.00", "-", "-", "-"]


def test_tables_of_a_machine_without_records_go(results: Path) -> None:
    add(results, "mmdet_a", measured={"fps": 4.0}, hardware="cpu")
    write_tables(results)
    notes = current_folder(results) / "README.md"
    notes.write_text("about these tables\n", encoding="utf-8")
    (results / "records" / "cpu" / "mmdet_a.json").unlink()
    gone = [current_folder(results) / f"cpu.{kind}" for kind in ("csv", "json", "md")]
    assert stale_tables(results) == gone
    over_all = [current_folder(results) / f"_machines.{kind}" for kind in ("csv", "json", "md")]
    assert check_tables(results) == [*over_all, *gone]
    write_tables(results)
    assert not any(path.exists() for path in gone)
    assert notes.exists(), "what others put there stays"


def test_no_records_no_tables(tmp_path: Path) -> None:
    assert write_tables(tmp_path) == []
    assert check_tables(tmp_path) == []


def test_masks_and_the_memory_of_a_cpu() -> None:
    memory = {"kind": "host", "peak_allocated_bytes": 900_000_000}
    record = make_record(measured={"box_AP": 37.0, "mask_AP": 34.678, "memory": memory})
    (row,) = frame([record], {"mmdet_a": make_entry(cell("37.4"), cell("34.7", metric="mask_AP"))}).to_dict("records")
    assert (row["box_delta"], row["box_verdict"]) == ("-0.40", "DRIFT")
    assert (row["published_mask_AP"], row["mask_AP"], row["mask_verdict"]) == ("34.7", "34.68", "EXACT")
    assert (row["memory_gb"], row["memory_kind"]) == ("0.900", "host")


def test_training_memory_is_shown_where_it_was_published_or_measured() -> None:
    columns = ["published_train_memory_gb", "train_memory_gb"]
    published = make_entry(cell("4.0", metric="train_memory_gb"))
    for entry, measured, expected in (
        (published, {"train_memory_gb": 3.906}, ["4.0", "3.9"]),
        (published, {"box_AP": 37.4}, ["4.0", "\N{EN DASH}"]),
        (make_entry(cell("37.4")), {"train_memory_gb": 3.906}, ["", "3.9"]),
        (make_entry(cell("37.4")), {"box_AP": 37.4}, ["", ""]),
    ):
        rows = frame([make_record(measured=measured)], {"mmdet_a": entry})
        assert rows[columns].to_numpy().tolist() == [expected]


def test_a_changed_composition_is_not_judged() -> None:
    record = make_record(name="with_pafpn", changes=("neck=pafpn",))
    (row,) = frame([record], {"mmdet_a": make_entry(cell("37.4"))}).to_dict("records")
    assert (row["entry"], row["box_delta"], row["box_verdict"]) == ("with_pafpn", "", "NOT-COMPARED")
    assert row["reason"] == "a changed composition of mmdet_a: neck=pafpn"


def test_a_damaged_record_is_named(results: Path) -> None:
    path = results / "records" / "h200-sxm" / "mmdet_a.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match=r"mmdet_a\.json: not valid JSON"):
        write_tables(results)


def test_a_table_that_cannot_be_written_is_an_error_with_a_next_step(results: Path) -> None:
    (results / "tables").write_text("in the way", encoding="utf-8")
    with pytest.raises(ZooError, match="cannot write"):
        write_tables(results)


def test_tables_of_another_version_stay_as_they_are(results: Path, tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write_tables(results)}
    protocol = tmp_path / "conf" / "protocol" / "mmdet.yaml"
    protocol.write_text("name: mmdet\nversion: 4\n", encoding="utf-8")
    assert all(path.parent != next(iter(first)).parent for path in check_tables(results))
    write_tables(results)
    assert {path: path.read_bytes() for path in first} == first
