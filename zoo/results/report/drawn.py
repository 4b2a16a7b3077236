"""One image with its objects and detections as an SVG: a small JPEG and the lines on it, the same bytes every time.

Every kind has a colour and a line style of its own, every line a dark one below it, and every label names the kind, so
that nothing depends on telling colours apart. Colours after Okabe and Ito, "Color Universal Design" (2008), the dark
ones lightened.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
import numpy.typing as npt

from zoo.data.keypoints import SKELETON
from zoo.data.rle import decode
from zoo.types import Rle

Pixels = npt.NDArray[np.uint8]

LONG_SIDE = 480
"""Pixels of the longer side of a drawing."""

MOST_BYTES = 24_000
"""Of a JPEG: six of them, as text and with their outlines, leave room on a page of 400 kB."""

MOST_LABELS = 20
"""More than these are not read: then hits have none."""

_LETTER, _LINE = 6.8, 13
"""Pixels that a letter of a label is wide, at most, and that its line is high."""

_ROWS_TRIED = 6
"""Lines below its own that a label moves to where another one is."""

_ENCODINGS = ((480, 75), (480, 60), (480, 45), (400, 40), (320, 35), (240, 30), (160, 20))
"""Longer side and quality, the best first: the first that is small enough is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a kind is drawn.

    Attributes:
        colour: of line and label.
        dashes: lengths of strokes and gaps of its line; empty for a line without gaps.
        short: what labels call it.
    """

    colour: str
    dashes: str
    short: str


STYLES = {
    "hit": Style(colour="#2dd4a7", dashes="", short="hit"),
    "object": Style(colour="#ffffff", dashes="1 3", short=""),
    "missed": Style(colour="#ffffff", dashes="6 4", short="missed"),
    "classification": Style(colour="#e69f00", dashes="10 3", short="class"),
    "localisation": Style(colour="#56b4e9", dashes="5 3", short="place"),
    "both": Style(colour="#e79ac8", dashes="8 3 2 3", short="both"),
    "duplicate": Style(colour="#f0e442", dashes="3 3", short="double"),
    "background": Style(colour="#ff7f50", dashes="12 3 2 3 2 3", short="nothing"),
}
"""By the kind of an outline: of detections "hit" or a kind of error, of objects "object" or "missed"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """An object or a detection.

    Attributes:
        kind: one of `STYLES`.
        name: of its class.
        box: x, y, width, height in pixels of the image.
        score: of a detection; None for an object.
        mask: its mask, which is outlined instead of its box; None where there are boxes only.
        keypoints: (x, y) of each of COCO's 17 in pixels of the image, None for one that is not to be seen; empty where
            there are none. They are drawn as limbs, besides the box.
        note: more about it, such as what the object is that it should have been.
    """

    kind: str
    name: str
    box: tuple[float, float, float, float]
    score: float | None = None
    mask: Rle | None = None
    keypoints: tuple[tuple[float, float] | None, ...] = ()
    note: str = ""

    @property
    def words(self) -> str:
        """What it is, for those who do not see it."""
        score = "" if self.score is None else f" {self.score:.2f}"
        kind = {"hit": "hit", "object": "object", "missed": "missed object"}.get(self.kind, f"{self.kind} error")
        return f"{kind}: {self.name}{score}{self.note}"


def draw(pixels: Pixels, outlines: Sequence[Outline], *, name: str) -> str:
    """An image with outlines as `<svg>`.

    Args:
        pixels: uint8 (H, W, 3), BGR.
        outlines: in the order in which they are drawn; later ones cover earlier ones.
        name: how the image is called.
    """
    height, width = pixels.shape[:2]
    scale = LONG_SIDE / max(height, width)
    shown_width, shown_height = round(width * scale), round(height * scale)
    jpeg = base64.b64encode(_jpeg(pixels)).decode("ascii")
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {shown_width} {shown_height}" width="{shown_width}" '
        f'height="{shown_height}" role="img" aria-label="{escape(_alternative(outlines, name))}" '
        'font-family="sans-serif" font-size="12" font-weight="600">'
        f'<image href="data:image/jpeg;base64,{jpeg}" width="{shown_width}" height="{shown_height}" '
        'preserveAspectRatio="none"/>'
    )
    shapes = [_shape(outline, scale) for outline in outlines]
    return "".join([opening, *shapes, *_labels(outlines, scale, (shown_width, shown_height)), "</svg>"])


def legend(meanings: Sequence[tuple[str, str]]) -> str:
    """What the lines mean, as `<svg>`; its text has the colour of the page's.

    Args:
        meanings: some of `STYLES`, and a few words on each.
    """
    rows = []
    for row, (kind, meaning) in enumerate(meanings):
        y, style = 12 + 20 * row, STYLES[kind]
        line = f'<path d="M4 {y}H52" {{}}/>'
        rows.append(line.format(_halo()) + line.format(_stroke(style)))
        short = f" ({style.short})" if style.short and style.short != kind else ""
        rows.append(f'<text x="62" y="{y + 4}" fill="currentColor">{escape(f"{kind}{short}: {meaning}")}</text>')
    height = 20 * len(meanings) + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {height}" width="620" height="{height}" role="img" '
        'aria-label="what the lines of the drawn images mean" '
        f'font-family="sans-serif" font-size="13">{"".join(rows)}</svg>'
    )


