"""The report: everything visible, everything escaped, the same bytes every time, points where they belong."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up import make_catalogue, make_hardware, make_record

from zoo import cli
from zoo.errors import UsageError, ZooError
from zoo.results.ledger import Ledger
from zoo.results.report.page import write_report
from zoo.results.report.plots import Delta, Point, pareto_front, scatter_plot, strip_plot, ticks, verdict_class
from zoo.runtime.provenance import Code
from zoo.terminal import ABSENT

MEASURED: dict[str, Any] = {
    "box_AP": 37.4123,
    "box_AP50": 58.1,
    "fps": 61.25,
    "latency_ms": {"p50": 16.04, "p95": 19.9},
}
HOSTILE = "<script>alert('x')</script> & \"more\""
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page as a browser does, and fails where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids |= {value for name, value in attrs if name == "id" and value}
        self.links |= {value for name, value in attrs if name in ("href", "src") and value}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows measured, drifting, blocked, failed and changed on one machine, one more row on another."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "paddle_a", "paddle_c", "ultralytics_d")
    folder = tmp_path / "results"
    add(folder, "mmdet_a", measured=MEASURED, code=Code(version="1", commit="6ff6315abcdef", dirty=True))
    add(folder, "mmdet_a", measured={"box_AP": 37.47}, hardware="cpu")
    add(folder, "mmdet_b", status="blocked", reason=f"link dead {HOSTILE}", next_step="try later")
    add(folder, "paddle_a", measured={"box_AP": 34.0, "latency_ms": {"p50": 9.0}})
    add(folder, "paddle_c", status="failed", reason="out of memory", weights=None)
    changes = ["neck=pafpn", "note=a b$c"]
    add(folder, "mmdet_a", changes=changes, overrides=changes, name="with_pafpn", measured={"box_AP": 36.0})
    return folder


def add(folder: Path, entry: str, **changes: Any) -> None:
    Ledger(folder).file(make_record(entry, **changes))


def read(results: Path) -> Page:
    return Page(write_report(results).read_text(encoding="utf-8"))


def test_every_status_is_there_with_its_reason(results: Path) -> None:
    page = read(results)
    assert "h200-sxm 5 3 1 1" in page.text, "attempted, measured, blocked, failed"
    assert "cpu 1 1 0 0" in page.text
    assert "Protocols: mmdet 1." in page.text
    assert "mmdet_a box NUMERIC +0.07 box EXACT +0.01" in page.text
    assert f"mmdet_b {ABSENT} box BLOCKED" in page.text
    assert f"paddle_a {ABSENT} box DRIFT -3.40" in page.text
    assert f"paddle_c {ABSENT} box FAILED" in page.text
    assert "FAILED out of memory" in page.text
    assert "Next: try later" in page.text
    assert "a changed composition of mmdet_a" in page.text


def test_numbers_are_the_records(results: Path) -> None:
    text = read(results).text
    assert "box_AP 37.4 37.412 +0.012 EXACT" in text
    assert f"fps 21.4 61.250 {ABSENT} NOT-COMPARED published for V100, measured on h200-sxm" in text
    assert "box AP box AP50 fps latency p50 ms latency p95 ms 37.41 58.10 61.25 16.0 19.9" in text
    assert "fps 21.4 images/s V100 README.md:25" in text
    assert f"sha256 {'0' * 64}, evidence: published prefix" in text
    assert "coco2017, val2017, images: 5000, the whole split" in text
    assert "commit 6ff6315a+dirty" in text


def test_commands_repeat_the_run(results: Path) -> None:
    add(results, "ultralytics_d", trained=True, overrides=["run=train"])
    text = read(results).text
    assert "repeat it make reproduce MODEL=a " in text
    assert "make reproduce MODEL=paddle_a " in text, "the short name is another zoo's"
    assert "make reproduce MODEL=c " in text
    assert "make reproduce MODEL=d ARGS=run=train" in text
    assert "make reproduce MODEL=a ARGS='neck=pafpn '\"'\"'note=a b$$c'\"'\"''" in text


def test_commands_name_weights_and_data_of_ones_own(results: Path) -> None:
    config = {"checkpoint": {"path": "mine.pth", "url": None}, "data": {"root": "my-data"}}
    own = {"hash_evidence": "other weights", "overrides": ["data=folder"], "config": config}
    add(results, "mmdet_a", known=False, weights="1" * 64, **own)
    assert "MODEL=a ARGS='data=folder checkpoint.path=mine.pth data.root=my-data'" in read(results).text
    add(results, "mmdet_b", weights="1" * 64, **own)
    assert "MODEL=b ARGS='data=folder checkpoint.path=mine.pth'" in read(results).text, "known data is fetched"


def test_what_a_record_says_is_text(results: Path) -> None:
    hardware = make_hardware("h200", device=HOSTILE)
    name = "data.split=<script>x&y"
    add(results, "mmdet_a", measured=MEASURED, conditions=(name,), hardware=hardware)
    page = read(results)
    assert not page.tags & {"script", "b", "img", "link"}
    assert f"link dead {HOSTILE}" in page.text
    assert page.text.count(name) >= 3, "matrix, heading and plot"


def test_the_page_needs_nothing_else(results: Path) -> None:
    page = read(results)
    assert page.links <= {f"#{name}" for name in page.ids}
    assert "svg" in page.tags
    html = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|https?://", html)


def test_writing_twice_gives_the_same_bytes(results: Path) -> None:
    first = write_report(results).read_bytes()
    assert write_report(results).read_bytes() == first


def test_no_records_are_an_error_with_a_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZooError, match="no records to read under") as caught:
        write_report(tmp_path)
    assert "python -m zoo.bench" in caught.value.next_step
    assert cli.main(["report", "--results-dir", str(tmp_path)]) == 1
    assert "next: measure something first" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_two_versions_of_a_protocol_do_not_share_a_page(results: Path) -> None:
    add(results, "ultralytics_d", version=2)
    with pytest.raises(UsageError, match="2 versions"):
        write_report(results)


def test_the_command_says_where_the_page_is(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--results-dir", str(results)]) == 0
    assert capsys.readouterr().out == f"wrote {results / 'report' / 'index.html'}\n"


def test_only_whole_runs_of_an_entry_are_filled_points(results: Path) -> None:
    add(results, "ultralytics_d", images=8, partial=True, measured={"box_AP": 50.0, "latency_ms": {"p50": 1.0}})
    html = write_report(results).read_text(encoding="utf-8")
    assert html.count('class="dot"') == 2
    assert html.count('class="dot hollow"') == 1


def test_trainings_are_one_row_over_their_seeds(results: Path) -> None:
    for seed, box in enumerate((37.2, 37.5, 37.8)):
        measured = {"box_AP": box, "latency_ms": {"p50": 16.0}}
        add(results, "mmdet_a", trained=True, seed=seed, measured=measured, hash_evidence="none")
    page = read(results)
    assert f"mmdet_a (trained, 3 seeds) {ABSENT} box NUMERIC +0.10" in page.text
    assert "trained here, 3 seeds: within ±1.54, not below" in page.text
    assert page.text.count("mmdet_a (trained, 3 seeds)") >= 3, "matrix, heading and plot"
    assert "mmdet_a_trained_3_seeds" in page.ids


def test_attempts_stand_beside_the_row(results: Path) -> None:
    add(results, "mmdet_a", status="failed", reason="the disk is full")
    add(results, "mmdet_a", measured={"box_AP": 36.1}, weights="1" * 64, hash_evidence="other weights")
    add(results, "mmdet_a", measured={"box_AP": 30.0}, images=7, partial=True, conditions=("data.limit=7",))
    page = read(results)
    assert "box_AP 37.4 37.412 +0.012 EXACT" in page.text, "the row itself"
    assert "FAILED the disk is full" in page.text
    assert f"box_AP 37.4 36.100 {ABSENT} OTHER-WEIGHTS" in page.text
    assert f"box_AP 37.4 30.000 {ABSENT} PARTIAL not the whole split: 7 images" in page.text
    assert "h200-sxm 8 5 1 2" in page.text, "attempted, measured, blocked, failed"
    cells = "box NUMERIC +0.07 box EXACT +0.01 box FAILED box OTHER-WEIGHTS"
    assert f"mmdet_a {cells} mmdet_a (data.limit=7) {ABSENT} box PARTIAL" in page.text


# --- the plots: an axis of ±0.2 AP from x = 330 to 640 is 775 pixels an AP point -------------------


def test_strip_plot_of_a_worked_example() -> None:
    svg = strip_plot([Delta("a <box>", 0.1, (0.05, 0.1), "NUMERIC"), Delta("b", -0.04, (), "EXACT")])
    assert '<line class="zero" x1="485.0"' in svg
    assert '<rect class="band" x="446.2" y="7" width="77.6" height="14"/><circle' in svg, "485 ± 0.05 * 775"
    assert '<rect class="band" x="407.5" y="7" width="155.0" height="14"/>' in svg, "485 ± 0.1 * 775"
    assert '<circle class="mark v-numeric" cx="562.5" cy="14.0" r="4"/>' in svg
    assert '<circle class="mark v-exact" cx="454.0" cy="34.0" r="4"/>' in svg
    assert "+0.10 NUMERIC" in svg
    assert "a &lt;box&gt;" in svg
    assert svg.count("<rect") == 2, "none for the row without bands"


def test_a_large_difference_does_not_squash_the_others() -> None:
    svg = strip_plot([Delta("a", -37.4, (0.05,), "DRIFT"), Delta("b", 0.5, (0.05,), "DRIFT")])
    assert 'd="M337.0 9.0L330.0 14.0L337.0 19.0Z"' in svg, "an arrow at the edge"
    assert "-37.40 DRIFT" in svg
    assert 'cx="562.5" cy="34.0"' in svg, "the axis ends at ±1"


def test_scatter_plot_of_a_worked_example() -> None:
    points = [Point("fast", "#f", 10.0, 30.0, True), Point("good", "#g", 40.0, 40.0, True)]
    svg = scatter_plot([*points, Point("beaten", "#b", 20.0, 30.0, True), Point("part", "#p", 5.0, 40.0, False)])
    # 0 to 40 ms from x = 50 to 740, 30 to 40 AP from y = 340 up to 15
    assert '<polyline class="front" points="222.5,340.0 740.0,15.0"/>' in svg
    assert '<a href="#b"><title>beaten: 30.00 AP, 20.0 ms</title><circle class="dot" cx="395.0" cy="340.0"' in svg
    assert '<circle class="dot hollow" cx="136.2" cy="15.0"' in svg
    assert '<text x="230.5" y="336.0">fast</text>' in svg, "above the axis, not across it"
    assert '<text x="732.0" y="12.0" text-anchor="end">good</text>' in svg, "inside the drawing"
    assert [point.label for point in pareto_front(points)] == ["fast", "good"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 40.0, [0.0, 10.0, 20.0, 30.0, 40.0]),
        (37.4, 37.4, [37.4, 37.6, 37.8]),
        (0.0, 0.03, [0.0, 0.01, 0.02, 0.03]),
        (34.2, 41.1, [34.0, 36.0, 38.0, 40.0, 42.0]),
    ],
)
def test_ticks_are_round_and_hold_everything(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_verdicts_have_their_own_style() -> None:
    assert verdict_class("OTHER-WEIGHTS") == "v-other-weights"
    assert verdict_class('"><x') == "v----x"
