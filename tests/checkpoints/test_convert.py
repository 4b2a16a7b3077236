"""Conversion is strict: whatever does not correspond one to one is listed in the error."""

from __future__ import annotations

import pytest
import torch

from zoo.checkpoints.convert import (
    COUNTED,
    FIXED,
    REPEATED,
    Constant,
    Copy,
    Drop,
    Foreign,
    Rename,
    Zeros,
    convert,
)
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.tensor_ops import background_last, take_rows, transpose
from zoo.errors import ConversionError, UsageError

KEY_MAP = (
    Drop("meta.{*rest}", "bookkeeping"),
    Rename("body.{i}.conv.{p}", "backbone.{i}.{p}"),
    Rename("head.{*rest}", "head.{*rest}"),
)


def tensors(*keys: str, shape: tuple[int, ...] = (2,)) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(shape) for key in keys}


def test_renames_drops_and_reports() -> None:
    expected = {"backbone.3.weight": (2,), "head.a.b": (2,)}
    converted, report = convert(tensors("body.3.conv.weight", "head.a.b", "meta.x.y"), KEY_MAP, expected)
    assert list(converted) == ["backbone.3.weight", "head.a.b"]
    assert report.to_json() == {"loaded": 2, "dropped": {"bookkeeping": ["meta.x.y"]}}


