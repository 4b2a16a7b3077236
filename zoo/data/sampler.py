"""In what order the images of a training come.

Legend: I images of the set, B images a step, M images of a micro-batch: those that go through the network together
(one GPU's share of a step in the original training). A step has one or more micro-batches.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Images: TypeAlias = npt.NDArray[np.int64]
"""Positions in the training set."""


class SampleIndex(NamedTuple):
    """One place in a training; it alone decides what is seen there.

    Attributes:
        image: position in the training set.
        epoch: number of the epoch, from 0.
        position: number of the place within the epoch, from 0.
    """

    image: int
    epoch: int
    position: int


class BatchSampler(Protocol):
    """Which images every step is trained on: a function of the seed and the step alone.

    Attributes:
        micro_batch_size: M.
        micro_batches_per_step: B / M.
        steps_per_epoch: number of steps of an epoch.
    """

    micro_batch_size: int
    micro_batches_per_step: int
    steps_per_epoch: int

    def step(self, index: int) -> list[list[SampleIndex]]:
        """The micro-batches of a step, counted from 0 over all epochs."""
        ...


class EpochSampler(BatchSampler):
    """Every epoch has an order of its own, which the seed and its number decide.

    Args:
        batch_size: B.
        micro_batch_size: M; divides B.
        seed: seed of the order.

    Attributes:
        micro_batch_size: M.
        micro_batches_per_step: B / M.
        steps_per_epoch: number of steps of an epoch; the subclass knows it.

    Raises:
        ValueError: B is no multiple of M.
    """

    def __init__(self, *, batch_size: int, micro_batch_size: int, seed: int) -> None:
        if batch_size % micro_batch_size:
            raise ValueError(f"a batch of {batch_size} images does not split into micro-batches of {micro_batch_size}")
        self.micro_batch_size = micro_batch_size
        self.micro_batches_per_step = batch_size // micro_batch_size
        self.seed = seed
        self._current: tuple[int, Images] | None = None

    def step(self, index: int) -> list[list[SampleIndex]]:
        """The micro-batches of a step, counted from 0 over all epochs."""
        epoch, step = divmod(index, self.steps_per_epoch)
        if self._current is None or self._current[0] != epoch:
            generator = np.random.default_rng((self.seed, epoch))
            shape = (self.steps_per_epoch, self.micro_batches_per_step, self.micro_batch_size)
            self._current = epoch, self._epoch(generator).reshape(shape)
        micro_batches: list[list[int]] = self._current[1][step].tolist()
        size, first = self.micro_batch_size, step * self.micro_batches_per_step
        return [
            [SampleIndex(image, epoch, (first + row) * size + i) for i, image in enumerate(images)]
            for row, images in enumerate(micro_batches)
        ]

    @abstractmethod
    def _epoch(self, generator: np.random.Generator) -> Images:
        """The images of an epoch, of one step after another, of each its micro-batches one after another."""


class AspectRatioBatchSampler(EpochSampler):
    """Images of one orientation in every micro-batch (mmdetection's group sampler).

    Every epoch goes through the set in a new order. The images of a micro-batch are all landscape or all portrait,
    so that little is padding; a micro-batch or a step that the set does not fill is filled with images from the
    epoch's beginning, or left out.

    Args:
        is_landscape: bool (I,), whether an image is at least as wide as high.
        batch_size: B.
        micro_batch_size: M; divides B.
        seed: seed of the order.
        repeat: times the set is gone through in an epoch.
        drop_last: whether the last images of an epoch are left out that fill no whole micro-batch of a GPU's share,
            which is the set divided by the micro-batches of a step and rounded up (PaddleDetection).
    """

    def __init__(
        self,
        is_landscape: npt.NDArray[np.bool_],
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        repeat: int = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size, micro_batch_size=micro_batch_size, seed=seed)
        images = np.tile(np.arange(len(is_landscape)), repeat)
        groups = (images[is_landscape[images]], images[~is_landscape[images]])
        self.groups = [group for group in groups if len(group)]
        micro_batches = sum(-(-len(group) // micro_batch_size) for group in self.groups)
        self.steps_per_epoch = -(-micro_batches // self.micro_batches_per_step)
        if drop_last:
            share = -(-len(images) // self.micro_batches_per_step)
            self.steps_per_epoch = max(share // micro_batch_size, 1)

    def _epoch(self, generator: np.random.Generator) -> Images:
        """The micro-batches of each orientation, mixed; see `EpochSampler`."""
        size = self.micro_batch_size
        micro_batches = [
            np.resize(generator.permutation(group), (-(-len(group) // size), size)) for group in self.groups
        ]
        order = generator.permutation(np.concatenate(micro_batches))  # of whole micro-batches
        return np.resize(order, (self.steps_per_epoch * self.micro_batches_per_step, size))


class RatioBinSampler(EpochSampler):
    """Images of about one ratio in every micro-batch, in the order in which they are dealt out (torchvision).

    Every epoch shuffles the set and deals it out to as many processes as a step has micro-batches, whose shares are
    made equal with images from the order's beginning. Each process goes through its share and trains on a bin of
    ratios as soon as it has a micro-batch of its images; what fills no micro-batch is left out, or filled up with
    images of the bin that came before, the fullest bins first, until its number of steps is reached.

    Args:
        ratios: float (I,), height / width.
        factor: bins to each doubling of the ratio, between 1/2 and 2; 0 has two bins, those below 1 and the others.
        batch_size: B.
        micro_batch_size: M; divides B.
        seed: seed of the order.
    """

    def __init__(
        self, ratios: npt.NDArray[np.float64], *, factor: int, batch_size: int, micro_batch_size: int, seed: int
    ) -> None:
        super().__init__(batch_size=batch_size, micro_batch_size=micro_batch_size, seed=seed)
        edges = 2 ** np.linspace(-1, 1, 2 * factor + 1) if factor else np.ones(1)
        self.bins = np.searchsorted(edges, ratios, side="right")  # (I,)
        share = -(-len(ratios) // self.micro_batches_per_step)
        # A set too small for one micro-batch of each process still makes a step.
        self.steps_per_epoch = max(share // micro_batch_size, 1)

    def _epoch(self, generator: np.random.Generator) -> Images:
        """What each process makes of its share; see `EpochSampler`."""
        order = generator.permutation(len(self.bins))
        processes = self.micro_batches_per_step
        dealt = np.resize(order, (-(-len(order) // processes), processes))
        shares = np.array([self._micro_batches(share.tolist()) for share in dealt.T])  # (processes, steps, M)
        return shares.swapaxes(0, 1)

    def _micro_batches(self, share: list[int]) -> list[list[int]]:
        """The micro-batches of one process, as many as an epoch has steps."""
        size = self.micro_batch_size
        seen: dict[int, list[int]] = {}
        waiting: dict[int, list[int]] = {}
        batches: list[list[int]] = []
        for image in share:
            ratio_bin = int(self.bins[image])
            seen.setdefault(ratio_bin, []).append(image)
            waiting.setdefault(ratio_bin, []).append(image)
            if len(waiting[ratio_bin]) == size:
                batches.append(waiting.pop(ratio_bin))
                waiting[ratio_bin] = []  # last of the bins that are equally full
        fullest = sorted(waiting, key=lambda ratio_bin: len(waiting[ratio_bin]), reverse=True)
        last = fullest[: self.steps_per_epoch - len(batches)]
        return batches + [(waiting[ratio_bin] + seen[ratio_bin] * size)[:size] for ratio_bin in last]


class FixedGroupSampler(EpochSampler):
    """A group of images every step, all groups once an epoch in a new order (faster-rcnn.pytorch).

    What is in a group never changes; its images are dealt out in order.

    Args:
        groups: int64 (steps an epoch, B), the images of each.
        micro_batch_size: M; divides B.
        seed: seed of the order.
    """

    def __init__(self, groups: npt.NDArray[np.int64], *, micro_batch_size: int, seed: int) -> None:
        self.steps_per_epoch, batch_size = groups.shape
        super().__init__(batch_size=batch_size, micro_batch_size=micro_batch_size, seed=seed)
        self.groups = groups

    def _epoch(self, generator: np.random.Generator) -> Images:
        """The groups in another order; see `EpochSampler`."""
        return self.groups[generator.permutation(self.steps_per_epoch)]
