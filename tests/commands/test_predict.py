"""`zoo predict` on images of one's own."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from zoo import cli
from zoo.data.images import decode

Capture = pytest.CaptureFixture[str]
ENTRY = "shapes_yolov8_p"


@pytest.fixture
def images(few_shapes: Path) -> Path:
    """A folder with four images that have something on them."""
    return few_shapes / "val"


def run(*arguments: str | Path) -> int:
    return cli.main(["predict", ENTRY, *map(str, arguments), "--device", "cpu"])


def test_a_line_and_a_picture_an_image(images: Path, tmp_path: Path, capsys: Capture) -> None:
    again = tmp_path / "again"
    again.mkdir()
    first = min(images.iterdir())
    (again / first.name).write_bytes(first.read_bytes())
    assert run(images, again / first.name, "--out", tmp_path / "found") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:5]] == [
        *map(str, sorted(images.iterdir())),
        str(again / first.name),
    ]
    assert lines[0].partition(": ")[2] == lines[4].partition(": ")[2], "the same image"
    assert lines[5] == f"5 drawn into {tmp_path / 'found'}"
    drawn = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert drawn == ["000000000001.png", "000000000001_2.png", *(f"{i:012}.png" for i in (2, 3, 4))]
    picture, original = decode(tmp_path / "found" / drawn[0]), decode(first)
    assert picture.shape == original.shape
    assert (picture != original).any(), "boxes"


def test_every_detection_as_csv(images: Path, capsys: Capture) -> None:
    first = min(images.iterdir())
    assert run(first, "--format", "csv", "--score", "0.6") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    height, width = decode(first).shape[:2]
    assert rows
    for row in rows:
        assert float(row["score"]) >= 0.6
        assert 0 <= float(row["x1"]) < float(row["x2"]) <= width
        assert 0 <= float(row["y1"]) < float(row["y2"]) <= height


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["gone.jpg"], 1, "no image gone.jpg"),
        (["text.jpg"], 1, "text.jpg"),
        (["empty"], 1, "no image in empty"),
        (["text.jpg", "--score", "2"], 2, "--score 2 is not from 0 to 1"),
        (["text.jpg", "--checkpoint", "gone.pth"], 1, "gone.pth"),
        (["mine.png", "--out", "."], 2, "would overwrite mine.png"),
        ([], 2, "the following arguments are required: IMAGE"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.jpg").write_text("no image", encoding="utf-8")
    Path("mine.png").write_text("no image", encoding="utf-8")
    Path("empty").mkdir()
    assert run(*arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("next: ")
    assert "Traceback" not in error
