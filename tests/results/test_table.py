"""Tables from records: the same bytes every time, and four ways for a cell not to hold a number."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import cell, make_catalogue, make_entry, make_record

from zoo.errors import UsageError, ZooError
from zoo.results.record import Ledger
from zoo.results.table import check_tables, frame, stale_tables, write_tables

MEASURED: dict[str, Any] = {
    "box_AP": 37.4123,
    "box_AP50": 58.1,
    "box_AP75": 40.4,
    "box_AP_small": 21.2,
    "box_AP_medium": 41.0,
    "box_AP_large": 48.1,
    "fps": 61.25,
    "latency_ms": {"p50": 16.04, "p95": 19.96},
    "memory": {"kind": "cuda", "peak_allocated_bytes": 1_234_567_890, "peak_reserved_bytes": 2_000_000_000},
    "params": 41_532_886,
    "macs": 207_070_000_000,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder: one row measured, one blocked, one failed, one asked for its speed alone."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "paddle_c", "ultralytics_d")
    folder = tmp_path / "results"
    code = {"commit": "6ff6315abcdef", "dirty": True}
    add(folder, "ultralytics_d", measured={"fps": 300.0})
    add(folder, "mmdet_a", measured=MEASURED, code=code)
    add(folder, "mmdet_b", status="blocked", reason="link | dead:\n404", measured={}, protocol={}, checkpoint={})
    add(folder, "paddle_c", status="failed", reason="out of memory", measured={})
    return folder


def add(folder: Path, name: str, **changes: Any) -> None:
    record = make_record(entry=name, zoo=name.split("_", 1)[0], **changes)
    assert Ledger(folder).add(record) is None


def read_csv(folder: Path, hardware: str = "h200-sxm") -> pd.DataFrame:
    text = (folder / "tables" / f"{hardware}.csv").read_text(encoding="utf-8")
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
        "reason": "",
        "fps": "61.25",
        "latency_p50_ms": "16.0",
        "latency_p95_ms": "20.0",
        "published_onnx_ms": "",
        "onnx_p50_ms": "",
        "onnx_on": "",
        "memory_gb": "1.23",
        "memory_kind": "device peak allocated",
        "params_m": "41.53",
        "gmacs": "207.1",
        "hardware": "h200-sxm",
        "commit": "6ff6315a+dirty",
    }


def test_a_cell_says_why_it_holds_no_number(results: Path) -> None:
    write_tables(results)
    rows = read_csv(results)
    columns = ["box_AP", "fps", "memory_kind", "box_verdict", "mask_AP"]
    assert list(rows.loc["mmdet_b", columns]) == ["BLOCKED", "BLOCKED", "BLOCKED", "BLOCKED", ""]
    assert list(rows.loc["paddle_c", columns]) == ["FAILED", "FAILED", "FAILED", "FAILED", ""]
    dash = "\N{EN DASH}"
    assert list(rows.loc["ultralytics_d", columns]) == [dash, "300.00", dash, "NOT-ASKED", ""]
    assert rows["reason"].tolist() == ["", "link | dead: 404", "out of memory", "the run did not measure it"]


def test_rows_are_in_catalogue_order(results: Path) -> None:
    write_tables(results)
    assert list(read_csv(results)["entry"]) == ["mmdet_a", "mmdet_b", "paddle_c", "ultralytics_d"]


def test_markdown_counts_and_names_its_version(results: Path) -> None:
    csv, markdown = write_tables(results)
    text = markdown.read_text(encoding="utf-8")
    assert "4 attempted: 2 measured, 1 blocked, 1 failed." in text
    version = hashlib.sha256(csv.read_bytes()).hexdigest()[:12]
    assert f"Protocols: mmdet 1. Table version: `{version}`" in text
    assert "link \\| dead: 404" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 3 * (2 + 4)


def test_a_latency_of_onnx_is_shown_with_its_cpu() -> None:
    onnx = {"p50": 31.44, "p95": 40.0, "cpu": "EPYC 9654", "onnxruntime": "1.31.1", "threads": 4}
    entry = make_entry(cell("80.4", metric="latency_ms", hardware="CPU, ONNX"))
    columns = ["published_onnx_ms", "onnx_p50_ms", "onnx_on"]
    dash = "\N{EN DASH}"
    for record, expected in (
        (make_record(measured={"onnx_latency_ms": onnx}), ["80.4", "31.4", "EPYC 9654, onnxruntime 1.31.1, 4 threads"]),
        (make_record(measured={"latency_ms": {"p50": 16.3}}), ["80.4", dash, dash]),
        (make_record(status="failed", reason="out of memory", measured={}), ["80.4", "FAILED", "FAILED"]),
    ):
        assert frame([record], {entry.name: entry})[columns].to_numpy().tolist() == [expected]


def test_writing_twice_gives_the_same_bytes(results: Path) -> None:
    first = {path: path.read_bytes() for path in write_tables(results)}
    assert {path: path.read_bytes() for path in write_tables(results)} == first
    assert check_tables(results) == []


def test_check_names_what_is_out_of_date(results: Path) -> None:
    csv, markdown = results / "tables" / "h200-sxm.csv", results / "tables" / "h200-sxm.md"
    assert check_tables(results) == [csv, markdown], "missing"
    write_tables(results)
    markdown.write_text(markdown.read_text(encoding="utf-8") + "edited\n", encoding="utf-8")
    assert check_tables(results) == [markdown]
    write_tables(results)
    csv.write_bytes(csv.read_bytes().replace(b"\n", b"\r\n"))
    assert check_tables(results) == [csv]


def test_each_machine_has_its_own_tables(results: Path) -> None:
    add(results, "mmdet_a", measured={"fps": 4.0}, hardware={"id": "cpu"})
    assert [path.name for path in write_tables(results)] == ["cpu.csv", "cpu.md", "h200-sxm.csv", "h200-sxm.md"]
    assert list(read_csv(results, "cpu")["fps"]) == ["4.00"]


def test_tables_of_a_machine_without_records_go(results: Path) -> None:
    add(results, "mmdet_a", measured={"fps": 4.0}, hardware={"id": "cpu"})
    write_tables(results)
    notes = results / "tables" / "README.md"
    notes.write_text("about these tables\n", encoding="utf-8")
    (results / "records" / "cpu" / "mmdet_a.json").unlink()
    gone = [results / "tables" / "cpu.csv", results / "tables" / "cpu.md"]
    assert stale_tables(results) == gone
    assert check_tables(results) == gone
    write_tables(results)
    assert not any(path.exists() for path in gone)
    assert notes.exists(), "what others put there stays"


def test_no_records_no_tables(tmp_path: Path) -> None:
    assert write_tables(tmp_path) == []
    assert check_tables(tmp_path) == []


def test_masks_changed_compositions_and_the_memory_of_a_cpu(results: Path) -> None:
    add(results, "mmdet_a+neck", based_on="mmdet_a", measured={"box_AP": 36.0, "mask_AP": 34.678})
    memory = {"kind": "host RSS", "peak_rss_bytes": 900_000_000, "since": "process start"}
    add(results, "paddle_c", measured={"box_AP": 37.0, "memory": memory})
    write_tables(results)
    changed, paddle = (read_csv(results).loc[name] for name in ("mmdet_a+neck", "paddle_c"))
    assert (changed["mask_AP"], changed["box_verdict"]) == ("34.68", "")
    assert changed["reason"] == "a changed composition of mmdet_a"
    assert (paddle["box_delta"], paddle["box_verdict"]) == ("-0.40", "DRIFT")
    assert (paddle["memory_gb"], paddle["memory_kind"]) == ("0.90", "host peak RSS since process start")


def test_a_damaged_record_is_named(results: Path) -> None:
    path = results / "records" / "h200-sxm" / "mmdet_a.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match=r"mmdet_a\.json: not valid JSON"):
        write_tables(results)


def test_a_table_that_cannot_be_written_is_an_error_with_a_next_step(results: Path) -> None:
    (results / "tables").write_text("in the way", encoding="utf-8")
    with pytest.raises(ZooError, match="cannot write"):
        write_tables(results)
