"""Box heads: pooled features of a region to class logits and box deltas.

Legend: R regions, C channels, S side of the pooled features, K object classes, B boxes of a region.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.init import init_uniform


class TwoFcBoxHead(nn.Module):
    """Two fully connected layers shared by classification and regression (Lin et al., 2017).

    Args:
        in_channels: of the pooled features.
        pooled_size: their height and width.
        num_classes: object classes, without background.
        num_boxes: boxes of a region: one a class, or one for all.
        channels: of the hidden layers.
        dropout: share of each hidden layer's values that training leaves out.
    """

    def __init__(
        self,
        in_channels: int,
        pooled_size: int,
        num_classes: int,
        num_boxes: int,
        channels: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(in_channels * pooled_size**2, channels)
        self.fc2 = nn.Linear(channels, channels)
        self.logits = nn.Linear(channels, num_classes + 1)
        self.deltas = nn.Linear(channels, num_boxes * 4)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        _init_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (R, C, S, S) to logits (R, K + 1), background last, and deltas (R, B * 4), box-major."""
        x = self.dropout(F.relu(self.fc1(pooled.flatten(1))))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.logits(x), self.deltas(x)


class LecunTwoFcBoxHead(TwoFcBoxHead):
    """The same; the range of its first layer's first weights is by inputs alone, as PaddleDetection has it.

    Args:
        options: those of `TwoFcBoxHead`.
    """

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        init_uniform(self.fc1.weight, "lecun")


class PlainTwoFcBoxHead(TwoFcBoxHead):
    """The same; all of its first weights are those that torch draws for any linear layer, as torchvision has it.

    Args:
        options: those of `TwoFcBoxHead`.
    """

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        for layer in (self.fc1, self.fc2, self.logits, self.deltas):
            layer.reset_parameters()


class ConvBoxHead(nn.Module):
    """Four 3x3 convolutions with batch normalisation and a fully connected layer (Li et al., "Benchmarking Detection
    Transfer Learning with Vision Transformers", 2021, after Wu and He, 2018).

    Args:
        in_channels: of the pooled features.
        pooled_size: their height and width.
        num_classes: object classes, without background.
        num_boxes: boxes of a region: one a class, or one for all.
        conv_channels: of the convolutions.
        channels: of the fully connected layer.
    """

    def __init__(
        self,
        in_channels: int,
        pooled_size: int,
        num_classes: int,
        num_boxes: int,
        conv_channels: int = 256,
        channels: int = 1024,
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(
                ConvNorm(in_channels if i == 0 else conv_channels, conv_channels, 3, activation=nn.ReLU(inplace=True))
                for i in range(4)
            )
        )
        # Linear layers keep the weights that torch draws, as in torchvision.
        self.fc = nn.Linear(conv_channels * pooled_size**2, channels)
        self.logits = nn.Linear(channels, num_classes + 1)
        self.deltas = nn.Linear(channels, num_boxes * 4)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (R, C, S, S) to logits (R, K + 1), background last, and deltas (R, B * 4), box-major."""
        x = F.relu(self.fc(self.convs(pooled).flatten(1)))
        return self.logits(x), self.deltas(x)


class AveragedBoxHead(nn.Module):
    """Class logits and deltas of the features' average, what follows a shared last stage (He et al., 2015).

    Args:
        in_channels: of the pooled features.
        pooled_size: their height and width; any.
        num_classes: object classes, without background.
        num_boxes: boxes of a region: one a class, or one for all.
    """

    def __init__(self, in_channels: int, pooled_size: int, num_classes: int, num_boxes: int) -> None:  # noqa: ARG002 - of every box head
        super().__init__()
        self.logits = nn.Linear(in_channels, num_classes + 1)
        self.deltas = nn.Linear(in_channels, num_boxes * 4)
        _init_predictors(self.logits, self.deltas)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (R, C, S, S) to logits (R, K + 1), background last, and deltas (R, B * 4), box-major."""
        x = pooled.mean(dim=(2, 3))  # (R, C, S, S) -> (R, C)
        return self.logits(x), self.deltas(x)


def _init_predictors(logits: nn.Linear, deltas: nn.Linear) -> None:
    nn.init.normal_(logits.weight, std=0.01)
    nn.init.normal_(deltas.weight, std=0.001)
    for layer in (logits, deltas):
        nn.init.zeros_(layer.bias)
