"""results/published: written, read back, and in agreement with the catalogue and with the tables."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.catalog.entry import PublishedCell, conf_dir, read_entries
from zoo.catalog.published.documents import PublishedNumber, read_document
from zoo.catalog.published.evidence import COLUMNS, Evidence, gather, read_evidence, write_evidence
from zoo.catalog.published.layouts import layouts
from zoo.errors import ZooError
from zoo.results.ladder import CONFLICT, verdict

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "results" / "published"
SHARED = ROOT.parent / "shared"
ZOOS = [layout.zoo for layout in layouts()]
"""The zoos whose documents are read."""
NUMBER = re.compile(r"\d+(\.\d+)?( hr| MB)?")
"""A cell of a published table that is a number and nothing else."""

TABLE = "| Style | box AP | Inf time (fps) | Config |\n|---|---|---|---|\n"


def evidence(text: str, metric: str = "box_AP", **more: object) -> Evidence:
    cell = PublishedCell(metric=metric, text=text, source="configs/a/README.md", line=3)
    return replace(Evidence(entry="mmdet_a", cell=cell, file="1.md", raw=text), **more)  # type: ignore[arg-type]


def printed(body: str) -> list[PublishedNumber]:
    return read_document(TABLE + body, "docs/1.md")[0]


def gathered(body: str) -> list[Evidence]:
    return gather(printed(body), {"mmdet": "configs/a/README.md"})


def test_a_number_printed_twice_is_one_cell() -> None:
    row = "| x | 37.4 | 21.4 | [c](a.py) |\n"
    assert [(line.cell.text, line.cell.line, line.file) for line in gathered(row + row)] == [
        ("37.4", 3, "1.md"),
        ("21.4", 3, "1.md"),
    ]
    assert gathered("| x | 37.4 | 21.4 | none |\n") == []


def test_two_numbers_for_one_row_are_a_conflict() -> None:
    cells = [line.cell for line in gathered("| x | 37.4 | | [c](a.py) |\n| y | 37.9 | | [c](a.py) |\n")]
    outcome = verdict(37.92, cells)
    assert (outcome.verdict, outcome.published) == (CONFLICT, "37.4 / 37.9")
    assert outcome.reason is not None
    assert outcome.reason.endswith("configs/a/README.md:4 prints 37.9; measured agrees with 37.9")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "published" / "mmdet.csv"
    rows = [
        evidence("39.0", raw='39.0, "as\nprinted" | 中文'),
        evidence("37.4", entry="mmdet_b"),
        replace(evidence("4.0", "fps"), cell=replace(evidence("4.0", "fps").cell, line=None, hardware="CPU, ONNX")),
    ]
    write_evidence(path, reversed(rows))
    kept = [replace(rows[0], raw='39.0, "as printed" | 中文'), rows[2], rows[1]]
    assert read_evidence(path) == kept
    first = path.read_bytes()
    write_evidence(path, read_evidence(path))
    assert path.read_bytes() == first
    assert len(first.decode().splitlines()) == 4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("entry,text\n", "its columns are not entry, metric"),
        ("", "its columns are not"),
        (",".join(COLUMNS) + "\nmmdet_a,box_AP,37.4\n", "not a table of published cells"),
        (
            ",".join(COLUMNS) + "\nmmdet_a,box_AP,many,README.md,1.md,3,,x\n",
            r"mmdet_a\.text: 'many' is",
        ),
        (",".join(COLUMNS) + "\nmmdet_a,box_AP,1,README.md,1.md,third,,x\n", "third"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_corrupt_file_is_reported(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mmdet.csv"
    path.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(ZooError, match=message) as error:
        read_evidence(path)
    assert "git checkout" in error.value.next_step


def test_an_absent_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="cannot be read"):
        read_evidence(tmp_path / "mmdet.csv")


# --- the committed files --------------------------------------------------------------------------


def committed() -> list[Evidence]:
    return [line for zoo in ZOOS for line in read_evidence(PUBLISHED / f"{zoo}.csv")]


def cells_of(lines: Iterable[Evidence]) -> dict[str, tuple[PublishedCell, ...]]:
    cells: dict[str, tuple[PublishedCell, ...]] = {}
    for line in lines:
        cells[line.entry] = (*cells.get(line.entry, ()), line.cell)
    return cells


def by_number(cells: Iterable[PublishedCell]) -> list[PublishedCell]:
    """Cells by metric and hardware. Those of one number keep their order: the row's own is the first."""
    return sorted(cells, key=lambda cell: (cell.metric, cell.hardware or ""))


def test_the_committed_files_are_in_order(tmp_path: Path) -> None:
    assert sorted(path.stem for path in PUBLISHED.glob("*.csv")) == sorted(ZOOS)
    for zoo in ZOOS:
        lines = read_evidence(PUBLISHED / f"{zoo}.csv")
        assert {line.entry.split("_", 1)[0] for line in lines} == {zoo}
        write_evidence(tmp_path / f"{zoo}.csv", lines)
        assert (tmp_path / f"{zoo}.csv").read_bytes() == (PUBLISHED / f"{zoo}.csv").read_bytes()


def test_the_catalogue_says_what_was_published() -> None:
    """Every entry has the cells of its zoo's file, all of them; embedded entries have none there."""
    published = cells_of(committed())
    entries = {entry.name: entry.published for entry in read_entries() if entry.zoo in ZOOS}
    assert entries
    for name, cells in entries.items():
        expected = published.get(name, ())
        assert by_number(cells) == by_number(expected), (
            f"{conf_dir() / 'entry' / name}.yaml should have:\n{_yaml(expected)}"
        )


