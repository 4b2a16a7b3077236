"""A training that was killed goes on as if nothing had happened."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import start, train

from zoo.errors import UsageError, ZooError
from zoo.train.state import IDENTITY_VERSION, refuse_other_training

STEPS = 150


def metrics(folder: Path) -> bytes:
    path = folder / "metrics.csv"
    return path.read_bytes() if path.exists() else b""


@pytest.mark.long
def test_killed_anywhere_and_resumed_gives_the_same_metrics(tiny_coco: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": STEPS, "checkpoint_every": 7, "ema": True}
    whole = start(tiny_coco, tmp_path / "whole", **settings)
    folder = tmp_path / "killed"
    for lines in (3, 40, 90):  # before the first checkpoint, and twice after
        process = start(tiny_coco, folder, resume=True, **settings)
        deadline = time.monotonic() + 120
        while metrics(folder).count(b"\n") < lines and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert lines <= metrics(folder).count(b"\n") <= STEPS
    last = start(tiny_coco, folder, resume=True, **settings)
    for process in (whole, last):
        process.join(timeout=120)
        assert process.exitcode == 0
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert metrics(folder).count(b"\n") == STEPS + 1
    ends = [torch.load(path / "checkpoints" / f"step_{STEPS:09}.pt") for path in (folder, tmp_path / "whole")]
    for part in ("model", "ema"):
        one, other = (end[part].get("tensors", end[part]) for end in ends)
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    "settings", [{}, {"ema": True}, {"precision": "fp16"}, {"workers": 2}, {"micro_batch_size": 2}]
)
def test_stopped_early_and_resumed_in_this_process(
    tiny_coco: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    whole = train(tiny_coco, tmp_path / "whole", steps=12, **settings)  # type: ignore[arg-type]
    train(tiny_coco, tmp_path / "parts", steps=5, **settings)  # type: ignore[arg-type]
    torch.manual_seed(99)
    resumed = train(tiny_coco, tmp_path / "parts", steps=12, resume=True, **settings)  # type: ignore[arg-type]
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    for name, tensor in resumed.detector.state_dict().items():
        assert torch.equal(tensor, whole.detector.state_dict()[name]), name
    if whole.ema is not None and resumed.ema is not None:
        assert all(torch.equal(t, whole.ema.tensors[n]) for n, t in resumed.ema.tensors.items())


def test_a_damaged_checkpoint_is_passed_over(tiny_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tiny_coco, tmp_path / "whole", steps=12)
    train(tiny_coco, tmp_path / "hurt", steps=10)
    newest = tmp_path / "hurt" / "checkpoints" / "step_000000010.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    train(tiny_coco, tmp_path / "hurt", steps=12, resume=True)
    assert "step_000000010.pt is damaged" in caplog.text
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "hurt")


def test_no_good_checkpoint_is_an_error(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path, steps=3)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ZooError, match="none of 1 checkpoints can be read"):
        train(tiny_coco, tmp_path, steps=6, resume=True)


def test_resuming_before_the_first_checkpoint_begins_anew(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path / "whole", steps=3)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "metrics.csv").write_bytes(metrics(tmp_path / "whole")[:-10])
    train(tiny_coco, tmp_path / "cut", steps=3, resume=True)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def test_the_checkpoint_of_another_training_is_refused(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path, steps=3, identity={"seed": 1, "milestones": [8, 11]})
    with pytest.raises(UsageError, match="seed was 1, now is 2"):
        train(tiny_coco, tmp_path, steps=6, resume=True, identity={"seed": 2, "milestones": [8, 11]})
    train(tiny_coco, tmp_path, steps=6, resume=True, identity={"seed": 1, "milestones": [8, 11]})


def test_a_checkpoint_of_another_scheme_cannot_be_compared(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = {"loss": {"_target_": "GIoULoss"}}
    train(tiny_coco, tmp_path, steps=3, identity=identity)
    monkeypatch.setattr("zoo.train.state.IDENTITY_VERSION", IDENTITY_VERSION + 1)
    with pytest.raises(UsageError, match=r"written by another version of zoo.* cannot be compared") as error:
        train(tiny_coco, tmp_path, steps=6, resume=True, identity=identity)
    assert "hydra.run.dir" in error.value.next_step
    with pytest.raises(UsageError, match="identity version 1, now 3"):
        refuse_other_training(identity, identity, tmp_path)  # of the time before versions


def test_lost_lines_are_noticed(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path, steps=5)
    (tmp_path / "metrics.csv").write_text("step\n", encoding="utf-8")
    with pytest.raises(ZooError, match="lines of it were lost"):
        train(tiny_coco, tmp_path, steps=6, resume=True)


def test_two_checkpoints_are_kept_and_what_a_kill_left_behind_goes(tiny_coco: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / ".step_000000003.pt.abc.part").write_bytes(b"half")
    train(tiny_coco, tmp_path, steps=13)
    assert sorted(path.name for path in folder.iterdir()) == ["step_000000010.pt", "step_000000013.pt"]
