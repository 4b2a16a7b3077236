"""What a detector of one stage asks of its head, whatever its method."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.types import Batch, Target


class DenseHead(nn.Module):
    """A pyramid to an answer for every cell of it, and those answers to detections or losses."""

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return False

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> Any:
        """Feature maps (N, C, H, W), a level each, to raw outputs, of a type the head chooses."""

    @abstractmethod
    def detect(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Raw outputs to the detections of each image, in pixels of the original."""

    @abstractmethod
    def losses(self, outputs: Any, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Raw outputs and targets, one an image, to named losses, whose sum is minimised."""

    def init_weights(self, network: nn.Module) -> None:
        """Give a whole network, this head included, the weights that a training begins with.

        Every part has drawn its own when it was made; they stay where a method does not say otherwise.
        """
