"""The report in a browser: it sorts, filters and links, says nothing on the console, and can be read everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import MISSING, find_chromium, launched
from pages import dead_links, read_site
from report_example import example_view, write_example

from zoo.results.report.site import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.skipif(find_chromium() is None, reason=MISSING)]

ENTRY = "entries/mmdet_faster_rcnn_r50_caffe_c4_1x.html"
PAGES = {
    "first": "index.html",
    "row with trials": ENTRY,
    "row with masks on two machines": "entries/paddle_mask_rcnn_res2net50_vd_26w_4s_fpn_2x.html",
    "blocked row": "entries/ultralytics_yolov8l.html",
    "training": "entries/mmdet_faster_rcnn_r50_fpn_2x_trained_3_seeds.html",
    "row without a record": "entries/shapes_mask_rcnn_r10_fpn.html",
}
"""A page of each kind."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report in which everything occurs."""
    results = tmp_path_factory.mktemp("report")
    write_example(results)
    return write_report(results, example_view).parent


class Looking:
    """Opens pages of a report, and keeps what a browser complains of.

    There is one tab for each kind of window, because not every build of Chromium survives that one is closed.
    """

    def __init__(self, browser: Browser, report: Path) -> None:
        self.browser, self.report = browser, report
        self.tabs: dict[str, Page] = {}
        self.complaints: list[str] = []

    def open(self, name: str = "index.html", **options: Any) -> Page:
        """A page in a window of some kind, loaded anew."""
        tab = self.tabs.get(repr(options))
        if tab is None:
            tab = self.tabs[repr(options)] = self._new_tab(options)
        tab.goto("about:blank")  # else an address that differs in its hash alone would load nothing
        tab.goto(f"{self.report.as_uri()}/{name}")
        return tab

    def _new_tab(self, options: dict[str, Any]) -> Page:
        page = self.browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("request", self._asked)
        return page

    def _failed(self, request: Any) -> None:
        left = request.is_navigation_request() and request.failure == "net::ERR_ABORTED"  # for another page
        if not left:
            self.complaints.append(f"failed: {request.url}, {request.failure}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((f"{self.report.as_uri()}/", "data:", "about:")):
            self.complaints.append(f"asked for {request.url}")


@pytest.fixture(scope="module")
def window(report: Path) -> Iterator[Looking]:
    with launched(find_chromium() or "") as browser:
        yield Looking(browser, report)


@pytest.fixture
def looking(window: Looking) -> Iterator[Looking]:
    """Whatever a test opens, the console stays empty and nothing is asked of anybody."""
    window.complaints.clear()
    yield window
    assert window.complaints == []


def column(page: Page, key: str) -> list[str]:
    """The texts of a column of the table of rows, without lines that are filtered away."""
    script = """(key) => {
      const table = document.getElementById("table");
      const place = [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.key === key);
      const lines = [...table.tBodies[0].rows].filter((line) => !line.hidden);
      return lines.map((line) => line.cells[place].innerText.trim());
    }"""
    return list(page.evaluate(script, key))


def values(page: Page, key: str) -> list[float]:
    return [float(text.split(" ")[0]) for text in column(page, key) if text]


def expect_text(locator: Locator, text: str | re.Pattern[str]) -> None:
    """Wait until an element has some text. Functions that wait inside of the page are stopped by its policy."""
    from playwright.sync_api import expect

    expect(locator).to_have_text(text)


def said(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the count of lines is some text."""
    expect_text(page.locator("output"), text)


def head(page: Page, key: str) -> Any:
    return page.locator(f'#table th[data-key="{key}"]')


# --- what is there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES.values(), ids=PAGES)
def test_a_page_renders(looking: Looking, name: str) -> None:
    page = looking.open(name)
    assert page.locator("h1").is_visible()
    assert "zoo" in page.title()
    assert page.locator("h1").bounding_box()["height"] < 200, "its style sheet counts"  # type: ignore[index]


def test_drawings_have_a_size_and_a_title(looking: Looking) -> None:
    page = looking.open()
    drawings = page.locator("svg.plot")
    assert drawings.count() == 4, "differences and latencies of two machines"
    for drawing in drawings.all():
        box = drawing.bounding_box()
        assert box
        assert box["width"] > 600
        assert drawing.get_attribute("aria-label")


def test_drawn_detections_are_there(looking: Looking) -> None:
    page = looking.open(PAGES["row with masks on two machines"])
    assert page.locator(".drawn svg").count() == 2, "one each machine"
    box = page.locator(".drawn svg").first.bounding_box()
    assert box
    assert box["width"] > 300
    assert abs(box["width"] / box["height"] - 4 / 3) < 0.02
    assert page.locator(".legend svg").first.is_visible()
    assert page.locator("svg.plot").count() == 4, "boxes and masks on two machines"


def test_every_link_leads_somewhere(report: Path) -> None:
    assert dead_links(read_site(report)) == []


def test_links_are_followed(looking: Looking) -> None:
    page = looking.open()
    page.locator("#table tbody a").first.click()
    assert "/entries/" in page.url
    page.locator("a[rel=next]").click()
    page.locator(".brand a").first.click()
    assert page.url.endswith("/index.html")


# --- sorting -----------------------------------------------------------------------------------------


def blanks_come_last(texts: list[str]) -> bool:
    return texts == [text for text in texts if text] + [text for text in texts if not text]


def test_numbers_sort_as_numbers_with_blanks_last(looking: Looking) -> None:
    page = looking.open()
    for key in ("box_AP_published", "box_AP_measured", "box_AP_delta", "fps", "params_m"):
        head(page, key).locator("button").click()
        assert head(page, key).get_attribute("aria-sort") == "descending"
        assert values(page, key) == sorted(values(page, key), reverse=True)
        assert len(set(values(page, key))) > 3
        assert blanks_come_last(column(page, key))
        head(page, key).locator("button").click()
        assert head(page, key).get_attribute("aria-sort") == "ascending"
        assert values(page, key) == sorted(values(page, key))
        assert blanks_come_last(column(page, key))


def test_text_sorts_as_text_with_blanks_last(looking: Looking) -> None:
    page = looking.open()
    for key in ("row", "zoo", "machine", "verdict", "reason"):
        for direction in ("ascending", "descending"):
            head(page, key).locator("button").click()
            assert head(page, key).get_attribute("aria-sort") == direction
            assert blanks_come_last(column(page, key))
            assert len(set(column(page, key))) > 1
        assert page.locator('#table th[aria-sort="ascending"], #table th[aria-sort="descending"]').count() == 1
    assert column(page, "machine")[-1] == "", "of a row that nobody tried"
    head(page, "zoo").locator("button").click()
    assert column(page, "zoo") == sorted(column(page, "zoo"))


def test_classes_sort(looking: Looking) -> None:
    page = looking.open(ENTRY)
    table = page.locator(".classes table")
    table.locator("th button", has_text="box AP").click()
    found = [float(text) for text in table.locator("tbody td.number").all_inner_texts()]
    assert found == sorted(found, reverse=True)
    assert table.locator("tbody tr").count() == len(found) == 8


def test_the_keyboard_sorts(looking: Looking) -> None:
    page = looking.open()
    button = head(page, "fps").locator("button")
    button.focus()
    page.keyboard.press("Enter")
    assert head(page, "fps").get_attribute("aria-sort") == "descending"
    assert button.evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid"


# --- filtering ---------------------------------------------------------------------------------------


def test_every_word_filters(looking: Looking) -> None:
    page = looking.open()
    every = len(column(page, "row"))
    page.locator("[name=q]").fill("R50 caffe")
    rows = column(page, "row")
    assert 3 <= len(rows) < every
    assert all("r50" in row and "caffe" in row for row in rows)
    assert page.locator("output").inner_text() == f"{len(rows)} of {every} lines"
    page.locator("button[type=reset]").click()
    said(page, f"{every} of {every} lines")


def test_zoo_verdict_and_machine_filter(looking: Looking) -> None:
    page = looking.open()
    page.locator("[name=zoo]").select_option("paddle")
    assert set(column(page, "zoo")) == {"paddle"}
    page.locator("[name=verdict]").select_option("NUMERIC")
    assert column(page, "verdict")
    assert all("NUMERIC" in text for text in column(page, "verdict"))
    page.locator("[name=machine]").select_option("example-cpu")
    assert set(column(page, "machine")) == {"example-cpu"}


def test_an_address_leads_to_the_same_view(looking: Looking) -> None:
    page = looking.open()
    page.locator("[name=zoo]").select_option("mmdet")
    page.locator("[name=q]").fill("fpn 1x")
    head(page, "box_AP_delta").locator("button").click()
    rows, address = column(page, "row"), page.url
    assert address.endswith("#rows&q=fpn+1x&zoo=mmdet&sort=-box_AP_delta")
    again = looking.open(f"index.html#{address.partition('#')[2]}")
    assert column(again, "row") == rows
    assert again.locator("[name=q]").input_value() == "fpn 1x"
    assert head(again, "box_AP_delta").get_attribute("aria-sort") == "descending"


def test_an_address_that_makes_no_sense_shows_everything(looking: Looking) -> None:
    page = looking.open("index.html#rows&zoo=%22%3E%3Cscript%3E&sort=-nothing&verdict=&x=%ff")
    assert page.locator("#table tbody tr:not([hidden])").count() == len(column(page, "row")) > 60


def test_counts_lead_to_their_rows(looking: Looking) -> None:
    page = looking.open()
    links = page.locator(".counts a")
    for link, verdict in zip(links.all(), ("BLOCKED", "FAILED", "NO-RECORD"), strict=True):
        count = int(link.inner_text())
        link.click()
        said(page, re.compile(f"^{count} of"))
        assert all(verdict in text for text in column(page, "verdict"))
    of_entry = looking.open(ENTRY)
    of_entry.locator(".brand a", has_text="mmdet").click()
    assert set(column(of_entry, "zoo")) == {"mmdet"}


# --- everywhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES.values(), ids=PAGES)
def test_a_narrow_page_does_not_scroll_sideways(looking: Looking, name: str) -> None:
    page = looking.open(name, viewport={"width": 390, "height": 800})
    wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == 390


FAINT_TEXT = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((value) => linear(value / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgb("Canvas");
  };
  const faint = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const aside = node.closest("script, style, .drawn svg"); // text on pictures has an outline of its own
    if (aside || !walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const text = rgb(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(text), light(behind(node))].sort((a, b) => b - a);
    const contrast = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (contrast < 4.5) faint.set(`${node.tagName} ${node.getAttribute("class")}`, contrast);
  }
  return [seen, [...faint], light(behind(document.body))];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES.values(), ids=PAGES)
def test_text_stands_out(looking: Looking, name: str, scheme: str) -> None:
    page = looking.open(name, color_scheme=scheme)
    seen, faint, paper = page.evaluate(FAINT_TEXT)
    assert seen > 40
    assert faint == []
    assert paper < 0.05 if scheme == "dark" else paper > 0.9


def test_without_a_script_everything_can_be_read(looking: Looking) -> None:
    page = looking.open(java_script_enabled=False)
    rows = page.locator("#table tbody tr")
    assert rows.count() > 60
    assert all(row.is_visible() for row in rows.all()[::20])
    assert not page.locator("#filters").is_visible()
    page.locator(".counts a").first.click()
    assert page.url.endswith("#rows")
    assert not looking.open(ENTRY, java_script_enabled=False).locator("button.copy").first.is_visible()


def test_a_command_is_copied_or_selected(looking: Looking) -> None:
    page = looking.open(ENTRY)
    button = page.locator("button.copy").first
    button.click()
    expect_text(button, re.compile("Copied|Selected"))
    if button.inner_text() == "Selected":
        assert page.evaluate("getSelection().toString()").startswith("make reproduce MODEL=")


def test_paper_shows_the_whole_table(looking: Looking) -> None:
    page = looking.open()
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    box = page.locator("#table").bounding_box()
    around = page.locator("#rows .tall").bounding_box()
    assert box
    assert around
    assert around["height"] >= box["height"]


def test_a_policy_stops_what_is_not_the_pages_own(window: Looking) -> None:
    page = window.open()
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.injected = true";
      document.body.append(script);
    }""")
    assert page.evaluate("window.injected === undefined")
    assert any("Content Security Policy" in complaint for complaint in window.complaints)