@pytest.mark.parametrize(
    ("keys", "expected", "message"),
    [
        (("body.0.conv.w", "stranger"), {"backbone.0.w": (2,)}, "no rule for checkpoint keys: stranger"),
        (("body.0.conv.w",), {}, "no place for: body.0.conv.w -> backbone.0.w"),
        (("body.0.conv.w",), {"backbone.0.w": (2,), "head.w": (2,)}, "lacks model keys: head.w"),
        (("body.0.conv.w",), {"backbone.0.w": (3,)}, r"shape \[2\] where the model has \[3\]: body.0.conv.w"),
    ],
)
def test_every_mismatch_is_listed(keys: tuple[str, ...], expected: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(tensors(*keys), KEY_MAP, expected)


COPIES = (Rename("tower.0.{p}", "tower.{p}"), Copy("tower.{level}.{p}", of="tower.0.{p}"))


def test_copies_are_compared_and_reported() -> None:
    first = torch.arange(3.0)
    given = {"tower.0.w": first, "tower.1.w": first, "tower.2.w": first.clone()}  # shared memory, or its own
    converted, report = convert(given, COPIES, {"tower.w": (3,)})
    assert converted == {"tower.w": first}
    assert report.to_json() == {"loaded": 1, "dropped": {REPEATED: ["tower.1.w", "tower.2.w"]}}


@pytest.mark.parametrize(
    "copy", [torch.tensor([0.0, 1, 3]), torch.arange(4.0), torch.arange(3)], ids=["values", "shape", "type"]
)
def test_copies_that_differ_are_an_error(copy: torch.Tensor) -> None:
    given = {"tower.0.w": torch.arange(3.0), "tower.1.w": copy}
    with pytest.raises(ConversionError, match=r"not equal to what they are copies of: tower\.1\.w, of tower\.0\.w"):
        convert(given, COPIES, {"tower.w": (3,)})


def test_a_copy_of_nothing_is_an_error() -> None:
    with pytest.raises(ConversionError, match=r"tower\.1\.w, of tower\.0\.w"):
        convert(tensors("tower.1.w"), COPIES, {"tower.w": (2,)})


def test_two_keys_for_one_place() -> None:
    rules = (Rename("a", "x"), Rename("b", "x"))
    with pytest.raises(ConversionError, match="two checkpoint keys for one model key: b -> x"):
        convert(tensors("a", "b"), rules, {"x": (2,)})


def test_counters_that_the_file_lacks_are_zero() -> None:
    rules = (Rename("{*rest}", "{*rest}"), Zeros("{*norm}.num_batches_tracked", COUNTED))
    given = {"a.w": torch.ones(2), "b.num_batches_tracked": torch.tensor(7)}
    expected = {"a.w": (2,), "a.num_batches_tracked": (), "b.num_batches_tracked": ()}
    converted, report = convert(given, rules, expected)
    assert {key: value.tolist() for key, value in converted.items()} == {
        "a.w": [1, 1],
        "a.num_batches_tracked": 0,
        "b.num_batches_tracked": 7,
    }
    assert report.to_json() == {"loaded": 2, "dropped": {}, "fresh": {COUNTED: 1}}


def test_a_file_of_another_kind_is_named() -> None:
    rules = (Foreign("cls_score_w", "a file of the other zoo"), *KEY_MAP)
    with pytest.raises(ConversionError, match="this is a file of the other zoo, by its key cls_score_w") as raised:
        convert(tensors("body.0.conv.w", "cls_score_w"), rules, {})
    assert "no place" not in raised.value.message


def test_long_lists_are_counted() -> None:
    with pytest.raises(ConversionError, match="and 12 more"):
        convert(tensors(*(f"stranger{i}" for i in range(20))), KEY_MAP, {})


def test_unknown_key_map_lists_the_known() -> None:
    with pytest.raises(UsageError, match="mmdet"):
        key_map("mmdett")


def test_constants_are_compared_and_not_loaded() -> None:
    rules = (Constant("bins", range(4)), Rename("a", "x"))
    bins = torch.arange(4, dtype=torch.float16).view(1, 4, 1, 1)
    converted, report = convert({"bins": bins, "a": torch.zeros(2)}, rules, {"x": (2,)})
    assert list(converted) == ["x"]
    assert report.to_json() == {"loaded": 1, "dropped": {FIXED: ["bins"]}}
    for other in (bins + 1, bins[:, :3]):
        with pytest.raises(ConversionError, match="other values than the method fixes them to: bins"):
            convert({"bins": other, "a": torch.zeros(2)}, rules, {"x": (2,)})


STORED_OTHERWISE = (
    Rename("score.weight", "logits.weight", ops=(transpose, background_last)),
    Rename("score.bias", "logits.bias", ops=(background_last,)),
    Rename("delta.bias", "deltas.bias", ops=(take_rows(4),)),
)


def test_values_go_through_the_operations_of_their_rule_in_order() -> None:
    given = {
        "score.weight": torch.tensor([[0.0, 1, 2], [10, 11, 12]]),  # 2 inputs, 3 classes
        "score.bias": torch.tensor([0.0, 1, 2]),
        "delta.bias": torch.arange(12.0),
    }
    expected = {"logits.weight": (3, 2), "logits.bias": (3,), "deltas.bias": (8,)}
    converted, report = convert(given, STORED_OTHERWISE, expected)
    assert converted["logits.weight"].tolist() == [[1, 11], [2, 12], [0, 10]]
    assert converted["logits.bias"].tolist() == [1, 2, 0]
    assert converted["deltas.bias"].tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert report.to_json() == {
        "loaded": 3,
        "dropped": {},
        "changed": {
            "transpose": ["score.weight"],
            "background_last": ["score.weight", "score.bias"],
            "take_rows(4:)": ["delta.bias"],
        },
    }


def test_an_operation_that_does_not_fit_is_listed() -> None:
    rules = (Rename("a", "x", ops=(transpose,)), Rename("b", "y", ops=(take_rows(4),)))
    with pytest.raises(
        ConversionError, match=r"transpose does not fit: a \(not a matrix\); .*take_rows\(4:\) does not"
    ):
        convert(tensors("a", "b", shape=(4,)), rules, {"x": (4,), "y": (2,)})


def test_the_shape_that_counts_is_the_one_after_the_operations() -> None:
    with pytest.raises(ConversionError, match=r"shape \[2, 3\] where the model has \[3, 2\]: a -> x"):
        convert(tensors("a", shape=(3, 2)), (Rename("a", "x", ops=(transpose,)),), {"x": (3, 2)})
