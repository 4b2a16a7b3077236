"""Detections as a file in COCO's results format (https://cocodataset.org/#format-results)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.files import replacing, result_errors
from zoo.measure.coco_eval.columns import DetectionColumns

_ROWS = 1 << 13
"""Detections turned into text at a time: memory stays flat however many there are."""


def write_predictions(detections: DetectionColumns, path: Path) -> None:
    """Write one object per detection: image_id, category_id, bbox (xywh), score, and where there are any the mask as
    segmentation and the keypoints as keypoints (x, y, score, x, y, score, ...).

    Numbers are not rounded: each reads back as the same float64. The file appears at once, or not at all.

    Raises:
        ZooError: the disk refuses the file.
    """
    with result_errors(path), replacing(path) as file:
        separator = "["
        for rows in _rows(detections):
            file.write(separator + ",\n".join(rows))
            separator = ",\n"
        file.write("]\n" if len(detections) else "[]\n")


def _rows(detections: DetectionColumns) -> Iterator[list[str]]:
    """The objects as JSON, some thousands at a time."""
    for begin in range(0, len(detections), _ROWS):
        part = slice(begin, begin + _ROWS)
        rows = [
            f'{{"image_id":{image},"category_id":{category},"bbox":[{x!r},{y!r},{w!r},{h!r}],"score":{score!r}'
            for image, category, (x, y, w, h), score in zip(
                detections.image_id[part].tolist(),
                detections.category_id[part].tolist(),
                detections.bbox[part].tolist(),
                detections.score[part].tolist(),
                strict=True,
            )
        ]
        for key, column in _optional(detections, part).items():
            rows = [f'{row},"{key}":{json.dumps(value)}' for row, value in zip(rows, column, strict=True)]
        yield [row + "}" for row in rows]


def _optional(detections: DetectionColumns, part: slice) -> dict[str, Sequence[object]]:
    """What not all detections have, by its key in the format."""
    columns: dict[str, Sequence[object]] = {}
    if detections.segmentation is not None:
        columns["segmentation"] = detections.segmentation[part]
    if detections.keypoints is not None:
        columns["keypoints"] = [points.ravel().tolist() for points in detections.keypoints[part]]
    return columns
