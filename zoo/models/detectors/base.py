"""What every detector has in common: preprocess, run the network, postprocess."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.errors import UsageError
from zoo.models.layers.conv import dilate_pointwise
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.winograd import use_winograd
from zoo.types import Batch, Image, Sample, Target, Transform

BATCH_DIMENSIONS = 4
"""Of an array of images, (N, H, W, 3)."""


class Detector(nn.Module):
    """A detector in three phases, which are also the phases that are timed apart.

    `prepare` (pre) moves samples to the device and normalises them, `network` (model) is everything
    up to raw outputs, `postprocess` (post) turns those into detections in original pixels. In
    training mode `losses` stands in the place of the last two.

    The network has two parts: `dense`, all whose shapes follow from those of the images, with no value that the host
    has to know, and `complete`, which goes on with what is found.

    Args:
        classes: names of the object classes, in label order.
        backbone: images to feature maps.
        neck: feature maps to feature maps, or None.
        transform: host-side preprocessing.
        normalizer: device-side preprocessing.

    Attributes:
        classes: names of the object classes, in label order.
        protocol: how its answers are judged: box convention, rounding, batches; empty where nobody has said.
        graphed_dense: what computes `dense` in eval mode by replaying it (`zoo.run.graphs`); None computes it anew.
    """

    protocol: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        classes: Sequence[str],
        backbone: nn.Module,
        neck: nn.Module | None,
        transform: Transform,
        normalizer: PixelNormalizer,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.backbone = backbone
        self.neck = neck or nn.Identity()
        self.transform = transform
        self.normalizer = normalizer
        self.memory_format = torch.contiguous_format
        self.graphed_dense: nn.Module | None = None

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return False

    @property
    def has_keypoints(self) -> bool:
        """Whether it finds keypoints on every box."""
        return False

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def use_channels_last(self) -> None:
        """Keep weights and images with channels innermost, which convolutions on CPUs and tensor cores prefer."""
        self.memory_format = torch.channels_last
        self.to(memory_format=torch.channels_last)
        use_winograd(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Weights are moved or laid out otherwise: their convolutions are what suits the place."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # torch's own
        if self.memory_format is torch.channels_last:
            dilate_pointwise(self, 2 if self.device.type == "cpu" else 1)
        return self

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Samples to a normalised, padded batch on the detector's device."""
        batch: Batch = self.normalizer(samples, self.device, self.memory_format)
        batch.images = batch.images.contiguous(memory_format=self.memory_format)
        return batch

    def extract(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the neck's feature maps, fine to coarse."""
        features: tuple[Tensor, ...] = self.neck(self.backbone(images))
        return features

    @abstractmethod
    def dense(self, images: Tensor) -> Any:
        """Images (N, 3, H, W) to tensors whose shapes follow from that one: in tuples, lists and dataclasses."""

    def complete(self, dense: Any, batch: Batch) -> Any:  # noqa: ARG002 - two stages look at the batch
        """What `dense` gave of a batch to raw outputs: of one stage these are the same."""
        return dense

    def network(self, batch: Batch) -> Any:
        """A batch to raw outputs, of a type the detector chooses."""
        replayed = None if self.training else self.graphed_dense
        return self.complete((replayed or self.dense)(batch.images), batch)

    @abstractmethod
    def postprocess(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Raw outputs to detections in original pixels, on the detector's device."""

    @abstractmethod
    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """A batch and its targets, on the detector's device, to named losses, whose sum is minimised."""

    def forward(
        self, images: Batch | Sequence[Sample], targets: Sequence[Target] | None = None
    ) -> list[Detections] | dict[str, Tensor]:
        """Detections of each image in eval mode, named losses of the batch in training mode.

        Args:
            images: samples, or a prepared batch of them.
            targets: one an image, on any device; needed for training, without meaning otherwise.

        Raises:
            ValueError: training without targets, or with more or fewer than there are images.
        """
        batch = images if isinstance(images, Batch) else self.prepare(images)
        if not self.training:
            return self.postprocess(self.network(batch), batch)
        if targets is None or len(targets) != len(batch.geometries):
            given = "none" if targets is None else len(targets)
            raise ValueError(f"a detector in training mode needs {len(batch.geometries)} targets, got {given}")
        return self.losses(batch, [target.to(batch.images.device) for target in targets])

    @torch.inference_mode()
    def predict(self, images: Sequence[Image]) -> list[Detections]:
        """Detections in images as they come, preprocessed exactly as the published evaluation does.

        Args:
            images: paths, or arrays (H, W, 3), uint8, RGB. Taken one by one: boxes of a batch would
                depend on its padding.

        Returns:
            Detections on the CPU, one for each image.

        Raises:
            DataError: a file is missing or is no image.
            UsageError: one image instead of a list of them.
        """
        if self.training:
            raise RuntimeError("predict() needs an eval-mode detector; call .eval() first")
        if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim != BATCH_DIMENSIONS):
            given = "an array" if isinstance(images, np.ndarray) else repr(str(images))
            again = "image" if isinstance(images, np.ndarray) else given
            message = f"predict() takes a list of images, not {given}"
            raise UsageError(message, next_step=f"call model.predict([{again}])[0]")
        return [self._predict(image, i) for i, image in enumerate(images)]

    def _predict(self, image: Image, image_id: int) -> Detections:
        found: Detections = self([self.transform(image, image_id)])[0].cpu()
        path = None if isinstance(image, np.ndarray) else Path(image)
        inclusive = bool(self.protocol.get("boxes", {}).get("inclusive"))
        return replace(found, classes=self.classes, path=path, inclusive=inclusive)
