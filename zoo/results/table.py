"""Records to tables: CSV, Markdown and JSON for each machine and over all of them, the same bytes every time.

They lie under `tables/<version>/` (`zoo.results.version`); folders of other versions are never touched.
The tables are derived: whoever has the records can write them again, and `zoo table --check` proves
that the committed ones are what the records say. They hold every row of the catalogue, measured or not. All cells
are text with fixed decimals. FAILED, BLOCKED, a dash (not asked), a hyphen (no record) and an empty cell (the row
has no such number) are five different things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.catalog.entry import Entry, read_entries
from zoo.coco_tasks import TASKS, CocoTask
from zoo.files import result_errors, write_atomically
from zoo.measure.measurement import Column, measurements, metrics
from zoo.results import machines
from zoo.results.cells import MISSING, as_text, cell, markdown_table, protocol_version, provenance, stamp, weights
from zoo.results.evidence import NOTHING, Evidence
from zoo.results.gather import gather_evidence
from zoo.results.ladder import FAILED, printed
from zoo.results.published import catalogue_key, machine_of, published_cells
from zoo.results.record import ProtocolRecord, Record, Times, Verdict
from zoo.results.seeds import label, rows
from zoo.results.verdict import judge
from zoo.results.version import table_version
from zoo.runtime.provenance import Code
from zoo.terminal import ABSENT

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("backbone", "neck", "schedule", "loss")

_MARKER = "<!-- written by `zoo table` from the records; edits are lost -->"


_JSON_BEGIN = '{\n "table_version": '


def _sections() -> dict[str, tuple[str, ...]]:
    """Title -> columns of the Markdown tables; what was measured comes from the measurements themselves."""
    accuracy = [column.name for column in measurements()["accuracy"].columns]
    stamped = ("accuracy_date", "accuracy_commit")
    first = [name for task in TASKS.values() for name in (f"published_{task.ap}", task.ap, *_judged(task))]
    others = [column.name for column in _other_columns()]
    return {
        "Accuracy": ("entry", *first, *(name for name in accuracy if name not in first), *stamped, "reason"),
        "Speed, memory, complexity": ("entry", "precision", *others),
        "What was run": (
            *("entry", *_PARTS, "weights", "hash_evidence", "data", "split", "images"),
            *("protocol", "protocol_version"),
        ),
    }


def _judged(task: CocoTask) -> tuple[str, str]:
    """The columns that say how an AP compares with the published one."""
    return f"{task.prefix}_delta", f"{task.prefix}_verdict"


def _other_columns() -> list[Column]:
    """The columns of every measurement but accuracy."""
    return [column for name, item in measurements().items() if name != "accuracy" for column in item.columns]


_LEGEND = f"""\
- AP in points (0 to 100); memory in GB of 10^9 bytes, of the kind named beside it; a MAC is one multiply-accumulate.
- "memory": what PyTorch allocated at most while the largest images were evaluated, weights included.
- "onnx": the exported network alone, on a CPU; the published one is of another CPU: compare the ratios of two rows.
- {MISSING}: no record of the row on this machine; why not, `zoo status` says where somebody tried.
- {ABSENT}: the run was not asked to measure it. Empty: the row has no such number.
- EXACT: equal to the printed digits. NUMERIC: within the noise floor. EXPLAINED: one named switch of the protocol
  accounts for the difference. DRIFT: nothing does. CONFLICT: the published numbers disagree among themselves.