def _yaml(cells: Iterable[PublishedCell]) -> str:
    lines = []
    for cell in cells:
        line = "" if cell.line is None else f", line: {cell.line}"
        hardware = f', hardware: "{cell.hardware}"' if cell.hardware else ""
        lines.append(f'    - {{metric: {cell.metric}, text: "{cell.text}", source: {cell.source}{line}{hardware}}}')
    return "\n".join(lines)


def test_known_conflicts_are_found() -> None:
    published = cells_of(committed())

    def conflicts(name: str, metric: str) -> str:
        return verdict(0.0, [cell for cell in published[name] if cell.metric == metric]).published

    assert conflicts("mmdet_faster_rcnn_r50_fpg_crop640_50e", "box_AP") == "42.2 / 42.3"
    assert conflicts("mmdet_mask_rcnn_r50_fpg_crop640_50e", "mask_AP") == "37.8 / 38.1"
    assert conflicts("mmdet_faster_rcnn_r50_caffe_fpn_ms_2x", "train_memory_gb") == "3.7 / 4.3"
    assert conflicts("paddle_faster_rcnn_enhance_3x", "box_AP") == "41.5 / 41.2"
    assert conflicts("paddle_faster_rcnn_enhance_3x", "fps") == "61.425"


@pytest.mark.skipif(not (SHARED / "seeds").is_dir(), reason="no published tables beside the checkout")
def test_the_committed_files_are_what_the_tables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("import_published", ROOT / "scripts" / "import_published.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PUBLISHED", tmp_path)
    facts = SHARED / "parity" / "mmdet" / "entries.csv"
    monkeypatch.setattr("sys.argv", ["import_published.py", str(SHARED / "seeds"), str(facts)])
    assert script.main() == 0
    for zoo in ZOOS:
        assert (tmp_path / f"{zoo}.csv").read_bytes() == (PUBLISHED / f"{zoo}.csv").read_bytes()


SETTINGS = {
    "000.md": {"1": 4, "2": 1},
    "001.md": {"2": 4},
    "002.md": {"640": 10, "8": 5, "16": 3, "24": 2, "4": 5, "6": 3, "10": 2},
    "004.md": {"2": 3},
}
"""Images a GPU, sides of images, GPUs, batch sizes, epochs: what a row is, not what was measured of it."""
TWICE = {"002.md": {"4.0": 1, "21.4": 1, "37.4": 1}}
"""The row of L1Loss is that of R-50-FPN, 1x, in the table above it."""


@pytest.mark.skipif(not (SHARED / "seeds").is_dir(), reason="no published tables beside the checkout")
def test_every_number_of_the_tables_is_a_cell() -> None:
    """Read without the importer: a line is cut at its bars, and what is a number alone in its cell counts."""
    read: dict[tuple[str, int | None], Counter[str]] = {}
    for line in committed():
        read.setdefault((line.file, line.cell.line), Counter())[line.raw] += 1
    left: dict[str, Counter[str]] = {}
    for path in sorted((SHARED / "seeds").glob("*.md")):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            cells = Counter(cell.strip() for cell in text.split("|") if NUMBER.fullmatch(cell.strip()))
            found = read.pop((path.name, number), Counter())
            assert all(raw in text for raw in found), (path.name, number)
            left.setdefault(path.name, Counter()).update(cells - found)
    assert {name: counts for name, counts in left.items() if counts} == {
        name: Counter(counts) + Counter(TWICE.get(name)) for name, counts in SETTINGS.items()
    }
    assert all(line is None for _, line in read)  # of the list of facts, which has no lines


def test_the_five_rows_of_jwyang() -> None:
    published = cells_of(committed())
    names = [f"jwyang_faster_rcnn_{name}" for name in ("vgg16_s800_6e", "r101_s800_6e", "r101_s800_10e")]
    names += [f"jwyang_faster_rcnn_{name}" for name in ("r101_s600_6e", "r101_s600_10e")]
    metrics = ("box_AP", "train_memory_mb", "hours_per_epoch")
    found = [[cell.text for m in metrics for cell in published[name] if cell.metric == m] for name in names]
    assert found == [
        ["29.2", "7192", "4.9"],
        ["36.2", "10956", "6.0"],
        ["37.0", "10956", "6.0"],
        ["33.9", "10659", "5.4"],
        ["34.5", "10659", "5.4"],
    ]


@pytest.mark.skipif(not (SHARED / "entries.csv").is_file(), reason="no list of entries beside the checkout")
def test_every_row_has_its_entry_and_its_numbers() -> None:
    """Against a list of all rows that was made by hand."""
    published = cells_of(committed())
    with (SHARED / "entries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(published) == {row["entry"] for row in rows}
    for row in rows:
        printed = {(cell.metric, cell.text) for cell in published[row["entry"]]}
        for metric, column in {"box_AP": "published_box_ap", "mask_AP": "published_mask_ap"}.items():
            assert not row[column] or (metric, row[column]) in printed, row["entry"]
        fps = row["published_fps"]
        assert not fps or " ms " in fps or ("fps", fps) in printed, row["entry"]
        assert {f"{text}" for metric, text in printed if metric == "latency_ms"} >= {
            part.split(" ms ")[0] for part in fps.split("; ") if " ms " in part
        }