def _jpeg(pixels: Pixels) -> bytes:
    """The image as a JPEG that is small enough, never larger than it was."""
    content = b""
    for side, quality in _ENCODINGS:
        shrink = min(1.0, side / max(pixels.shape[:2]))
        size = max(1, round(pixels.shape[1] * shrink)), max(1, round(pixels.shape[0] * shrink))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= MOST_BYTES:
            break
    return content


def _alternative(outlines: Sequence[Outline], name: str) -> str:
    """What is drawn, in words: how many of each kind, then each detection and each missed object."""
    counts = Counter(outline.kind for outline in outlines)
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in STYLES if counts[kind])
    each = "; ".join(outline.words for outline in outlines if outline.kind != "object")
    return f"{name}. Drawn: {summary or 'nothing'}. {each}".strip()


def _shape(outline: Outline, scale: float) -> str:
    """The outline itself, above a dark line that sets it off from the image."""
    path = f'<path d="{_path(outline, scale)}" {{}}>{{}}</path>'
    title = f"<title>{escape(outline.words)}</title>"
    return path.format(_halo(), "") + path.format(_stroke(STYLES[outline.kind]), title)


def _halo() -> str:
    return 'fill="none" stroke="#000" stroke-opacity=".55" stroke-width="4"'


def _stroke(style: Style) -> str:
    dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
    return f'fill="none" stroke="{style.colour}" stroke-width="2"{dashes}'


def _path(outline: Outline, scale: float) -> str:
    """Of a mask its contours, of anything else its box and limbs, as SVG path data."""
    contours = [] if outline.mask is None else _contours(outline.mask, scale)
    if contours:
        return "".join(_closed(points) for points in contours)
    x, y, width, height = (side * scale for side in outline.box)
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}Z{_limbs(outline.keypoints, scale)}"


def _limbs(keypoints: Sequence[tuple[float, float] | None], scale: float) -> str:
    """The limbs between keypoints that are to be seen, as path data."""
    found = []
    for ends in SKELETON if keypoints else ():
        first, second = (keypoints[end] for end in ends)
        if first is not None and second is not None:
            (x1, y1), (x2, y2) = ((x * scale, y * scale) for x, y in (first, second))
            found.append(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")
    return "".join(found)


def _closed(points: npt.NDArray[np.int32]) -> str:
    """A polygon (N, 2) as path data, each corner by its distance from the one before."""
    steps = np.diff(points, axis=0, prepend=0).tolist()
    return f"m{' '.join(f'{x} {y}' for x, y in steps)}z".replace(" -", "-")


def _contours(mask: Rle, scale: float) -> list[npt.NDArray[np.int32]]:
    """The outlines of a mask's pieces, in pixels of the drawing; specks are left out."""
    bitmap = decode(mask)
    size = round(bitmap.shape[1] * scale), round(bitmap.shape[0] * scale)
    shown = cv2.resize(bitmap * np.uint8(255), size, interpolation=cv2.INTER_LINEAR) >= 128
    found, _ = cv2.findContours(shown.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(contour, 1.0, closed=True).reshape(-1, 2) for contour in found]
    return [points.astype(np.int32) for points in simple if len(points) > 2]


def _labels(outlines: Sequence[Outline], scale: float, size: tuple[int, int]) -> list[str]:
    """Kind, class and score of what is drawn, errors first; where there is no room the line itself has to do."""
    labelled = [outline for outline in outlines if outline.kind not in ("hit", "object")]
    hits = [outline for outline in outlines if outline.kind == "hit"]
    if len(labelled) + len(hits) <= MOST_LABELS:
        labelled += hits
    taken: list[tuple[float, float, float]] = []  # left, right, baseline
    return [text for outline in labelled if (text := _label(outline, scale, size, taken))]


def _label(
    outline: Outline, scale: float, size: tuple[int, int], taken: list[tuple[float, float, float]]
) -> str | None:
    """The label of an outline, inside the drawing and beside the others; None where there is no room."""
    style = STYLES[outline.kind]
    score = "" if outline.score is None else f" {outline.score:.2f}"
    words = outline.name + score if outline.kind == "hit" else f"{style.short}: {outline.name}{score}"
    width = _LETTER * len(words)
    x = min(max(outline.box[0] * scale + 2, 2.0), max(2.0, size[0] - width))
    y = min(max(outline.box[1] * scale - 4, 12.0), size[1] - 4.0)
    for row in range(_ROWS_TRIED):
        place = y + row * _LINE
        apart = all(right <= x or x + width <= left or abs(place - other) >= _LINE for left, right, other in taken)
        if apart and place < size[1]:
            taken.append((x, x + width, place))
            return (
                f'<text x="{x:.1f}" y="{place:.1f}" fill="{style.colour}" stroke="#000" stroke-width="3" '
                f'stroke-opacity=".8" paint-order="stroke" aria-hidden="true">{escape(words)}</text>'
            )
    return None
