"""Two lists for github-action-benchmark, which draws a chart of every number over the commits of a repository.

Its tools `customBiggerIsBetter` and `customSmallerIsBetter` read a list each: name, unit, value, and where there is
one a range, as text, and `extra`, lines that are shown beside a point
(https://github.com/benchmark-action/github-action-benchmark).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zoo.catalog.entry import METRICS
from zoo.measure.measurement import metrics
from zoo.results.exporting import Document, Export, Measured, Request, json_text, provenance
from zoo.types import Json

_BIGGER_IS_BETTER = {"AP points", "images/s"}
"""Units of what should be large; everything else costs something."""


def _write(request: Request) -> Iterator[Document]:
    points = [point for measured in request.records for point in _points(measured)]
    for name, bigger in (("bigger_is_better", True), ("smaller_is_better", False)):
        chosen = [point for point in points if (point["unit"] in _BIGGER_IS_BETTER) is bigger]
        yield Document(path=f"{name}.json", text=json_text(chosen))


def _points(measured: Measured) -> Iterator[dict[str, Json]]:
    """The numbers of a record that have a published metric, in the unit that tables print."""
    for metric, (_, place) in metrics().items():
        value = measured.record.number(place.key)
        if value is None:
            continue
        point: dict[str, Json] = {
            # A chart is found by its name again: nothing in it may change from one commit to the next.
            "name": f"{measured.name}/{metric}",
            "unit": METRICS[metric.removeprefix("onnx_")],
            "value": value * place.scale,
        }
        spread = _range(measured, metric)
        if spread is not None:
            point["range"] = spread
        facts = provenance(measured, place.key)
        yield point | {"extra": "\n".join(f"{name}: {fact}" for name, fact in facts.items())}


def _range(measured: Measured, metric: str) -> str | None:
    """How far the rounds of a speed lie apart: half of the distance, as the action shows it."""
    rounds = measured.record.measured.get("fps_rounds")
    if metric != "fps" or not isinstance(rounds, Mapping):
        return None
    return f"± {(rounds['highest'] - rounds['lowest']) / 2}"


EXPORT = Export(write=_write)
