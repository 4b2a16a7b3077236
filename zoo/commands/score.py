"""`zoo score`: anybody's detections by the rules that a run is judged by."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zoo.catalog.entry import Entry, config_file, read_entry, resolve
from zoo.commands.command import Command, completed
from zoo.commands.completers import entries
from zoo.commands.output import add_format, print_rows
from zoo.errors import DataError, UsageError
from zoo.schema import plain
from zoo.terminal import ABSENT

if TYPE_CHECKING:
    from zoo.measure.score.score import Rules, Score
    from zoo.results.record import Verdict

_KNOWN_DATA = ("coco2017", "coco2017_keypoints", "shapes")
"""Data sets that are fetched or drawn where they are not there."""


def _score(options: argparse.Namespace) -> int:
    from zoo.measure.score.score import score_file

    entry = None if options.entry is None else read_entry(resolve(options.entry)[0])
    rules = None if entry is None else _rules(entry)
    score = score_file(options.predictions, _annotations(options.data), rules)
    verdicts = {} if entry is None or rules is None else _verdicts(score, entry, rules, options.data)
    if options.format == "json":
        print(json.dumps(_document(options.predictions, score, verdicts), indent=1, ensure_ascii=False))
    for finding in score.findings:
        word = "refused" if finding.refused else "warning"
        print(f"{word}: {finding.message}: {finding.fix}", file=sys.stderr)
    refused = [finding for finding in score.findings if finding.refused]
    if refused:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in refused))
        raise DataError(f"{options.predictions} is not scored: {kinds}", next_step=refused[0].fix)
    if options.format == "table":
        print(
            f"{score.detections:,} detections, {score.images:,} images, {score.objects:,} objects of {score.classes} "
            f"classes (annotations {score.annotations_sha256[:8]})"
        )
    if options.format != "json":
        print_rows(_rows(score, verdicts, full=options.format == "csv"), options.format)
    return 0


def _annotations(data: str) -> Path:
    """The annotation file that DATA means: a file, a folder that has one, or a known data set.

    Raises:
        UsageError: there is nothing of that name, or a folder has no annotations or several.
        DataError, DownloadError: a known data set cannot be had.
    """
    from zoo.data.dataset import open_dataset
    from zoo.data.folder import find_annotations, no_annotations

    path = Path(data).expanduser()
    if path.is_dir():
        found = find_annotations(path, "val", f"--data {path / 'FILE'}")
        if found is None:
            raise no_annotations(path, "val", "")
        return found
    if path.exists():
        return path
    if data in _KNOWN_DATA and (file := config_file("data", data)) is not None:
        known = yaml.safe_load(file.read_text(encoding="utf-8"))
        return open_dataset(data, known["split"]).root / str(known["annotations"])
    raise UsageError(
        f"--data {data}: no such file or folder",
        next_step=f"give the annotations in COCO's JSON, a folder that has them, or {' or '.join(_KNOWN_DATA)}",
    )


def _rules(entry: Entry) -> Rules:
    """What an entry's detections are judged by."""
    from zoo.config.compose import compose
    from zoo.measure.coco_eval.summary import Rounding
    from zoo.measure.score.score import Rules

    config = compose(entry.name)
    known, rounding = config["data"], config["protocol"].get("rounding")
    return Rules(
        classes=tuple(known["classes"]),
        rounding=None if rounding is None else Rounding(**rounding),
        annotations_sha256=(known.get("annotations_sha256") or {}).get(known["split"]),
        data=known["name"],
    )


def _verdicts(score: Score, entry: Entry, rules: Rules, data: str) -> dict[str, Verdict]:
    """What is published of each number, and how the two compare.

    Args:
        data: as on the command line: the name of a data set means its own annotations.
    """
    from zoo.results.ladder import NOT_COMPARED, printed, verdict
    from zoo.results.published import published_cells
    from zoo.results.record import Verdict

    found: dict[str, Verdict] = {}
    unknown = rules.annotations_sha256 is None
    own = data == rules.data if unknown else score.annotations_sha256 == rules.annotations_sha256
    reason = "other annotations than the published number was measured on"
    if unknown:
        reason = f"maybe {reason}, whose hash is on no record: give --data {rules.data}"
    for metric, cells in published_cells(entry).items():
        measured = score.numbers.get(metric)
        if measured is None:
            continue
        if own:
            found[metric] = verdict(measured, cells)
        else:
            found[metric] = Verdict(NOT_COMPARED, printed(cells), measured, None, reason)
    return found


def _rows(score: Score, verdicts: Mapping[str, Verdict], *, full: bool) -> list[dict[str, str]]:
    """A line a number; in full with every digit, and with the warnings as lines of their own."""
    rows = []
    for metric, value in score.numbers.items():
        if metric == "per_class":
            continue
        row = {"metric": metric, "value": ABSENT if value is None else repr(value) if full else f"{value:.2f}"}
        if verdicts:
            outcome = verdicts.get(metric)
            row |= {"published": ABSENT, "verdict": ABSENT}
            if outcome is not None:
                row |= {"published": outcome.published, "verdict": outcome.verdict}
        rows.append(row)
    if full:
        blank = dict.fromkeys(rows[0], "")
        rows += [{**blank, "metric": "warning", "value": f"{one.message}: {one.fix}"} for one in score.findings]
    return rows


def _document(predictions: Path, score: Score, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Everything, with every digit."""
    refused = [finding for finding in score.findings if finding.refused]
    warnings = [finding for finding in score.findings if not finding.refused]
    said = plain(replace(score, findings=()))
    del said["findings"]
    return {
        "predictions": str(predictions),
        **said,
        "refused": [plain(finding) for finding in refused],
        "warnings": [plain(finding) for finding in warnings],
        "verdicts": {metric: plain(outcome) for metric, outcome in verdicts.items()},
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS.json", help="detections, COCO's results format")
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE|DIR|NAME",
        help=f"annotations, a folder that has them, or {' or '.join(_KNOWN_DATA)}",
    )
    completed(parser.add_argument("--entry", metavar="ENTRY", help="judge by the rules of this entry"), entries)
    add_format(parser)


COMMANDS = (
    Command(
        name="score",
        theme="results",
        about="AP of your own detections, after a look for the classic mistakes",
        run=_score,
        arguments=_arguments,
    ),
)
