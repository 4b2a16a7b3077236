"""An in-toto statement of test results: which published numbers of a checkpoint were found again.

One statement a record (https://in-toto.io/Statement/v1, predicate
https://in-toto.io/attestation/test-result/v0.1): subjects are the checkpoint and the record by their sha256, a test is
a published metric. A CI job signs it and everybody checks it; it is one JSON and needs no package.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from zoo.measure.measurement import metrics
from zoo.results.diff import Row, diff_rows, entries_of
from zoo.results.exporting import Document, Export, LeftOut, Measured, Request, json_text, provenance
from zoo.results.gather import gather_evidence
from zoo.results.ladder import ALARMS, COMPARED, EXPLAINED
from zoo.results.ledger import Ledger
from zoo.results.seeds import aggregate_seeds
from zoo.types import Json

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def _write(request: Request) -> Iterator[Document | LeftOut]:
    ledger = Ledger(request.results_dir)
    everything = [*aggregate_seeds(ledger.records()), *ledger.attempts()]  # a verdict may rest on other rows
    entries = entries_of(everything)
    records = {id(measured.record): measured for measured in request.records}
    compared: dict[int, list[Row]] = defaultdict(list)
    rows = diff_rows([m.record for m in request.records], entries, gather_evidence(everything, entries))
    for row in rows:
        if row.outcome.verdict in COMPARED:
            compared[id(row.record)].append(row)
    for key, measured in records.items():
        if measured.record.trained:
            reason = "trained here: the verdict is one over seeds, and not of one file"
            yield LeftOut(name=measured.name, reason=reason)
        elif not compared[key]:
            yield LeftOut(name=measured.name, reason="none of its numbers can be compared with a published one")
        else:
            text = json_text(_statement(measured, compared[key]))
            yield Document(path=f"{measured.name}.intoto.json", text=text)


def _statement(measured: Measured, rows: Sequence[Row]) -> dict[str, Json]:
    record = {"name": measured.path.name, "digest": {"sha256": hashlib.sha256(measured.path.read_bytes()).hexdigest()}}
    checkpoint = {"name": measured.record.entry, "digest": {"sha256": measured.checkpoint.sha256}}
    passed, warned, failed = (
        [row.metric for row in rows if _result(row) == result] for result in ("PASSED", "WARNED", "FAILED")
    )
    facts = {row.metric: _facts(measured, row) for row in rows}
    annotations = measured.data.annotations_sha256
    configuration: list[Json] = [
        {**record, "annotations": facts},
        {"name": f"{measured.data.name} {measured.data.split} annotations", "digest": {"sha256": annotations}},
    ]
    commits = dict.fromkeys(str(fact["code_commit"]) for fact in facts.values())
    configuration += [{"name": "code", "digest": {"gitCommit": commit}} for commit in commits if commit != "unknown"]
    return {
        "_type": STATEMENT,
        "subject": [checkpoint, record],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
            "configuration": configuration,
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        },
    }


def _result(row: Row) -> str:
    if row.outcome.verdict in ALARMS:
        return "FAILED"
    return "WARNED" if row.outcome.verdict == EXPLAINED else "PASSED"


def _facts(measured: Measured, row: Row) -> Mapping[str, Json]:
    """A comparison, with everything that its number depends on."""
    judged = {"verdict": row.outcome.verdict, "published": row.outcome.published, "measured": row.outcome.measured}
    reason = {"reason": row.outcome.reason} if row.outcome.reason else {}
    return judged | reason | provenance(measured, metrics()[row.metric][1].key)


EXPORT = Export(write=_write)
