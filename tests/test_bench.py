"""The front door end to end: what it prints, what it leaves, and how it ends when something is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from command_lines import last_wins
from conftest import ENTRY
from file_server import FileServer

from zoo import bench, pipeline
from zoo.catalog.entry import entry_names
from zoo.config.overrides import check
from zoo.measure.measurement import Measurement, measurement

SMALL = ["protocol.transform.size_rule={long:128,short:96}"]
"""Makes the network's input small, and thereby the run one of a changed composition."""

QUICK = ["device=cpu", "speed.warmup=0", "speed.images=1"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in a folder of its own, with a cache of its own and nothing left in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and record of one run."""
    status = bench.main(last_wins(f"entry={ENTRY}", "results.dir=results", "hydra.run.dir=run", *QUICK, *arguments))
    path = Path("run/record.json")
    return status, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def replace_measurement(monkeypatch: pytest.MonkeyPatch, name: str, run: Callable[..., Any]) -> None:
    """Let a measurement do something else in the runs of this test."""

    def chosen(asked: str) -> Measurement:
        found = measurement(asked)
        return dataclasses.replace(found, run=run) if asked == name else found

    monkeypatch.setattr(pipeline, "measurement", chosen)


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """All of stderr, and its last line."""
    error = capsys.readouterr().err
    return error, error.strip().splitlines()[-1]


@pytest.fixture
def strip_coco(tiny_coco: Path) -> Path:
    """The same with a first image so wide that the row's own size rule makes few pixels of it."""
    root = shutil.copytree(tiny_coco, Path("strip").absolute())
    annotations = root / "annotations" / "instances_val2017.json"
    document = json.loads(annotations.read_text(encoding="utf-8"))
    document["images"][0] |= {"height": 48, "width": 640}
    annotations.write_text(json.dumps(document), encoding="utf-8")
    path = root / "val2017" / document["images"][0]["file_name"]
    pixels = cv2.imread(str(path))
    assert pixels is not None
    cv2.imwrite(str(path), np.tile(pixels, (1, 10, 1)))
    return root


@pytest.mark.long
def test_the_row_itself(strip_coco: Path, faster_rcnn_pth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, record = run(f"data.root={strip_coco}", f"checkpoint.path={faster_rcnn_pth}", "data.limit=1")
    assert status == 0
    assert record["entry"] == ENTRY
    assert record["status"] == "measured"
    assert record["checkpoint"]["hash_evidence"] == "other weights"
    assert record["checkpoint"]["load_report"] == {"loaded": 348, "dropped": {}, "changed": {}, "kept": {}, "fresh": {}}
    told = record["data"]["difference"]
    assert told.startswith("instances_val2017.json (")
    assert "3 annotations" in told
    assert "is not the annotation file of coco2017 val2017 (19,987,840 bytes, 36,781 annotations, sha256 e8c7" in told
    assert len(record["data"]["files_sha256"]) == 64
    assert record["data"] | dict.fromkeys(("annotations_sha256", "files_sha256", "difference"), "") == {
        "name": "coco2017", "split": "val2017", "images": 1, "annotations_sha256": "", "files_sha256": "",
        "partial": True, "known": False, "difference": "", "equivalent": None, "evidence": None,
    }  # fmt: skip
    assert record["identity"]["changes"] == []
    assert record["identity"]["conditions"] == ["data.limit=1"]
    assert list(record["parts"]) == ["accuracy", "speed", "memory", "complexity"]
    assert record["parts"]["speed"]["images"] == 1
    assert all(part["seconds"] > 0 and part["finished"] for part in record["parts"].values())
    measured = record["measured"]
    assert 0 <= measured["box_AP"] <= 100
    assert measured["fps"] > 0
    assert measured["latency_ms"]["p50"] > 0
    assert (measured["latency_ms"]["n"], measured["latency_ms"]["p95"]) == (3, None)
    assert (measured["timed"]["images"], measured["timed"]["rounds"]) == (1, 3)
    assert measured["memory"]["kind"] == "host"
    assert measured["memory"]["peak_allocated_bytes"] > 4 * 41_753_056, "the weights, and more"
    assert measured["params"] == 41_753_056
    assert measured["macs_input"] == [1, 3, 800, 1344]
    assert sum(measured["macs_by_part"].values()) == measured["macs"]
    outcome = record["verdict"]["box_AP"]
    assert outcome["verdict"] == "NOT-COMPARED"
    assert outcome["reason"] == f"{told}; not the published checkpoint file; not the whole split: 1 images"
    predictions = json.loads(Path("run/predictions.json").read_text(encoding="utf-8"))
    assert {row["image_id"] for row in predictions} == {1}
    assert set(predictions[0]) == {"image_id", "category_id", "bbox", "score"}
    output = capsys.readouterr().out
    assert "NOT-COMPARED" in output
    assert "37.4" in output
    (filed,) = Path("results").rglob("*.json")
    assert filed.parent == Path("results/local") / record["hardware"]["id"]
    assert f"filed      {filed}" in output
    assert json.loads(filed.read_text(encoding="utf-8")) == record


def test_a_changed_composition_does_not_bear_the_name(tiny_coco: Path, faster_rcnn_pth: Path) -> None:
    status, record = run(
        f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}", *SMALL, "measure=[accuracy]", "batch_size=2"
    )
    assert status == 0
    assert record["entry"] == ENTRY
    assert record["identity"]["changes"] == [
        "protocol.transform.size_rule.long=128",
        "protocol.transform.size_rule.short=96",
    ]
    assert record["overrides"] == ["device=cpu", *SMALL, "batch_size=2"]
    assert "fps" not in record["measured"]
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"NOT-COMPARED"}
    (filed,) = Path("results").rglob("*.json")
    assert filed.name.startswith(f"{ENTRY}+long-128+short-96+batch_size-2+")


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.nightly), "bf16"])
def test_folded_channels_last_and_other_precisions_run(tiny_coco: Path, faster_rcnn_pth: Path, precision: str) -> None:
    fast = ["protocol.fold_batch_norm=true", "protocol.channels_last=true", f"precision={precision}"]
    status, record = run(
        f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}", *SMALL, *fast, "measure=[speed,memory]"
    )
    assert status == 0
    identity = record["identity"]
    assert len(identity["changes"]) == 2
    other = [] if precision == "fp32" else ["precision=bf16"]
    fast = ["protocol.fold_batch_norm=true", "protocol.channels_last=true"]
    assert sorted(identity["conditions"]) == sorted([*other, *fast])
    assert identity["condition"]["precision"] == precision
    assert record["protocol"]["config"]["protocol"]["fold_batch_norm"] is True
    assert "box_AP" not in record["measured"]
    assert record["measured"]["memory"]["peak_allocated_bytes"] > 4 * 41_000_000, "the weights, and more"


