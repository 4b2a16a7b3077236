"""The published numbers of a row, and where a record has what was measured of each."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.catalog.entry import METRICS, ZOO_ORDER, Entry, PublishedCell
from zoo.measure.measurement import metrics
from zoo.results.record import Record

ONNX_LATENCY = "onnx_latency_ms"
"""The metric of those cells of `latency_ms` that were published for ONNX on a CPU: another program runs the network."""

FILE_SIZE = "file_size_mib"
"""The metric of a checkpoint file's size, which a record knows without measuring."""


def published_cells(entry: Entry) -> dict[str, tuple[PublishedCell, ...]]:
    """The cells that are judged together, by the metric they are measured as, in table order."""
    found: dict[str, tuple[PublishedCell, ...]] = {}
    for metric in entry.published_metrics:
        for cell in entry.cells(metric):
            name = ONNX_LATENCY if metric == "latency_ms" and _on_cpu_by_onnx(cell) else metric
            found[name] = (*found.get(name, ()), cell)
    return found


def _on_cpu_by_onnx(cell: PublishedCell) -> bool:
    return {"CPU", "ONNX"} <= set((cell.hardware or "").replace(",", " ").split())


def hardware_bound(metric: str) -> bool:
    """Whether a metric belongs to the machine it was measured on, so that only ratios may be compared.

    So do the hours of a training, which are published and not measured here.
    """
    if metric == FILE_SIZE:
        return False
    _, place = metrics().get(metric, (None, None))
    return metric in METRICS if place is None else place.hardware_bound


def measured_value(record: Record, metric: str) -> float | None:
    """A record's value of a published metric, in the unit that tables print it in."""
    if metric == FILE_SIZE:
        return None if record.checkpoint is None or record.trained else record.checkpoint.size / 2**20
    _, place = metrics().get(metric, (None, None))
    value = None if place is None else record.number(place.key)
    return None if value is None or place is None else value * place.scale


def measured_version(record: Record, metric: str) -> int | None:
    """The version of the measurement that gave a record's value of a published metric; None where none did."""
    name, _ = metrics().get(metric, (None, None))
    part = record.parts.get(name) if name else None
    return None if part is None else part.version


def machine_of(record: Record) -> str:
    """The machine of a record, as tables name it."""
    return record.hardware_id or "no machine"


def measured_on(record: Record, metric: str) -> str:
    """What a number of a record holds for: its machine, or the CPU and the program that an exported network ran on."""
    onnx = record.measured.get(ONNX_LATENCY) if metric == ONNX_LATENCY else None
    if not isinstance(onnx, Mapping):
        return machine_of(record)
    threads = f"{onnx['threads']} thread{'s' if onnx['threads'] > 1 else ''}"
    return f"{onnx['cpu']}, onnxruntime {onnx['onnxruntime']}, {threads}"


def catalogue_key(zoo: str, name: str) -> tuple[int, str, str]:
    """Sorts rows as the catalogue has them: the zoos in their order, then by name."""
    return (ZOO_ORDER.index(zoo) if zoo in ZOO_ORDER else len(ZOO_ORDER), zoo, name)


def unlike_apart_from_data(record: Record) -> list[str]:
    """The conditions of a run that no published number was measured under, but for what images it took."""
    return [item for item in record.identity.unlike_published if not item.startswith("data.")]
