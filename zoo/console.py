"""What a run says to whoever started it: a header when it begins, an answer when it has ended."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from zoo.catalog.entry import Entry
from zoo.coco_tasks import TASKS
from zoo.results.diff import diff_rows, entries_of, render_diff
from zoo.results.ladder import ALARMS, BLOCKED, DRIFT, EXACT, FAILED, NUMERIC
from zoo.results.record import Record
from zoo.results.staleness import summed_up
from zoo.results.table import not_published
from zoo.terminal import paint, width_of

if TYPE_CHECKING:
    from zoo.results.ledger import Filed

log = logging.getLogger(__name__)

_EVIDENCE = {
    "full": "the published hash, all of it",
    "published prefix": "begins with the published digits",
    "first use": "pinned at first use, none was published",
    "none": "no hash was published",
    "other weights": "not the published file",
}
"""What a record's hash evidence means."""


LONGEST_REASON = 400
"""Characters of a reason that a terminal shows; the record has them all."""


def announce(record: Record, entry: Entry) -> None:
    """Log what a run is going to measure: weights and data are there, nothing has been computed yet."""
    from zoo.runtime.distributed import is_main_process

    if is_main_process():
        log.info("%s", header(record, entry))


def announce_rest(entry: str, standing: Sequence[str], reasons: Mapping[str, str], filed: Path | None) -> None:
    """Log what a run leaves out because it stands, and what it measures for which reason.

    Args:
        entry: row.
        standing: measurements that stand.
        reasons: those that are made, each with the reason.
        filed: the record that has the former.
    """
    if standing:
        log.info("%s: %s stand%s (%s)", entry, ", ".join(standing), "s" if len(standing) == 1 else "", filed)
    if reasons and filed is not None:
        log.info("%s: to measure: %s", entry, summed_up(reasons))


def header(record: Record, entry: Entry) -> str:
    """What a run measures, as lines of name and value."""
    checkpoint, data, hardware = record.checkpoint, record.data, record.hardware
    condition, protocol = record.identity.condition, record.protocol
    row = record.label if record.label != entry.name else f"{entry.name} ({entry.upstream} of {entry.zoo})"
    lines = {"row": row, "checkpoint": "none: a training begins with what its recipe names"}
    if checkpoint is not None:
        name = PurePosixPath((checkpoint.path or checkpoint.url or "file").rpartition(":")[2]).name
        lines["checkpoint"] = f"{name}, sha256 {checkpoint.sha256[:8]}: {_EVIDENCE[checkpoint.hash_evidence]}"
    if data is not None:
        known = "known" if data.known else "not the split's own"
        images = f"{data.images}{' of its' if data.partial else ''} images"
        split = data.split if data.equivalent is None else f"{data.split} ({data.equivalent})"
        lines["data"] = f"{data.name} {split}, {images}, annotations {data.annotations_sha256[:8]}: {known}"
    if hardware is not None:
        lines["device"] = f"{hardware.device}, threads: {hardware.switches.threads}"
    lines["protocol"] = f"{protocol.name}, version {protocol.version}, {condition.get('precision', 'fp32')}"
    return "\n".join(f"{name:<10} {value}" for name, value in lines.items())


def answer(record: Record, entry: Entry | None) -> tuple[str, str]:
    """The verdict word and the sentence that a run comes down to.

    Returns:
        Such as "EXACT" and "57.64 against 57.6".
    """
    if record.status != "measured":
        reason = record.reason or ""
        if len(reason) > LONGEST_REASON and "\n" not in reason:
            reason = textwrap.shorten(reason, LONGEST_REASON, placeholder=" ... (all of it is in record.json)")
        return record.status.upper(), f"{record.label}: {reason}"
    said: dict[str, list[str]] = {}
    reasons: list[str] = []
    for task in TASKS.values():
        outcome = record.verdict.get(task.ap)
        if outcome is None or outcome.measured is None or entry is None:
            continue
        cell = entry.cells(task.ap)[0]
        compared = "against" if outcome.delta is not None else "beside"
        measured = f"{outcome.measured:.{cell.decimals + 1}f}"
        name = "" if task.iou_type == "bbox" else f"{task.plural} "
        said.setdefault(outcome.verdict, []).append(f"{name}{measured} {compared} {outcome.published}")
        reasons.append(outcome.reason or "")
    if not said:
        return "MEASURED", _without_published_ap(record)
    words = sorted(said, key=lambda word: word not in ALARMS)
    others = [f"{word} {', '.join(said[word])}" for word in words[1:]]
    text = "; ".join([", ".join(said[words[0]]), *others])
    reason = "; ".join(dict.fromkeys(filter(None, reasons)))
    return words[0], f"{text}: {reason}" if reason else text


def _without_published_ap(record: Record) -> str:
    points = {task.prefix: record.number(task.ap) for task in TASKS.values()}
    found = [f"{kind} AP {value:.2f}" for kind, value in points.items() if value is not None]
    fps = record.number("fps")
    return ", ".join([*found, *([f"{fps:.1f} images/s"] if fps is not None else [])]) or ", ".join(record.parts)


def colour_of(word: str) -> str:
    """The colour of a verdict or of a status."""
    if word in (EXACT, NUMERIC, "MEASURED"):
        return "green"
    return "red" if word in (DRIFT, BLOCKED, FAILED) else "yellow"


def conclude(record: Record, row: Record, filed: Filed, run_dir: Path) -> None:
    """Print how a run ended: the answer, its table, where things are, what to do next.

    The last line on stderr of a run that could not be measured is its next step.

    Args:
        record: the run.
        row: the run with the seeds of the same recipe that are there already.
        filed: what became of its record.
        run_dir: folder of the run.
    """
    entries = entries_of([row])
    stream = sys.stdout if record.status == "measured" else sys.stderr
    word, sentence = answer(row, entries.get(row.entry))
    print(f"\n{paint(word, colour_of(word), stream)}  {sentence}", file=stream)
    if record.status == "measured":
        _print_table(row, entries)
    where = {"record": run_dir / "record.json"}
    if (run_dir / "predictions.json").is_file():
        where["detections"] = run_dir / "predictions.json"
    where["filed"] = filed.path  # last: its notes follow
    print("", *(f"{name:<10} {path}" for name, path in where.items()), sep="\n")
    print(*(f"{'':<10} {note}" for note in filed.notes), sep="\n", end="\n" if filed.notes else "")
    if record.status == "measured":
        print(f"{'next':<10} zoo diff {filed.record.name or record.entry}; zoo predict {record.entry} IMAGE")
    else:
        sys.stdout.flush()
        print(f"next: {record.next_step}", file=sys.stderr)


def _print_table(row: Record, entries: Mapping[str, Entry]) -> None:
    """The diff of one run, and whatever it measured that its row does not publish."""
    width = width_of(sys.stdout)
    print(f"\n{render_diff(diff_rows([row], entries), width)}", end="")
    besides = not_published(row, entries.get(row.entry))
    if besides:
        text = f"also measured: {', '.join(f'{name} {value}' for name, value in besides.items())}"
        print("", *(textwrap.wrap(text, width, subsequent_indent="  ") if width else [text]), sep="\n")
