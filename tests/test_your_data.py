"""docs/your-data.md, line by line, on a folder of a few images."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import pytest
from documents import code_blocks

import zoo
from zoo import cli
from zoo.data.images import decode
from zoo.data.shapes.dataset import draw
from zoo.errors import DataError, UsageError

ENTRY = "shapes_faster_rcnn_r10_fpn"
QUICK = ["device=cpu", "workers=0", "results.dir=results"]
SPLITS: dict[Literal["train", "val"], str] = {"train": "train", "val": "valid"}
SHORT = ["run.max_steps=2", "batch_size=2"]


def make_folder(root: Path, *, names: dict[str, str] | None = None, group: bool = True) -> None:
    """A folder as Roboflow exports it: ids from 0, a category of the project's name, images as JPEG.

    Args:
        root: the folder.
        names: category of the shapes data set -> what it is called here.
        group: whether there is a category that no object has.
    """
    for split, folder in SPLITS.items():
        draw(split, 2, root / split)
        document = json.loads((root / split / f"annotations/instances_{split}.json").read_text(encoding="utf-8"))
        (root / folder).mkdir(exist_ok=True)
        for row in document["images"]:
            image = decode(root / split / split / row["file_name"])
            row["file_name"] = f"{row['id']}.jpg"
            cv2.imwrite(str(root / folder / row["file_name"]), image)
        for row in document["annotations"]:
            row["id"] -= 1
        for row in document["categories"]:
            row["name"] = (names or {}).get(row["name"], row["name"])
        if group:
            document["categories"].append({"id": 0, "name": "my-project", "supercategory": "none"})
        (root / folder / "_annotations.coco.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo"])


def say(line: str) -> int:
    """Carry out a command line of the document, but quickly."""
    program, command, *words = shlex.split(line)
    assert program == "zoo"
    more = {"run": QUICK, "train": [*QUICK, *SHORT]}
    return cli.main([command, *words, *more.get(command, [])])


def record(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(folder, "record.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.long
def test_the_document(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    make_folder(Path("my-data"), names={"disc": "coin", "ring": "wheel"})
    evaluate, train, use = (block.splitlines() for block in code_blocks("docs/your-data.md", "bash"))
    (published,) = evaluate
    assert say(f"{published} hydra.run.dir=published") == 0
    measured = record("published")
    assert measured["data"]["name"] == "my-data"
    assert (measured["data"]["known"], measured["data"]["images"]) == (False, 2)
    assert {name: cell["verdict"] for name, cell in measured["verdict"].items()} == {
        **dict.fromkeys(("box_AP", "box_AP50", "box_AP75"), "NOT-COMPARED"),
        "params_m": "NOT-ASKED",
    }
    assert measured["identity"]["conditions"] == ["data.name=my-data"]
    by_class = measured["measured"]["per_class"]["box_AP"]
    assert by_class["disc"] is None, "the data has none of that name"
    assert any(points is not None for points in by_class.values())
    said = capsys.readouterr().err + caplog.text
    assert "classes: 4 by name, square, triangle, star, cross" in said
    assert "not in the annotations: disc, ring" in said
    assert "not in the model: coin, my-project, wheel" in said

    (fine_tune,) = train
    assert say(fine_tune) == 0
    trained = record("my-run")
    kept = trained["protocol"]["training"]["init_from"]["load_report"]["kept"]
    heads = [
        f"roi_head.stages.0.box_head.{name}"
        for name in ("logits.weight", "logits.bias", "deltas.weight", "deltas.bias")
    ]
    assert kept == {"of other classes (6 in the file, 7 in the model)": heads}
    assert trained["data"]["name"] == "my-data"
    assert (
        "these layers begin anew, of other classes (6 in the file, 7 in the model): roi_head.stages.0.box_head.logits, "
        in (capsys.readouterr().err + caplog.text)
    )
    again, predict = use
    assert say(f"{again} hydra.run.dir=again") == 0
    assert record("again")["measured"]["box_AP"] == trained["measured"]["box_AP"]
    assert "coin" in record("again")["measured"]["per_class"]["box_AP"]
    assert say(predict) == 0
    assert len(list(Path("found").iterdir())) == 2
    assert not list(Path("results").glob("records/**/*.json")), "nothing of it is the row's"

    (python,) = code_blocks("docs/your-data.md", "python")
    names: dict[str, Any] = {}
    exec(python, names)  # noqa: S102 - the document's own example
    assert set(names["model"].classes) == {"my-project", "coin", "square", "triangle", "star", "wheel", "cross"}
    assert zoo.evaluate(names["model"], "my-data")["box_AP"] == trained["measured"]["box_AP"]
    assert Path("found.png").is_file()
    assert names["fresh_heads"].classes == ("helmet", "vest")


def test_python_says_what_it_cannot_evaluate(tmp_path: Path) -> None:
    renamed = {name: f"my {name}" for name in ("disc", "square", "triangle", "star", "ring", "cross")}
    make_folder(tmp_path / "data", names=renamed, group=False)
    with pytest.raises(DataError, match="no class in common: disc, square, triangle, star, ring and 1 more and my "):
        zoo.evaluate(ENTRY, tmp_path / "data")
    with pytest.raises(UsageError, match="no such folder"):
        zoo.evaluate(ENTRY, tmp_path / "absent")


def test_without_training_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path / "data")
    (tmp_path / "data/train/_annotations.coco.json").unlink()
    (tmp_path / "data/train/annotations/instances_train.json").unlink()
    assert say(f"zoo train {ENTRY} data=folder data.root=data initial=published hydra.run.dir=run") != 0
    assert "has no training split" in capsys.readouterr().err
