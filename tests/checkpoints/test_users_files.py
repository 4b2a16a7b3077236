"""Checkpoint files as trainings leave them: read without running anything, and what is left out is told."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frameworks import Runs, stand_ins
from torch import Tensor, nn

from zoo.catalog.entry import Checkpoint, read_entry
from zoo.checkpoints.contents import BEFORE_AVERAGING, NO_WEIGHTS, NOT_AVERAGED, Contents
from zoo.checkpoints.convert import LoadReport
from zoo.checkpoints.own import read_own
from zoo.errors import CheckpointError, UnsafePickleError

STATE = {"backbone.conv1.weight": torch.arange(6.0).view(2, 3), "backbone.bn1.num_batches_tracked": torch.tensor(7)}

CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
PROTOCOLS = pytest.mark.parametrize("protocol", [2, 4])


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    return read_entry("mmdet_faster_rcnn_r50_fpn_1x").checkpoint


def save(path: Path, content: Any, *, zipped: bool = True, protocol: int = 2) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def assert_state(contents: Contents, expected: dict[str, Tensor]) -> None:
    assert list(contents.tensors) == list(expected)
    for key, tensor in contents.tensors.items():
        assert tensor.dtype == expected[key].dtype
        assert tensor.equal(expected[key]), key


def smallest(self: Any) -> float:
    return 0.0


def mean(self: Any) -> float:
    return 0.0


def with_statistics(self: Any) -> dict[str, Any]:
    return {**self.__dict__, "_statistics_methods": {"min": type(self).smallest, "mean": type(self).mean}}


@pytest.fixture
def mmengine() -> Iterator[dict[str, Any]]:
    history = {"smallest": smallest, "mean": mean, "__getstate__": with_statistics}
    classes = {
        "mmengine.logging.history_buffer.HistoryBuffer": ((), history),
        "mmengine.config.config.ConfigDict": ((dict,), {}),
    }
    with stand_ins(classes) as made:
        yield made


@CONTAINERS
@PROTOCOLS
def test_an_epoch_of_mmengine(
    tmp_path: Path, published: Checkpoint, mmengine: dict[str, Any], zipped: bool, protocol: int
) -> None:
    buffer = mmengine["HistoryBuffer"]()
    buffer.max_length, buffer._log_history = 1000000, np.arange(300.0)
    network = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
    network(torch.ones(3)).sum().backward()
    optimizer.step()
    content = {
        "meta": {"epoch": 12, "dataset_meta": {"classes": ("disc", "ring")}, "experiment_name": "x", "seed": 7},
        "state_dict": collections.OrderedDict(STATE),
        "message_hub": {
            "log_scalars": collections.OrderedDict({"train/loss": buffer}),
            "runtime_info": collections.OrderedDict(cfg=mmengine["ConfigDict"](a=1), last=torch.tensor(3.0)),
            "resumed_keys": collections.OrderedDict(),
        },
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"last_step": 12, "begin": 0, "verbose": False, "_last_value": [0.02]}],
        "ema_state_dict": {"steps": torch.tensor(3), **{f"module.{key}": value for key, value in STATE.items()}},
    }
    path = save(tmp_path / "epoch_12.pth", content, zipped=zipped, protocol=protocol)
    contents = read_own(path, published)
    assert_state(contents, STATE)
    assert contents.classes == ("disc", "ring")
    assert contents.dropped == {
        NO_WEIGHTS: ["message_hub", "optimizer", "param_schedulers"],
        BEFORE_AVERAGING: ["ema_state_dict"],
    }
    report = LoadReport()
    report.include(contents)
    assert report.to_json()["dropped"] == contents.dropped


def with_state() -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.partition = "rows"  # type: ignore[attr-defined] # torch pickles it as a parameter with state
    return parameter


BESIDE: dict[str, Callable[[], Any]] = {
    "defaultdict": lambda: collections.defaultdict(list, a=[1], b=[2]),
    "defaultdict of a defaultdict": lambda: collections.defaultdict(None, {1: collections.defaultdict(int, {2: 3})}),
    "counter": lambda: collections.Counter("aab"),
    "deque": lambda: collections.deque([1, 2], maxlen=3),
    "dtype": lambda: [torch.float32, torch.int64, torch.bfloat16],
    "size and device": lambda: [torch.Size((1, 2)), torch.device("cpu")],
    "parameter with state": with_state,
    "partial": lambda: functools.partial(int, base=2),
    "namespaces": lambda: [argparse.Namespace(lr=0.1), types.SimpleNamespace(a=1)],
    "dates and paths": lambda: [datetime.datetime(2024, 1, 2), datetime.timedelta(1), Path("work")],
    "numpy": lambda: [np.arange(3), np.float64(2), np.dtype("int8"), np.random.default_rng(0).bit_generator.state],
    "scaler": lambda: torch.amp.GradScaler("cpu").state_dict(),
    "sets": lambda: [{1, 2}, frozenset("ab"), {(1, 2)}, {(1, (2, 3)): 4}],
    "bytes": lambda: [b"\0\xff", bytearray(b"abc"), 1 << 80, -1.5, complex(1, 2), slice(1, 2), range(3)],
    "loss": lambda: nn.ReLU(inplace=True),
    "shared and empty": lambda: [torch.zeros(4)[1:3], torch.zeros(0, 4), torch.tensor(True), torch.zeros(3).half()],
}


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@CONTAINERS
@PROTOCOLS
@pytest.mark.parametrize("case", BESIDE)
def test_what_lies_beside_weights(
    tmp_path: Path, published: Checkpoint, zipped: bool, protocol: int, case: str
) -> None:
    content = {"meta": {"CLASSES": ["a"]}, "state_dict": STATE, "beside": BESIDE[case]()}
    path = save(tmp_path / "mine.pth", content, zipped=zipped, protocol=protocol)
    contents = read_own(path, published)
    assert_state(contents, STATE)
    assert contents.dropped == {NO_WEIGHTS: ["beside"]}


@CONTAINERS
def test_parameters_are_tensors(tmp_path: Path, published: Checkpoint, zipped: bool) -> None:
    buffer = nn.Buffer(torch.arange(3.0))
    state = {"a": nn.Parameter(torch.arange(2.0)), "b": with_state(), "c": buffer, "d": torch.arange(8.0)[2:7:2]}
    contents = read_own(save(tmp_path / "w.pth", state, zipped=zipped), published)
    assert_state(contents, {key: value.detach() for key, value in state.items()})


@CONTAINERS
def test_tensors_that_share_values_share_them_again(tmp_path: Path, published: Checkpoint, zipped: bool) -> None:
    whole = torch.arange(12.0).view(3, 4)
    state = {"whole": whole, "turned": whole.t(), "part": whole[1:, 1:], "column": whole[:, 2]}
    tensors = read_own(save(tmp_path / "w.pth", state, zipped=zipped), published).tensors
    assert all(tensors[key].equal(value) for key, value in state.items())
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 1


# --- names ----------------------------------------------------------------------------------------


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in STATE.items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_a_network_was_wrapped_into(tmp_path: Path, published: Checkpoint, prefix: str, suffix: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"w.{suffix}"
    save_file(prefixed(prefix), path) if suffix == "safetensors" else torch.save({"state_dict": prefixed(prefix)}, path)
    contents = read_own(path, published)
    assert_state(contents, {key: contents.tensors[key] for key in contents.tensors})
    assert set(contents.tensors) == set(STATE)
    assert list(contents.changed) == [f"key without {part}." for part in prefix.split(".")[:-1]]
    assert set(next(iter(contents.changed.values()))) == set(prefixed(prefix))


def test_a_prefix_of_some_keys_is_part_of_their_names(tmp_path: Path, published: Checkpoint) -> None:
    state = {**prefixed("module."), "scale": torch.ones(1)}
    contents = read_own(save(tmp_path / "w.pth", state), published)
    assert list(contents.tensors) == list(state)
    assert not contents.changed


@pytest.mark.parametrize("written_by_lightning", [True, False])
def test_lightning_keeps_a_network_as_model(tmp_path: Path, published: Checkpoint, written_by_lightning: bool) -> None:
    content: dict[str, Any] = {"state_dict": prefixed("model."), "epoch": 3}
    content |= {"pytorch-lightning_version": "2.1.0"} if written_by_lightning else {}
    contents = read_own(save(tmp_path / "w.ckpt", content), published)
    assert list(contents.tensors) == list(STATE if written_by_lightning else prefixed("model."))


def test_buffers_of_an_ema_hook_hold_the_weights_before_averaging(tmp_path: Path, published: Checkpoint) -> None:
    copies = {f"ema_{key.replace('.', '_')}": torch.full_like(value, 9) for key, value in STATE.items()}
    state = {**STATE, **copies, "ema_of_nothing": torch.ones(1)}
    contents = read_own(save(tmp_path / "w.pth", {"state_dict": state}), published)
    assert_state(contents, {**STATE, "ema_of_nothing": torch.ones(1)})
    assert contents.dropped == {BEFORE_AVERAGING: list(copies)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model": STATE, "optimizer": {}, "epoch": 3}, {NO_WEIGHTS: ["optimizer", "epoch"]}),
        ({"model": {"a": torch.ones(1)}, "ema": {"module": STATE, "updates": 3}}, {NOT_AVERAGED: ["model"]}),
        ({"model": {"a": torch.ones(1)}, "model_ema": STATE}, {NOT_AVERAGED: ["model"]}),
        (
            {"model": {"a": torch.ones(1)}, "model_ema": {"n_averaged": torch.tensor(3), **prefixed("module.")}},
            {NO_WEIGHTS: ["n_averaged"], NOT_AVERAGED: ["model"]},
        ),
        ({"model": STATE, "ema": None}, {}),
    ],
    ids=["script", "RT-DETR", "torchvision", "AveragedModel", "no average"],
)
def test_files_that_keep_the_network_as_model(
    tmp_path: Path, published: Checkpoint, content: dict[str, Any], told: dict[str, list[str]]
) -> None:
    contents = read_own(save(tmp_path / "w.pth", content), published)
    assert_state(contents, STATE)
    assert contents.dropped == told


# --- networks as objects --------------------------------------------------------------------------

NETWORKS = {
    "models.yolo.DetectionModel": r"this is a YOLOv5 checkpoint \(models\.yolo\.DetectionModel",
    "models.yolo.Model": "this is a YOLOv5 checkpoint",
    "ultralytics.nn.modules.head.RTDETRDecoder": "this is an RT-DETR checkpoint",
    "ultralytics.nn.modules.head.v10Detect": "this is a YOLOv10 checkpoint",
    "ultralytics.nn.modules.block.C3k2": "this is a YOLO11 checkpoint",
    "ultralytics.nn.modules.block.RepNCSPELAN4": "this is a YOLOv9 checkpoint",
    "ultralytics.nn.modules.head.Pose": "this is a pose checkpoint",
}


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@CONTAINERS
@pytest.mark.parametrize("path", NETWORKS)
def test_another_network_is_called_by_its_name(tmp_path: Path, published: Checkpoint, zipped: bool, path: str) -> None:
    with stand_ins({path: ((nn.Module,), {})}) as made:
        network = next(iter(made.values()))()
        network.add_module("model", nn.Conv2d(3, 3, 1))
        file = save(tmp_path / "best.pt", {"epoch": 3, "model": network, "ema": None}, zipped=zipped)
    with pytest.raises(CheckpointError, match=NETWORKS[path]) as caught:
        read_own(file, published)
    assert "choose another entry" in caught.value.next_step


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_yolo_file_of_before_torch_1_6(tmp_path: Path, published: Checkpoint, wrapped: bool) -> None:
    with stand_ins({"ultralytics.nn.tasks.DetectionModel": ((nn.Module,), {})}) as made:
        network = made["DetectionModel"]()
        network.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        network.names = {0: "disc", 1: "ring"}
        saved = network
        if wrapped:  # as DataParallel has it
            saved = made["DetectionModel"]()
            saved.module, saved.names = network, network.names
        content = {"model": network, "ema": saved, "optimizer": {"state": {}}, "train_args": {"lr0": 0.01}}
        path = save(tmp_path / "best.pt", content, zipped=False)
        expected = network.state_dict()
    contents = read_own(path, published)
    assert_state(contents, expected)
    assert contents.classes == ("disc", "ring")
    assert contents.dropped == {NOT_AVERAGED: ["model"], NO_WEIGHTS: ["optimizer"]}


# --- next steps -----------------------------------------------------------------------------------


def test_next_steps_fit_a_file_of_the_users_own(tmp_path: Path, published: Checkpoint) -> None:
    path = save(tmp_path / "w.pth", {"state_dict": STATE, "hook": Runs(eval, "1")})
    with pytest.raises(UnsafePickleError, match=r"builtin.*eval") as unsafe:
        read_own(path, published)
    assert "torch.save(model.state_dict(), FILE)" in unsafe.value.next_step
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(CheckpointError) as cut:
        read_own(path, published)
    for error in (unsafe, cut):
        assert "fetch" not in error.value.next_step
        assert "download" not in error.value.next_step


def test_a_whole_network_of_another_library_is_told(tmp_path: Path, published: Checkpoint) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"no state dict but an object of torch\.nn\.modules\.linear\.Linear"):
        read_own(tmp_path / "model.pt", published)


def test_a_torchscript_program_is_told(tmp_path: Path, published: Checkpoint) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            archive.writestr(name, b"\x80\x02N.")
    with pytest.raises(CheckpointError, match="a TorchScript program"):
        read_own(tmp_path / "m.pt", published)
