"""Records to tables: one CSV and one Markdown file for each machine, the same bytes every time.

The tables are derived: whoever has the records can write them again, and `zoo table --check` proves
that the committed ones are what the records say. All cells are text with fixed decimals. FAILED,
BLOCKED, a dash (not asked) and an empty cell (the row has no such number) are four different things.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import Entry
from zoo.files import result_errors, write_atomically
from zoo.results.diff import ABSENT, catalogued
from zoo.results.record import Record
from zoo.results.seeds import all_records, label, spread
from zoo.results.verdict import (
    ONNX_LATENCY,
    Verdict,
    catalogue_key,
    current_verdicts,
    hardware_id,
    measured_on,
    measured_value,
    printed,
    published_cells,
)

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("backbone", "neck", "schedule", "loss")
_AP = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")

_MEMORY_KINDS = {"peak_allocated_bytes": "device peak allocated", "peak_rss_bytes": "host peak RSS"}

_MARKER = "<!-- written by `zoo table` from the records; edits are lost -->"

_SECTIONS = {
    "Accuracy": (
        *("entry", "published_box_AP", "box_AP", "box_delta", "box_verdict"),
        *("published_mask_AP", "mask_AP", "mask_delta", "mask_verdict"),
        *("box_AP50", "box_AP75", "box_AP_small", "box_AP_medium", "box_AP_large", "reason"),
    ),
    "Speed, memory, complexity": (
        *("entry", "precision", "fps", "latency_p50_ms", "latency_p95_ms"),
        *("published_onnx_ms", "onnx_p50_ms", "onnx_on"),
        *("memory_gb", "memory_kind", "params_m", "gmacs"),
    ),
    "What was run": (
        *("entry", *_PARTS, "weights", "hash_evidence", "data", "split", "images"),
        *("protocol", "protocol_version", "commit"),
    ),
}

_LEGEND = f"""\
- AP in points (0 to 100); memory in GB of 10^9 bytes, of the kind named beside it; a MAC is one multiply-accumulate.
- "onnx": the exported network alone, on a CPU; the published one is of another CPU: compare the ratios of two rows.
- BLOCKED: something the run needs could not be had (the reason says what). FAILED: the run broke.
- {ABSENT}: the run was not asked to measure it. Empty: the row has no such number.
- EXACT: equal to the printed digits. NUMERIC: within the noise floor. EXPLAINED: one named switch of the protocol
  accounts for the difference. DRIFT: nothing does. CONFLICT: the published numbers disagree among themselves.
- PARTIAL (not the whole split), OTHER-WEIGHTS (not the published file) and NOT-COMPARED (other data, or a changed
  composition) stand beside the published number, never against it."""


def frame(records: Sequence[Record], entries: Mapping[str, Entry]) -> pd.DataFrame:
    """Records as rows of text, in catalogue order: the columns of the CSV."""
    import pandas as pd

    ordered = sorted(records, key=lambda record: catalogue_key(record.zoo, record.entry))
    return pd.DataFrame([_row(record, entries.get(record.entry)) for record in ordered])


def render_row(record: Record, entry: Entry | None) -> str:
    """One record's row for a terminal: a line for each column that says something."""
    from tabulate import tabulate

    row = _row(record, entry)
    names = dict.fromkeys(name for columns in _SECTIONS.values() for name in columns)
    lines = [(name.replace("_", " "), row[name]) for name in names if row[name] not in ("", ABSENT)]
    return tabulate(lines, tablefmt="plain", disable_numparse=True)


def write_tables(results_dir: Path) -> list[Path]:
    """Write the tables of every machine that has records, and remove those of machines without.

    Returns:
        The tables that are there now. `stale_tables` tells beforehand what will be removed.

    Raises:
        ZooError: the folder cannot be written to; no table is left half written.
    """
    texts = _texts(results_dir)
    for path, text in texts.items():
        with result_errors(path):
            write_atomically(path, text)
    for path in stale_tables(results_dir):
        path.unlink()
    return list(texts)


