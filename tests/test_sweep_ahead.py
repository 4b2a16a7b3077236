"""What a sweep knows of its jobs before it starts a process: rows that stand, rows whose checkpoint cannot be had."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import Fault, FileServer
from made_up import make_hardware

from zoo.catalog.entry import read_entry
from zoo.checkpoints.look_up import lost_checkpoints
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings, is_of_the_row, row_config
from zoo.errors import UsageError
from zoo.fetch.transport import RetryPolicy
from zoo.results.record import Record
from zoo.runtime.hardware import Gpu, Hardware, fingerprint, resolve_device
from zoo.schema import build
from zoo.sweep import ahead, machine
from zoo.sweep.ahead import look_up, settled
from zoo.sweep.job import Job
from zoo.sweep.sweep import Sweep

ENTRY, ANOTHER = "mmdet_faster_rcnn_r50_fpn_1x", "mmdet_retinanet_r50_fpg_crop640_50e"
HURRIED = RetryPolicy(
    attempts=2, first_wait=0.01, longest_wait=0.02, connect_timeout=0.5, read_timeout=0.5, answer_timeout=0.5, total=5.0
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[tuple[str, list[float]]]:
    """The address of a server that takes connections and never answers, and when each came."""
    seen: list[float] = []
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    kept.append(listening.accept())
                except OSError:
                    return
                seen.append(time.monotonic())

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", seen
        for connection, _ in kept:
            connection.close()


def dead_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def lost(*addresses: str, **more: tuple[str, ...]) -> dict[str, str]:
    """Which of some rows are lost: row 0, 1 ... by one address each, others by the names of theirs."""
    rows = {str(number): (address,) for number, address in enumerate(addresses)} | more
    made = {name: dataclasses.replace(read_entry(ENTRY).checkpoint, urls=urls) for name, urls in rows.items()}
    return lost_checkpoints(made, Path("results"), HURRIED)


def test_what_no_mirror_has_is_lost(server: FileServer) -> None:
    alive, gone, dead = server.serve("/a.pth", b"weights"), f"{server.address}/gone.pth", f"{dead_port()}/a.pth"
    found = lost(alive, gone, dead, mirrored=(dead, alive), nowhere=(dead, gone), unnamed=())
    assert found.keys() == {"1", "2", "nowhere"}
    assert found["1"] == f"gone.pth: no mirror has it\n  {gone}: HTTP 404 Not Found"
    assert found["nowhere"].count("\n  http://127.0.0.1:") == 2
    assert "no connection" in found["2"]
    assert {seen.method for seen in server.seen} == {"HEAD"}, "nothing is fetched"


@pytest.mark.parametrize("status", [403, 405, 500])
def test_what_remains_in_doubt_is_not_lost(server: FileServer, status: int) -> None:
    assert lost(server.serve("/a.pth", b"weights", *[Fault(status=status)] * 2)) == {}


def test_a_host_without_a_word_is_waited_for_once(silent: tuple[str, list[float]]) -> None:
    address, seen = silent
    found = lost(*(f"{address}/{number}.pth" for number in range(36)))
    assert len(found) == 36
    assert all("does not answer in time" in reason for reason in found.values())
    assert len(seen) <= 8, "four at a time, each twice"


def test_what_is_here_is_not_asked_for(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.checkpoints.look_up.is_stored", lambda *_: True)
    assert lost(f"{server.address}/gone.pth") == {}
    assert lost("package:shapes_yolov8_p.safetensors") == {}
    assert server.seen == []


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        ([f"entry={ENTRY}"], {ENTRY}),
        ([f"entry={ENTRY},{ANOTHER}", "results.dir='/tmp/x y'", "seed=0,1"], {ENTRY, ANOTHER}),
        ([f"entry={ENTRY}", "run=train"], None),
        ([f"entry={ENTRY}", "run=evaluate,train"], None),
        ([f"entry={ENTRY}", "checkpoint.path=mine.pth,yours.pth"], None),
    ],
)
def test_the_rows_that_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], asked: set[str] | None
) -> None:
    found: list[set[str]] = []

    def noted(checkpoints: dict[str, Any], *_: Any) -> dict[str, str]:
        found.append(set(checkpoints))
        return {}

    monkeypatch.setattr(ahead, "lost_checkpoints", noted)
    assert look_up(["--multirun", *overrides, "hydra.sweep.dir='sweep'"]) == {}
    assert found == ([] if asked is None else [asked])


def job(*overrides: str) -> Job:
    asked = ("results.dir=results", "device=cpu", *overrides)
    return Job(config=compose(ENTRY, asked), overrides=asked, run_dir=str(Path("run").absolute()))


def test_a_lost_row_is_blocked_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "machine", lambda _: make_hardware("epyc"))
    assert settled(job(), {ENTRY: "w.pth: no mirror has it"}) == 1
    record = Record.read(Path("run/record.json"))
    assert (record.status, record.reason, record.hardware_id) == ("blocked", "w.pth: no mirror has it", "epyc")
    assert record.next_step == "check the network, or give a file you have with checkpoint.path=FILE"
    assert {cell.verdict for cell in record.verdict.values()} == {"BLOCKED"}
    (filed,) = Path("results").rglob("*.json")
    assert filed.name == f"{ENTRY}+blocked.json"
    assert settled(job(), {}) is None
    assert settled(job(), {ANOTHER: "gone"}) is None


def test_graphs_where_there_is_no_gpu_are_refused_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "machine", lambda _: make_hardware("epyc"))
    assert settled(job("mode=graph"), {}) == 1
    record = Record.read(Path("run/record.json"))
    assert (record.status, record.reason) == ("blocked", "mode=graph: cpu has no CUDA graphs")
    assert record.next_step == "use device=cuda, or mode=eager"
    assert record.label == f"{ENTRY} (mode=graph)"
    assert settled(job("mode=eager"), {}) is None
    card = Gpu(name="H100", memory_bytes=80 * 2**30, compute_capability="9.0")
    monkeypatch.setattr(ahead, "machine", lambda _: dataclasses.replace(make_hardware("h100"), gpu=card))
    assert settled(job("mode=graph"), {}) is None


def test_a_device_that_is_not_there_is_for_the_run_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "machine", lambda _: None)
    assert settled(job("resume=true"), {ENTRY: "gone"}) is None
    assert not Path("results").exists()


def test_the_machine_is_that_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.main("cpu") == 0
    found = build(Hardware, json.loads(capsys.readouterr().out), "", "")
    here = fingerprint(resolve_device("cpu"))
    assert (found.id, found.software, found.switches) == (here.id, here.software, here.switches)
    assert machine.main("cuda:99") == 1


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([f"entry={ENTRY}", "data.root=/coco", "device=cpu", "workers=2", "resume=true", "speed.images=3"], True),
        (["data.limit=2"], False),
        (["precision=bf16"], False),
        (["run=train"], False),
        (["++neck.channels=64"], False),
        (["~neck"], False),
        (["data=shapes"], False),
    ],
)
def test_a_row_is_composed_once_where_it_is_itself(overrides: list[str], expected: bool) -> None:
    assert is_of_the_row(overrides) is expected
    if expected:
        config = compose(ENTRY, [item for item in overrides if not item.startswith("entry=")])
        made = [
            RunSettings.from_config(config, overrides=overrides, run_dir=Path(), default_results=Path("r"), own=own)
            for own in (config, None)
        ]
        assert made[0] == made[1]


def test_jobs_of_a_row_that_differ_in_a_value_share_its_composition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    composed: list[tuple[str, bool]] = []

    def noted(name: str, *, training: bool) -> dict[str, Any]:
        composed.append((name, training))
        return row_config(name, training=training)

    begun: list[Job] = []

    def started(asked: Job) -> int:
        begun.append(asked)
        return 1

    monkeypatch.setattr("zoo.sweep.sweep.row_config", noted)
    monkeypatch.setattr("zoo.sweep.sweep.run_apart", started)
    Path("run").mkdir()
    sweep = Sweep(tmp_path, jobs=4)
    asked = [job("data.limit=1"), job("data.limit=2"), job("data.limit=2", "run=train"), job("workers=0")]
    for one in asked:
        sweep.carry_out(one)
    assert composed == [(ENTRY, False), (ENTRY, True)]
    assert [one.own is None for one in begun] == [False, False, False, True]
    assert [Job.from_json(one.to_json()).settings() for one in begun] == [one.settings() for one in asked]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sweep.interleave=2", "hydra/launcher=processes"], "runs that processes starts know nothing of each other"),
        (["sweep.interleave=2", "sweep.gpus=[0,1]"], "sweep.gpus gives each a GPU of its own"),
        (["sweep.interleave=1,2"], "sweep.interleave is for a sweep, not for each of its runs"),
        (["sweep.interleave=0"], "sweep.interleave"),
        (["sweep.interleave=1", "hydra/launcher=processes"], None),
        (["sweep.interleave=2", "hydra/launcher=basic", "seed=0,1"], None),
    ],
)
def test_runs_that_can_take_no_turns(overrides: list[str], said: str | None) -> None:
    arguments = ["--multirun", f"entry={ENTRY},{ANOTHER}", "results.dir=results", *overrides]
    if said is None:
        ahead.refuse_faulty(arguments, Path("sweep"))
        return
    with pytest.raises(UsageError, match=re.escape(said)):
        ahead.refuse_faulty(arguments, Path("sweep"))


def test_nothing_imports_torch(tmp_path: Path) -> None:
    code = """
import sys
from made_up import make_hardware
from zoo import bench
from zoo.sweep import ahead
ahead.machine = lambda _: make_hardware("epyc")
ahead.lost_checkpoints = lambda rows, *_: dict.fromkeys(rows, "gone")
status = bench.main(["--multirun", "entry=glob(jwyang_*)", "results.dir=results", "hydra.sweep.dir=sweep"])
print(status, {"torch", "pandas"} & set(sys.modules))
"""
    paths = [str(Path(__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {json.dumps(paths)}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["1 set()"], done.stderr
    assert len(list(Path("results").rglob("*+blocked.json"))) >= 2
