"""The report: everything visible, the same bytes every time, nothing that leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from made_up import make_catalogue, make_record
from pages import Page, dead_links, read_site

from zoo import cli
from zoo.errors import UsageError, ZooError
from zoo.results.ledger import Ledger
from zoo.results.record import LoadReport
from zoo.results.report.contents import file_names
from zoo.results.report.detections import DetectionView, DrawnImage, ErrorLine, ErrorTable, PrCurves
from zoo.results.report.site import write_report
from zoo.runtime.provenance import Code
from zoo.terminal import ABSENT

MEASURED: dict[str, Any] = {
    "box_AP": 37.4123,
    "box_AP50": 58.1,
    "fps": 61.25,
    "latency_ms": {"p50": 16.04, "p95": 19.9},
    "per_class": {"box_AP": {"person": 52.34, "dog": None}},
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows measured, drifting, blocked, failed and changed on one machine, one more row on another; one without any."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "mmdet_e", "paddle_a", "paddle_c", "ultralytics_d")
    folder = tmp_path / "results"
    add(folder, "mmdet_a", measured=MEASURED, code=Code(version="1", commit="6ff6315abcdef", dirty=True))
    add(folder, "mmdet_a", measured={"box_AP": 37.47}, hardware="cpu")
    add(folder, "mmdet_b", status="blocked", reason="link dead", next_step="try later")
    add(folder, "paddle_a", measured={"box_AP": 34.0, "latency_ms": {"p50": 9.0}})
    add(folder, "paddle_c", status="failed", reason="out of memory", weights=None)
    changes = ["neck=pafpn", "note=a b$c"]
    add(folder, "mmdet_a", changes=changes, overrides=changes, name="with_pafpn", measured={"box_AP": 36.0})
    return folder


def add(folder: Path, entry: str, **changes: Any) -> None:
    Ledger(folder).file(make_record(entry, **changes))


def read(results: Path, name: str = "index") -> Page:
    """A page of the report, written anew."""
    return Page((write_report(results).parent / f"{name}.html").read_text(encoding="utf-8"))


def entry(results: Path, name: str) -> str:
    """The text of an entry's page."""
    return read(results, f"entries/{name}").text


# --- the first page ---------------------------------------------------------------------------------


def test_rows_are_counted_and_those_that_nobody_tried(results: Path) -> None:
    text = read(results).text
    assert "rows published 6 attempted 4 measured 2 blocked 1 failed 1 without a record 2" in text
    assert "1 NUMERIC 1 DRIFT 1 BLOCKED 1 FAILED Zoos" in text
    assert "mmdet 3 2 1 1 0 0 1 1 NUMERIC 1 BLOCKED paddle" in text, "rows, attempted, measured, blocked, failed, part"
    assert "ultralytics 1 0 0 0 0 0 1" in text
    assert "h200-sxm 5 3 1 1" in text, "runs, measured, blocked, failed"
    assert "cpu 1 1 0 0" in text
    assert "Protocols: mmdet 1." in text


def test_a_row_is_partly_measured_by_a_partial_run_alone(results: Path) -> None:
    add(results, "mmdet_e", images=8, partial=True, conditions=("data.limit=8",))
    text = read(results).text
    assert "attempted 5 measured 2 blocked 1 failed 1 without a record 1" in text
    assert "mmdet 3 3 1 1 0 1 0 1 NUMERIC 1 BLOCKED 1 PARTIAL" in text


def test_every_verdict_stands_in_the_matrix_as_text(results: Path) -> None:
    text = read(results).text
    assert "mmdet_a cpu NUMERIC +0.07 NOT-ASKED mmdet_a h200-sxm EXACT +0.01 NOT-COMPARED with_pafpn h200-sxm" in text
    assert "mmdet_b h200-sxm BLOCKED BLOCKED" in text
    assert "paddle_a h200-sxm DRIFT -3.40" in text


