"""Small tensors that a device keeps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

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


def test_the_last_answers_are_kept() -> None:
    made = []

    @kept_on_device
    def number(value: int) -> Tensor:
        made.append(value)
        return torch.tensor(value)

    assert [int(number(value)) for value in (*range(70), 69, 0)] == [*range(70), 69, 0]
    assert made == [*range(70), 0]


def test_tensors_of_a_fake_mode_are_not_kept() -> None:
    with FakeTensorMode():
        constant((3.0, 5.0), torch.float32, CPU)
    assert type(constant((3.0, 5.0), torch.float32, CPU)) is Tensor
