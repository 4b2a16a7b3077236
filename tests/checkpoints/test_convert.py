"""Conversion is strict: whatever does not correspond one to one is listed in the error."""

from __future__ import annotations

import pytest
import torch

from zoo.checkpoints.convert import Drop, Rename, convert
from zoo.checkpoints.keymaps import key_map
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


def test_two_keys_for_one_place() -> None:
    rules = (Rename("a", "x"), Rename("b", "x"))
    with pytest.raises(ConversionError, match="two checkpoint keys for one model key: b -> x"):
        convert(tensors("a", "b"), rules, {"x": (2,)})


def test_long_lists_are_counted() -> None:
    with pytest.raises(ConversionError, match="and 12 more"):
        convert(tensors(*(f"stranger{i}" for i in range(20))), KEY_MAP, {})


def test_unknown_key_map_lists_the_known() -> None:
    with pytest.raises(UsageError, match="mmdet"):
        key_map("mmdett")
