"""Draw the pictures of the report that README.md shows: `python scripts/report_screenshots.py`, in about a minute.

The report is that of the made-up records of tests/report_example.py; the drawn detections are those of a run of the
embedded zoo. The browser is the Chromium of this machine (see tests/chromium.py).
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from chromium import MISSING, find_chromium, launched
from report_example import write_example

from zoo.results.report.detections import DetectionViews
from zoo.results.report.site import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = PROJECT / "docs" / "images"

COLOURS = 256
"""Of a palette: enough for flat pages, at a third of the bytes."""

EMBEDDED = "shapes_mask_rcnn_r10_fpn"

WIDE = {"viewport": {"width": 1280, "height": 1400}}
NARROW = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}


def main() -> int:
    executable = find_chromium()
    if executable is None:
        print(MISSING, file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, launched(executable) as browser:
        made_up, measured = Path(folder) / "made-up", Path(folder) / "measured"
        write_example(made_up)
        example = write_report(made_up).parent
        embedded = _embedded(measured) / "entries" / f"{EMBEDDED}.html"
        rows = "index.html#rows&q=r50&sort=box_AP_delta"
        take(browser, "report", f"{example.as_uri()}/index.html", WIDE)
        take(browser, "report-entry", f"{example.as_uri()}/entries/mmdet_faster_rcnn_r50_caffe_c4_1x.html", WIDE)
        take(browser, "report-detections", embedded.as_uri(), WIDE, from_heading="Precision over recall, box")
        take(browser, "report-dark", f"{example.as_uri()}/{rows}", NARROW)
    return 0


def _embedded(folder: Path) -> Path:
    """The report of a run of the embedded zoo, with its detections."""
    from zoo import cli

    run = folder / "run"
    cli.main(["run", EMBEDDED, "measure=[accuracy]", f"results.dir={folder}", f"hydra.run.dir={run}"])
    return write_report(folder, DetectionViews([run]).of).parent


def take(browser: Browser, name: str, address: str, window: dict[str, Any], from_heading: str | None = None) -> None:
    """Write what a window of some size shows of a page, from a heading on where one is named."""
    tab = browser.new_page(**window)
    tab.goto(address)
    if from_heading is not None:
        tab.get_by_role("heading", name=from_heading).evaluate("(heading) => heading.scrollIntoView()")
    picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(COLOURS)
    path = IMAGES / f"{name}.png"
    picture.save(path, optimize=True)
    print(f"wrote {path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
