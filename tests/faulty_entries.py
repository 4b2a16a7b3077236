"""Entries over the embedded weights whose published numbers a test decides, on a few images of the embedded data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo import cli, pipeline
from zoo.catalog.entry import ZOO_CATALOG, config_file
from zoo.commands.trial_runs import settings_of
from zoo.data.shapes.dataset import draw
from zoo.fetch.hashes import hash_file
from zoo.results.record import Record

BOXES = ("box_AP", "box_AP50", "box_AP75")
RESULTS = Path("results")


class FaultyEntry:
    """A row of a catalogue of its own, in a folder of its own, which becomes the present one.

    Args:
        folder: empty.
        monkeypatch: undoes what is done to the process.
        like: the embedded row that it is as.
        images: how many images its data set has; they are the whole of it.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, like: str, images: int) -> None:
        self.folder, self.like = folder, like
        self.name = f"{like}_fault"
        self._runs = itertools.count()
        (folder / "catalogue").mkdir()
        monkeypatch.setenv(ZOO_CATALOG, str(folder / "catalogue"))
        monkeypatch.chdir(folder)
        self.data = folder / "few"
        draw("val", images, self.data)
        known = yaml.safe_load(_file("data", "shapes").read_text(encoding="utf-8"))
        sha256 = hash_file(self.data / known["annotations"]).sha256
        known |= {"name": "few_shapes", "num_images": images, "root": str(self.data)}
        known |= {"annotations_sha256": {"val": sha256}, "annotations_size": {}, "train": None}
        self._write("data", "few_shapes", known)
        self.publish(dict.fromkeys(BOXES, 0.0))

    def publish(self, numbers: Mapping[str, float]) -> None:
        """Let the row's table print some numbers, with one decimal."""
        document = yaml.safe_load(_file("entry", self.like).read_text(encoding="utf-8"))
        document["defaults"] = [
            {key: "few_shapes" if key == "override /data" else option for key, option in item.items()}
            for item in document["defaults"]
        ]
        block = document["entry"]
        block["name"] = self.name
        block["checkpoint"].setdefault("keys", self.like.replace("_", "/", 1))
        block["published"] = [
            {"metric": metric, "text": f"{value:.1f}", "source": "README.md"} for metric, value in numbers.items()
        ]
        self._write("entry", self.name, document, "# @package _global_\n")

    def run(self, overrides: Sequence[str] = (), results: Path = RESULTS) -> Record:
        """Measure the row, or what overrides make of it."""
        run_dir = Path("outputs", self.name, f"run-{next(self._runs)}")
        run_dir.mkdir(parents=True)
        settings = settings_of(self.name, ["device=cpu", "workers=0", *overrides], results, run_dir)
        record, _ = pipeline.run(settings)
        assert record.status == "measured", record.reason
        return record

    def explain(self, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
        """The exit status of `zoo explain`, and what it said."""
        capsys.readouterr()
        where = ["device=cpu", "workers=0", "--results-dir", str(RESULTS), "--format", "json"]
        status = cli.main(["explain", self.name, *where, *more])
        return status, json.loads(capsys.readouterr().out)

    def _write(self, group: str, option: str, document: Mapping[str, Any], head: str = "") -> None:
        path = self.folder / "catalogue" / group / f"{option}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")


def boxes_of(numbers: Mapping[str, Any]) -> dict[str, float]:
    """AP, AP50 and AP75 of boxes."""
    return {metric: float(numbers[metric]) for metric in BOXES}


def _file(group: str, option: str) -> Path:
    path = config_file(group, option)
    assert path is not None
    return path
