"""The network of a detector as an ONNX file, and the detector whose network onnxruntime runs from it.

Like the files that Ultralytics exports, it holds the network up to raw outputs, for one image on a
square of fixed size; suppression and masks come after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Never

import torch
from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.data.preprocess import Preprocess
from zoo.errors import BlockedError, UsageError
from zoo.files import replacing, result_errors
from zoo.models.detectors.base import Detector
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.yolo import YoloHead
from zoo.models.heads.yolo_outputs import YoloOutputs
from zoo.types import Batch, Sample, Size

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra `onnx` installs."""

INPUT = "images"
OUTPUTS = ("boxes", "logits", "coefficients", "prototypes")
"""The names of inputs and outputs in the file; a network without masks lacks the last two."""


def exportable(detector: Detector) -> DenseDetector:
    """The detector, if its network can be exported here.

    Raises:
        UsageError: its head is not YOLO's, or its protocol has no input of fixed size.
        BlockedError: the extra is not installed.
    """
    if not isinstance(detector, DenseDetector) or not isinstance(detector.dense_head, YoloHead):
        kind = type(detector.dense_head if isinstance(detector, DenseDetector) else detector).__name__
        message = f"a {kind} cannot be exported to ONNX: YOLO detectors alone have an input of fixed size"
        raise UsageError(message, next_step="leave onnx_latency out of measure, or choose an entry with head=yolov8")
    if _square(detector) is None:
        message = "the network cannot be exported to ONNX: its protocol has no input of fixed size"
        raise UsageError(message, next_step="leave onnx_latency out of measure, or choose another protocol")
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            message = f"the ONNX export needs {name}, which cannot be imported: {error}"
            raise BlockedError(message, next_step="install it: pip install 'zoo-bench[onnx]'") from None
    return detector


def input_size(detector: Detector) -> Size:
    """Height and width of the exported input: the square of the protocol's size rule."""
    square = _square(detector)
    assert square is not None  # noqa: S101 - `exportable` has looked
    return square


def _square(detector: Detector) -> Size | None:
    transform = detector.transform
    return transform.size_rule.square if isinstance(transform, Preprocess) else None


def export_network(detector: DenseDetector, path: Path) -> None:
    """Write the network as an ONNX file, float32, whole or not at all.

    Its input is `images` (1, 3, S, S), its outputs are `OUTPUTS`, fields of `YoloOutputs`.

    Args:
        detector: in eval mode, on the CPU; its normalisation is exported as it is, folded or not.
        path: where the file goes.

    Raises:
        ZooError: the disk is full, or refuses.
    """
    import onnx

    names = OUTPUTS if detector.has_masks else OUTPUTS[:2]
    network, example = _FlatOutputs(detector).eval(), torch.zeros(1, 3, *input_size(detector))
    with pytorchs_own_tf32():
        program = torch.onnx.export(
            network, (example,), input_names=[INPUT], output_names=names, dynamo=True, verbose=False
        )
    assert program is not None  # noqa: S101 - None is what the older exporter returns
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    with result_errors(path), replacing(path) as file:
        file.buffer.write(model.SerializeToString())


@contextlib.contextmanager
def pytorchs_own_tf32() -> Iterator[None]:
    """cuDNN's convolutions as PyTorch sets them when it is imported.

    The exporter asks by the older interface whether TF32 is on, for convolutions and recurrent layers at once, and
    fails where only the former were switched, by the newer one, and then leaves oneDNN off. Nothing is computed by
    cuDNN meanwhile.
    """
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before


class _FlatOutputs(nn.Module):
    """A detector's network from images to a flat tuple, which is what an exporter can trace."""

    def __init__(self, detector: DenseDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.detector.dense(images)
        return tuple(value for name in OUTPUTS if (value := getattr(outputs, name)) is not None)


class OnnxDetector(Detector):
    """A detector whose network is an ONNX file that onnxruntime runs on the CPU.

    What comes before and after the network is the detector's own, but for the batch shape, which is
    always the exported square. Images go one by one.

    Args:
        detector: the one whose network was exported, on the CPU.
        path: the ONNX file.

    Attributes:
        input_shape: (height, width) of the exported input.
        threads: number of threads that onnxruntime computes with, as many as torch does.
    """

    def __init__(self, detector: DenseDetector, path: Path) -> None:
        import onnxruntime

        super().__init__(detector.classes, nn.Identity(), None, detector.transform, detector.normalizer)
        self.detector = detector
        self.input_shape = input_size(detector)
        self.threads = torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.detector.has_masks

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """One sample on the exported square."""
        return super().prepare([dataclasses.replace(sample, batch_shape=self.input_shape) for sample in samples])

    def dense(self, images: Tensor) -> YoloOutputs:
        """Everything up to the box, logits and mask coefficients of each anchor point, by onnxruntime."""
        values = self.session.run(None, {INPUT: images.numpy()})
        found = {output.name: torch.from_numpy(v) for output, v in zip(self.session.get_outputs(), values, strict=True)}
        return YoloOutputs(found["boxes"], found["logits"], found.get("coefficients"), found.get("prototypes"))

    def postprocess(self, outputs: YoloOutputs, batch: Batch) -> list[Detections]:
        """Select, suppress, rescale, clip; then the masks."""
        return self.detector.postprocess(outputs, batch)

    def losses(self, *_: object) -> Never:
        """Not to be had of an exported network."""
        raise TypeError("an exported network cannot be trained")
