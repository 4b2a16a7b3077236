"""`zoo explain`: why a number is not the published one."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.catalog.entry import Entry, resolve
from zoo.catalog.switches import Switch, read_switches
from zoo.commands.command import Command, add_results_dir, completed
from zoo.commands.completers import entries
from zoo.commands.output import add_format, print_rows
from zoo.errors import UsageError, closest
from zoo.terminal import Layout, paint

if TYPE_CHECKING:
    from zoo.results.explain import Explanation
    from zoo.results.record import Record


def _explain(options: argparse.Namespace) -> int:
    from zoo.commands.trial_runs import TrialRuns, first_run, settings_of, this_machine

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    settings = settings_of(resolve(options.entry)[0], options.overrides, options.results_dir)
    switches = _chosen(read_switches(settings.entry.zoo), options)
    machine = this_machine(settings) if any(switch.tier > 1 for switch in switches) else None
    record = first_run(settings, machine)
    explained = _explanation(options.results_dir, record, settings.entry)
    if explained.is_off:
        runs = TrialRuns(
            settings=settings,
            overrides=options.overrides,
            record=record,
            can_run=record.hardware_id == machine,
            run_dir=options.run,
            seconds=None if options.minutes is None else options.minutes * 60,
        )
        untried = runs.make(switches)
        explained = _explanation(options.results_dir, record, settings.entry)
        explained = replace(explained, untried=untried)
    _print(explained, options.format)
    return 1 if explained.is_alarm else 0


def _explanation(folder: Path, record: Record, entry: Entry) -> Explanation:
    """What the records of a results folder say of a run."""
    from zoo.results.diff import entries_of
    from zoo.results.explain import Explanation
    from zoo.results.gather import gather_evidence
    from zoo.results.ledger import all_records

    records = list(all_records(folder))
    evidence = gather_evidence(records, entries_of(records))
    return Explanation(entry=entry, record=record, evidence=evidence, switches=read_switches(entry.zoo))


def _chosen(switches: Sequence[Switch], options: argparse.Namespace) -> list[Switch]:
    """The switches that are asked for. Raises UsageError: the list has no switch of a name."""
    names = [switch.name for switch in switches]
    for name in options.switch:
        if name not in names:
            raise UsageError(
                f"no switch {name!r} ({closest(name, names)})", next_step="see conf/protocol/switches/ for all of them"
            )
    return [
        switch
        for switch in switches
        if (not options.switch or switch.name in options.switch) and options.tier in (None, switch.tier)
    ]


def _print(explained: Explanation, style: str) -> None:
    from zoo.console import colour_of
    from zoo.results.explain import explanation_document, explanation_rows

    if style == "json":
        print(json.dumps(explanation_document(explained), indent=1, ensure_ascii=False))
        return
    rows = explanation_rows(explained, full=style == "csv")
    if style == "csv":
        print_rows(rows, style)
        return
    shown = {column for row in rows for column, text in row.items() if text}
    print_rows([{key: text for key, text in row.items() if key in shown} for row in rows], style, _LAYOUT)
    print()
    for metric, outcome in explained.verdicts.items():
        word = paint(outcome.verdict, colour_of(outcome.verdict), sys.stdout)
        print(f"{metric:<10} {word}{f'  {outcome.reason}' if outcome.reason else ''}")


_LAYOUT = Layout(below=("note", "named by", "tier"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("entry", metavar="ENTRY", help="row of the catalogue"), entries)
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="as the run was made: data.root=DIR, device=cuda, ..."
    )
    parser.add_argument(
        "--tier",
        type=int,
        choices=(1, 2),
        help="1: score stored detections again (seconds); 2: run again; default: both",
    )
    parser.add_argument("--switch", action="append", default=[], metavar="NAME", help="try this one only; repeatable")
    parser.add_argument("--minutes", type=float, metavar="N", help="begin no further run after that time")
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of the run, with its predictions.json")
    add_format(parser)
    add_results_dir(parser)


COMMANDS = (
    Command(
        name="explain",
        theme="results",
        about="why a number is not the published one, switch by switch",
        run=_explain,
        arguments=_arguments,
    ),
)
