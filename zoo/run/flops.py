"""Complexity: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401 - registers its operations
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from zoo.errors import UsageError, closest
from zoo.models.detectors.base import Detector

IMAGE_SIZE = (800, 1333)
"""Height and width of the grey image whose pass is counted, before preprocessing."""

Formula = Callable[..., int]
"""Shapes of an operation's arguments, and `out_shape`, to its operations: a multiplication and an addition are two."""

aten = torch.ops.aten


def _matrix_vector(matrix: Sequence[int], *_args: Any, **_kwargs: Any) -> int:
    return 2 * prod(matrix)


def _convolution_by_output(x: list[int], weight: list[int], *_args: Any, out_shape: list[int], **_kwargs: Any) -> int:
    return conv_flop_count(x, weight, out_shape, transposed=False)


def _two_per_output(*_args: Any, out_shape: Sequence[int], **_kwargs: Any) -> int:
    return 2 * prod(out_shape)


MISSING: Mapping[Any, Formula] = {
    aten.mv: _matrix_vector,
    # A sample of four cells counts as one of a plain convolution: how it is interpolated is not counted.
    torch.ops.torchvision.deform_conv2d: _convolution_by_output,
    # What the convolution is, not the fewer products that it is computed by.
    torch.ops.zoo.winograd_conv3x3: _convolution_by_output,
}
"""Products that torch's counter leaves out."""

COUNTERS: Mapping[str, Mapping[Any, Formula]] = {
    # thop 0.1, of which the YOLOv8 tables print twice the MACs: a transposed convolution counts as a plain
    # one with the same output, four times its work at stride 2, and nearest up-sampling counts as well.
    "thop": {
        aten.convolution: _convolution_by_output,
        aten.upsample_nearest2d: _two_per_output,
    },
}
"""Other programs' countings, which published tables were made with."""


@torch.inference_mode()
def count(detector: Detector, *, size: Sequence[int] | None = None, counter: str | None = None) -> dict[str, Any]:
    """Count a detector's parameters and the work of one image.

    Convention: 1 MAC is one multiplication with its addition (half of what is often called FLOPs);
    convolutions and matrix products count, everything else does not. The second stage of a
    two-stage detector works on as many proposals as the grey image yields.

    Args:
        detector: in eval mode; where its normalisation is folded, so is what is counted.
        size: height and width of a grey image that gets no border; None takes one of `IMAGE_SIZE` and what
            border it gets.
        counter: a key of `COUNTERS`: counts a second time, as the published table does.

    Returns:
        params: parameters, trainable or not, normalisation included, buffers not.
        macs: of the whole network.
        macs_input: shape (N, 3, H, W) of the input they were counted on.
        macs_by_part: backbone, neck, heads.
        flops_published_counting: {"counter": its name, "flops": operations}, where one was asked for.

    Raises:
        UsageError: there is no such counter.
    """
    if counter is not None and counter not in COUNTERS:
        raise UsageError(f"no counter {counter!r} ({closest(counter, COUNTERS)})", next_step="correct the protocol")
    sample = detector.transform(np.full((*(size or IMAGE_SIZE), 3), 128, dtype=np.uint8))
    if size is not None:
        sample.batch_shape = (size[0], size[1])
    batch = detector.prepare([sample])
    exact = FlopCounterMode(display=False, custom_mapping=dict(MISSING))
    published = FlopCounterMode(display=False, custom_mapping={**MISSING, **COUNTERS.get(counter or "", {})})
    with exact, published if counter else contextlib.nullcontext():
        detector.complete(detector.dense(batch.images), batch)  # a graph that is replayed launches nothing to count
    counts = exact.get_flop_counts()  # by class name, a child's counts in its parent's too
    parts = {name: sum(counts.get(type(child).__name__, {}).values()) // 2 for name, child in detector.named_children()}
    result = {
        "params": sum(parameter.numel() for parameter in detector.parameters()),
        "macs": exact.get_total_flops() // 2,
        "macs_input": list(batch.images.shape),
        "macs_by_part": {name: macs for name, macs in parts.items() if macs},
    }
    if counter is not None:
        result["flops_published_counting"] = {"counter": counter, "flops": published.get_total_flops()}
    return result
