"""Detections as a file in COCO's results format (https://cocodataset.org/#format-results)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from zoo.files import replacing, result_errors
from zoo.measure.coco_eval.evaluate import DetectionColumns

_ROWS = 1 << 13
"""Detections turned into text at a time: memory stays flat however many there are."""


def write_predictions(detections: DetectionColumns, path: Path) -> None:
    """Write one object per detection: image_id, category_id, bbox (xywh), score, and with masks segmentation.

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
        if detections.segmentation is None:
            yield [row + "}" for row in rows]
        else:
            masks = detections.segmentation[part]
            yield [f'{row},"segmentation":{json.dumps(mask)}}}' for row, mask in zip(rows, masks, strict=True)]
