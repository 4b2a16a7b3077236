"""Entries, records and a catalogue made up for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo.catalog import entry as entry_module
from zoo.catalog.entry import Checkpoint, Entry, PublishedCell
from zoo.results.record import Record

HARDWARE = {"id": "h200-sxm"}


def cell(text: str, metric: str = "box_AP", source: str = "README.md", **more: Any) -> PublishedCell:
    return PublishedCell(metric=metric, text=text, source=source, **more)


def make_entry(*cells: PublishedCell, **more: Any) -> Entry:
    checkpoint = Checkpoint(urls=("https://example.org/w.pth",), format="pth", keymap="mmdet")
    values = {"name": "mmdet_a", "zoo": "mmdet", "upstream": "a", "license": "MIT", "checkpoint": checkpoint}
    return Entry(**{**values, "published": cells, **more})


def make_record(**more: Any) -> Record:
    values: dict[str, Any] = {
        "entry": "mmdet_a",
        "zoo": "mmdet",
        "status": "measured",
        "checkpoint": {"sha256": "0" * 64, "hash_evidence": "published prefix"},
        "data": {"name": "coco2017", "split": "val2017", "images": 5000, "partial": False},
        "protocol": {"name": "mmdet", "version": 1, "precision": "fp32", "config": {"run": {"name": "evaluate"}}},
        "measured": {"box_AP": 37.41},
        "hardware": HARDWARE,
    }
    return Record(**{**values, **more})


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
    monkeypatch.setattr(entry_module, "conf_dir", lambda: folder / "conf")
    entry_module._by_model.cache_clear()
    monkeypatch.setattr(entry_module, "_by_model", entry_module._by_model.__wrapped__)
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
