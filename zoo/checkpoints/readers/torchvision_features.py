"""torchvision's file of VGG-16 of which only the convolutions are published (`VGG16_Weights.IMAGENET1K_FEATURES`).

Its other layers are filled with NaN, which would be refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.checkpoints.contents import Contents
from zoo.checkpoints.readers import pth

FEATURES = "features."

NOT_PUBLISHED = "filled with NaN by its publisher"


def read(path: Path) -> Contents:
    """The convolutions of a file; the rest is named as left out. Raises as `pth.read` does."""
    contents = pth.read(path)
    kept = {key: tensor for key, tensor in contents.tensors.items() if key.startswith(FEATURES)}
    left_out = [key for key in contents.tensors if key not in kept]
    dropped = contents.dropped | ({NOT_PUBLISHED: left_out} if left_out else {})
    return replace(contents, tensors=kept, dropped=dropped)
