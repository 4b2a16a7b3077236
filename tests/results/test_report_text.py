"""The report: whatever records, entries and detections say becomes text, never markup and never a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from made_up import make_entry, make_record
from pages import Page

from zoo import cli
from zoo.catalog.entry import PublishedCell
from zoo.results.record import LoadReport, Record
from zoo.results.report.detections import DetectionView, DrawnImage, ErrorLine, ErrorTable, PrCurves
from zoo.results.report.drawn import Outline, draw, legend
from zoo.results.report.site import render_site
from zoo.schema import plain

MEASURED: dict[str, Any] = {
    "box_AP": 37.4123,
    "fps": 61.25,
    "latency_ms": {"p50": 16.04, "p95": 19.9},
    "per_class": {"box_AP": {"person": 52.34, "dog": None}},
}

CURVE = (1.0, 0.5, 0.0)
"""A precision over recall, however short."""

PIXELS = np.zeros((24, 32, 3), dtype=np.uint8)

HOSTILE = (
    "</script></style></title><script>alert(1)</script><img src=x onerror=alert(1)><!-- \" ' ` & {{ 7*7 }} javascript:x"
)

KEPT = ("entry", "status", "hash_evidence", "schema_version", "id")
"""What a record cannot say just anything in."""


def hostile(node: Any, text: str, key: str = "") -> Any:
    """Everything that a record says, and the names that it gives, with a text behind it."""
    if isinstance(node, dict):
        named = key in (
            "per_class",
            "box_AP",
            "dropped",
            "changed",
            "kept",
            "fresh",
            "skipped",
            "condition",
            "backbone",
        )
        return {
            f"{name}{text}" if named and name != "box_AP" else name: hostile(value, text, name)
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [hostile(item, text, key) for item in node]
    return f"{node}{text}" if isinstance(node, str) and key not in KEPT else node


def site_saying(text: str) -> dict[str, str]:
    """The pages of some records and an entry that end everything they say with a text."""
    cells = [
        PublishedCell(metric="box_AP", text="37.4", source=text, publisher=publisher, protocol=text)
        for publisher in (None, text)
    ]
    speed = PublishedCell(metric="fps", text="21.4", source=text, hardware=text)
    own = make_entry(*cells, speed, name="mmdet_a", upstream=text, license=text, parts={"backbone": text})
    records = [make_record("mmdet_a", measured=MEASURED)]
    records.append(make_record("mmdet_a", status="failed", reason="why", next_step="next"))
    records.append(make_record("mmdet_a", measured=MEASURED, conditions=["data.split=x"], overrides=["data.split=x"]))
    records.append(make_record("mmdet_a", measured=MEASURED, changes=["neck=x"], overrides=["neck=x"]))
    records.append(make_record("mmdet_gone", measured=MEASURED, trained=True))
    for record in records:
        record.protocol.config = {"backbone": {"_target_": "x.Y", "depth": "z"}, "checkpoint": {"path": "x"}}
        record.skipped = {"speed": "why"}
        if record.checkpoint:
            record.checkpoint.url = "https://example.org"
            record.checkpoint.load_report = LoadReport(loaded=1, dropped={"why": ["key"]}, fresh={"why": 2})
    read_back = [schema_record(hostile(plain(record), text)) for record in records]
    outline = Outline(kind="hit", name=text, box=(1.0, 2.0, 9.0, 9.0), score=0.5, note=text)
    line = ErrorLine(kind=text, meaning=text, count=1, cost=1.0)
    view = DetectionView(
        curves=(PrCurves(of=text, mean={text: CURVE}, per_class={text: CURVE}),),
        errors=(ErrorTable(of=text, ap50=1.0, hits=1, lines=(line,)),),
        images=(DrawnImage(name=text, caption=text, markup=draw(PIXELS, [outline], name=text)),),
        chosen=text,
        legend=legend([("hit", text)]),
        missing=text,
    )
    return render_site(read_back, {"mmdet_a": own}, lambda _: view)


def schema_record(values: Any) -> Record:
    return Record.from_json(json.dumps(values), where="a test")


def test_what_a_record_says_is_text() -> None:
    harmless, attacked = site_saying(" said"), site_saying(HOSTILE)
    assert len(harmless) == len(attacked) >= 5
    script = (Path(cli.__file__).parent / "results/report/templates/table.js").read_text(encoding="utf-8")
    for plain_text, text in zip(harmless.values(), attacked.values(), strict=True):
        page = Page(text)
        assert page.structure == Page(plain_text).structure, "the same elements with the same attributes"
        assert page.scripts == [script]
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
        assert not [link for link in page.links if ":" in link and not link.startswith("data:image/jpeg;base64,")]
        assert "alert(1)" in page.text
        assert "{{ 7*7 }}" in page.text
