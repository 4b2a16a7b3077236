"""Ultralytics' preprocessing: sizes, canvases, the order of rectangular batches, and the original's own inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity import SHARED, needs_coco, needs_shared, sample

from zoo.data.batching import AspectRatioGroups, InOrder, PlannedBatch, describe
from zoo.data.coco import CocoGroundTruth
from zoo.data.letterbox import Letterbox
from zoo.errors import DataError
from zoo.models.layers.letterbox import LetterboxNormalizer, corner
from zoo.types import ImageGeometry, Sample, Size

LETTERBOX = Letterbox(long=640, stride=32, pad=0.5)
PREPROCESSING = SHARED / "parity" / "ultralytics" / "ultralytics_preproc.npz"


@pytest.mark.parametrize(
    ("size", "resized"),
    [((480, 640), (480, 640)), ((333, 500), (427, 640)), ((640, 427), (640, 427)), ((1280, 961), (640, 481))],
)
def test_sides_are_rounded_up(size: Size, resized: Size) -> None:
    assert LETTERBOX.size(*size) == resized


@pytest.mark.parametrize(
    ("sizes", "canvas"),
    [
        ([(480, 640)], (512, 672)),  # 0.75 * 20 + 0.5 -> 16 strides, 20 + 0.5 -> 21
        ([(640, 426)], (672, 448)),
        ([(640, 640)], (672, 672)),
        ([(320, 640), (424, 640)], (448, 672)),  # as high as the highest
        ([(640, 480), (640, 320)], (672, 512)),  # as wide as the widest
        ([(480, 640), (640, 480)], (672, 672)),
    ],
)
def test_canvas_fits_the_ratios_of_a_batch(sizes: list[Size], canvas: Size) -> None:
    assert LETTERBOX.canvas(sizes) == canvas


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_lies_in_the_middle_of_grey() -> None:
    image = picture(100, 131)
    bgr = torch.from_numpy(image[:, :, ::-1].copy())
    made = Sample(bgr, 0, (100, 131), (1.0, 1.0), canvas=(111, 140))
    batch = LetterboxNormalizer(fill=114)([made], torch.device("cpu"))
    assert batch.geometries == [
        ImageGeometry((100, 131), (100, 131), (1.0, 1.0), (100, 131), (100, 131), offset=(4, 5))
    ]
    assert corner((111, 140), (100, 131)) == (5, 4)  # the odd pixel below and at the right
    inside = batch.images[0, :, 5:105, 4:135]
    assert torch.equal(inside, torch.from_numpy(image).permute(2, 0, 1).float() / 255)
    border = torch.ones(111, 140, dtype=torch.bool)
    border[5:105, 4:135] = False
    assert torch.equal(batch.images[0][:, border].unique(), torch.tensor([114.0]) / 255)


def test_a_batch_has_one_canvas() -> None:
    normalizer = LetterboxNormalizer(fill=114)
    lone = LETTERBOX(picture(30, 40))
    other = LETTERBOX(picture(40, 30), image_id=1)
    with pytest.raises(ValueError, match="one and the same canvas"):
        normalizer([lone, other], torch.device("cpu"))
    with pytest.raises(ValueError, match="one and the same canvas"):
        normalizer([Sample(lone.pixels, 0, (30, 40), (1.0, 1.0))], torch.device("cpu"))
    other.canvas = lone.canvas
    with pytest.raises(DataError, match="images 0, 1"):  # a height and a width exchanged in the annotations
        normalizer([lone, other], torch.device("cpu"))


SIZES: list[Size] = [(640, 480), (480, 640), (320, 640), (640, 320), (500, 640)]


def test_groups_ascend_by_ratio_and_share_a_canvas() -> None:
    rule = AspectRatioGroups(group_size=2, transform=LETTERBOX)
    planned = rule.plan(SIZES, batch_size=16, whole=True)
    expected = [PlannedBatch((2, 1), (512, 672)), PlannedBatch((4, 0), (672, 672)), PlannedBatch((3,), (672, 352))]
    assert planned == expected
    assert describe(planned) == {"count": 3, "canvases": {"512x672": 2, "672x352": 1, "672x672": 2}}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_the_batch_size_changes_no_canvas(batch_size: int) -> None:
    rule = AspectRatioGroups(group_size=3, transform=LETTERBOX)
    planned = rule.plan(SIZES * 4, batch_size, whole=True)
    assert sorted(i for batch in planned for i in batch.indices) == list(range(20))
    assert max(len(batch.indices) for batch in planned) <= batch_size
    one_by_one = rule.plan(SIZES * 4, 1, whole=True)
    assert canvases(planned) == canvases(one_by_one)


def canvases(planned: list[PlannedBatch]) -> dict[int, Size | None]:
    return {i: batch.canvas for batch in planned for i in batch.indices}


def test_of_a_part_each_image_has_the_canvas_of_its_own() -> None:
    sizes = [*SIZES, (481, 640)]
    planned = AspectRatioGroups(group_size=16, transform=LETTERBOX).plan(sizes, 8, whole=False)
    assert canvases(planned) == {i: LETTERBOX.canvas([size]) for i, size in enumerate(sizes)}
    assert (1, 5) in [batch.indices for batch in planned]  # neighbours on one canvas share a batch all the same


def test_in_order_cuts_and_says_no_canvas() -> None:
    planned = InOrder().plan(SIZES, 2, whole=True)
    assert planned == [PlannedBatch((0, 1)), PlannedBatch((2, 3)), PlannedBatch((4,))]
    assert describe(planned) == {"count": 3, "canvases": {}}


@needs_shared
@needs_coco
def test_inputs_of_a_whole_evaluation() -> None:
    """Order, canvases, gains and borders of 80 images, and the pixels of those that are resized."""
    with np.load(PREPROCESSING) as archive:
        golden = {key.removeprefix("rect/"): archive[key] for key in archive.files if key.startswith("rect/")}
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_val2017.json")
    sizes: list[Any] = list(zip(truth.heights.tolist(), truth.widths.tolist(), strict=True))
    planned = AspectRatioGroups(group_size=16, transform=LETTERBOX).plan(sizes, 16, whole=True)
    order = [i for batch in planned for i in batch.indices]
    ratios = golden["ori_hw"][:, 0] / golden["ori_hw"][:, 1]
    assert [sizes[i][0] / sizes[i][1] for i in order] == ratios.tolist()
    assert [batch.canvas for batch in planned] == [tuple(shape) for shape in golden["batch_shapes_hw"].tolist()]

    place = {int(image): row for row, image in enumerate(golden["image_id"])}
    for image, name, size in zip(truth.image_ids.tolist(), truth.file_names, sizes, strict=True):
        row = place[image]
        made = LETTERBOX(SHARED / "coco" / "val2017" / name, image)
        made.canvas = tuple(golden["input_hw"][row].tolist())
        assert made.original_size == size
        assert made.scale == pytest.approx(golden["gain_hw"][row][::-1], abs=1e-9)
        resized = (made.pixels.shape[0], made.pixels.shape[1])
        assert made.canvas is not None
        assert corner(made.canvas, resized)[::-1] == tuple(golden["pad_left_top"][row].tolist())
        if f"input/{image:012}/sample" in golden:
            batch = LetterboxNormalizer(fill=114)([made], torch.device("cpu"))
            pixels = (batch.images[0] * 255).round()
            assert np.array_equal(sample(pixels), golden[f"input/{image:012}/sample"])
            assert pixels.double().mean(dim=(1, 2)).numpy() == pytest.approx(golden[f"input/{image:012}/mean_rgb"])
