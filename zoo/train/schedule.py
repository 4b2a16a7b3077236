"""Published training recipes as data: one file of conf/schedule each. Epochs and iterations count from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.data.augment.settings import MosaicSettings, MultiScale, PipelineSettings, RatioGroups, ViewTransform
from zoo.schema import build
from zoo.types import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """A low learning rate at the start, while gradients are large.

    Attributes:
        kind: "linear": the rate rises in a straight line; "interpolated": the same line, whose last bits are those of
            the sum of its ends, each by its share (PaddleDetection); "chained": the same line, whose last bits are
            those of a product with the rate before, as are those of what follows (torch's schedulers). It ends with
            the first epoch.
        iterations: length of the warm-up; the full rate is reached at the iteration of this number.
        ratio: the rate at iteration 0, as a fraction of the full one.
    """

    kind: Literal["linear", "interpolated", "chained"]
    iterations: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWarmup:
    """A warm-up in which biases start high, all other parameters at 0, and the momentum low (Ultralytics).

    Attributes:
        kind: "groups".
        epochs: length of the warm-up.
        min_iterations: its least length in iterations.
        bias_lr: learning rate of biases at iteration 0.
        momentum: momentum at iteration 0.
    """

    kind: Literal["groups"]
    epochs: float
    min_iterations: int
    bias_lr: float
    momentum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearDecay:
    """A learning rate that falls in a straight line, epoch by epoch.

    Attributes:
        final: fraction of the full rate that would be reached in the epoch after the last.
        epoch_offset: epochs by which the rate is behind after the warm-up: 1 in Ultralytics 8.0.0, 0 since.
    """

    final: float
    epoch_offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRule:
    """Another learning rate, or no decay, for some of the parameters.

    Attributes:
        parameters: patterns of the names of parameters, of which one has to fit; `*` stands for anything, dots too.
        lr_mult: factor of their learning rate. A parameter that several rules fit takes the product of their factors.
        decay: whether they are decayed.
    """

    parameters: tuple[str, ...]
    lr_mult: float = 1.0
    decay: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """An optimiser and its parameter groups.

    Attributes:
        name: "sgd" or "adamw".
        lr: the full learning rate, at the recipe's batch size.
        weight_decay: decay of every weight and bias.
        momentum: momentum of sgd.
        nesterov: whether sgd uses Nesterov's momentum (Sutskever et al., 2013).
        betas: betas of adamw.
        decay_norms: whether the parameters of normalisation layers are decayed.
        decay_biases: whether biases are decayed; where not, they are a parameter group of their own, those of
            normalisation layers among them.
        groups: other rates, or no decay, for parameters by their names; each under a name for messages.
    """

    name: Literal["sgd", "adamw"]
    lr: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    decay_norms: bool = True
    decay_biases: bool = True
    groups: Mapping[str, ParameterRule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaConfig:
    """An exponential moving average (EMA) of the weights.

    Attributes:
        decay: fraction of the average that is kept at each update.
        warmup: time constant, in updates, over which the decay rises from 0: decay * (1 - exp(-updates / warmup)).
    """

    decay: float
    warmup: float = 2000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A published training recipe.

    Attributes:
        name: the zoo's own name of it.
        epochs: number of epochs; None where the length is given in iterations.
        iterations: number of iterations, instead of epochs.
        batch_size: images a step, over all GPUs.
        images_per_gpu: images in one forward pass; None where the batch was not split.
        repeat: passes over the data set in one epoch.
        drop_last: whether the images that fill no whole batch of a GPU are left out of an epoch; else it is filled.
        optimizer: the optimiser and its parameter groups.
        milestones: epochs at whose first iteration the learning rate falls to a tenth; iterations where the length is
            given in them.
        drops: how the rate falls, whose last bit depends on it: by a "power" of a tenth (mmcv), or as a "product", a
            tenth of what it was.
        decay: linear decay of the learning rate, or "cosine": half a wave, epoch by epoch; instead of milestones.
        warmup: warm-up of the learning rate; None starts at the full one.
        accumulate_to: images whose gradients are accumulated before an optimiser step; None takes those of a step.
            The learning rate then does not follow the batch size.
        gradients: "mean" averages the gradients of a step over its micro-batches, as the frameworks of many GPUs do;
            "sum" adds them up over its images, each with the losses of its micro-batch (Ultralytics).
        multi_scale: scales of the training images, in mmdetection's style, or with a pipeline in PaddleDetection's.
        pipeline: the operations on training images and their order, in PaddleDetection's style.
        mosaic: mosaics and what goes with them instead, in Ultralytics' style.
        ratio_groups: fixed groups of images instead, resized as in the evaluation, in faster-rcnn.pytorch's style.
        transforms: the operations on the decoded image instead, in their order, in torchvision's style; the detector's
            own preprocessing, as in the evaluation, comes after them.
        aspect_ratio_group_factor: with `transforms`, bins of height / width to each doubling of it, whose images share
            a batch.
        crop: side in pixels of a random square crop after the resize, to which all images are then padded; None
            crops nothing.
        sync_bn: whether batch normalisations that are trained take the images of a whole step for their statistics,
            over all GPUs, not those of one forward pass.
        clip: largest L2 norm of all gradients together; None clips nothing.
        ema: moving average of the weights, which is evaluated in their place; None keeps none.
        precision: "fp32", "fp16" or "bf16" for convolutions and matrix products.
        loss_scale: fixed factor of the losses in fp16; None adapts it to the gradients.
        cudnn_benchmark: whether cuDNN tries its algorithms on each new shape and keeps the quickest. What they ask for
            while they are tried is part of the training's peak of memory.
    """

    name: str
    epochs: int | None = None
    iterations: int | None = None
    batch_size: int
    optimizer: OptimizerConfig
    milestones: tuple[int, ...] = ()
    drops: Literal["power", "product"] = "power"
    decay: LinearDecay | Literal["cosine"] | None = None
    images_per_gpu: int | None = None
    repeat: int = 1
    drop_last: bool = False
    warmup: Warmup | GroupWarmup | None = None
    accumulate_to: int | None = None
    gradients: Literal["mean", "sum"] = "mean"
    multi_scale: MultiScale | None = None
    pipeline: PipelineSettings | None = None
    mosaic: MosaicSettings | None = None
    ratio_groups: RatioGroups | None = None
    transforms: tuple[ViewTransform, ...] | None = None
    aspect_ratio_group_factor: int | None = None
    crop: int | None = None
    sync_bn: bool = False
    clip: float | None = None
    ema: EmaConfig | None = None
    precision: Precision = "fp32"
    loss_scale: float | None = None
    cudnn_benchmark: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("one of epochs and iterations is the length of the training")
        if self.epochs is None and (self.decay or self.mosaic):
            raise ValueError("decay and mosaic go by epochs, and the length is given in iterations")
        views = (self.multi_scale, self.mosaic, self.ratio_groups, self.transforms)
        if sum(style is not None for style in views) != 1:
            raise ValueError("one of multi_scale, mosaic, ratio_groups and transforms makes the training images")
        if (self.transforms is None) != (self.aspect_ratio_group_factor is None):
            raise ValueError("transforms and aspect_ratio_group_factor come together")
        if self.pipeline is not None and (self.multi_scale is None or self.crop is not None):
            raise ValueError("a pipeline comes with multi_scale and without crop")
        if self.decay and self.milestones:
            raise ValueError("the rate follows decay or milestones, not both")
        if isinstance(self.warmup, GroupWarmup) != isinstance(self.decay, LinearDecay):
            raise ValueError("a linear decay and a warm-up of the kind groups come together, or not at all")
        chained = isinstance(self.warmup, Warmup) and self.warmup.kind == "chained"
        if self.decay == "cosine" and not chained:
            raise ValueError("a cosine decay comes with a warm-up of the kind chained")
        if chained and self.epochs is None:
            raise ValueError("a warm-up of the kind chained goes by epochs, and the length is given in iterations")

    def total_steps(self, steps_per_epoch: int) -> int:
        """The length of the training in steps, of which an epoch has so many."""
        if self.epochs is not None:
            return self.epochs * steps_per_epoch
        assert self.iterations is not None  # noqa: S101 - one of them is there
        return self.iterations

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any]) -> Schedule:
        """A schedule from its YAML.

        Raises:
            UsageError: a key is missing or unknown, or has a value of the wrong kind.
        """
        return build(cls, block, "schedule", "correct the file of conf/schedule; its keys are in zoo/train/schedule.py")