def test_every_row_of_the_catalogue_is_a_line_of_the_table(results: Path) -> None:
    page = read(results)
    assert "mmdet_a box EXACT h200-sxm 37.4 37.41 +0.01 61.25 16.0 mmdet" in page.text
    assert "mmdet_b box BLOCKED h200-sxm 37.4 mmdet link dead" in page.text
    assert "paddle_c box FAILED h200-sxm 37.4 paddle out of memory" in page.text
    assert "mmdet_e NO-RECORD 37.4 mmdet" in page.text
    assert page.attributes.count(("data-verdicts", "NO-RECORD")) == 2
    assert ("data-value", "37.4123") in page.attributes, "sorted by every digit"
    assert page.tags.count("tr") == 5 + 3 + 7 + 9, "zoos, machines, matrix, rows; each with its head"


def test_trials_are_no_lines_of_their_own(results: Path, tmp_path: Path) -> None:
    switches = tmp_path / "conf" / "protocol" / "switches"
    switches.mkdir()
    (switches / "paddle.yaml").write_text(
        "switches: [{name: another colour order, overrides: [protocol.channels=bgr], source: docs/colours.md}]"
    )
    trial = {"overrides": ["protocol.channels=bgr"], "changes": ["protocol.channels=bgr"], "row": "e" * 64}
    add(results, "paddle_a", measured={"box_AP": 34.0}, config={"protocol": {"channels": "rgb"}})
    before = read(results).tags.count("tr")
    add(results, "paddle_a", measured={"box_AP": 37.41}, config={"protocol": {"channels": "bgr"}}, **trial)
    assert read(results).tags.count("tr") == before
    text = entry(results, "paddle_a")
    assert "switch box AP meets tier named by published 37.4 measured 34.00 0 of 1" in text
    assert "another colour order 37.41 1 of 1 2 docs/colours.md" in text
    add(results, "paddle_a", name="mine", config={"protocol": {"channels": "bgr"}}, **trial)
    assert read(results).tags.count("tr") == before + 2, "a run with a name is somebody's own"


def test_trainings_are_one_row_over_their_seeds(results: Path) -> None:
    for seed, box in enumerate((37.2, 37.5, 37.8)):
        measured = {"box_AP": box, "latency_ms": {"p50": 16.0}}
        add(results, "mmdet_a", trained=True, seed=seed, measured=measured, hash_evidence="none")
    page = read(results)
    assert "mmdet_a (trained, 3 seeds) box NUMERIC h200-sxm 37.4 37.50 ± 0.30 +0.10" in page.text
    text = entry(results, "mmdet_a_trained_3_seeds")
    assert "box AP AP points 37.4 37.500 ± 0.300 +0.100 NUMERIC h200-sxm trained here, 3 seeds: within ±1.54" in text
    assert "seed 0, 1, 2" in text
    assert "Each seed seed box AP 0 37.20 1 37.50 2 37.80" in text
    assert "noise floor" not in text, "the spread over seeds counts"
    assert "It is a run of mmdet_a ." in text
    html = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert html.count('<line class="draw"') == 3, "a stroke each seed"


def test_only_whole_runs_of_an_entry_are_filled_points(results: Path) -> None:
    add(results, "ultralytics_d", images=8, partial=True, measured={"box_AP": 50.0, "latency_ms": {"p50": 1.0}})
    html = write_report(results).read_text(encoding="utf-8")
    assert len(re.findall(r'<path class="dot z\d" [^>]*><', html)) == 2
    assert len(re.findall(r'<path class="dot z\d hollow"', html)) == 1