def check_tables(results_dir: Path) -> list[Path]:
    """The tables that are not what the records say: different, missing, or without records."""
    different = [path for path, text in _texts(results_dir).items() if _read(path) != text]
    return different + stale_tables(results_dir)


def stale_tables(results_dir: Path) -> list[Path]:
    """Tables of machines that no record is of any more. Files of other origin are not looked at."""
    present = {hardware_id(record) for record in all_records(results_dir)}
    found = sorted(path for path in (results_dir / "tables").glob("*.*") if path.suffix in (".csv", ".md"))
    return [path for path in found if path.stem not in present and _is_ours(path)]


def _is_ours(path: Path) -> bool:
    return (_read(path) or "").startswith((_MARKER, "entry,status,"))


def _read(path: Path) -> str | None:
    """The exact text of a file, None where there is none."""
    return path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else None


def _texts(results_dir: Path) -> dict[Path, str]:
    """Path -> text of all tables."""
    records = sorted(all_records(results_dir), key=hardware_id)
    entries = catalogued(records)
    texts = {}
    for hardware, group in groupby(records, key=hardware_id):
        rows = frame(list(group), entries)
        csv = str(rows.to_csv(index=False, lineterminator="\n"))
        # Not with_suffix: a machine's name may hold a dot.
        texts[results_dir / "tables" / f"{hardware}.csv"] = csv
        texts[results_dir / "tables" / f"{hardware}.md"] = _markdown(hardware, rows, csv)
    return texts


def _markdown(hardware: str, rows: pd.DataFrame, csv: str) -> str:
    counts = Counter(rows["status"])
    named = rows[rows["protocol"] != ABSENT]
    protocols = sorted(set(zip(named["protocol"], named["protocol_version"], strict=True)))
    used = ", ".join(f"{name} {number}" for name, number in protocols) or "none"
    version = hashlib.sha256(csv.encode()).hexdigest()[:12]
    numbers = ", ".join(f"{counts[status]} {status}" for status in ("measured", "blocked", "failed"))
    parts = [
        _MARKER,
        f"# Measured on {hardware}",
        f"{len(rows)} attempted: {numbers}.",
        f"Protocols: {used}. Table version: `{version}` (sha256 of the CSV).",
    ]
    for title, columns in _SECTIONS.items():
        cells = rows[list(columns)].replace({r"\|": r"\\|"}, regex=True)
        cells = cells.rename(columns=lambda column: str(column).replace("_", " "))
        parts += [f"## {title}", cells.to_markdown(index=False, tablefmt="github", disable_numparse=True)]
    return "\n\n".join([*parts, _LEGEND]) + "\n"


def _row(record: Record, entry: Entry | None) -> dict[str, str]:
    verdicts = current_verdicts(record, entry) if entry is not None else {}
    protocol, data = record.protocol, record.data
    return {
        "entry": label(record),
        "status": record.status,
        "upstream": entry.upstream if entry else ABSENT,
        **{part: entry.parts.get(part, "") if entry else ABSENT for part in _PARTS},
        "weights": _text(record.checkpoint.get("sha256"))[:8],
        "hash_evidence": _text(record.checkpoint.get("hash_evidence")),
        "data": _text(data.get("name")),
        "split": _text(data.get("split")),
        "images": _text(data.get("images")),
        "protocol": _text(protocol.get("name")),
        "protocol_version": _text(protocol.get("version")),
        "precision": _text(protocol.get("precision")),
        **_accuracy(record, entry, "box", verdicts),
        **_accuracy(record, entry, "mask", verdicts),
        "reason": _reason(record, entry, verdicts),
        **_cost(record, entry),
        "hardware": hardware_id(record),
        "commit": _commit(record),
    }


