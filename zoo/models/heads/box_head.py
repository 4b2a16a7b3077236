"""Box heads: pooled features of a region to class logits and box deltas."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.backbones.resnet import BlockSettings, residual_stage, stage_channels
from zoo.models.layers.conv import norms


class TwoFcBoxHead(nn.Module):
    """Two fully connected layers shared by classification and regression (Lin et al., 2017).

    Args:
        in_channels: of the pooled features.
        pooled_size: their height and width.
        num_classes: object classes, without background.
        channels: of the hidden layers.
    """

    def __init__(self, in_channels: int, pooled_size: int, num_classes: int, channels: int = 1024) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_channels * pooled_size**2, channels)
        self.fc2 = nn.Linear(channels, channels)
        self.logits = nn.Linear(channels, num_classes + 1)
        self.deltas = nn.Linear(channels, num_classes * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        _init_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (R, C, S, S) to logits (R, K + 1), background last, and deltas (R, K * 4), class-major."""
        x = F.relu(self.fc1(pooled.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.logits(x), self.deltas(x)


class StageBoxHead(nn.Module):
    """The last stage of a ResNet on each region, averaged ("C4": Ren et al., 2015; He et al., 2015).

    Its normalisation keeps the statistics, scales and biases it was given.

    Args:
        in_channels: of the pooled features, those of the third stage.
        pooled_size: their height and width; the stage halves it.
        num_classes: object classes, without background.
        depth: of the ResNet.
        style: where a bottleneck has its stride, "pytorch" or "caffe".
    """

    def __init__(
        self, in_channels: int, pooled_size: int, num_classes: int, depth: int = 50, style: str = "pytorch"
    ) -> None:
        super().__init__()
        if pooled_size % 2:
            raise ValueError(f"pooled_size: {pooled_size} cannot be halved")
        self.stage = residual_stage(depth, 4, in_channels, stride=2, settings=BlockSettings(style))
        self.logits = nn.Linear(stage_channels(depth, 4), num_classes + 1)
        self.deltas = nn.Linear(stage_channels(depth, 4), num_classes * 4)
        _init_predictors(self.logits, self.deltas)
        for norm in norms(self):
            norm.requires_grad_(False)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (R, C, S, S) to logits (R, K + 1), background last, and deltas (R, K * 4), class-major."""
        x = self.stage(pooled).mean(dim=(2, 3))  # (R, 2C, S / 2, S / 2) -> (R, 2C)
        return self.logits(x), self.deltas(x)

    def train(self, mode: bool = True) -> StageBoxHead:
        """Training mode, save for the normalisations."""
        super().train(mode)
        for norm in norms(self):
            norm.eval()
        return self


def _init_predictors(logits: nn.Linear, deltas: nn.Linear) -> None:
    nn.init.normal_(logits.weight, std=0.01)
    nn.init.normal_(deltas.weight, std=0.001)
    for layer in (logits, deltas):
        nn.init.zeros_(layer.bias)
