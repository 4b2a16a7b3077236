"""Seeds of every random generator that a run draws from."""

from __future__ import annotations

import random


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
