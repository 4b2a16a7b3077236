"""How training views are made, as the schedules under conf/schedule say it. Nothing here needs numpy or torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from zoo.schema import Minimum

Share: TypeAlias = Annotated[float, Minimum(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiScale:
    """The (long, short) sides that a training image has to fit into: the `multi_scale` block of a schedule.

    Attributes:
        mode: "fixed": the one of `scales`; "choice": one of them; "range": each side any integer
            between those of the two; "ratio": the one of them times a factor.
        scales: (long, short) pairs, in pixels.
        ratio: lowest (inclusive) and highest (exclusive) factor of "ratio".
    """

    mode: Literal["fixed", "choice", "range", "ratio"]
    scales: tuple[tuple[int, int], ...]
    ratio: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        expected = {"fixed": 1, "range": 2, "ratio": 1}.get(self.mode, len(self.scales) or 1)
        if len(self.scales) != expected:
            raise ValueError(f"mode {self.mode} with {len(self.scales)} scales: fixed and ratio take 1, range 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """How training views are made of images resized as the protocol does it: the `pipeline` block of a schedule.

    Boxes are read as the protocol's box convention has them.

    Attributes:
        order: the operations in their order: "flip", "resize" (normalisation included where the protocol has that
            first) and possibly "auto_augment".
        flip: probability of a flip, left to right.
        require_area: whether annotations without an area are left out.
        round_before_limit: whether the longer side is compared with its limit after rounding, where the protocol
            resizes by a factor; None leaves it as the protocol has it.
    """

    order: tuple[Literal["flip", "resize", "auto_augment"], ...]
    flip: Share = 0.5
    require_area: bool = True
    round_before_limit: bool | None = None

    def __post_init__(self) -> None:
        if self.order.count("resize") != 1 or len(set(self.order)) < len(self.order):
            raise ValueError("order has resize once, and nothing twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicSettings:
    """How training views are made: the `mosaic` block of a schedule.

    Attributes:
        side: side of the square that the network sees, in pixels.
        close_mosaic: number of last epochs that see single images, without copy-paste and mixup.
        copy_paste: share of the objects that are pasted once more.
        mixup: probability of a second mosaic, seen through the first.
        scale: range of the scale factor, uniform in 1 - scale to 1 + scale.
        translate: range of the shift; the middle lands uniformly in 0.5 - translate to 0.5 + translate of the side.
        hue: range of the factor of hues, uniform in 1 - hue to 1 + hue.
        saturation: range of the factor of saturations, likewise.
        value: range of the factor of values, likewise.
        flip: probability of a flip, left to right.
    """

    side: Annotated[int, Minimum(1)]
    close_mosaic: Annotated[int, Minimum(0)]
    copy_paste: Share
    mixup: Share
    scale: Share
    translate: Share
    hue: Share
    saturation: Share
    value: Share
    flip: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioGroups:
    """Images and their mirror images in fixed groups of about the same width / height: a schedule's `ratio_groups`.

    Attributes:
        narrowest: least width / height of a group; longer images are cut.
        widest: largest width / height of a group, likewise.
        max_objects: number of objects of an image that are trained on, drawn anew for each view.
    """

    narrowest: Annotated[float, Minimum(0)]
    widest: Annotated[float, Minimum(0)]
    max_objects: Annotated[int, Minimum(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HFlip:
    """A flip, left to right.

    Attributes:
        kind: "hflip".
        probability: probability of a flip.
    """

    kind: Literal["hflip"]
    probability: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotometricDistort:
    """Other colours (SSD: Liu et al., 2016), with the values of torchvision's `RandomPhotometricDistort`.

    Attributes:
        kind: "photometric_distort".
        brightness: lowest and highest factor of the levels.
        contrast: lowest and highest factor of the distance to the mean level, before or after the next two.
        saturation: lowest and highest factor of the distance to grey.
        hue: lowest and highest shift of the hues, as a share of their circle.
        probability: of each of them, and of a permutation of the channels.
    """

    kind: Literal["photometric_distort"]
    brightness: tuple[float, float] = (0.875, 1.125)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: tuple[float, float] = (-0.05, 0.05)
    probability: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomOut:
    """An image somewhere on a larger canvas (SSD).

    Attributes:
        kind: "zoom_out".
        fill: level of the canvas in red, green and blue.
        sides: lowest and highest ratio of the sides of the canvas to those of the image.
        probability: probability of a canvas.
    """

    kind: Literal["zoom_out"]
    fill: tuple[int, int, int]
    sides: tuple[float, float] = (1.0, 4.0)
    probability: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class IoUCrop:
    """A part of an image that overlaps an object by so much, with the objects whose middle it shows (SSD).

    Attributes:
        kind: "iou_crop".
        overlaps: the IoU of part and object that is asked for, one of these; 1.0 leaves the image as it is.
        scale: lowest and highest share of the image's sides, drawn for each.
        ratio: lowest and highest width / height of the part.
        trials: parts that are drawn before another overlap is.
    """

    kind: Literal["iou_crop"]
    overlaps: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    scale: tuple[float, float] = (0.3, 1.0)
    ratio: tuple[float, float] = (0.5, 2.0)
    trials: Annotated[int, Minimum(1)] = 40

    def __post_init__(self) -> None:
        if max(self.overlaps, default=0.0) < 1:
            raise ValueError("overlaps has 1.0: some images have no part that overlaps an object by less")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleJitter:
    """A resize by a random factor, ratio kept (large-scale jitter: Ghiasi et al., 2021).

    Attributes:
        kind: "scale_jitter".
        side: side of the square that an image just fits into at factor 1, in pixels.
        scale: lowest and highest factor.
    """

    kind: Literal["scale_jitter"]
    side: Annotated[int, Minimum(1)]
    scale: tuple[float, float] = (0.1, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSizeCrop:
    """A random part of one size; what an image lacks is added at the right and at the bottom.

    Attributes:
        kind: "fixed_size_crop".
        size: (height, width) in pixels.
        fill: level of what is added, in red, green and blue.
    """

    kind: Literal["fixed_size_crop"]
    size: tuple[int, int]
    fill: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortestSize:
    """A resize of the shorter side to one of some lengths, ratio kept.

    Attributes:
        kind: "shortest_size".
        short: lengths of the shorter side, in pixels.
        long: largest length of the longer one, in pixels.
    """

    kind: Literal["shortest_size"]
    short: tuple[int, ...]
    long: int


ViewTransform: TypeAlias = HFlip | PhotometricDistort | ZoomOut | IoUCrop | ScaleJitter | FixedSizeCrop | ShortestSize
"""One of the operations of the `transforms` of a schedule, told by its `kind`."""
