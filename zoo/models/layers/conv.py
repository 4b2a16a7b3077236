"""A convolution with its normalisation: the unit that most networks here are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, optional activation; same-size padding.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd; the padding keeps the size at stride 1.
        stride: of the convolution.
        activation: applied last; None leaves the sum to the caller, as a residual branch needs it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = activation or nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out

    def fold(self) -> None:
        """Multiply the normalisation into the convolution. Inference only; equal up to float rounding."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Fold every normalisation of an eval-mode model into its convolution, in place."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return model