def test_wrong_hash_blocks(tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileServer() as server:
        url = server.serve("/x-047c8118.pth", b"not what was published" * 100)
        status, record = run(f"data.root={tiny_coco}", f"checkpoint.url={url}")
    error, last = last_line(capsys)
    assert status == 1
    assert record["status"] == "blocked"
    assert "047c8118" in record["reason"]
    assert error.count("BLOCKED") == 1
    assert last.startswith("next: ")
    assert "Traceback" not in error
    assert {cell["verdict"] for cell in record["verdict"].values()} == {"BLOCKED"}


def test_another_file_by_url_that_fits_its_own_name(tiny_coco: Path, tmp_path: Path) -> None:
    import hashlib

    with FileServer() as server:
        content = b"neither a checkpoint nor the published file"
        url = server.serve(f"/mine-{hashlib.sha256(content).hexdigest()[:8]}.pth", content)
        status, record = run(f"data.root={tiny_coco}", f"checkpoint.url={url}")
    assert status == 1
    assert record["checkpoint"]["hash_evidence"] == "other weights"
    assert record["checkpoint"]["url"] == url
    assert "not a torch.save file" in record["reason"]


def test_truncated_file_blocks(tiny_coco: Path, faster_rcnn_pth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cut.pth").write_bytes(faster_rcnn_pth.read_bytes()[:1_000_000])
    status, record = run(f"data.root={tiny_coco}", "checkpoint.path=cut.pth")
    error, last = last_line(capsys)
    assert status == 1
    assert record["status"] == "blocked"
    assert "cut.pth" in record["reason"]
    assert "truncated" in record["reason"]
    assert last.startswith("next: ")
    assert "Traceback" not in error


def test_checkpoint_of_another_model_fails(tiny_coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(1)}, "other.pth")
    status, record = run(f"data.root={tiny_coco}", "checkpoint.path=other.pth")
    assert status == 1
    assert record["status"] == "failed"
    assert "shape [1] where the model has [64, 3, 7, 7]" in record["reason"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["checkpoint.path=absent.pth"], "absent.pth"),
        (["data.root=nowhere"], "nowhere"),
        (["device=cuda:99"], "cuda:99"),
        (["device=cpu", "mode=graph"], "mode=graph: cpu has no CUDA graphs"),
    ],
)
def test_what_is_missing_blocks(
    faster_rcnn_pth: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, record = run(f"checkpoint.path={faster_rcnn_pth}", *arguments)
    error, last = last_line(capsys)
    assert status == 1
    assert record["status"] == "blocked"
    assert named in record["reason"]
    assert last == f"next: {record['next_step']}"
    assert "Traceback" not in error


def test_a_missing_image_is_noticed_before_anything_runs(tiny_coco: Path, faster_rcnn_pth: Path) -> None:
    shutil.copytree(tiny_coco, "coco")
    Path("coco/val2017/000000000002.png").unlink()
    status, record = run("data.root=coco", f"checkpoint.path={faster_rcnn_pth}")
    assert status == 1
    assert record["status"] == "blocked"
    assert "lacks 1 of 3 images, such as 000000000002.png" in record["reason"]


def test_no_network_blocks_with_every_mirror(tiny_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):  # a closed port: as good as no network, and at once
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    from zoo.fetch import transport

    monkeypatch.setattr(transport.RetryPolicy, "wait", lambda *_: 0.0)
    status, record = run(f"data.root={tiny_coco}")
    assert status == 1
    assert record["status"] == "blocked"
    assert "download.openmmlab.com" in record["reason"]
    assert "download.openxlab.org.cn" in record["reason"]
    assert "checkpoint.path" in record["next_step"]


def test_an_unexpected_error_leaves_a_record_and_the_traceback(
    tiny_coco: Path, faster_rcnn_pth: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    replace_measurement(monkeypatch, "accuracy", broken)
    status, record = run(f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}")
    assert status == 1
    assert record["status"] == "failed"
    assert record["reason"] == "unexpected ZeroDivisionError: of all things"
    assert "ZeroDivisionError" in Path("run/traceback.txt").read_text(encoding="utf-8")
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_device_has_no_memory_for_leaves_the_rest(
    tiny_coco: Path, faster_rcnn_pth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    replace_measurement(monkeypatch, "complexity", too_large)
    one = ["measure=[complexity,speed]", *SMALL]
    status, record = run(f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}", *one)
    assert (status, record["status"]) == (0, "measured")
    assert list(record["parts"]) == ["speed"]
    assert record["skipped"] == {"complexity": "the device has too little memory for it"}
    status, record = run(f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}", "measure=[complexity]")
    assert (status, record["status"], record["reason"]) == (1, "failed", "CUDA out of memory")
    assert "batch_size" in record["next_step"]


def test_ctrl_c_leaves_a_record(
    tiny_coco: Path, faster_rcnn_pth: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    replace_measurement(monkeypatch, "accuracy", interrupted)
    status, record = run(f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}")
    assert status == 1
    assert record["status"] == "failed"
    assert record["reason"] == "interrupted"
    assert last_line(capsys)[1] == "next: run the same command again"
    assert not list(Path("results").rglob("*.json")), "it is in the folder of the run alone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no entry named"),
        (["entry=mmdet_faster_rcn_r50_fpn_1x"], f"closest: {ENTRY}"),
        (["--multirun", "entry=glob(nothing_*)"], "no entry 'nothing_*'"),
        (["--multirun", f"entry={ENTRY},mmdet_typo"], "no entry 'mmdet_typo'"),
        ([f"entry={ENTRY}", "devise=cpu"], "no setting 'devise' (closest: device"),
        ([f"entry={ENTRY}", "data.rot=x"], "no setting 'data.rot' (closest: data.root"),
        ([f"entry={ENTRY}", "run=trian"], "no option 'trian' of run"),
        ([f"entry={ENTRY}", "backbone=resnet51"], "no option 'resnet51' of backbone (closest: resnet50"),
        ([f"entry={ENTRY}", "precision=fp8"], "'fp8' is not fp32"),
        ([f"entry={ENTRY}", "batch_size=0"], "batch_size: 0"),
        ([f"entry={ENTRY}", "mode=compiled"], "mode=compiled is not offered: torch.compile took longer"),
        ([f"entry={ENTRY}", "measure=[acuracy]"], "closest: accuracy"),
        ([f"entry={ENTRY}", "device='"], "device="),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = bench.main([*arguments, "hydra.run.dir=run", "hydra.sweep.dir=sweep"])
    error, last = last_line(capsys)
    assert status == 2
    assert message in error
    assert last.startswith("next: ")
    assert "Traceback" not in error


def test_the_summary_says_why_a_job_ended_before_it_had_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/val.json").write_text("{", encoding="utf-8")
    sweep = ["--multirun", "entry=shapes_yolov8_p", "seed=0,1", "data=folder", "data.root=mine"]
    assert bench.main([*sweep, "results.dir=results", "hydra.sweep.dir=sweep"]) == 1
    table = capsys.readouterr().out.partition("reason\n")[2]
    assert table.count("mine/val.json is not valid JSON") == 2
    assert "0 of 2 measured" in table


def test_a_name_without_its_zoo(tiny_coco: Path) -> None:
    status, record = run("checkpoint.path=absent.pth")
    assert (status, record["entry"]) == (1, ENTRY)
    status = bench.main(
        ["entry=faster_rcnn_r50_fpn_1x", "checkpoint.path=absent.pth", "hydra.run.dir=again", "results.dir=r"]
    )
    assert status == 1
    assert json.loads(Path("again/record.json").read_text(encoding="utf-8"))["entry"] == ENTRY


def test_a_sweep_that_names_no_entry_is_of_every_row() -> None:
    (argument,) = [argument for argument in check(["--multirun"]).given if argument.startswith("entry=")]
    assert argument.removeprefix("entry=").split(",") == list(entry_names())


def test_multirun_goes_on_and_sums_up(
    tiny_coco: Path, faster_rcnn_pth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["--multirun", f"entry=glob({ENTRY})", f"checkpoint.path=absent.pth,{faster_rcnn_pth}"]
    where = [f"data.root={tiny_coco}", "results.dir=results", "hydra.sweep.dir=sweep"]
    status = bench.main(last_wins(*sweep, *where, *QUICK, *SMALL, "measure=[accuracy]"))
    captured = capsys.readouterr()
    assert status == 1
    assert "absent.pth" in captured.err
    assert "1 of 2 measured" in captured.out
    assert captured.out.count("BLOCKED") == 1
    assert len(list(Path("sweep").rglob("record.json"))) == 2


def test_as_a_command(tiny_coco: Path) -> None:
    command = [sys.executable, "-m", "zoo.bench", f"entry={ENTRY}", "checkpoint.path=absent.pth", "results.dir=results"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("next: ")
    assert "Traceback" not in done.stderr


def test_a_job_that_is_killed_is_a_failed_record(
    tiny_coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(_: object) -> int:
        raise BrokenExecutor("a worker is gone")

    monkeypatch.setattr(bench, "_job", killed)
    arguments = [f"entry={ENTRY}", "results.dir=results", "hydra.sweep.dir=sweep", f"data.root={tiny_coco}", *QUICK]
    assert bench.main(["--multirun", *arguments]) == 1
    seen = capsys.readouterr()
    assert "a job was killed" in seen.err
    assert "0 of 1 measured" in seen.out
    (filed,) = Path("results/local").rglob("*.json")
    record = json.loads(filed.read_text(encoding="utf-8"))
    assert (record["entry"], record["status"]) == (ENTRY, "failed")
    assert "killed from outside" in record["reason"]
    assert list(Path("sweep").rglob("record.json"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.gpus=[a]", "sweep.gpus[0]: 'a' is not a whole number"),
        ("device=foo,cpu", "device: 'foo' is not auto, cpu, cuda or cuda:N"),
        ("sweep.gpus=[0] device=cpu", "sweep.gpus deals out GPUs, and device=cpu takes none of them"),
    ],
)
def test_a_setting_that_no_job_of_a_sweep_takes_is_refused_once(
    override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a single run: exit status 2, and not a failed run of every row."""
    assert bench.main(["--multirun", "entry=glob(mmdet_*)", *override.split(), "hydra.sweep.dir=sweep"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}\nnext: ")
    assert not Path("sweep").exists()


@pytest.mark.parametrize(("front", "step"), [((), ""), (("--multirun",), " with resume=true: what is done stands")])
def test_after_an_interruption_a_sweep_goes_on_by_resume(
    front: tuple[str, ...], step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "_hydra", interrupted)
    assert bench.main([*front, f"entry={ENTRY}", "checkpoint.path=my.pth"]) == 1
    assert capsys.readouterr().err.endswith(f"next: run the same command again{step}\n")
