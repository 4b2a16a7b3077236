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
