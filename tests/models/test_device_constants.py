"""Small tensors that a device keeps."""

from __future__ import annotations

import pytest
import torch
from device_work import counted
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.models import device_constants
from zoo.models.device_constants import constant, kept_on_device

CPU = torch.device("cpu")


def test_a_constant_is_made_once() -> None:
    with torch.inference_mode():
        first = constant((0.1, 0.25), torch.float32, CPU)
    assert first.tolist() == torch.tensor([0.1, 0.25]).tolist()
    assert constant((0.1, 0.25), torch.float32, CPU) is first
    assert constant((0.1, 0.25), torch.float64, CPU).dtype == torch.float64
    scale = torch.ones(2, requires_grad=True)
    (scale * first).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    assert scale.grad is not None
    assert torch.equal(scale.grad, first)


def test_the_answers_that_were_asked_for_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_constants, "_KEPT_BYTES", 1600)  # of small ones three
    made = []

    @kept_on_device
    def number(value: int) -> Tensor:
        made.append(value)
        return torch.full((max(value, 1),), value)

    for value in (0, 1, 2, 0, 3, 0, 1, 150, 0, 300, 300):  # 150 take 1200 bytes, and 300 more than are kept
        assert int(number(value)[0]) == value
    assert made == [0, 1, 2, 3, 1, 150, 0, 300]


def test_every_shape_of_a_data_set_has_its_constants() -> None:
    """Twice through 400 shapes: the second time nothing is copied to the device."""
    shapes = [(600, 400 + i) for i in range(400)]
    for copies in (401, 0):
        with counted() as work:
            for shape in shapes:
                constant((7.0, 9.0), torch.float32, CPU)  # asked for in between
                constant(tuple(map(float, shape)), torch.float32, CPU)
        assert work.copies == copies


def test_tensors_of_a_fake_mode_are_not_kept() -> None:
    with FakeTensorMode():
        constant((3.0, 5.0), torch.float32, CPU)
    assert type(constant((3.0, 5.0), torch.float32, CPU)) is Tensor
