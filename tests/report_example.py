"""A results folder in which every kind of row occurs, of machines that do not exist: for looking at the report.

The numbers are made up from the published ones, so that no drawing of it may be taken for a measurement.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from made_up import file_all, make_record

from zoo.catalog.entry import Entry, read_entries
from zoo.catalog.resolved import resolved_entry
from zoo.catalog.switches import key_of, read_switches, value_of
from zoo.measure.coco_eval.errors import MEANINGS
from zoo.results.record import LoadReport, Record
from zoo.results.report.detections import DetectionView, DrawnImage, ErrorLine, ErrorTable, PrCurves
from zoo.results.report.drawn import Outline, draw, legend
from zoo.runtime.provenance import Code

GPU, CPU = "example-gpu", "example-cpu"

CLASSES = ("person", "bicycle", "car", "dog", "chair", "book", "hair drier", "toothbrush")

CODE = Code(version="0.1.0", commit="c0ffee5e" + "0" * 32, dirty=False)


def write_example(folder: Path) -> None:
    """Fill a results folder: all zoos, all verdicts, two machines, trainings, trials, attempts."""
    file_all(folder, *_records())


def example_view(record: Record) -> DetectionView:
    """What the stored detections of a record could show, drawn on noise."""
    kinds = ("box", "mask") if record.number("mask_AP") else ("box",)
    falling = {name: tuple(max(0.0, 1.0 - (i / 100) ** power) for i in range(101)) for name, power in _POWERS.items()}
    lines = [
        ErrorLine(kind=kind, meaning=meaning, count=90 - 10 * i, cost=6.0 / (1 + i))
        for i, (kind, meaning) in enumerate(MEANINGS.items())
    ]
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    outlines = [
        Outline(kind="hit", name="dog", box=(10.0, 20.0, 50.0, 60.0), score=0.91),
        Outline(kind="classification", name="car", box=(80.0, 30.0, 60.0, 70.0), score=0.55),
        Outline(kind="missed", name="person", box=(100.0, 10.0, 40.0, 90.0)),
    ]
    per_class = dict.fromkeys(CLASSES, falling["0.5"])
    return DetectionView(
        curves=tuple(PrCurves(of=kind, mean=falling, per_class=per_class) for kind in kinds),
        errors=tuple(ErrorTable(of=kind, ap50=58.1, hits=321, lines=tuple(lines)) for kind in kinds),
        images=(DrawnImage(name="1.jpg", caption="1.jpg: noise", markup=draw(noise, outlines, name="1.jpg")),),
        chosen="Noise, with the outlines of nothing.",
        legend=legend([("hit", "right"), ("missed", "an object that no detection has")]),
        missing=None,
    )


_POWERS = {"0.5": 4.0, "0.75": 2.0, "0.5:0.95": 1.0}
"""How fast the precision of each curve falls."""


def _records() -> Iterator[Record]:
    draw = random.Random(7)
    for place, entry in enumerate(read_entries()):
        if entry.zoo == "shapes" or place % 9 == 8:
            continue  # a row that nobody tried
        if place % 13 == 6:
            yield _stopped(entry, "blocked", "https://example.org/w.pth: 404 Not Found", "see `zoo fetch --check`")
        elif place % 17 == 5:
            yield _stopped(entry, "failed", "out of memory", "use a smaller batch_size, or device=cpu")
        else:
            yield from _measured(entry, draw, place)


def _stopped(entry: Entry, status: Any, reason: str, next_step: str) -> Record:
    return make_record(entry.name, status=status, reason=reason, next_step=next_step, hardware=GPU, code=CODE)


def _measured(entry: Entry, draw: random.Random, place: int) -> Iterator[Record]:
    shift = draw.gauss(0.0, 0.03) if place % 5 else (-0.4 if place % 10 == 0 else draw.choice([0.3, -1.7]))
    own = _record(entry, _numbers(entry, draw, shift, place), GPU)
    yield own
    if place % 4 == 0:
        yield _record(entry, _numbers(entry, draw, shift, place, speed=9.0), CPU)
    if place % 5 == 0:
        yield from _trials(entry, own, draw, place)
    if place % 11 == 1:
        for seed, offset in enumerate((-0.21, 0.04, 0.17)):
            numbers = _numbers(entry, draw, offset, place)
            more = {"trained": True, "seed": seed, "hash_evidence": "none", "overrides": ["run=train", f"seed={seed}"]}
            yield _record(entry, numbers, GPU, **more)
    if place % 10 == 3:
        more = {"images": 64, "partial": True, "conditions": ("data.limit=64",), "overrides": ["data.limit=64"]}
        yield _record(entry, _numbers(entry, draw, -2.0, place), CPU, **more)
    if place % 14 == 2:
        weights = {"weights": "1" * 64, "hash_evidence": "other weights", "overrides": ["checkpoint.path=mine.pth"]}
        yield _record(entry, _numbers(entry, draw, 0.6, place), GPU, **weights)
    if place % 16 == 4:
        changed = {"changes": ["neck=pafpn"], "overrides": ["neck=pafpn"], "name": f"{entry.model}_pafpn"}
        yield _record(entry, _numbers(entry, draw, 0.9, place), GPU, **changed)


def _record(entry: Entry, measured: dict[str, Any], machine: str, **more: Any) -> Record:
    config = {"config": resolved_entry(entry.name), "code": CODE, **more}
    record = make_record(entry.name, measured=measured, hardware=machine, **config)
    if record.checkpoint:
        dropped = {
            "the statistics of a training": ["optimizer.step", "ema.decay"],
            "no part of a detector": ["fc.weight"],
        }
        record.checkpoint.load_report = LoadReport(loaded=295, dropped=dropped, fresh={"counts batches": 53})
        record.checkpoint.url = entry.checkpoint.urls[0] if entry.checkpoint.urls else None
    return record


def _numbers(entry: Entry, draw: random.Random, shift: float, place: int, speed: float = 1.0) -> dict[str, Any]:
    """What a run of a row could have measured: near to what is published."""
    latency = speed * (8.0 + 0.6 * (place % 40) + draw.random())
    found: dict[str, Any] = {}
    for kind in ("box", "mask"):
        cells = entry.cells(f"{kind}_AP")
        if not cells:
            continue
        value = cells[0].value + shift
        found |= {f"{kind}_AP": value, f"{kind}_AP50": value * 1.55, f"{kind}_AP75": value * 1.08}
        found |= {f"{kind}_AP_small": value * 0.55, f"{kind}_AP_medium": value * 1.1, f"{kind}_AP_large": value * 1.3}
        both = [*entry.cells(f"{kind}_AP50")[:1], *entry.cells(f"{kind}_AP75")[:1]]
        found |= {cell.metric: cell.value + shift for cell in both}
    found["per_class"] = {
        f"{kind}_AP": {name: 12.0 + 70.0 * draw.random() for name in CLASSES}
        for kind in ("box", "mask")[: 1 + ("mask_AP" in found)]
    }
    found |= {"fps": 1e3 / latency, "latency_ms": {"p50": latency, "p95": latency * 1.3}, "timed": {"images": 200}}
    params = entry.cells("params_m")
    found["params"] = int((params[0].value if params else 41.5) * 1e6)
    return found


def _trials(entry: Entry, own: Record, draw: random.Random, place: int) -> Iterator[Record]:
    """What switches make of a row that is off: of every second one, one of them accounts for the difference."""
    published = entry.cells("box_AP")[0].value
    for number, switch in enumerate(read_switches(entry.zoo)):
        overrides = switch.applied(own.protocol.config)
        rescores = overrides and overrides[0].startswith("rescore.")
        if not rescores:
            continue
        meets = number == 0 and place % 2 == 0
        value = published + (0.01 if meets else draw.choice([-1.1, -0.6, 0.7]))
        rules = {key_of(override).removeprefix("rescore."): value_of(override) for override in overrides}
        config = {**own.protocol.config, "rescore": rules}
        numbers = {name: value for name in ("box_AP", "mask_AP") if entry.cells(name)}
        yield make_record(
            entry.name,
            measured=numbers,
            hardware=GPU,
            config=config,
            changes=overrides,
            overrides=list(overrides),
            row=f"{number:064x}",
            code=CODE,
        )
