"""The precision of a network: weights that are cast once give the bits that autocast gives, which casts every time."""

from __future__ import annotations

import pytest
import torch
from device_work import counted
from torch import nn

from zoo.errors import DeviceError
from zoo.models.layers.conv import ConvNorm, fold_batch_norm
from zoo.models.layers.deform_conv import DeformConvNorm
from zoo.run.precision import autocast, inference_precision

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    """One layer of every kind that has weights."""
    layers = [
        ConvNorm(3, 8, 3, activation=nn.ReLU()),
        nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 1),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.Flatten(2),
        nn.Linear(256, 5),
    ]
    model = nn.Sequential(*layers).eval()
    model[2].requires_grad_(False)
    return model


@pytest.mark.parametrize("folded", [False, True])
def test_equal_bits_and_no_cast_of_a_weight(folded: bool) -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(2, 3, 8, 8)
    if folded:
        fold_batch_norm(model)
    own = dict(model.named_parameters())
    with torch.inference_mode():
        with autocast(CPU, "bf16"), counted() as before:
            expected = model(x)
        with inference_precision(model, CPU, "bf16"), counted() as after:
            assert torch.equal(model(x), expected)
    assert expected.dtype == torch.bfloat16
    assert before.kernels["aten::_to_copy"] - after.kernels["aten::_to_copy"] == 7 + folded
    assert all(parameter is own[name] for name, parameter in model.named_parameters())


def test_tied_weights_are_cast_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with inference_precision(model, CPU, "bf16"):
        assert model[1].weight is model[0].weight
        assert model[1].weight.dtype == torch.bfloat16


def test_a_deformable_convolution_runs_in_float32() -> None:
    model = DeformConvNorm(4, 4)
    with inference_precision(model, CPU, "bf16"):
        assert model.conv.weight.dtype == torch.float32
        assert model.conv_offset.weight.dtype == torch.bfloat16


def test_its_own_weights_come_back_after_an_error() -> None:
    model = nn.Linear(3, 2)
    own = model.weight
    with pytest.raises(RuntimeError, match="shapes"), inference_precision(model, CPU, "bf16"):
        model(torch.zeros(1, 4))
    assert model.weight is own


def test_within_itself() -> None:
    model = nn.Linear(3, 2)
    own = model.weight
    with inference_precision(model, CPU, "bf16"):
        cast = model.weight
        with inference_precision(model, CPU, "bf16"):
            assert model.weight is cast
        assert model.weight is cast
        with pytest.raises(ValueError, match="cast to bf16"), inference_precision(model, CPU, "fp32"):
            pass
    assert model.weight is own


def test_float32_changes_nothing() -> None:
    model = nn.Linear(3, 2)
    own = model.weight
    with inference_precision(model, CPU, "fp32"):
        assert model.weight is own
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("context", [autocast, lambda *asked: inference_precision(nn.Identity(), *asked).__enter__()])
def test_no_tf32_without_a_gpu(context: object) -> None:
    with pytest.raises(DeviceError, match="precision=tf32: cpu has no TF32"):
        context(CPU, "tf32")  # type: ignore[operator]
