from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from pycocotools import mask as coco_mask

from zoo.data.coco import CocoGroundTruth
from zoo.data.images import decode
from zoo.data.shapes import dataset as shapes
from zoo.data.shapes.dataset import IMAGES, SHA256, bitmap, digest, draw, prepare_shapes
from zoo.data.shapes.scenes import CLASSES, MOST_HIDDEN, Figure, Scene, box, draw_scene
from zoo.errors import DataError

FEW = 24

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decode


@pytest.fixture(scope="session")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shapes("val", tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="session")
def truth(val: Path) -> CocoGroundTruth:
    return CocoGroundTruth.load(val / "annotations" / "instances_val.json")


@pytest.fixture(scope="session")
def digest_of_few(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("few")
    draw("val", FEW, root)
    found = digest(root, "val")
    assert found
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, digest_of_few: str) -> None:
    """A val split of a few images, for tests that draw more than once."""
    monkeypatch.setitem(shapes.IMAGES, "val", FEW)
    monkeypatch.setitem(shapes.SHA256, "val", digest_of_few)


def another_process(root: Path, digest_of_few: str) -> subprocess.Popen[str]:
    """A process that prepares the few images, and logs to stderr."""
    program = (
        "import logging, sys; from pathlib import Path; from zoo.data.shapes import dataset as shapes; "
        f"logging.basicConfig(level='INFO'); shapes.IMAGES['val'] = {FEW}; "
        f"shapes.SHA256['val'] = {digest_of_few!r}; shapes.prepare_shapes('val', Path(sys.argv[1]))"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(root)], stderr=subprocess.PIPE, text=True)


def decoded(truth: CocoGroundTruth, position: int) -> npt.NDArray[np.bool_]:
    return coco_mask.decode(cast(Any, truth.rle(position))).astype(bool)


def check_masks(truth: CocoGroundTruth) -> None:
    for position in range(len(truth.areas)):
        mask = decoded(truth, position)
        assert mask.sum() == truth.areas[position]
        assert box(mask) == truth.boxes[position].tolist()


def content(root: Path) -> dict[str, bytes]:
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".")}


# The data set


def test_the_layout_is_that_of_coco(val: Path, truth: CocoGroundTruth) -> None:
    assert sorted(path.name for path in val.iterdir() if not path.name.startswith(".")) == ["annotations", "val"]
    assert len(truth) == IMAGES["val"] == len(list((val / "val").iterdir()))
    assert truth.category_names == list(CLASSES)
    assert truth.category_ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert truth.annotation_ids.min() == 1
    for image, name in enumerate(truth.file_names):
        assert decode(val / "val" / name).shape == (*truth.size_of(image), 3)


def test_the_configuration_describes_it(truth: CocoGroundTruth) -> None:
    path = Path(__file__).parents[3] / "conf" / "data" / "shapes.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert data["classes"] == truth.category_names
    assert data["num_images"] == len(truth)
    assert data["annotations_sha256"]["val"] == truth.sha256
    assert (data["annotations"], data["images"], data["split"]) == ("annotations/instances_val.json", "val", "val")


def test_the_digest_is_the_recorded_one(val: Path) -> None:
    assert digest(val, "val") == SHA256["val"]


def test_there_is_enough_of_everything(truth: CocoGroundTruth) -> None:
    single = ~truth.is_crowd
    small, large = truth.areas < 32**2, truth.areas > 96**2
    for kind in (small, ~small & ~large, large):
        assert (kind & single).sum() >= 50
        assert set(truth.category_index[kind & single]) == set(range(len(CLASSES)))
    assert truth.is_crowd.sum() >= 20
    polygons = [isinstance(segmentation, list) for segmentation in truth.segmentations]
    assert sum(polygons) >= 200
    assert len(polygons) - sum(polygons) >= 200
    ratios = truth.widths / truth.heights
    assert min(ratios) < 0.8
    assert max(ratios) > 1.25


def test_masks_agree_with_boxes_and_areas(truth: CocoGroundTruth) -> None:
    check_masks(truth)


def test_masks_of_an_image_do_not_overlap(truth: CocoGroundTruth) -> None:
    for image in range(0, len(truth), 10):
        annotations = truth.annotations_of(image)
        masks = [decoded(truth, position) for position in range(annotations.start, annotations.stop)]
        assert np.sum(masks, axis=0).max() == 1


def test_polygons_decode_to_the_pixels_that_were_drawn() -> None:
    compared = 0
    for image_id in range(1, 41):
        scene = draw_scene(0, image_id)
        for number, row in enumerate(scene.annotations(), start=1):
            if isinstance(row["segmentation"], list):
                encoded = coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], *scene.owners.shape))
                assert np.array_equal(coco_mask.decode(encoded), scene.owners == number)
                compared += 1
    assert compared > 30


def test_nothing_is_hidden_further_than_documented() -> None:
    occluded = 0
    for image_id in range(1, 41):
        scene = draw_scene(0, image_id)
        assert np.array_equal(scene.visible, [(scene.owners == i + 1).sum() for i in range(len(scene.figures))])
        assert np.all(100 * scene.visible >= (100 - MOST_HIDDEN) * scene.areas)
        occluded += int((scene.visible < scene.areas).sum())
    assert occluded > 40


def test_the_splits_have_no_image_in_common(val: Path, tmp_path: Path) -> None:
    draw("train", 3, tmp_path)
    images = {path.read_bytes() for path in (val / "val").iterdir()}
    assert not images & {path.read_bytes() for path in (tmp_path / "train").iterdir()}


