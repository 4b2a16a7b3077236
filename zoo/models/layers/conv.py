"""A convolution with its normalisation: the unit that most networks here are made of."""

from __future__ import annotations

import operator
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

NormAffine = Literal["trained", "fixed", "constant"]
"""What scales and biases of batch normalisations are: trained parameters, parameters without gradients, or no
parameters at all but constants of the network, as torchvision's FrozenBatchNorm2d has them."""


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, optional activation; same-size padding.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd; the padding keeps the size at stride 1.
        stride: of the convolution.
        dilation: distance of the kernel's samples.
        groups: of channels, each convolved by itself.
        activation: applied last; None leaves the sum to the caller, as a residual branch needs it.
        eps: added to the variance by the normalisation.
        momentum: share of a new batch in the running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        self.activation = activation or nn.Identity()
        self._affine = FixedAffine()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        frozen = x.is_cuda and torch.is_grad_enabled() and self._is_frozen()
        out: Tensor = self.activation(self.frozen(x) if frozen else self.norm(self.conv(x)))
        return out

    def frozen(self, x: Tensor) -> Tensor:
        """Convolution and normalisation of maps (N, C, H, W) where nothing of the normalisation is trained.

        It is multiplied into the weights, step by step, equal up to float rounding: torch's own would keep the
        convolution's answer for a gradient that does not depend on it, and go over every map twice more.
        """
        assert isinstance(self.norm, nn.BatchNorm2d)  # noqa: S101 - or it is not frozen
        factor, shift = self._affine.of(self.norm)
        out: Tensor = self.conv._conv_forward(x, self.conv.weight * factor[..., None], shift.flatten())
        return out

    def _is_frozen(self) -> bool:
        """Whether nothing of its normalisation is trained, and it follows a plain convolution without bias."""
        norm, conv = self.norm, self.conv
        if not isinstance(norm, nn.BatchNorm2d) or norm.training or type(conv) is not nn.Conv2d:
            return False
        return conv.bias is None and not (norm.weight.requires_grad or norm.bias.requires_grad)

    def fold(self) -> None:
        """Multiply the normalisation into the convolution. Inference only; equal up to float rounding."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class FixedAffine:
    """What a normalisation of fixed values comes to: a factor and a shift a channel, kept until a value changes."""

    def __init__(self) -> None:
        self._kept: tuple[list[Tensor], list[int], Tensor, Tensor] | None = None

    def of(self, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        """Factors and shifts, (C, 1, 1) each, without gradients.

        Raises:
            ValueError: it has no running statistics.
        """
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a constant normalisation needs running statistics")
        values = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        if any(value.is_inference() for value in values):  # nobody knows whether those have changed
            return self._computed(norm.eps, *values)
        versions = [value._version for value in values]
        if self._kept is None or versions != self._kept[1] or any(map(operator.is_not, values, self._kept[0])):
            with torch.inference_mode(False):  # they may be trained with later
                self._kept = (values, versions, *self._computed(norm.eps, *values))
        return self._kept[2:]

    @staticmethod
    @torch.no_grad()
    def _computed(eps: float, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        factor = weight * (variance + eps).rsqrt()  # (C,)
        return factor[:, None, None], (bias - mean * factor)[:, None, None]


class ConstantNorm(nn.BatchNorm2d):
    """Batch normalisation of which nothing is trained, nor a parameter: a factor and a shift a channel.

    Its arithmetic is that of torchvision's FrozenBatchNorm2d, to the last bit.

    Args:
        norm: a normalisation, whose values it takes over.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        for name in ("weight", "bias"):
            delattr(self, name)
            self.register_buffer(name, getattr(norm, name).detach())
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)
        self._affine = FixedAffine()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W), changed in place."""
        factor, shift = self._affine.of(self)
        return x.mul_(factor).add_(shift)


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """Every batch normalisation inside a module."""
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def fix_affine(module: nn.Module, affine: NormAffine) -> None:
    """Make the scales and biases of every batch normalisation inside a module what they are to be, in place.

    Raises:
        ValueError: there is no such kind.
    """
    if affine not in get_args(NormAffine):
        raise ValueError(f"norm_affine: {affine!r} is none of {', '.join(get_args(NormAffine))}")
    for part in list(module.modules()):
        for name, norm in part.named_children():
            if isinstance(norm, nn.BatchNorm2d):
                norm.requires_grad_(affine == "trained")
                if affine == "constant":
                    setattr(part, name, ConstantNorm(norm))


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Fold every normalisation of an eval-mode model into its convolution, in place."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return model


def dilate_pointwise(model: nn.Module, dilation: int) -> nn.Module:
    """Have 1x1 convolutions say that they are dilated, in place, which changes nothing: they have one sample.

    On a CPU torch computes those that are neither strided nor dilated by a product of matrices of its own on a single
    thread; the others go to oneDNN, which takes a quarter less time with channels innermost. On a GPU it is the
    dilated ones that are slow.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (dilation, dilation)
    return model
