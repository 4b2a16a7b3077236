"""Every seed of a run in one place: of the process, and of each micro-batch of a training."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch (on every device)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_micro_batch(seed: int, index: int) -> None:
    """Seed PyTorch for what a model draws in one micro-batch, whichever process takes it.

    A training that resumes therefore draws the same numbers as one that was never interrupted.

    Args:
        seed: the seed of the training.
        index: the number of the micro-batch, from 0, over all steps and processes.
    """
    torch.manual_seed(micro_batch_seed(seed, index))


def micro_batch_seed(seed: int, index: int) -> int:
    """The 63-bit seed of a micro-batch: NumPy's `SeedSequence` keeps neighbours far apart."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> 1)
