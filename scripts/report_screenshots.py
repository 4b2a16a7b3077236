"""Draw the pictures of the report that README.md shows: `python scripts/report_screenshots.py`.

The report is that of the made-up records of tests/report_example.py; the browser is the Chromium of this machine
(see tests/chromium.py).
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from chromium import MISSING, find_chromium, launched  # noqa: E402
from report_example import write_example  # noqa: E402

from zoo.results.report.site import write_report  # noqa: E402

IMAGES = PROJECT / "docs" / "images"

COLOURS = 128
"""Of a palette: enough for flat pages, at a third of the bytes."""

PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "report": ("index.html", {"viewport": {"width": 1280, "height": 1500}}),
    "report-entry": (
        "entries/mmdet_faster_rcnn_r50_caffe_c4_1x.html",
        {"viewport": {"width": 1280, "height": 1500}},
    ),
    "report-dark": (
        "index.html#rows&q=r50&sort=box_AP_delta",
        {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2},
    ),
}
"""Name of a picture -> page, and the window it is looked at through."""


def main() -> int:
    executable = find_chromium()
    if executable is None:
        print(MISSING, file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, launched(executable) as browser:
        write_example(Path(folder))
        report = write_report(Path(folder)).parent
        for name, (page, window) in PICTURES.items():
            tab = browser.new_page(**window)
            tab.goto(f"{report.as_uri()}/{page}")
            picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(COLOURS)
            picture.save(IMAGES / f"{name}.png", optimize=True)
            print(f"wrote {IMAGES / name}.png: {(IMAGES / f'{name}.png').stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
