"""Files of faster-rcnn.pytorch: an old container, what stands beside the weights, and which rows move."""

from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import shapes
from torch import Tensor

from zoo.catalog.entry import read_entry
from zoo.checkpoints.convert import COUNTED, convert
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.own import read_own
from zoo.checkpoints.readers import read_contents
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import CheckpointError, ConversionError
from zoo.models.layers.skip_init import SkipInit

RESNET, VGG = "jwyang_faster_rcnn_r101_s600_6e", "jwyang_faster_rcnn_vgg16_s800_6e"
CASES = {RESNET: "jwyang/jwyang_res101", VGG: "jwyang/jwyang_vgg16"}
BOX_HEAD = "roi_head.stages.0.box_head"


class FromStorage:
    """A tensor as torch pickled it before its version 0.4."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> Any:
        tensor = self.tensor
        values = tensor._typed_storage()  # type: ignore[no-untyped-call] # torch's own
        return torch._utils._rebuild_tensor, (values, tensor.storage_offset(), tensor.size(), tensor.stride())


def write(path: Path, **beside: Any) -> Path:
    """A file with two small tensors and what the original leaves beside them, or this instead."""
    state = OrderedDict({"RCNN_base.0.weight": torch.arange(6.0).view(2, 3), "RCNN_cls_score.bias": torch.ones(81)})
    content = {
        "session": 1,
        "epoch": 7,
        "model": OrderedDict((key, FromStorage(value)) for key, value in state.items()),
        "optimizer": {"state": {}, "param_groups": []},
        "pooling_mode": "align",
        "class_agnostic": False,
        **beside,
    }
    kept = {key: value for key, value in content.items() if value is not None}
    torch.save(kept, path, _use_new_zipfile_serialization=False)
    # Storages of a GPU: the name of their type is all that is said of it.
    data = path.read_bytes()
    assert data.count(b"ctorch\nFloatStorage") == 1
    path.write_bytes(data.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage"))
    return path


def test_values_of_a_gpu_in_an_old_container(tmp_path: Path) -> None:
    contents = read_contents(write(tmp_path / "x.pth"), "jwyang")
    assert contents.tensors["RCNN_base.0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert contents.dropped == {
        "beside the weights": ["session", "epoch", "optimizer", "pooling_mode", "class_agnostic"]
    }


def test_older_files_do_not_say_how_they_pool(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pth", pooling_mode=None, class_agnostic=None)
    assert len(read_contents(path, "jwyang").tensors) == 2


@pytest.mark.parametrize("own", [False, True], ids=["published", "own"])
@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"pooling_mode": "crop"}, r"pooling_mode 'crop', where the entry's has 'align'"),
        ({"pooling_mode": "pool"}, r"pooling_mode 'pool', where the entry's has 'align'"),
        ({"class_agnostic": True}, r"class_agnostic True, where the entry's has False"),
    ],
)
def test_another_network_is_named(tmp_path: Path, own: bool, beside: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "x.pth", **beside)
    with pytest.raises(CheckpointError, match=rf"x\.pth: a network with {message}") as caught:
        read_own(path, read_entry(RESNET).checkpoint) if own else read_contents(path, "jwyang")
    assert next(iter(beside)) in caught.value.next_step


@functools.cache
def expected(entry: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of an entry's model."""
    config = compose(entry)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def of_case(entry: str, **values: Tensor) -> dict[str, Tensor]:
    """A file with the keys of an entry's case, without storage but for these values."""
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes(CASES[entry]).items()}
    return {**meta, **values}


@pytest.mark.parametrize("entry", [RESNET, VGG])
def test_rows_of_the_background_move(entry: str) -> None:
    given = of_case(
        entry,
        **{
            "RCNN_cls_score.bias": torch.arange(81.0),
            "RCNN_bbox_pred.bias": torch.arange(324.0),
            "RCNN_rpn.RPN_cls_score.bias": torch.arange(24.0),
        },
    )
    converted, report = convert(given, key_map("jwyang"), expected(entry))
    assert converted[f"{BOX_HEAD}.logits.bias"].tolist() == [*range(1, 81), 0]
    assert converted[f"{BOX_HEAD}.deltas.bias"].tolist() == list(range(4, 324))
    assert converted["rpn_head.logits.bias"][:4].tolist() == [12, 0, 13, 1]
    assert {name: len(keys) for name, keys in report.changed.items()} == {
        "pair_up": 2,
        "background_last": 2,
        "take_rows(4:)": 2,
    }
    assert report.fresh == ({COUNTED: 104} if entry == RESNET else {})
    assert not report.dropped


def test_only_counters_may_be_missing() -> None:
    given = of_case(RESNET)
    del given["RCNN_base.6.22.bn3.running_var"]
    with pytest.raises(ConversionError, match=r"lacks model keys: backbone\.layer3\.22\.conv3\.norm\.running_var"):
        convert(given, key_map("jwyang"), expected(RESNET))


def test_the_other_network_does_not_fit() -> None:
    with pytest.raises(ConversionError, match=r"the model has no place for: .*RCNN_base\.2\.weight"):
        convert(of_case(VGG), key_map("jwyang"), expected(RESNET))
