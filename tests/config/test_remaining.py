"""What a run has still to do, by what was measured before: the same content is done, anything else is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from made_up import make_hardware
from safetensors.torch import load_file, save_file

from zoo.catalog import entry as entry_module
from zoo.catalog.entry import conf_dir
from zoo.checkpoints.fetch_checkpoint import EMBEDDED
from zoo.checkpoints.pins import LOCK_FILE
from zoo.config import compose as compose_module
from zoo.config import remaining as module
from zoo.config.compose import compose
from zoo.config.remaining import remaining, stale_row
from zoo.config.run_settings import RunSettings
from zoo.data import splits
from zoo.data.dataset import known_files
from zoo.data.splits import Split
from zoo.fetch.hashes import hash_file
from zoo.measure.measurement import measurement
from zoo.results import staleness
from zoo.results.ledger import Ledger
from zoo.results.origin import code_of
from zoo.results.outcome import add_part
from zoo.results.record import DataRecord, Record
from zoo.results.staleness import MISSING

MACHINE = make_hardware("epyc")
ENTRY, ANOTHER = "shapes_retinanet_r10_fpn", "shapes_yolov8_p"
NUMBERS: dict[str, dict[str, Any]] = {"accuracy": {"box_AP": 21.9}, "complexity": {"params": 630_000}}
ASKED = ["measure=[accuracy,complexity]", "device=cpu"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images, which a test may change, and which are taken for the whole of a split that is known."""
    known = {"val": hash_file(few_shapes / "annotations" / "instances_val.json").sha256}
    open_split = splits.open_split

    def open_few(*names: str, **settings: Any) -> Split:
        return open_split(*names, **{**settings, "num_images": None, "known": known})

    monkeypatch.setattr(splits, "open_split", open_few)
    monkeypatch.setattr(splits, "known_files", lambda *_: None)
    return shutil.copytree(few_shapes, tmp_path / "data")


@cache
def composed(_: Path, entry: str, *overrides: str) -> dict[str, Any]:
    return compose(entry, overrides)


def settings(folder: Path, *overrides: str, entry: str = ENTRY) -> RunSettings:
    """A run, asked for as on the command line; where the data is makes no other composition."""
    asked = [item for item in (*ASKED, *overrides) if not item.startswith("data.root=")]
    root = next((item.removeprefix("data.root=") for item in overrides if item.startswith("data.root=")), None)
    config, own = composed(entry_module.conf_dir(), entry, *asked), composed(entry_module.conf_dir(), entry)
    return RunSettings.from_config(
        {**config, "data": {**config["data"], "root": root}},
        overrides=asked,
        run_dir=folder / "run",
        default_results=folder / "results",
        own=own,
    )


def measured(asked: RunSettings) -> Record:
    """File what a run leaves, without running it; returns it."""
    record, weights = module._prospect(asked, MACHINE)
    assert record.checkpoint is not None
    if weights is not None and weights.sha256 is not None:
        record.checkpoint.sha256 = weights.sha256
    for name in asked.measure:
        add_part(record, measurement(name), NUMBERS[name])
    record.times.finished = record.times.started
    return Ledger(asked.results_dir).file(record).record


def reasons(folder: Path, *overrides: str, entry: str = ENTRY) -> dict[str, str]:
    return dict(remaining(settings(folder, *overrides, entry=entry), MACHINE).reasons)


def of_all(reason: str) -> dict[str, str]:
    return {"accuracy": reason, "complexity": reason}


def test_the_same_is_done(tmp_path: Path, data: Path) -> None:
    where = f"data.root={data}"
    assert reasons(tmp_path, where) == of_all(MISSING)
    measured(settings(tmp_path, where))
    left = remaining(settings(tmp_path, where), MACHINE)
    assert (dict(left.reasons), left.standing) == ({}, ("accuracy", "complexity"))
    assert left.path is not None
    assert left.record is not None
    elsewhere = shutil.copytree(data, tmp_path / "moved")
    assert reasons(tmp_path, f"data.root={elsewhere}") == {}, "data is known by content"
    execution = ["workers=2", "seed=3", "resume=true", f"hydra.run.dir={tmp_path}"]
    assert reasons(tmp_path, where, *execution) == {}


def test_another_measurement_is_missing_alone(tmp_path: Path, data: Path) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    more = remaining(replace(settings(tmp_path, where), measure=("accuracy", "speed")), MACHINE)
    assert (dict(more.reasons), more.standing) == ({"speed": MISSING}, ("accuracy",))


@pytest.mark.parametrize(
    "other",
    ["data.limit=2", "precision=bf16", "batch_size=2", "evaluator=pycocotools", "head.dense_head.depth=1"],
)
def test_another_condition_or_composition_is_not_done(tmp_path: Path, data: Path, other: str) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    assert reasons(tmp_path, where, other) == of_all(MISSING)
    measured(settings(tmp_path, where, other))
    assert reasons(tmp_path, where, other) == {}
    assert reasons(tmp_path, where) == {}


def test_two_models_never_share_an_answer(tmp_path: Path, data: Path) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    assert reasons(tmp_path, where, entry=ANOTHER) == of_all(MISSING)
    measured(settings(tmp_path, where, entry=ANOTHER))
    found = [remaining(settings(tmp_path, where, entry=entry), MACHINE).record for entry in (ENTRY, ANOTHER)]
    assert [record.entry for record in found if record is not None] == [ENTRY, ANOTHER]


