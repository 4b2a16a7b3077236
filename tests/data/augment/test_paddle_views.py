"""PaddleDetection's training views: which objects there are, what their boxes are, in what order it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labeled_images import annotation, make

from zoo.data.augment import autoaugment
from zoo.data.augment.autoaugment import Step
from zoo.data.augment.masks import Polygons
from zoo.data.augment.paddle import training_set
from zoo.data.augment.settings import MultiScale, PipelineSettings
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import HostNormalizer, Preprocess
from zoo.data.resamplers import BicubicBytes, BilinearByFactor
from zoo.data.sampler import SampleIndex
from zoo.data.size_rules import ByFactor, KeepRatio, Letterbox
from zoo.errors import DataError, UsageError
from zoo.types import Sample, Target

OLD = Preprocess(ByFactor(short=1, long=1), BilinearByFactor(), HostNormalizer([10.0] * 3, [2.0] * 3))
"""As before version 2, whatever the size."""

NEW = Preprocess(KeepRatio(1, 1), BicubicBytes())


def views(
    truth: CocoGroundTruth, files: list[Path], *, old: bool, scale: tuple[int, int] = (60, 40), **more: Any
) -> TrainingSet:
    """Views whose boxes are made of pixels, or of points; of images as large as they are, unless told."""
    order = more.pop("order", ("flip", "resize") if old else ("resize", "flip"))
    settings = PipelineSettings(order=order, **{"flip": 0.0, **more.pop("settings", {})})
    scales = MultiScale(mode="choice", scales=(scale, *more.pop("scales", ())))
    transform = more.pop("transform", OLD if old else NEW)
    values = {"multi_scale": scales, "transform": transform, "inclusive": old, "seed": 0, "masks": False, **more}
    return training_set(truth, files, settings, **values)


def example(dataset: TrainingSet, image: int = 0, place: int = 0) -> tuple[Sample, Target]:
    found = dataset[SampleIndex(image, 0, place)]
    assert isinstance(found, tuple)
    return found


def test_corners_are_pixels_before_version_2(tmp_path: Path) -> None:
    rows = [
        annotation(1, [10.25, 5.5, 20, 10]),
        annotation(1, [-5, 30, 20, 20], category_id=7),  # its width counts from the edge
        annotation(1, [50, 20, 0.25, 0.5]),
    ]
    truth, files = make(tmp_path, [(40, 60)], rows)
    _, target = example(views(truth, files, old=True))
    assert target.boxes.tolist() == [[10.25, 5.5, 29.25, 14.5], [0, 30, 19, 39], [50, 20, 50, 20]]
    assert target.labels.tolist() == [0, 1, 0]


def test_corners_are_points_since_then(tmp_path: Path) -> None:
    rows = [annotation(1, [10.2504, 5.5, 20, 10]), annotation(1, [-5, 30, 20, 20]), annotation(1, [50, 20, 0.25, 0.5])]
    truth, files = make(tmp_path, [(40, 60)], rows)
    _, target = example(views(truth, files, old=False))
    expected = torch.tensor([[10.25, 5.5, 30.25, 15.5], [0, 30, 15, 40], [50, 20, 50.25, 20.5]])  # 30.2504 is rounded
    assert torch.equal(target.boxes, expected)


@pytest.mark.parametrize("old", [True, False])
def test_objects_that_are_not_trained_on(tmp_path: Path, old: bool) -> None:
    box = [10.0, 10.0, 20.0, 20.0]
    rows = [annotation(1, box, iscrowd=1), annotation(1, box, area=0.0), annotation(1, box)]
    rows.append(annotation(1, [70, 10, 20, 20]) if old else annotation(1, [10, 10, 1e-6, 20], area=1.0))
    truth, files = make(tmp_path, [(40, 60)], rows)
    dataset = views(truth, files, old=old)
    left_out = {"crowds": 1, "without an area": 1, "outside their image" if old else "with an empty box": 1}
    assert dataset.images.account.objects_left_out == left_out
    every = views(truth, files, old=old, settings={"require_area": False})
    assert every.images.account.objects == 2


def test_images_without_an_object_are_not_trained_on(tmp_path: Path) -> None:
    box = [10.0, 10.0, 20.0, 20.0]
    rows = [annotation(1, box), annotation(3, box, iscrowd=1), annotation(4, box, area=0.0), annotation(5, box)]
    truth, files = make(tmp_path, [(40, 60)] * 4 + [(20, 30)], rows)  # no image is too small
    dataset = views(truth, files, old=True)
    assert dataset.images.image_ids.tolist() == [1, 5]
    assert dataset.images.account.images_left_out == {"without an object": 3}
    assert views(truth, files, old=True, settings={"require_area": False}).images.image_ids.tolist() == [1, 4, 5]
    assert dataset.is_landscape.all(), "orientations share batches"


def test_flips_keep_corners_what_they_are(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10])])
    sample, target = example(views(truth, files, old=True, settings={"flip": 1.0}))
    assert target.boxes.tolist() == [[30, 5, 49, 14]]  # 60 - 29 - 1, 60 - 10 - 1
    assert sample.pixels[0, :3, 0].tolist() == [24.5, 24, 23.5]  # 59, 58, 57 less 10, halved
    sample, target = example(views(truth, files, old=False, settings={"flip": 1.0}))
    assert target.boxes.tolist() == [[30, 5, 50, 15]]
    assert sample.pixels[0, :3, 0].tolist() == [59, 58, 57]


def test_before_version_2_floats_are_resized_by_the_factor(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(33, 50)], [annotation(1, [10, 5, 20, 10])])
    sample, target = example(views(truth, files, old=True, scale=(60, 40)))
    assert sample.scale == (1.2, 1.2)  # 60 / 50, where 40 / 33 would be too much
    assert (tuple(sample.pixels.shape), sample.pixels.dtype) == ((40, 60, 3), torch.float32)
    assert sample.original_size == (33, 50)
    torch.testing.assert_close(target.boxes, torch.tensor([[10.0, 5, 29, 14]]) * 1.2)
    evaluated = Preprocess(ByFactor(short=40, long=60), OLD.resampler, OLD.normalizer)(files[0])
    assert torch.equal(sample.pixels, evaluated.pixels)


def test_the_limit_can_be_looked_at_after_rounding(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(103, 155)], [annotation(1, [10, 5, 20, 10])])
    for long, told, factor in ((60, True, 40 / 103), (60, None, 60 / 155), (59, True, 59 / 155)):  # 60.2 is rounded
        dataset = views(truth, files, old=True, scale=(long, 40), settings={"round_before_limit": told})
        assert example(dataset)[0].scale == (factor, factor)


def test_since_version_2_bytes_are_resized_to_whole_sizes_and_boxes_end_there(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(33, 50)], [annotation(1, [10, 5, 41, 29])])
    sample, target = example(views(truth, files, old=False, scale=(80, 40)))
    assert tuple(sample.pixels.shape) == (40, 61, 3)
    assert sample.scale == (61 / 50, 40 / 33)
    torch.testing.assert_close(target.boxes, torch.tensor([[12.2, 5 * 40 / 33, 61, 40]]))
    assert torch.equal(sample.pixels, Preprocess(KeepRatio(80, 40), BicubicBytes())(files[0]).pixels)


def test_sizes_are_drawn_for_each_image(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10])])
    dataset = views(truth, files, old=False, scale=(90, 20), scales=((90, 30), (90, 40)))
    seen = {int(example(dataset, place=place)[0].pixels.shape[0]) for place in range(30)}
    assert seen == {20, 30, 40}


@pytest.mark.parametrize(
    ("order", "boxes"),
    [
        # Moved by 50 pixels of the file, or of the view, before or after the image is flipped
        (("flip", "auto_augment", "resize"), [[80.0, 20, 120, 60], [280.0, 20, 320, 60]]),
        (("auto_augment", "resize", "flip"), [[80.0, 20, 120, 60], [280.0, 20, 320, 60]]),
        (("resize", "flip", "auto_augment"), [[130.0, 20, 170, 60], [230.0, 20, 270, 60]]),
    ],
)
def test_autoaugment_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...], boxes: list[list[float]]
) -> None:
    monkeypatch.setattr(autoaugment, "POLICY", ((Step("TranslateX_BBox", 0.0, 2), Step("Equalize", 0.0, 2)),))
    monkeypatch.setattr(autoaugment, "IMAGE_CHANCE", 1.0)
    truth, files = make(tmp_path, [(64, 256)], [annotation(1, [146, 10, 20, 20])])
    dataset = views(truth, files, old=False, order=order, settings={"flip": 1.0}, scale=(512, 128))
    seen = [example(dataset, place=place)[1].boxes.round().tolist()[0] for place in range(8)]
    assert [row for row in boxes if row in seen] == boxes
    assert all(row in boxes for row in seen)


def test_masks_are_polygons(tmp_path: Path) -> None:
    triangle = [[10.0, 5, 30, 5, 20, 15], [0.0, 0, 4, 0, 4, 4, 0, 4]]
    rows = [annotation(1, [0, 0, 30, 15], segmentation=triangle), annotation(1, [0, 0, 1, 1], iscrowd=1)]
    truth, files = make(tmp_path, [(40, 60)], rows)
    _, target = example(views(truth, files, old=False, scale=(120, 80), settings={"flip": 1.0}, masks=True))
    assert target.masks is None
    assert target.polygons is not None
    assert [[points.tolist() for points in polygons] for polygons in target.polygons] == [
        [[[100, 10], [60, 10], [80, 30]], [[120, 0], [112, 0], [112, 8], [120, 8]]]
    ]
    assert target.to(torch.device("cpu")).polygons is target.polygons


def test_masks_without_polygons_are_named(tmp_path: Path) -> None:
    runs = {"size": [40, 60], "counts": [0, 100, 2300]}
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [0, 0, 3, 40], segmentation=runs)])
    found = views(truth, files, old=False, masks=True)[SampleIndex(0, 0, 0)]
    assert isinstance(found, DataError)
    assert "annotation 1 has no polygons" in found.message


def test_an_image_too_thin_to_be_resized_is_named(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(1, 900)], [annotation(1, [1, 0, 20, 1])])
    for old in (True, False):
        found = views(truth, files, old=old)[SampleIndex(0, 0, 0)]
        assert isinstance(found, DataError)
        assert f"{files[0].name}: no training view can be made of 900 x 1 pixels" in str(found)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [1, 1, 20, 20])])
    with pytest.raises(UsageError, match="auto_augment moves boxes, and the model is trained on masks"):
        views(truth, files, old=False, order=("resize", "auto_augment"), masks=True)
    with pytest.raises(UsageError, match="auto_augment takes bytes, and the protocol normalises pixels before"):
        views(truth, files, old=True, order=("resize", "auto_augment"))
    with pytest.raises(UsageError, match="resizes by Letterbox, not to a long and a short side"):
        views(truth, files, old=False, transform=Preprocess(Letterbox(64, 32, 0.5)))
    for order in ((), ("flip",), ("resize", "flip", "flip")):
        with pytest.raises(ValueError, match="order has resize once, and nothing twice"):
            PipelineSettings(order=order)


def test_bitmaps_of_polygons_are_those_of_the_annotation(tmp_path: Path) -> None:
    """For whoever crops them: as after the same change of the image."""
    truth, _ = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10])])
    polygons = Polygons.of(truth, np.array([0]), (40, 60))
    assert np.array_equal(polygons.bitmaps()[0, 5:15, 10:30], np.ones((10, 20)))
    assert polygons.bitmaps().sum() == 200
    assert polygons.crop((5, 10, 6, 7)).bitmaps().sum() == 42
    assert polygons.select(np.array([False])).objects == ()
    assert polygons.hflip().bitmaps()[0, 5:15, 30:50].sum() == 200