- PARTIAL (not the whole split), OTHER-WEIGHTS (not the published file) and NOT-COMPARED (other conditions,
  other data, or a changed composition) stand beside the published number, never against it."""


def frame(records: Sequence[Record], entries: Mapping[str, Entry], evidence: Evidence = NOTHING) -> pd.DataFrame:
    """Records as rows of text, in catalogue order: the columns of the CSV."""
    import pandas as pd

    ordered = sorted(records, key=lambda record: catalogue_key(record.zoo, record.label))
    return pd.DataFrame([_row(record, entries.get(record.entry), evidence) for record in ordered])


def _whole_frame(
    records: Sequence[Record], entries: Mapping[str, Entry], hardware: str, evidence: Evidence
) -> pd.DataFrame:
    """The records of a machine, and a row for each entry of the catalogue that has none there."""
    import pandas as pd

    there = {record.entry for record in records if record.is_the_row_itself}
    missing = [entry for name, entry in entries.items() if name not in there]
    lines = [(catalogue_key(entry.zoo, entry.name), _missing_row(entry, hardware)) for entry in missing]
    lines += [
        (catalogue_key(record.zoo, record.label), _row(record, entries.get(record.entry), evidence))
        for record in records
    ]
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: pair[0])])


def not_published(record: Record, entry: Entry | None) -> dict[str, str]:
    """The numbers of a record that its row does not publish, by column: what a diff does not show."""
    compared = published_cells(entry) if entry and not record.identity.changes else {}
    shown = {metrics()[metric][1].key for metric in compared if metric in metrics()}
    columns = [column for item in measurements().values() for column in item.columns if not column.published]
    cells = {column.name: cell(record, column) for column in columns if not shown & set(column.keys)}
    return {name.replace("_", " "): text for name, text in cells.items() if text not in ("", ABSENT)}


def write_tables(results_dir: Path) -> list[Path]:
    """Write the tables of every machine that has records and the one over all, and remove those of machines without.

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
    present = {machine_of(record) for record in rows(results_dir)}
    if present:
        present.add(machines.NAME)
    found = sorted(path for path in current_folder(results_dir).glob("*.*") if path.suffix in (".csv", ".md", ".json"))
    return [path for path in found if path.stem not in present and _is_ours(path)]


def current_folder(results_dir: Path) -> Path:
    """Where the tables of the present catalogue are."""
    return results_dir / "tables" / table_version()


def _is_ours(path: Path) -> bool:
    return (_read(path) or "").startswith((_MARKER, "entry,status,", "entry,box_AP@", _JSON_BEGIN))


def _read(path: Path) -> str | None:
    """The exact text of a file, None where there is none."""
    return path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else None


def _texts(results_dir: Path) -> dict[Path, str]:
    """Path -> text of all tables."""
    records = sorted(rows(results_dir), key=machine_of)
    entries = {entry.name: entry for entry in read_entries()} if records else {}
    evidence = gather_evidence(records, entries)
    texts = {}
    folder = current_folder(results_dir)
    for hardware, group in groupby(records, key=machine_of):
        found = list(group)
        table = _whole_frame(found, entries, hardware, evidence)
        csv = str(table.to_csv(index=False, lineterminator="\n"))
        measured = sum(record.is_the_row_itself for record in found)
        whole = {"table_version": folder.name, "hardware": hardware, "rows": _lines(table)}
        # Not with_suffix: a machine's name may hold a dot.
        texts[folder / f"{hardware}.csv"] = csv
        texts[folder / f"{hardware}.json"] = _json(whole)
        texts[folder / f"{hardware}.md"] = _markdown(hardware, table, folder.name, measured)
    return texts | _over_machines(folder, records) if records else {}


