"""Drawn images: small, the same bytes every time, and to be read without telling colours apart."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from zoo.data.rle import encode_window
from zoo.measure.coco_eval.errors import ERROR_KINDS
from zoo.results.report.drawn import LONG_SIDE, MOST_BYTES, STYLES, Outline, draw, legend

SVG = "{http://www.w3.org/2000/svg}"
GREY = np.full((240, 320, 3), 127, dtype=np.uint8)


def read(markup: str) -> ET.Element:
    return ET.fromstring(markup)  # noqa: S314 - our own text


def picture(drawing: ET.Element) -> tuple[bytes, np.ndarray]:
    image = drawing.find(f"{SVG}image")
    assert image is not None
    content = base64.b64decode(image.get("href", "").removeprefix("data:image/jpeg;base64,"))
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return content, pixels


def test_boxes_of_a_worked_example() -> None:
    drawing = read(draw(GREY, [Outline(kind="hit", name="cat", box=(10, 20, 100, 50), score=0.876)], name="a.jpg"))
    assert (drawing.get("width"), drawing.get("height")) == ("480", "360"), "1.5 times as large"
    halo, line = drawing.findall(f"{SVG}path")
    assert halo.get("d") == line.get("d") == "M15.0 30.0h150.0v75.0h-150.0Z"
    assert (halo.get("stroke"), line.get("stroke")) == ("#000", STYLES["hit"].colour)
    assert line.findtext(f"{SVG}title") == "hit: cat 0.88"
    assert [text.text for text in drawing.findall(f"{SVG}text")] == ["cat 0.88"]
    assert drawing.get("aria-label") == "a.jpg. Drawn: 1 hit. hit: cat 0.88"


def test_masks_are_outlined_instead_of_boxes() -> None:
    mask = encode_window(np.ones((50, 100), dtype=bool), (20, 10), (240, 320))
    drawing = read(draw(GREY, [Outline(kind="missed", name="cat", box=(0, 0, 9, 9), mask=mask)], name="a.jpg"))
    path = drawing.findall(f"{SVG}path")[1].get("d", "")
    steps = re.findall(r"-?\d+", path)
    points = np.array(steps, dtype=int).reshape(-1, 2).cumsum(axis=0)
    assert path == f"m{path[1:-1]}z"
    assert points.min(axis=0) == pytest.approx([15, 30], abs=1)
    assert points.max(axis=0) == pytest.approx([164, 104], abs=1)
    assert len(points) <= 8
    assert [text.text for text in drawing.findall(f"{SVG}text")] == ["missed: cat"]


def test_a_mask_without_pixels_shows_its_box() -> None:
    mask = encode_window(np.zeros((1, 1), dtype=bool), (0, 0), (240, 320))
    drawing = read(draw(GREY, [Outline(kind="hit", name="cat", box=(0, 0, 10, 10), score=1, mask=mask)], name="a"))
    assert drawing.findall(f"{SVG}path")[1].get("d") == "M0.0 0.0h15.0v15.0h-15.0Z"


def test_every_kind_has_a_line_and_a_word_of_its_own() -> None:
    assert set(STYLES) == {"hit", "object", *ERROR_KINDS}
    assert len({style.dashes for style in STYLES.values()}) == len(STYLES)
    assert len({style.short for style in STYLES.values()}) == len(STYLES)
    outlines = [Outline(kind=kind, name="cat", box=(9, 90, 20, 20), score=0.5) for kind in ERROR_KINDS]
    drawing = read(draw(GREY, outlines, name="a.jpg"))
    assert len({text.text for text in drawing.findall(f"{SVG}text")}) == len(ERROR_KINDS)
    places = {(text.get("x"), text.get("y")) for text in drawing.findall(f"{SVG}text")}
    assert len(places) == len(ERROR_KINDS), "labels do not cover each other"
    explained = read(legend([(kind, "what it is") for kind in STYLES]))
    dashes = [path.get("stroke-dasharray") for path in explained.findall(f"{SVG}path")[1::2]]
    assert dashes == [style.dashes or None for style in STYLES.values()]
    assert [text.text for text in explained.findall(f"{SVG}text")][
        list(STYLES).index("localisation")
    ] == "localisation (place): what it is"


def test_what_the_objects_should_have_been_called_is_said() -> None:
    outline = Outline(kind="classification", name="cat", box=(0, 0, 9, 9), score=0.5, note=", is dog")
    assert "1 classification. classification error: cat 0.50, is dog" in draw(GREY, [outline], name="a.jpg")


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (4000, 1000), (100, 80), (1, 700)])
def test_pictures_are_shrunk_and_never_enlarged(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    drawing = read(draw(pixels, [], name="a.jpg"))
    _, shown = picture(drawing)
    assert max(shown.shape[:2]) == min(LONG_SIDE, max(height, width))
    assert max(int(drawing.get(side, "0")) for side in ("width", "height")) == LONG_SIDE


def test_pictures_are_small_whatever_is_on_them() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    content, shown = picture(read(draw(noise, [], name="a.jpg")))
    assert len(content) <= MOST_BYTES
    assert max(shown.shape) < LONG_SIDE
    assert draw(noise, [], name="a.jpg") == draw(noise.copy(), [], name="a.jpg")


def test_labels_stay_inside_and_apart() -> None:
    corners = [(0, 0, 5, 5), (315, 0, 5, 5), (0, 235, 5, 5), (315, 235, 5, 5)]
    outlines = [Outline(kind="background", name="light", box=box, score=0.5) for box in corners * 3]
    places: list[tuple[float, float]] = []
    for text in read(draw(GREY, outlines, name="a.jpg")).findall(f"{SVG}text"):
        x, y = float(text.get("x", "-1")), float(text.get("y", "-1"))
        assert 0 <= x <= 480 - 6.8 * len(text.text or "")
        assert 10 <= y <= 360
        assert all(abs(y - other_y) >= 13 or abs(x - other_x) > 100 for other_x, other_y in places)
        places.append((x, y))
    assert len(places) == 8, "three at the top of each side, and one at the bottom, where there is no more room"


def test_of_many_outlines_only_the_errors_are_labelled() -> None:
    outlines = [Outline(kind="hit", name="cat", box=(x, 20, 4, 4), score=0.5) for x in range(0, 300, 15)]
    error = Outline(kind="background", name="dog", box=(9, 90, 20, 20), score=0.5)
    drawing = read(draw(GREY, [*outlines, error], name="a.jpg"))
    assert [text.text for text in drawing.findall(f"{SVG}text")] == ["nothing: dog 0.50"]
    assert "hit: cat 0.50" in drawing.get("aria-label", "")


def test_names_are_text() -> None:
    hostile = "<script>alert('x')</script> & \"more\""
    markup = draw(GREY, [Outline(kind="hit", name=hostile, box=(0, 0, 9, 9), score=0.5)], name=hostile)
    assert "<script" not in markup
    drawing = read(markup)
    assert drawing.get("aria-label", "").startswith(hostile)
    assert drawing.findall(f"{SVG}text")[0].text == f"{hostile} 0.50"
    assert "<b>" not in legend([("hit", "<b>")])
