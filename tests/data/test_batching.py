"""The order of rectangular batches, their shapes, and Ultralytics' own inputs of a whole evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from parity import SHARED, needs_coco, needs_shared, sample

from zoo.data.batching import AspectRatioGroups, InOrder, PlannedBatch, describe
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import Letterbox, letterbox_offset
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadAround
from zoo.types import Size

LETTERBOX = Letterbox(long=640, stride=32, pad=0.5)
TRANSFORM = Preprocess(LETTERBOX)
PREPROCESSING = SHARED / "parity" / "ultralytics" / "ultralytics_preproc.npz"

SIZES: list[Size] = [(640, 480), (480, 640), (320, 640), (640, 320), (500, 640)]


def test_groups_ascend_by_ratio_and_share_a_shape() -> None:
    rule = AspectRatioGroups(group_size=2, transform=TRANSFORM)
    planned = rule.plan(SIZES, batch_size=16, whole=True)
    expected = [PlannedBatch((2, 1), (512, 672)), PlannedBatch((4, 0), (672, 672)), PlannedBatch((3,), (672, 352))]
    assert planned == expected
    assert describe(planned) == {"count": 3, "batch_shapes": {"512x672": 2, "672x352": 1, "672x672": 2}}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_the_batch_size_changes_no_shape(batch_size: int) -> None:
    rule = AspectRatioGroups(group_size=3, transform=TRANSFORM)
    planned = rule.plan(SIZES * 4, batch_size, whole=True)
    assert sorted(i for batch in planned for i in batch.indices) == list(range(20))
    assert max(len(batch.indices) for batch in planned) <= batch_size
    one_by_one = rule.plan(SIZES * 4, 1, whole=True)
    assert batch_shapes(planned) == batch_shapes(one_by_one)


def batch_shapes(planned: list[PlannedBatch]) -> dict[int, Size | None]:
    return {i: batch.batch_shape for batch in planned for i in batch.indices}


def test_of_a_part_each_image_has_the_shape_of_its_own() -> None:
    sizes = [*SIZES, (481, 640)]
    planned = AspectRatioGroups(group_size=16, transform=TRANSFORM).plan(sizes, 8, whole=False)
    assert batch_shapes(planned) == {i: LETTERBOX.batch_shape([size]) for i, size in enumerate(sizes)}
    assert (1, 5) in [batch.indices for batch in planned]  # neighbours of one shape share a batch all the same


def test_in_order_cuts_and_says_no_shape() -> None:
    planned = InOrder().plan(SIZES, 2, whole=True)
    assert planned == [PlannedBatch((0, 1)), PlannedBatch((2, 3)), PlannedBatch((4,))]
    assert describe(planned) == {"count": 3, "batch_shapes": {}}


@needs_shared
@needs_coco
def test_inputs_of_a_whole_evaluation() -> None:
    """Order, shapes, gains and borders of 80 images, and the pixels of those that are resized."""
    with np.load(PREPROCESSING) as archive:
        golden = {key.removeprefix("rect/"): archive[key] for key in archive.files if key.startswith("rect/")}
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_val2017.json")
    sizes: list[Any] = list(zip(truth.heights.tolist(), truth.widths.tolist(), strict=True))
    planned = AspectRatioGroups(group_size=16, transform=TRANSFORM).plan(sizes, 16, whole=True)
    order = [i for batch in planned for i in batch.indices]
    ratios = golden["ori_hw"][:, 0] / golden["ori_hw"][:, 1]
    assert [sizes[i][0] / sizes[i][1] for i in order] == ratios.tolist()
    assert [batch.batch_shape for batch in planned] == [tuple(shape) for shape in golden["batch_shapes_hw"].tolist()]

    normalizer = PixelNormalizer([0.0] * 3, [255.0] * 3, "rgb", PadAround(114))
    place = {int(image): row for row, image in enumerate(golden["image_id"])}
    for image, name, size in zip(truth.image_ids.tolist(), truth.file_names, sizes, strict=True):
        row = place[image]
        made = TRANSFORM(SHARED / "coco" / "val2017" / name, image)
        made.batch_shape = tuple(golden["input_hw"][row].tolist())
        assert made.original_size == size
        assert made.scale == pytest.approx(golden["gain_hw"][row][::-1], abs=1e-9)
        resized = (made.pixels.shape[0], made.pixels.shape[1])
        assert made.batch_shape is not None
        assert letterbox_offset(made.batch_shape, resized)[::-1] == tuple(golden["pad_left_top"][row].tolist())
        if f"input/{image:012}/sample" in golden:
            batch = normalizer([made], torch.device("cpu"))
            pixels = (batch.images[0] * 255).round()
            assert np.array_equal(sample(pixels), golden[f"input/{image:012}/sample"])
            assert pixels.double().mean(dim=(1, 2)).numpy() == pytest.approx(golden[f"input/{image:012}/mean_rgb"])
