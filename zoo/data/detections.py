"""What a detector found in one image: looked at, filtered, drawn, written in COCO's results format."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from zoo.data.images import as_bgr
from zoo.data.keypoints import KEYPOINT_NAMES, SKELETON
from zoo.data.rle import decode
from zoo.errors import DataError
from zoo.types import Image, Rle

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_SHOWN_SCORE = 0.3
"""Lowest score in the picture that a notebook shows: detectors give many boxes that they hardly believe in."""

_GOLDEN_ANGLE = 137.5
"""Degrees between the hues of two labels: neighbours in the class list differ most."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that was found.

    Attributes:
        box: (x1, y1, x2, y2) in pixels of the original image.
        score: in [0, 1].
        label: position in the class list.
        name: name of the class; the label as text where no class list is known.
        mask: run-length encoding at the original image's size; None for models without masks.
        keypoints: (x, y, score) of each, as `Detections.keypoints`; None for models without keypoints.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    name: str
    mask: Rle | None = None
    keypoints: tuple[tuple[float, float, float], ...] | None = None


@dataclass(slots=True, eq=False)
class Detections:
    """What a detector found in one image, best score first.

    It is a sequence of `Detection`; a slice, a mask of booleans (N,) or positions (M,) give `Detections` again.

    Attributes:
        boxes: float (N, 4), xyxy in pixels of the original image.
        scores: float (N,), in [0, 1].
        labels: int64 (N,), positions in the class list (0 to 79 for COCO).
        masks: one RLE of the original image's size a box, or None for models without masks.
        keypoints: float (N, K, 3), x and y in pixels of the original image, and the score of each keypoint: of COCO's
            K = 17, in its order, the logit of the heat map at its peak, any float. None for models without keypoints.
        classes: names of the classes in label order; empty where they are not known.
        path: file of the image, where it came from one.
        inclusive: corners are pixels that both belong to the box, which is x2 - x1 + 1 wide.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: list[Rle] | None = None
    keypoints: Tensor | None = None
    classes: tuple[str, ...] = ()
    path: Path | None = None
    inclusive: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        masks: Sequence[Rle | None] = self.masks if self.masks is not None else [None] * len(self)
        points: Sequence[Any] = self.keypoints.tolist() if self.keypoints is not None else [None] * len(self)
        columns = (self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), masks, points)
        for box, score, label, mask, keypoints in zip(*columns, strict=True):
            named = None if keypoints is None else tuple(map(tuple, keypoints))
            yield Detection(tuple(box), score, label, self._name(label), mask, named)

    @overload
    def __getitem__(self, chosen: int) -> Detection: ...
    @overload
    def __getitem__(self, chosen: slice | Tensor | Sequence[int] | Sequence[bool]) -> Detections: ...
    def __getitem__(self, chosen: Any) -> Detection | Detections:
        if isinstance(chosen, int | np.integer):
            if not -len(self) <= chosen < len(self):
                raise IndexError(f"no detection {chosen} of {len(self)}")
            return next(iter(self[[int(chosen)]]))
        positions = np.arange(len(self))[_index(chosen)]
        at = torch.as_tensor(positions, device=self.labels.device)
        masks = None if self.masks is None else [self.masks[i] for i in positions.tolist()]
        return replace(
            self,
            boxes=self.boxes[at],
            scores=self.scores[at],
            labels=self.labels[at],
            masks=masks,
            keypoints=None if self.keypoints is None else self.keypoints[at],
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{found.name} {found.score:.2f}" for found in self[:3])
        return f"Detections({len(self)}{': ' if shown else ''}{shown}{', ...' if len(self) > 3 else ''})"

    def _repr_png_(self) -> bytes | None:
        """The picture that a notebook shows, of what was found in a file with some certainty."""
        if self.path is None or not self.path.is_file():
            return None
        file = io.BytesIO()
        self.above(_SHOWN_SCORE).draw().save(file, format="png")
        return file.getvalue()

    def above(self, score: float) -> Detections:
        """Those of at least this score."""
        return self[self.scores >= score]

    def cpu(self) -> Detections:
        """The same with every tensor on the CPU; a device is waited for once."""
        if not self.scores.is_cuda:
            return self.with_tensors(Tensor.cpu)
        copies = self.with_tensors(start_copy)
        torch.cuda.current_stream(self.scores.device).synchronize()
        return copies.with_tensors(Tensor.clone)  # pinned memory is scarce, and used again

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> Detections:
        """The same with every tensor changed."""
        keypoints = None if self.keypoints is None else change(self.keypoints)
        return replace(
            self, boxes=change(self.boxes), scores=change(self.scores), labels=change(self.labels), keypoints=keypoints
        )

    def draw(self, image: Image | None = None) -> Picture:
        """The image with every box, mask, limb, class and score drawn on it: filter with `above` first.

        Limbs join the keypoints of COCO's skeleton; other keypoints are dots.

        Args:
            image: a path, or an array (H, W, 3), uint8, RGB; None takes the file that the detections are of.

        Returns:
            A PIL image of the same size: `.save(FILE)` writes it, `numpy.asarray` makes an array of it.

        Raises:
            DataError: no image is given where none is known, or it is not of the size of the masks.
        """
        from PIL import Image as Pictures
        from PIL import ImageColor, ImageDraw, ImageFont

        source = self.path if image is None else image
        if source is None:
            raise DataError("it is not known of which file these are", next_step="give the image: draw(image)")
        picture = Pictures.fromarray(np.ascontiguousarray(as_bgr(source)[:, :, ::-1]))
        canvas, side = ImageDraw.Draw(picture), max(picture.size)
        width, font = max(1, round(side / 320)), ImageFont.load_default(max(10, side / 50))
        for found in reversed(list(self)):  # the best ones on top
            colour = ImageColor.getrgb(f"hsv({found.label * _GOLDEN_ANGLE % 360:.1f},80%,75%)")
            if found.mask is not None:
                height_and_width = (picture.height, picture.width)
                if tuple(found.mask["size"]) != height_and_width:
                    message = f"masks of {found.mask['size']} on an image of {height_and_width} (height, width)"
                    raise DataError(message, next_step="draw on the image that the model was given")
                picture.paste(colour, mask=Pictures.fromarray(decode(found.mask) * np.uint8(120)))
            canvas.rectangle(found.box, outline=colour, width=width)
            points = [(x, y) for x, y, _ in found.keypoints or ()]
            for ends in SKELETON if len(points) == len(KEYPOINT_NAMES) else ():
                canvas.line([points[end] for end in ends], fill=colour, width=width)
            for x, y in points:
                canvas.ellipse((x - width, y - width, x + width, y + width), fill=colour)
            text, (left, top) = f"{found.name} {found.score:.2f}", found.box[:2]
            _, _, text_width, text_height = canvas.textbbox((0, 0), text, font=font)
            place = (max(0.0, min(left, picture.width - text_width)), max(0.0, top - text_height))
            canvas.rectangle((*place, place[0] + text_width, place[1] + text_height), fill=colour)
            canvas.text(place, text, fill="white", font=font)
        return picture

    def to_coco(self, image_id: int, category_ids: Sequence[int] | Mapping[str, int]) -> list[dict[str, Any]]:
        """COCO's results format (https://cocodataset.org/#format-results), which pycocotools' `loadRes` takes.

        Args:
            image_id: the data set's id of the image.
            category_ids: the data set's id of every class: in label order, or by the names of `classes`. COCO's own
                80 have ids from 1 to 90, with gaps.

        Returns:
            One dictionary a detection: image_id, category_id, bbox (x, y, width, height in pixels), score, with
            masks segmentation, and with keypoints keypoints (x, y, score, x, y, score, ...).

        Raises:
            DataError: a label has no id.
        """
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]  # float32 differences, as the source frameworks write them
        if self.inclusive:
            sizes = sizes + 1
        rows: list[dict[str, Any]] = []
        for found, size in zip(self, sizes.tolist(), strict=True):
            row: dict[str, Any] = {"image_id": image_id, "category_id": self._category(found, category_ids)}
            row |= {"bbox": [*found.box[:2], *size], "score": found.score}
            if found.mask is not None:
                row["segmentation"] = found.mask
            if found.keypoints is not None:
                row["keypoints"] = [number for point in found.keypoints for number in point]
            rows.append(row)
        return rows

    def _name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else str(label)

    @staticmethod
    def _category(found: Detection, ids: Sequence[int] | Mapping[str, int]) -> int:
        try:
            return int(ids[found.name] if isinstance(ids, Mapping) else ids[found.label])
        except (KeyError, IndexError):
            message = f"category_ids has no id for {found.name!r} (label {found.label})"
            raise DataError(message, next_step="give one for each class of the model, in label order") from None


def start_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU; from a GPU into pinned memory, to be read once the current stream has come that far."""
    return tensor.to("cpu", non_blocking=True)


def _index(chosen: slice | Tensor | Sequence[int] | Sequence[bool]) -> Any:
    """What numpy takes for it; nothing chosen is no list of floats."""
    if isinstance(chosen, slice):
        return chosen
    index = np.asarray(chosen.cpu() if isinstance(chosen, Tensor) else chosen)
    return index if index.size else index.astype(int)