def test_zoos_to_one_side_are_named(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No zoo lies to one side" in read(results).text
    names = [f"mmdet_r{i}" for i in range(12)]
    make_catalogue(tmp_path / "more", monkeypatch, *names)
    for name in names:
        add(tmp_path / "more", name, measured={"box_AP": 37.43})
    text = read(tmp_path / "more").text
    assert "machine zoo metric above below mean difference probability by chance h200-sxm mmdet box_AP 12 0" in text


# --- the page of an entry ---------------------------------------------------------------------------


def test_an_entry_shows_published_beside_measured_on_each_machine(results: Path) -> None:
    text = entry(results, "mmdet_a")
    assert "box AP AP points 37.4 37.470 +0.070 NUMERIC cpu within the noise floor of 0.05" in text
    assert "37.412 +0.012 EXACT h200-sxm fps images/s 21.4" in text
    assert f"61.250 {ABSENT} NOT-COMPARED h200-sxm published for V100, measured on h200-sxm" in text
    assert "fps 21.4 images/s V100 README.md:25 its zoo" in text
    assert "faster-rcnn of mmdet, weights under Apache-2.0." in text
    assert "Of the same row: with_pafpn" in text


def test_an_entry_shows_facts_and_every_number(results: Path) -> None:
    text = entry(results, "mmdet_a")
    assert "box AP 37.41 box AP50 58.10 fps 61.25 latency p50 ms 16.0 latency p95 ms 19.9" in text
    assert f"sha256 {'0' * 64}, evidence: published prefix" in text
    assert "coco2017, val2017, images: 5000, the whole split" in text
    assert "commit 6ff6315a+dirty" in text
    assert "noise floor box AP 0.050 (where none was measured)" in text
    assert "accuracy 1 2026-01-01T00:00:00+00:00 1.0 6ff6315a+dirty" in text
    assert f"person 52.3 dog {ABSENT}" in text


def test_a_measured_noise_floor_is_shown_as_such(results: Path) -> None:
    add(results, "mmdet_e", measured={"box_AP": 37.41, "noise": {"floor": {"box_AP": 0.021}}})
    assert "noise floor box AP 0.021 (measured)" in entry(results, "mmdet_e")


def test_a_split_that_is_taken_as_another_is_named(results: Path) -> None:
    record = make_record("mmdet_e")
    assert record.data
    record.data.equivalent, record.data.evidence = "minival2014", "the same 5,000 images"
    Ledger(results).file(record)
    assert "taken as minival2014, the same 5,000 images" in entry(results, "mmdet_e")


def test_an_entry_shows_its_parts(results: Path) -> None:
    text = entry(results, "mmdet_a")
    assert "As the catalogue has it. backbone resnet50 depth 50 depth: 50 protocol mmdet" in text
    config = {"backbone": {"_target_": "zoo.models.ResNet", "depth": 101}, "neck": {"_target_": "zoo.models.PAFPN"}}
    changes = {"changes": ["backbone.depth=101"], "name": "deeper", "config": config}
    add(results, "mmdet_a", **changes)
    text = entry(results, "deeper")
    assert "As the run resolved it. backbone changed ResNet, depth 101 class: ResNet depth: 101 neck PAFPN" in text


def test_an_entry_shows_how_its_checkpoint_was_loaded(results: Path) -> None:
    record = make_record("mmdet_e")
    assert record.checkpoint
    record.checkpoint.load_report = LoadReport(
        loaded=295, dropped={"no part of it": ["fc.weight", "fc.bias"]}, fresh={"counts batches": 53}
    )
    Ledger(results).file(record)
    text = entry(results, "mmdet_e")
    assert "loaded 295 dropped 2 no part of it fc.weight and 1 more fc.weight fc.bias not in the file 53" in text


def test_a_stopped_run_says_why_and_what_next(results: Path) -> None:
    assert "On h200-sxm, blocked link dead Next: try later" in entry(results, "mmdet_b")
    assert "On h200-sxm, failed out of memory" in entry(results, "paddle_c")
    record = make_record("mmdet_e")
    record.skipped["speed"] = "the device has too little memory for it"
    Ledger(results).file(record)
    assert "speed was not measured: the device has too little memory" in entry(results, "mmdet_e")


def test_attempts_stand_beside_the_row(results: Path) -> None:
    add(results, "mmdet_a", status="failed", reason="the disk is full", finished="2026-01-02T00:00:00+00:00")
    add(results, "mmdet_a", measured={"box_AP": 36.1}, weights="1" * 64, hash_evidence="other weights")
    add(results, "mmdet_a", measured={"box_AP": 30.0}, images=7, partial=True, conditions=("data.limit=7",))
    text = entry(results, "mmdet_a")
    assert "37.412 +0.012 EXACT h200-sxm" in text, "the row itself"
    assert f"{ABSENT} {ABSENT} FAILED h200-sxm, failed the disk is full" in text
    assert f"36.100 {ABSENT} OTHER-WEIGHTS h200-sxm, other weights" in text
    partial = entry(results, "mmdet_a_data.limit_7")
    assert f"30.000 {ABSENT} PARTIAL h200-sxm, partial not the whole split: 7 images" in partial
    assert "h200-sxm 8 5 1 2" in read(results).text, "attempted, measured, blocked, failed"


def test_a_difference_without_a_trial_says_what_to_do(results: Path) -> None:
    assert "This tries them: zoo explain paddle_a" in entry(results, "paddle_a")
    assert "zoo explain" not in entry(results, "mmdet_a")


def test_a_row_that_nobody_tried_has_a_page_and_a_command(results: Path) -> None:
    text = entry(results, "mmdet_e")
    assert "Nobody has tried to measure it here yet." in text
    assert "box AP 37.4 AP points README.md:25" in text
    assert "This measures it: make reproduce MODEL=e Copy" in text


def test_a_row_that_left_the_catalogue_keeps_its_page(results: Path) -> None:
    add(results, "mmdet_gone", measured={"box_AP": 40.0})
    assert "Not in the catalogue any more." in entry(results, "mmdet_gone")
    assert "mmdet_gone NOT-COMPARED h200-sxm 40.00" in read(results).text


CURVE = tuple(1.0 - i / 100 for i in range(101))

VIEW = DetectionView(
    curves=(PrCurves(of="box", mean={"0.5": CURVE, "0.75": CURVE}, per_class={"person": CURVE, "dog": CURVE}),),
    errors=(
        ErrorTable(
            of="box",
            ap50=58.1,
            hits=321,
            lines=(
                ErrorLine(kind="localisation", meaning="too far off", count=12, cost=4.0),
                ErrorLine(kind="missed", meaning="nobody has it", count=7, cost=1.0),
            ),
        ),
    ),
    images=(DrawnImage(name="000139.jpg", caption="two hits", markup="<svg><title>drawn</title></svg>"),),
    chosen="The images with the most errors.",
    legend="<svg><title>lines</title></svg>",
    missing="Nothing is said of masks.",
)


def test_an_entry_shows_what_its_detections_show(results: Path) -> None:
    write_report(results, lambda _: VIEW)
    text = Page((results / "report" / "entries" / "paddle_a.html").read_text(encoding="utf-8")).text
    assert "Precision over recall, box Precision over recall, box, mean over all classes" in text
    assert "IoU 0.5 IoU 0.75 The mean over all classes" in text
    assert "Precision over recall of person person Precision over recall of dog dog" in text
    assert "localisation 12 4.00 too far off missed 7 1.00 nobody has it Of 58.1 AP50 and 321 detections" in text
    assert "Detections, drawn The images with the most errors. lines drawn two hits" in text
    assert "Nothing is said of masks." in text
    stopped = Page((results / "report" / "entries" / "mmdet_b.html").read_text(encoding="utf-8")).text
    assert "Precision" not in stopped


# --- commands ---------------------------------------------------------------------------------------


def test_commands_repeat_the_run(results: Path) -> None:
    add(results, "ultralytics_d", trained=True, overrides=["run=train"])
    assert "make reproduce MODEL=a Copy" in entry(results, "mmdet_a")
    assert "make reproduce MODEL=paddle_a Copy" in entry(results, "paddle_a"), "the short name is another zoo's"
    assert "make reproduce MODEL=c Copy" in entry(results, "paddle_c")
    assert "make reproduce MODEL=d ARGS=run=train Copy" in entry(results, "ultralytics_d_trained_1_seed")
    assert "make reproduce MODEL=a ARGS='neck=pafpn '\"'\"'note=a b$$c'\"'\"''" in entry(results, "with_pafpn")


def test_commands_name_weights_and_data_of_ones_own(results: Path) -> None:
    config = {"checkpoint": {"path": "mine.pth", "url": None}, "data": {"root": "my-data"}}
    own = {"hash_evidence": "other weights", "overrides": ["data=folder"], "config": config}
    add(results, "mmdet_a", known=False, weights="1" * 64, **own)
    text = entry(results, "mmdet_a")
    assert "MODEL=a ARGS='data=folder checkpoint.path=mine.pth data.root=my-data'" in text
    add(results, "mmdet_b", weights="1" * 64, **own)
    text = entry(results, "mmdet_b")
    assert "MODEL=b ARGS='data=folder checkpoint.path=mine.pth'" in text, "known data is fetched"


# --- what the pages need ------------------------------------------------------------------------------


def test_nothing_but_its_own_script_may_run(results: Path) -> None:
    html = write_report(results).read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert re.search(r"style-src 'sha256-[\w+/]{43}='", policy)


def test_the_pages_need_nothing_else(results: Path) -> None:
    site = read_site(write_report(results).parent)
    assert len(site) == 1 + 6 + 1, "the catalogue, and a run of another name"
    assert dead_links(site) == []
    for name, page in site.items():
        assert len(page.ids) == len(set(page.ids)), name
        assert not {"link", "img", "iframe", "object"} & set(page.tags)
    html = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|https?://", html)


def test_no_two_pages_share_a_file() -> None:
    names = file_names(["a_b", "a b", "A_B", "...", "x" * 300, "a_b"])
    assert names[0] == "a_b.html"
    assert len({name.casefold() for name in names}) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.html", name) for name in names)
    assert max(map(len, names)) < 140


def test_runs_of_one_name_are_on_a_page_for_each_row(results: Path) -> None:
    add(results, "mmdet_b", name="mine", hardware="cpu", measured={"box_AP": 37.41})
    add(results, "paddle_a", name="mine", measured={"box_AP": 30.0})
    add(results, "mmdet_a", name="mmdet_b", measured={"box_AP": 20.0})
    site = read_site(write_report(results).parent)
    assert dead_links(site) == []
    mine = [page.text for name, page in site.items() if name.startswith("entries/mine")]
    assert ["It is a run of mmdet_b ." in text for text in mine].count(True) == 1
    assert ["It is a run of paddle_a ." in text for text in mine].count(True) == 1
    assert "20.00" not in site["entries/mmdet_b.html"].text or "link dead" not in site["entries/mmdet_b.html"].text


# --- the files --------------------------------------------------------------------------------------


def test_writing_twice_gives_the_same_bytes(results: Path) -> None:
    folder = write_report(results).parent
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report(results)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_pages_of_what_is_gone_are_removed(results: Path) -> None:
    add(results, "mmdet_a", measured={"box_AP": 30.0}, images=7, partial=True, conditions=("data.limit=7",))
    folder = write_report(results).parent / "entries"
    (folder / "mine.html").write_text("a page of somebody else", encoding="utf-8")
    Ledger(results).forget("mmdet_a+limit-7")
    write_report(results)
    assert not (folder / "mmdet_a_data.limit_7.html").exists()
    assert (folder / "mine.html").exists()


def test_no_records_are_an_error_with_a_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZooError, match="no records to read under") as caught:
        write_report(tmp_path)
    assert "python -m zoo.bench" in caught.value.next_step
    assert cli.main(["report", "--results-dir", str(tmp_path)]) == 1
    assert "next: measure something first" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_two_versions_of_a_protocol_do_not_share_a_report(results: Path) -> None:
    add(results, "ultralytics_d", version=2)
    with pytest.raises(UsageError, match="2 versions"):
        write_report(results)


def test_the_command_says_where_the_report_is(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--results-dir", str(results)]) == 0
    assert capsys.readouterr().out == f"wrote {results / 'report' / 'index.html'}\n"
