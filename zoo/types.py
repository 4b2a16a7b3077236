"""The values that travel between the parts: samples, targets, batches, detections, feature specs, metrics.

Legend for shapes: N images (or boxes), C channels, H height, W width. Boxes are (x1, y1, x2, y2)
in pixels. torch is imported for type checking only, so that the quick commands stay quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, Union

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

Precision: TypeAlias = Literal["fp32", "tf32", "fp16", "bf16"]
"""Of convolutions and matrix products; fp32 is true float32, without TF32."""

Mode: TypeAlias = Literal["eager", "graph"]
"""How a network is run: kernel by kernel, or its dense part as a CUDA graph."""

Evaluator: TypeAlias = Literal["vectorized", "pycocotools"]
"""Our own evaluator, and the reference; both give the same bits."""

Json: TypeAlias = object
"""What JSON can hold: None, bool, int, float, str, lists of these, and mappings of names to these."""

Image: TypeAlias = Union[str, Path, "np.ndarray"]
"""An image as `predict` takes it: a path, or an array (H, W, 3), uint8, RGB."""


class Rle(TypedDict):
    """A mask in COCO's compressed run-length encoding."""

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a consumer must know of one feature map: its channels and its stride in input pixels."""

    channels: int
    stride: int


@dataclass(slots=True)
class Sample:
    """One image on its way to a detector.

    Attributes:
        pixels: (H, W, 3), BGR as OpenCV decodes it, resized, not padded: uint8, or float32 where the protocol
            normalises before the resize; not resized where the device does that.
        image_id: the data set's id (the position in the list for `predict`).
        original_size: size of the image file.
        scale: (x, y) factors from original to resized pixels, each from the rounded size.
        batch_shape: (height, width) it is padded to, where the protocol decides that before there is a batch.
        device_size: (height, width) that the device resizes it to; None where it is resized already.
    """

    pixels: Tensor
    image_id: int
    original_size: Size
    scale: tuple[float, float]
    batch_shape: Size | None = None
    device_size: Size | None = None

    @property
    def size(self) -> Size:
        """(height, width) that it has in a network's input, without padding."""
        return self.device_size or (self.pixels.shape[0], self.pixels.shape[1])

    def pin_memory(self) -> Sample:
        """The same in pinned memory, of which a GPU copies while the host goes on; PyTorch's loader asks for it."""
        return replace(self, pixels=self.pixels.pin_memory())


@dataclass(slots=True)
class Target:
    """What a detector in training is to find in one image.

    Attributes:
        boxes: float (G, 4), xyxy in input pixels: of the resized image, without padding.
        labels: int64 (G,), positions in the class list.
        masks: uint8 (G, H, W), 1 on the object, of the input's size without padding; None where only boxes are
            trained on. Bitmaps, not run-length encodings: they are cut by sampling, on the device.
        polygons: instead of bitmaps, where they are cut before they are rasterised: of each object its polygons,
            float32 (L, 2) each, x and y in input pixels, possibly beyond the image; on the CPU.
        keypoints: float (G, K, 3), x and y in input pixels, and visibility as COCO annotates it: 0 not labelled, 1
            labelled but hidden, 2 visible; None where no keypoints are trained on.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None
    polygons: list[list[Tensor]] | None = None
    keypoints: Tensor | None = None

    def to(self, device: torch.device) -> Target:
        """The same target on a device; the host does not wait for what is in pinned memory."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Target:
        """The same in pinned memory, but for polygons, which stay on the host; PyTorch's loader asks for it."""
        return self._with_tensors(lambda tensor: tensor.pin_memory())

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Target:
        masks = None if self.masks is None else change(self.masks)
        keypoints = None if self.keypoints is None else change(self.keypoints)
        return Target(change(self.boxes), change(self.labels), masks, self.polygons, keypoints)


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """Where an image lies in a network's input, and how that relates to the image file.

    Attributes:
        size: the image's size inside the input, without padding.
        extent: (height, width) that boxes in input pixels are clipped to; usually the size, but need not be whole.
        scale: (x, y) factors from original to input pixels.
        original_size: size of the image file.
        padded_size: size with the padding that the image would have if it were alone in its batch; cells of a feature
            map beyond it are not trained on.
        offset: (x, y) of the image's first pixel in the input; (0, 0) where all padding is right and below.
    """

    size: Size
    extent: tuple[float, float]
    scale: tuple[float, float]
    original_size: Size
    padded_size: Size
    offset: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Batch:
    """What a network takes.

    Attributes:
        images: float (N, 3, H, W), normalised and padded.
        geometries: one an image.
        image_ids: the data set's ids.
    """

    images: Tensor
    geometries: list[ImageGeometry]
    image_ids: list[int]

    @property
    def input_shape(self) -> Size:
        """(height, width) of all images with their padding."""
        return self.images.shape[2], self.images.shape[3]


class Transform(Protocol):
    """Host-side preprocessing: an image file or array to a sample, bit-exact with the source framework."""

    def __call__(self, image: Image, image_id: int = 0, size: Size | None = None) -> Sample: ...


class Metric(Protocol):
    """One kind of measurement, fed while a run goes on."""

    def reset(self) -> None: ...

    def update(self, *args: Any) -> None: ...

    def result(self) -> dict[str, Any]: ...