def _accuracy(record: Record, entry: Entry | None, kind: str, verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """The columns of box or mask AP; all empty where the row has no such AP."""
    metric = f"{kind}_AP"
    columns = {f"{kind}_{name}": record.measured.get(f"{kind}_{name}") for name in _AP}
    cells = entry.cells(metric) if entry else ()
    names = [f"published_{metric}", *columns, f"{kind}_delta", f"{kind}_verdict"]
    if kind == "mask" and not cells and all(value is None for value in columns.values()):
        return dict.fromkeys(names, "")
    outcome = verdicts.get(metric)
    delta = "" if outcome is None or outcome.delta is None else f"{outcome.delta:+.2f}"
    measured = [_measured(record, value, 2) + _spread(record, name) for name, value in columns.items()]
    values = [printed(cells) if cells else "", *measured, delta, outcome.verdict if outcome else ""]
    return dict(zip(names, values, strict=True))


def _cost(record: Record, entry: Entry | None) -> dict[str, str]:
    """The columns of speed, memory and complexity."""
    latency = record.measured.get("latency_ms") or {}
    memory_kind, memory = _memory(record.measured.get("memory") or {})
    macs = record.measured.get("macs")
    return {
        "fps": _measured(record, record.measured.get("fps"), 2),
        "latency_p50_ms": _measured(record, latency.get("p50"), 1),
        "latency_p95_ms": _measured(record, latency.get("p95"), 1),
        **_onnx(record, entry),
        "memory_gb": _measured(record, memory, 2),
        "memory_kind": memory_kind or _measured(record, None, 0),
        "params_m": _measured(record, measured_value(record, "params_m"), 2),
        "gmacs": _measured(record, None if macs is None else macs / 1e9, 1),
    }


def _onnx(record: Record, entry: Entry | None) -> dict[str, str]:
    """The columns of the exported network; all empty where the row has no such latency."""
    cells = published_cells(entry).get(ONNX_LATENCY, ()) if entry else ()
    measured = measured_value(record, ONNX_LATENCY)
    if not cells and measured is None:
        return dict.fromkeys(("published_onnx_ms", "onnx_p50_ms", "onnx_on"), "")
    return {
        "published_onnx_ms": printed(cells) if cells else "",
        "onnx_p50_ms": _measured(record, measured, 1),
        "onnx_on": _measured(record, None, 0) if measured is None else measured_on(record, ONNX_LATENCY),
    }


def _memory(memory: Mapping[str, Any]) -> tuple[str, float | None]:
    """What kind of memory, and how many GB."""
    for name, kind in _MEMORY_KINDS.items():
        if memory.get(name) is not None:
            since = " since process start" if memory.get("since") == "process start" else ""
            return kind + since, memory[name] / 1e9
    return "", None


def _measured(record: Record, value: float | None, decimals: int) -> str:
    """A number, or which of the ways of not being there it has."""
    if value is not None:
        return f"{value:.{decimals}f}"
    return ABSENT if record.status == "measured" else record.status.upper()


def _spread(record: Record, metric: str) -> str:
    """What follows the mean over several seeds."""
    deviation = spread(record, metric)
    return "" if deviation is None else f" ± {deviation:.2f}"


def _text(value: object) -> str:
    return ABSENT if value is None else str(value)


def _reason(record: Record, entry: Entry | None, verdicts: Mapping[str, Verdict]) -> str:
    if record.status != "measured":
        reasons = [record.reason]
    elif entry is None:
        reasons = [f"a changed composition of {record.based_on}" if record.based_on else "not in the catalogue"]
    else:
        reasons = [verdicts[metric].reason for metric in ("box_AP", "mask_AP") if metric in verdicts]
    return "; ".join(dict.fromkeys(" ".join(reason.split()) for reason in reasons if reason))


def _commit(record: Record) -> str:
    commit = _text(record.code.get("commit"))[:8]
    return f"{commit}+dirty" if record.code.get("dirty") else commit
