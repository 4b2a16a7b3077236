"""The precision that a network runs in: autocast, and weights that are cast once instead of once an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import nn

from zoo.errors import DeviceError
from zoo.models.layers.deform_conv import DeformConvNorm
from zoo.runtime.hardware import tf32

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}

_CAST = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Layers whose weights autocast casts before it uses them."""

_cast_to: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""The models whose layers hold cast weights now, and of which precision."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context a network is trained in: convolutions and matrix products in the asked-for precision.

    Args:
        device: it runs on.
        precision: "fp32" (true float32), "tf32" (what GPUs make of float32 unless they are told otherwise), "fp16" or
            "bf16".

    Raises:
        DeviceError: TF32 without a GPU.
    """
    if precision == "fp32":
        return nullcontext()
    if precision == "tf32":
        if device.type != "cuda":
            raise DeviceError(
                f"precision=tf32: {device.type} has no TF32", next_step="use device=cuda, or another precision"
            )
        return tf32()
    return torch.autocast(device.type, dtype=DTYPES[precision])


@contextmanager
def inference_precision(model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """The context that an eval-mode network runs in, entered once for many images: `cast_weights` and `autocast`.

    Args:
        model: in eval mode.
        device: it runs on.
        precision: as for `autocast`.

    Raises:
        DeviceError: TF32 without a GPU.
        ValueError: within another of the same model, of another precision.
    """
    with autocast(device, precision), cast_weights(model, precision):
        yield


@contextmanager
def cast_weights(model: nn.Module, precision: str) -> Iterator[None]:
    """Within it a network holds the weights that `autocast` would cast for every image anew, a kernel each.

    Autocast keeps what it has cast for leaves that take gradients, and never in inference mode. Within this context the
    layers hold cast weights, of which autocast would have made the same bits; afterwards they hold their own again.
    Within another of the same model it casts nothing. Whoever captures kernels that read them keeps the parameters that
    the model has at that time.

    Args:
        model: in eval mode, and run in `autocast`.
        precision: as for `autocast`.

    Raises:
        ValueError: within another of the same model, of another precision.
    """
    if _cast_to.get(model, precision) != precision:
        raise ValueError(f"the weights are cast to {_cast_to[model]}, and the model is to run in {precision}")
    if precision not in DTYPES or model in _cast_to:
        yield
        return
    own = [(layer, dict(layer._parameters)) for layer in _cast_layers(model)]
    cast: dict[nn.Parameter, nn.Parameter] = {}
    _cast_to[model] = precision
    try:
        for layer, parameters in own:
            for name, parameter in parameters.items():
                if parameter is not None:
                    if parameter not in cast:
                        values = parameter.detach().to(DTYPES[precision])
                        cast[parameter] = nn.Parameter(values, requires_grad=False)
                    layer._parameters[name] = cast[parameter]
        yield
    finally:
        del _cast_to[model]
        for layer, parameters in own:
            layer._parameters.update(parameters)


def _cast_layers(model: nn.Module) -> list[nn.Module]:
    """The layers that autocast runs with cast weights."""
    # deformable convolution, which reads the weights of a layer that it does not call, runs in float32
    deformed = {part.conv for part in model.modules() if isinstance(part, DeformConvNorm)}
    return [part for part in model.modules() if isinstance(part, _CAST) and part not in deformed]
