"""Key maps of PaddleDetection's files: what moves, what must be equal, and whose file it is."""

from __future__ import annotations

import functools

import pytest
import torch
from parity import shapes
from torch import Tensor

from zoo.checkpoints.convert import convert
from zoo.checkpoints.keymaps import key_map
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import ConversionError
from zoo.models.layers.skip_init import SkipInit

CLASSES = 80


@functools.cache
def expected(entry: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of an entry's model."""
    config = compose(entry)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def of_case(case: str, **values: Tensor) -> dict[str, Tensor]:
    """A file with the keys of a case, without storage but for these values."""
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes(f"paddle/{case}").items()}
    return {**meta, **values}


def test_2020_rows_of_the_background_move_and_linear_layers_are_transposed() -> None:
    scores = torch.arange(81.0).expand(1024, 81)  # (in, out): the column of class k holds k
    deltas = torch.arange(324.0)
    given = of_case("faster_rcnn_r50_fpn_1x_coco") | {
        "bbox_head.bbox_score_0.weight": scores,
        "bbox_head.bbox_delta_0.bias": deltas,
    }
    converted, report = convert(given, key_map("paddle_2020"), expected("paddle_faster_rcnn_r50_fpn_1x"))
    logits = converted["roi_head.stages.0.box_head.logits.weight"]
    assert logits[:, 0].tolist() == [*range(1, 81), 0]
    assert converted["roi_head.stages.0.box_head.deltas.bias"].tolist() == list(range(4, 324))
    assert {name: len(keys) for name, keys in report.changed.items()} == {
        "transpose": 4,
        "background_last": 2,
        "take_rows(4:)": 2,
    }


DOUBLED = "bbox_head.bbox_feat.head_feat.{}.res5b.branch2a.norm.bias"


@pytest.mark.parametrize("equal", [True, False])
def test_2020_the_doubled_stage_is_taken_only_where_it_is_equal(equal: bool) -> None:
    given: dict[str, Tensor] = {
        key: torch.zeros(shape) if "head_feat" in key and len(shape) == 1 else torch.empty(shape, device="meta")
        for key, shape in shapes("paddle/faster_rcnn_r50_1x_coco").items()
    }
    for key in given:
        if ".res5." in key and given[key].is_meta:  # one and the same tensor
            given[key] = given[key.replace(".res5.", ".res5_roi_feat.")]
    given[DOUBLED.format("res5")] = torch.zeros(512) if equal else torch.ones(512)
    wanted = expected("paddle_faster_rcnn_r50_1x")
    if equal:
        converted, _ = convert(given, key_map("paddle_2020"), wanted)
        assert converted.keys() == wanted.keys()
        return
    with pytest.raises(ConversionError, match=r"not equal to what they are copies of: .*\.res5\.res5b"):
        convert(given, key_map("paddle_2020"), wanted)


def test_static_the_second_box_of_a_cascade_is_taken() -> None:
    name = "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side"
    given = of_case(name, bbox_pred_2_b=torch.arange(8.0), cls_score_3_b=torch.arange(81.0))
    converted, _ = convert(given, key_map("paddle_static"), expected(f"paddle_{name}"))
    assert converted["roi_head.stages.1.box_head.deltas.bias"].tolist() == [4, 5, 6, 7]
    assert converted["roi_head.stages.2.box_head.logits.bias"].tolist() == [*range(1, 81), 0]


def test_static_the_optimizers_variables_are_left_out() -> None:
    name = "faster_rcnn_dcn_r50_vd_fpn_3x_server_side"
    beside = ("fc6_b_velocity_0", "res3a_branch2b_conv_offset.w_0_velocity_0", "learning_rate_0", "@LR_DECAY_COUNTER@")
    given = of_case(name) | {key: torch.zeros(1) for key in beside}
    _, report = convert(given, key_map("paddle_static"), expected(f"paddle_{name}"))
    assert report.dropped == {"state of the optimizer": list(beside)}


@pytest.mark.parametrize(
    ("keymap", "key", "kind"),
    [
        ("paddle_2020", "bbox_head.bbox_score.weight", "PaddleDetection 2.x"),
        ("paddle_2020", "cls_score_w", "static graph"),
        ("paddle", "bbox_head.bbox_score_0.weight", "first dygraph zoo"),
        ("paddle", "cls_score_w", "static graph"),
        ("paddle_static", "bbox_head.bbox_score_0.weight", "first dygraph zoo"),
        ("paddle_static", "bbox_head.bbox_score.weight", "PaddleDetection 2.x"),
        ("paddle_static", "bbox_head.bbox_score_stage0.weight", "PaddleDetection 2.x"),
    ],
)
def test_a_file_of_another_era_is_named(keymap: str, key: str, kind: str) -> None:
    with pytest.raises(ConversionError, match=f"this is a file of .*{kind}.*, by its key {key}"):
        convert({key: torch.zeros(1)}, key_map(keymap), {})


def test_version_2_has_the_background_last_already() -> None:
    case, entry = "faster_rcnn_enhance_3x_coco", "paddle_faster_rcnn_enhance_3x"
    given = of_case(case, **{"bbox_head.bbox_score.bias": torch.arange(81.0)})
    converted, report = convert(given, key_map("paddle"), expected(entry))
    assert converted["roi_head.stages.0.box_head.logits.bias"].tolist() == list(range(81))
    assert {name: len(keys) for name, keys in report.changed.items()} == {"transpose": 4}


def test_a_key_of_another_architecture_has_no_place() -> None:
    given = of_case("mask_rcnn_res2net50_vd_26w_4s_fpn_2x_coco")
    with pytest.raises(
        ConversionError, match=r"the model has no place for: backbone\.res1\.conv1_1.* -> backbone\.stem\.0"
    ):
        convert(given, key_map("paddle"), expected("paddle_mask_rcnn_res2net50_vb_26w_4s_fpn_2x"))