@pytest.mark.nightly
def test_train_is_the_recorded_one(tmp_path: Path) -> None:
    root = prepare_shapes("train", tmp_path)
    truth = CocoGroundTruth.load(root / "annotations" / "instances_train.json")
    assert len(truth) == IMAGES["train"]
    assert digest(root, "train") == SHA256["train"]
    check_masks(truth)
    shutil.rmtree(root)  # 170 MB that nobody looks at


# Its parts


def test_a_later_figure_is_taken_out_of_an_earlier_mask() -> None:
    scene = Scene(np.zeros((4, 6, 3), dtype=np.uint8))
    white = np.full((4, 4, 3), 255, dtype=np.uint8)
    back = Figure(category=2, mask=np.ones((4, 4), dtype=bool), pixels=white)
    front = Figure(category=1, mask=np.ones((2, 2), dtype=bool), pixels=white[:2, :2] // 2)
    assert scene.place(back, 1, 0, most_hidden=0)
    assert not scene.place(front, 4, 1, most_hidden=0)  # covers one column of it
    assert scene.place(front, 4, 1, most_hidden=20)
    assert scene.pixels[:, :, 0].tolist() == [
        [0, 255, 255, 255, 255, 0],
        [0, 255, 255, 255, 127, 127],
        [0, 255, 255, 255, 127, 127],
        [0, 255, 255, 255, 255, 0],
    ]
    rows = scene.annotations()
    assert [(row["bbox"], row["area"]) for row in rows] == [([1, 0, 4, 4], 14), ([4, 1, 2, 2], 4)]
    assert rows[0]["segmentation"] == {"size": [4, 6], "counts": [4, 13, 2, 1, 4]}


def test_a_figure_may_stick_out_as_far_as_it_may_be_hidden() -> None:
    scene = Scene(np.zeros((4, 4, 3), dtype=np.uint8))
    figure = Figure(category=1, mask=np.ones((2, 2), dtype=bool), pixels=np.ones((2, 2, 3), dtype=np.uint8))
    assert not scene.place(figure, -1, 3, most_hidden=70)  # a quarter is left
    assert scene.place(figure, -1, 2, most_hidden=50)
    assert scene.annotations()[0]["bbox"] == [0, 2, 1, 2]


def test_a_bitmap_is_read_back_as_drawn(tmp_path: Path) -> None:
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    (tmp_path / "image.bmp").write_bytes(bitmap(pixels))
    assert np.array_equal(decode(tmp_path / "image.bmp"), pixels[:, :, ::-1])
    assert len(bitmap(pixels)) == 54 + 3 * 16


# Preparing it


def test_drawn_twice_it_is_the_same(tmp_path: Path) -> None:
    for root in ("once", "again"):
        draw("val", 20, tmp_path / root)
    assert content(tmp_path / "once") == content(tmp_path / "again")


def test_the_cache_is_the_default_root(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert prepare_shapes("val") == tmp_path / "shapes" / "v1"


def test_a_complete_root_is_not_drawn_again(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_shapes("val", tmp_path)
    monkeypatch.delattr(shapes, "draw")
    assert prepare_shapes("val", tmp_path) == tmp_path


@pytest.mark.parametrize("damage", ["pixel", "annotation", "image gone", "annotations gone"])
def test_what_was_changed_is_drawn_again(few: None, tmp_path: Path, damage: str) -> None:
    prepare_shapes("val", tmp_path)
    drawn = content(tmp_path)
    image, annotations = tmp_path / "val" / "000000000007.bmp", tmp_path / "annotations" / "instances_val.json"
    if damage == "pixel":
        image.write_bytes(image.read_bytes()[:-1] + b"?")
    elif damage == "annotation":
        document = json.loads(annotations.read_bytes())
        document["annotations"][0]["area"] += 1
        annotations.write_text(json.dumps(document))
    else:
        (image if damage == "image gone" else annotations).unlink()
    prepare_shapes("val", tmp_path)
    assert content(tmp_path) == drawn


def test_images_of_another_origin_are_left_alone_and_named(few: None, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "holiday.jpg").write_bytes(b"jpeg")
    with pytest.raises(DataError, match="not of the data set") as raised:
        prepare_shapes("val", tmp_path)
    assert "remove" in raised.value.next_step
    assert (tmp_path / "val" / "holiday.jpg").read_bytes() == b"jpeg"


def test_a_machine_that_draws_other_bytes_is_told(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest_of_few: str
) -> None:
    monkeypatch.setattr(shapes, "VERSION", 99)
    with pytest.raises(DataError, match=f"other bytes than everyone's .* not {digest_of_few}") as raised:
        prepare_shapes("val", tmp_path)
    assert "make setup" in raised.value.next_step
    assert content(tmp_path) == {}


def test_a_root_that_is_a_file(few: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot use") as raised:
        prepare_shapes("val", tmp_path / "file")
    assert "ZOO_CACHE=DIR" in raised.value.next_step


def test_after_a_kill_it_is_drawn_from_the_start(few: None, tmp_path: Path, digest_of_few: str) -> None:
    with another_process(tmp_path, digest_of_few) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob(".val.drawing/val/*"))) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert process.returncode != 0
    assert digest(tmp_path, "val") is None
    prepare_shapes("val", tmp_path)
    assert digest(tmp_path, "val") == digest_of_few
    assert not (tmp_path / ".val.drawing").exists()


def test_of_two_processes_one_draws(tmp_path: Path, digest_of_few: str) -> None:
    processes = [another_process(tmp_path, digest_of_few) for _ in range(2)]
    logs = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(f"drew {FEW} images" in log for log in logs) == 1
    assert digest(tmp_path, "val") == digest_of_few
