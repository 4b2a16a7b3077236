"""What the report shows of the detections that a run stored: PR curves, kinds of errors, and drawn images.

Detections lie in the folder of a run, beside its record; annotations and images wherever the data was. Both are only
read where they are on this disk already: a report downloads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RECALLS = 101
"""Points of a PR curve, at recall 0, 0.01 ... 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrCurves:
    """Precision over recall; each curve has `RECALLS` numbers in [0, 1].

    Attributes:
        of: "box" or "mask": what is compared.
        mean: "0.5", "0.75" and "0.5:0.95", the IoU -> the curve, the mean over all classes that have objects.
        per_class: name of a class that has objects, in the data set's order -> its curve at IoU 0.5.
    """

    of: str
    mean: Mapping[str, tuple[float, ...]]
    per_class: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLine:
    """The errors of one kind.

    Attributes:
        kind: its name, such as "localisation".
        meaning: what it means, in a few words.
        count: how many detections (of "missed": objects) are of this kind.
        cost: AP50 in points that would be gained if all of these alone were put right.
    """

    kind: str
    meaning: str
    count: int
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """The errors of a run by kind, in the manner of TIDE.

    Attributes:
        of: "box" or "mask": what is compared.
        ap50: AP at IoU 0.5, in points.
        hits: how many detections are right.
        lines: every kind, in the order of `ERROR_KINDS`.
    """

    of: str
    ap50: float
    hits: int
    lines: tuple[ErrorLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """One image with its objects and detections.

    Attributes:
        name: of the image file.
        caption: what is to be seen, in a sentence: why it was chosen, and how many objects, hits and errors it has.
        markup: an `<svg>` to be put into a page as it is, picture and drawing in one; its title is the alternative
            text. It needs no style sheet, and keeps its own colours in dark mode.
    """

    name: str
    caption: str
    markup: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionView:
    """What can be shown of the stored detections of a record.

    Attributes:
        curves: of boxes, then of masks where the row has them; empty where the detections are not there.
        errors: likewise.
        images: at most `MAX_IMAGES`.
        chosen: why these images, as a sentence; empty where there are none.
        legend: an `<svg>` that says what the lines of the drawn images mean; empty where there are none.
        missing: what cannot be shown, why, and how to get it, in a sentence; None where everything is there.
    """

    curves: tuple[PrCurves, ...] = ()
    errors: tuple[ErrorTable, ...] = ()
    images: tuple[DrawnImage, ...] = ()
    chosen: str = ""
    legend: str = ""
    missing: str | None = None


MAX_IMAGES = 6
"""Images that are drawn of a record."""