def test_a_file_of_ones_own_is_known_by_its_bytes(tmp_path: Path, data: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(EMBEDDED / f"{ENTRY}.safetensors", mine)
    where = [f"data.root={data}", f"checkpoint.path={mine}"]
    measured(settings(tmp_path, where[0]))
    assert reasons(tmp_path, *where) == {}, "it is the published file"
    tensors = load_file(mine)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, mine)
    assert reasons(tmp_path, *where) == of_all(MISSING)
    measured(settings(tmp_path, *where))
    assert reasons(tmp_path, *where) == {}
    save_file(tensors, mine)
    save_file({name: tensor + 2 for name, tensor in tensors.items()}, mine)
    assert reasons(tmp_path, *where) == of_all(MISSING), "the name says nothing"


def test_changed_weights_under_the_same_address_are_not_done(tmp_path: Path, data: Path, own_conf: Path) -> None:
    path = own_conf / "entry" / f"{ENTRY}.yaml"
    text = path.read_text(encoding="utf-8")
    url = "https://example.org/weights.safetensors"
    pin = {"sha256": "1" * 64, "size": 9, "pinned": "2026-01-31"}
    path.write_text("\n".join(
        line.replace(f"package:{ENTRY}.safetensors", url) for line in text.splitlines() if "sha256:" not in line
    ), encoding="utf-8")  # fmt: skip
    lock = tmp_path / "results" / LOCK_FILE
    lock.parent.mkdir()
    lock.write_text(json.dumps({url: pin}), encoding="utf-8")
    where = f"data.root={data}"
    record = measured(settings(tmp_path, where))
    assert record.checkpoint is not None
    record.checkpoint.size = 9
    record.write(Ledger(tmp_path / "results").path(record))
    assert reasons(tmp_path, where) == {}
    lock.write_text(json.dumps({url: pin | {"sha256": "2" * 64}}), encoding="utf-8")
    assert reasons(tmp_path, where) == of_all("checkpoint")


def test_changed_annotations_or_images_are_not_done(tmp_path: Path, data: Path) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    image = min((data / compose(ENTRY)["data"]["images"]).iterdir())
    before = image.read_bytes()
    image.unlink()
    image.write_bytes(before + b" ")
    assert reasons(tmp_path, where) == of_all("images")
    image.unlink()
    image.write_bytes(before)
    assert reasons(tmp_path, where) == {}
    annotations = data / "annotations" / "instances_val.json"
    document = json.loads(annotations.read_text(encoding="utf-8"))
    document["annotations"][0]["area"] += 1
    annotations.write_text(json.dumps(document), encoding="utf-8")
    assert reasons(tmp_path, where) == of_all(MISSING), "other data has a record of its own"


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration, which a test may change."""
    folder = shutil.copytree(conf_dir(), tmp_path / "conf")
    for user in (entry_module, compose_module):
        monkeypatch.setattr(user, "conf_dir", lambda: folder)
    return folder


def test_another_version_of_the_protocol_is_not_done(tmp_path: Path, data: Path, own_conf: Path) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    edit(own_conf / "protocol" / "shapes.yaml", "version: 1", "version: 2")
    assert reasons(tmp_path, where) == of_all("protocol version 1 -> 2")


def test_other_code_or_libraries_are_stale_by_measurement(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))

    def changed(name: str, config: Any) -> str:
        return "0" * 64 if name == "accuracy" else code_of(name, config)

    with monkeypatch.context() as patch:
        patch.setattr(staleness, "code_of", changed)
        assert reasons(tmp_path, where).keys() == {"accuracy"}
    monkeypatch.setattr(module, "environment", lambda: {"torch": "9.9"})
    assert reasons(tmp_path, where) == of_all(f"torch {version('torch')} -> 9.9")


def test_what_cannot_be_had_is_not_done(tmp_path: Path, data: Path) -> None:
    where = f"data.root={data}"
    measured(settings(tmp_path, where))
    assert reasons(tmp_path, "data.root=nowhere") == of_all(MISSING)
    assert reasons(tmp_path, where, "checkpoint.path=absent.pth") == of_all(MISSING)


def test_a_rows_own_record(tmp_path: Path, own_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `zoo status`, which opens no data: the record is held against what is known of the row."""
    asked = settings(tmp_path)
    data = DataRecord(
        name="shapes",
        split="val",
        images=200,
        annotations_sha256=asked.asked.data.annotations_sha256["val"],
        files_sha256=known_files("shapes", "val"),
        partial=False,
    )
    monkeypatch.setattr(module, "_data", lambda *_: data)
    record = measured(asked)
    assert record.is_the_row_itself
    assert stale_row(record, tmp_path / "results") == {}
    other = replace(record, data=replace(data, annotations_sha256="0" * 64))
    assert stale_row(other, tmp_path / "results") == of_all("annotations")
    other = replace(record, data=replace(data, files_sha256="0" * 64))
    assert stale_row(other, tmp_path / "results") == of_all("images")
    edit(own_conf / "protocol" / "shapes.yaml", "version: 1", "version: 2")
    edit(own_conf / "entry" / f"{ENTRY}.yaml", "sha256: 34", "sha256: 43")
    record.parts["accuracy"].environment["torch"] = "2.0"
    monkeypatch.setattr(module, "is_here", lambda _: False)
    reason = "protocol version 1 -> 2, checkpoint"
    assert stale_row(record, tmp_path / "results") == of_all(reason), "another machine may have any torch"


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    composed.cache_clear()
