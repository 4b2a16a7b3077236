"""Files for `.eval_results/` of a model's repository on the Hugging Face Hub, which its page then shows.

A file is a list of results: data set of the Hub and task in it, value, date and notes
(https://huggingface.co/docs/hub/eval-results). The data set must be registered as a benchmark there; which one that
is the Hub decides, so that it has to be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from zoo.errors import UsageError
from zoo.results.exporting import Document, Export, LeftOut, Measured, Request, provenance
from zoo.types import Json


def _write(request: Request) -> Iterator[Document | LeftOut]:
    if request.hub_dataset is None:
        message = "the Hub shows results of a data set that is registered there as a benchmark"
        raise UsageError(message, next_step="name it with --dataset OWNER/NAME")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", request.hub_dataset, re.ASCII) is None:
        raise UsageError(f"--dataset {request.hub_dataset}: no data set of the Hub", next_step="write it as OWNER/NAME")
    for measured in request.records:
        if not measured.record.is_the_row_itself:
            reason = "not the published weights under the row's own conditions, which is what a model's page shows"
            yield LeftOut(name=measured.name, reason=reason)
            continue
        results = list(_results(measured, request.hub_dataset))
        if not results:
            yield LeftOut(name=measured.name, reason="no accuracy was measured")
            continue
        # Wide enough for any line: a folded one reads badly beside others.
        text = yaml.safe_dump(results, sort_keys=False, allow_unicode=True, width=2**16)
        path = f"{measured.record.entry}/.eval_results/zoo_{measured.hardware.id}.yaml"
        yield Document(path=path, text=text)


def _results(measured: Measured, dataset: str) -> Iterator[dict[str, Json]]:
    """A result for each accuracy that tables publish."""
    from zoo.measure.accuracy import MEASUREMENT

    for metric, place in MEASUREMENT.metrics.items():
        value = measured.record.number(place.key)
        if value is None:
            continue
        facts = provenance(measured, place.key)
        yield {
            "dataset": {"id": dataset, "task_id": metric},
            "value": value * place.scale,
            "date": facts["measured_at"],
            "notes": "; ".join(f"{name} {fact}" for name, fact in facts.items() if name != "measured_at"),
        }


EXPORT = Export(write=_write)
