"""Entries, records and a catalogue made up for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.catalog import entry as entry_module
from zoo.catalog.entry import Checkpoint, Entry, PublishedCell
from zoo.measure.measurement import measurements
from zoo.results.identity import Identity
from zoo.results.ledger import Ledger
from zoo.results.record import CheckpointRecord, DataRecord, Part, ProtocolRecord, Record, Status, Times
from zoo.runtime.hardware import Cpu, Hardware, Software, Switches
from zoo.runtime.provenance import Code

MACHINE = "h200-sxm"
WEIGHTS, ANNOTATIONS, ROW = "0" * 64, "a" * 64, "f" * 64
"""sha256 of the weights, of the annotations and of the composition, where a test does not say otherwise."""


def cell(text: str, metric: str = "box_AP", source: str = "README.md", **more: Any) -> PublishedCell:
    return PublishedCell(metric=metric, text=text, source=source, **more)


def make_entry(*cells: PublishedCell, **more: Any) -> Entry:
    checkpoint = Checkpoint(urls=("https://example.org/w.pth",), format="pth", keymap="mmdet")
    values = {"name": "mmdet_a", "zoo": "mmdet", "upstream": "a", "license": "MIT", "checkpoint": checkpoint}
    return Entry(**{**values, "published": cells, **more})


def make_record(
    entry: str = "mmdet_a",
    *,
    status: Status = "measured",
    measured: Mapping[str, Any] | None = None,
    versions: Mapping[str, int] | None = None,
    protocol: str = "mmdet",
    version: int = 1,
    config: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    trained: bool = False,
    row: str | None = ROW,
    changes: Sequence[str] = (),
    conditions: Sequence[str] = (),
    weights: str | None = WEIGHTS,
    hash_evidence: Any = "published prefix",
    data: str = "coco2017",
    images: int | None = 5000,
    annotations: str = ANNOTATIONS,
    files: str | None = None,
    partial: bool = False,
    known: bool = True,
    hardware: str | Hardware | None = MACHINE,
    code: Code | None = None,
    finished: str | None = "2026-01-01T00:00:00+00:00",
    seed: int = 0,
    **more: Any,
) -> Record:
    """A record as a run leaves it.

    Args:
        entry: name of the row, which begins with its zoo.
        status: how it ended.
        measured: numbers; an AP where it is None and the run measured something.
        versions: measurement -> version, where it is not the present one.
        protocol: name of the protocol.
        version: version of the protocol, which is that of accuracy.
        config: composed configuration.
        training: how the model was trained.
        trained: whether the run trained it.
        row: hash of the composition.
        changes: what differs from the row, as `key=value`.
        conditions: conditions that are not the row's own, as `key=value`.
        weights: sha256 of the checkpoint; None for a run that did not get so far.
        hash_evidence: evidence for the checkpoint.
        data: name of the data set.
        images: number of images; None for a run that did not get so far.
        annotations: sha256 of the annotation file.
        files: sha256 of annotations and images; None where the images were not hashed.
        partial: whether the images are a part of the split.
        known: whether the annotations are the split's own.
        hardware: machine; None for a run that did not get so far.
        code: code of the run.
        finished: when it was done.
        seed: seed of every random generator.
        more: other fields of the record.
    """
    if measured is None:
        measured = {"box_AP": 37.41} if status == "measured" else {}
    code = code or Code(version="0.1.0")
    condition = {"run.name": "train" if trained else "evaluate", "precision": "fp32"}
    condition |= dict(item.split("=", 1) for item in conditions)
    checkpoint = None if weights is None else CheckpointRecord(sha256=weights, size=9, hash_evidence=hash_evidence)
    images_of = None
    if images is not None:
        images_of = DataRecord(
            name=data,
            split="val2017",
            images=images,
            annotations_sha256=annotations,
            files_sha256=files,
            partial=partial,
            known=known,
        )
    return Record(
        entry=entry,
        zoo=entry.split("_", 1)[0],
        status=status,
        identity=Identity(row=row, condition=condition, changes=tuple(changes), conditions=tuple(conditions)),
        checkpoint=checkpoint,
        data=images_of,
        protocol=ProtocolRecord(
            name=protocol,
            version=version,
            config=dict(config or {}),
            training=None if training is None else dict(training),
        ),
        measured=dict(measured),
        parts=_parts(measured, {"accuracy": version, **(versions or {})}, finished, code),
        hardware=make_hardware(hardware) if isinstance(hardware, str) else hardware,
        code=code,
        times=Times(started="2026-01-01T00:00:00+00:00", finished=finished),
        seed=seed,
        **more,
    )


def make_hardware(name: str, device: str = "NVIDIA H200") -> Hardware:
    cpu = Cpu(name="EPYC 9654", physical_cores=8, logical_cores=16, usable_cores=16, memory_bytes=2**37)
    software = Software(os="Linux", python="3.12.3", torch="2.11.0", torchvision="0.26.0")
    switches = Switches(threads=8, tf32_convolutions="ieee", float32_matmul_precision="highest", cudnn_benchmark=False)
    return Hardware(id=name, device=device, cpu=cpu, gpu=None, software=software, switches=switches)


def _parts(
    measured: Mapping[str, Any], versions: Mapping[str, int], finished: str | None, code: Code
) -> dict[str, Part]:
    """The part of every measurement that gave one of the numbers."""
    parts: dict[str, Part] = {}
    for key in measured:
        name = _measured_by(key)
        version = versions.get(name, measurements()[name].version) or 1
        part = Part(version=version, finished=finished or "", seconds=1.0, code=code, values=[])
        parts.setdefault(name, part).values.append(key)
    if "speed" in parts and "timed" in measured:
        parts["speed"].images = measured["timed"]["images"]
    return parts


def _measured_by(key: str) -> str:
    """The measurement whose columns or metrics show a number; accuracy has more of them than it shows."""
    for name, measurement in measurements().items():
        keys = {key for column in measurement.columns if not column.published for key in column.keys}
        keys |= {metric.key for metric in measurement.metrics.values()} | {measurement.count or ""}
        if key in {place.split(".")[0] for place in keys}:
            return name
    return "accuracy"


def make_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Path:
    """A conf folder with an entry of each name, which the package takes for its own.

    Returns:
        The folder of entries, for tests that corrupt one.
    """
    entries = folder / "conf" / "entry"
    entries.mkdir(parents=True)
    for name in names:
        (entries / f"{name}.yaml").write_text(entry_yaml(name), encoding="utf-8")
    protocols = folder / "conf" / "protocol"
    protocols.mkdir()
    (protocols / "mmdet.yaml").write_text("name: mmdet\nversion: 3\n", encoding="utf-8")
    backbones = folder / "conf" / "backbone"
    backbones.mkdir()
    (backbones / "resnet50.yaml").write_text("depth: 50\n", encoding="utf-8")
    monkeypatch.setattr(entry_module, "conf_dir", lambda: folder / "conf")
    return entries


def entry_yaml(name: str, /, **changes: str) -> str:
    """The YAML of an entry; `changes` replace whole lines of it by their key."""
    lines = {
        "name": f"  name: {name}",
        "zoo": f"  zoo: {name.split('_', 1)[0]}",
        "upstream": "  upstream: faster-rcnn",
        "license": "  license: Apache-2.0",
        "checkpoint": "  checkpoint:",
        "format": "    format: pth",
        "keymap": "    keymap: mmdet",
        "sha256_prefix": '    sha256_prefix: "047c8118"',
        "urls": "    urls: [https://example.org/w-047c8118.pth]",
        "published": "  published:",
        "box": '    - {metric: box_AP, text: "37.4", source: README.md, line: 25}',
        "fps": '    - {metric: fps, text: "21.4", source: README.md, line: 25, hardware: V100}',
    }
    head = "defaults:\n  - override /backbone: resnet50\n  - override /protocol: mmdet\nentry:\n"
    return head + "\n".join({**lines, **changes}.values()) + "\n"


def files(folder: Path) -> list[str]:
    """Every record file below a results folder."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    return [name for name in found if not name.startswith("tables/")]


def file_all(folder: Path, *records: Record) -> Record:
    """File some records; returns what the file of the last one holds."""
    return [Ledger(folder).file(record).record for record in records][-1]