def _over_machines(folder: Path, records: Sequence[Record]) -> dict[Path, str]:
    """The table over all machines."""
    import pandas as pd

    lines = machines.rows_by_machine(records)
    heading = [_MARKER, "# The same row on every machine", f"Table version: `{folder.name}`."]
    return {
        folder / f"{machines.NAME}.csv": str(pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")),
        folder / f"{machines.NAME}.json": _json({"table_version": folder.name, "rows": lines}),
        folder / f"{machines.NAME}.md": "\n\n".join([*heading, *machines.machines_markdown(records)]) + "\n",
    }


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _markdown(hardware: str, table: pd.DataFrame, version: str, measured: int) -> str:
    """The tables of a machine; of the rows themselves `measured` are measured."""
    missing = int((table["status"] == "missing").sum())
    others = len(table) - measured - missing
    beside = f" Beside them {others} under other conditions, or trained here." if others else ""
    named = table[~table["protocol"].isin([ABSENT, MISSING])]
    protocols = sorted(set(zip(named["protocol"], named["protocol_version"], strict=True)))
    used = ", ".join(f"{name} {number}" for name, number in protocols) or "none"
    parts = [
        _MARKER,
        f"# Measured on {hardware}",
        f"{measured} of {measured + missing} rows measured, {missing} without a record on this machine.{beside}",
        f"Protocols: {used}. Table version: `{version}`.",
    ]
    for title, columns in _sections().items():
        shown = [name for name in columns if not name.startswith(_idle(table))]
        parts += [f"## {title}", markdown_table(_lines(table[shown]))]
    stamps = [{"entry": row["entry"], **{name: stamp(row, name) for name in measurements()}} for row in _lines(table)]
    parts += ["## When each was measured, and by which commit", markdown_table(stamps)]
    return "\n\n".join([*parts, _LEGEND]) + "\n"


def _idle(table: pd.DataFrame) -> tuple[str, ...]:
    """What the columns begin with of kinds of AP that no row has, printed or measured; boxes are always shown."""
    others = [task for kind, task in TASKS.items() if kind != "bbox"]
    idle = [task for task in others if not table[f"published_{task.ap}"].any() and not table[task.ap].any()]
    return tuple(name for task in idle for name in (f"{task.prefix}_", f"published_{task.prefix}_"))


def _lines(table: pd.DataFrame) -> list[dict[str, str]]:
    return [{str(column): str(value) for column, value in row.items()} for row in table.to_dict("records")]


def _row(record: Record, entry: Entry | None, evidence: Evidence = NOTHING) -> dict[str, str]:
    verdicts = judge(record, entry, evidence) if entry is not None else {}
    checkpoint, data, protocol = record.checkpoint, record.data, record.protocol
    return {
        "entry": label(record),
        "status": record.status,
        "upstream": entry.upstream if entry else ABSENT,
        **{part: entry.parts.get(part, "") if entry else ABSENT for part in _PARTS},
        "weights": weights(record),
        "hash_evidence": as_text(checkpoint and checkpoint.hash_evidence),
        "data": as_text(data and data.name),
        "split": as_text(data and data.split),
        "images": as_text(data and data.images),
        "protocol": as_text(protocol.name or None),
        "protocol_version": as_text(protocol_version(record)),
        "precision": as_text(record.identity.condition.get("precision")),
        **_accuracy(record, entry, verdicts),
        "reason": _reason(record, entry, verdicts),
        **_others(record, entry),
        "hardware": machine_of(record),
        **provenance(record),
    }


def _missing_row(entry: Entry, hardware: str) -> dict[str, str]:
    """The row of an entry without a record: what was published, and a hyphen in place of what would be measured."""
    nothing = Record(
        entry=entry.name,
        zoo=entry.zoo,
        protocol=ProtocolRecord(name="", version=0),
        code=Code(version=""),
        times=Times(started=""),
    )
    row = {name: MISSING if text in (ABSENT, FAILED) else text for name, text in _row(nothing, entry).items()}
    return row | {"status": "missing", "reason": "", "hardware": hardware}


def _accuracy(record: Record, entry: Entry | None, verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """The columns of every kind of AP; all empty where the row has no such AP, of boxes a dash where none was asked."""
    row: dict[str, str] = {}
    for kind, task in TASKS.items():
        columns = [column for column in measurements()["accuracy"].columns if column.name.startswith(f"{task.prefix}_")]
        cells, published = entry.cells(task.ap) if entry else (), f"published_{task.ap}"
        delta_name, verdict_name = _judged(task)
        absent = kind != "bbox" and not cells and all(record.number(column.keys[0]) is None for column in columns)
        outcome = verdicts.get(task.ap)
        delta = "" if outcome is None or outcome.delta is None else f"{outcome.delta:+.2f}"
        row[published] = printed(cells) if cells else ""
        row |= {column.name: "" if absent else cell(record, column) for column in columns}
        row |= {delta_name: "" if absent else delta}
        row |= {verdict_name: outcome.verdict if outcome and not absent else ""}
    return row


def _others(record: Record, entry: Entry | None) -> dict[str, str]:
    """The columns of every measurement but accuracy; of an optional one empty where the row has no such number."""
    published = published_cells(entry) if entry else {}
    found: dict[str, str] = {}
    for name, measurement in measurements().items():
        if name == "accuracy":
            continue
        cells = {column.name: published.get(column.keys[0], ()) for column in measurement.columns if column.published}
        absent = measurement.optional and name not in record.parts and not any(cells.values())
        for column in measurement.columns:
            if absent:
                found[column.name] = ""
            elif column.published:
                found[column.name] = printed(cells[column.name]) if cells[column.name] else ""
            else:
                found[column.name] = cell(record, column)
    return found


def _reason(record: Record, entry: Entry | None, verdicts: Mapping[str, Verdict]) -> str:
    if record.status != "measured":
        reasons = [record.reason]
    elif entry is None:
        reasons = ["not in the catalogue"]
    else:
        reasons = [verdicts[task.ap].reason for task in TASKS.values() if task.ap in verdicts]
    return "; ".join(dict.fromkeys(" ".join(reason.split()) for reason in reasons if reason))
