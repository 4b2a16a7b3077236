"""Tensors in what modules give are found in order, and replaced in it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from zoo.run.nested import tensors_in, with_tensors


@dataclass(slots=True)
class Maps:
    levels: list[Tensor]
    others: Tensor | None
    count: int


def test_tensors_are_found_in_order_and_replaced() -> None:
    a, b, c = (torch.full((i,), i) for i in (1, 2, 3))
    given = (a, Maps([b, c], None, 3))
    assert [id(tensor) for tensor in tensors_in(given)] == [id(a), id(b), id(c)]
    found = with_tensors(given, iter((c, a, b)))
    assert found[0] is c
    assert (found[1].levels[0], found[1].levels[1]) == (a, b)
    assert (found[1].others, found[1].count) == (None, 3)
    assert given[1].levels[0] is b


def test_what_tensors_could_hide_in_is_refused() -> None:
    assert not list(tensors_in({"boxes": torch.zeros(1)}))
    with pytest.raises(TypeError, match="not a dict"):
        with_tensors(({"boxes": torch.zeros(1)},), iter(()))
