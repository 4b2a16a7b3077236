"""The weights before the first step of a training: a file of the recipe's, or fresh ones.

A whole training without the file that its recipe begins with would be another one, and is refused. One
that is cut short is a trial and compared with nothing: it goes on from fresh weights, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.catalog.entry import Checkpoint
from zoo.checkpoints.convert import LoadReport, convert
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.obtain import described, obtain
from zoo.checkpoints.readers import read
from zoo.checkpoints.store import StoredFile
from zoo.errors import BlockedError, UsageError
from zoo.models.detectors.base import Detector
from zoo.train.config import TrainConfig
from zoo.train.state import Checkpoints

FRESH = "fresh weights"

CHECKPOINTS = "checkpoints"
"""Folder of a training's checkpoints, in the folder of the run."""

_log = logging.getLogger(__name__)


class Beginning:
    """What a training begins with.

    Args:
        config: the training.
        results_dir: the folder where a file without a published hash is pinned at first use.

    Attributes:
        told: the same for the record: `FRESH`, or a mapping that names a file or why it could not be had.

    Raises:
        BlockedError: the file cannot be had, and the training is a whole one.
    """

    def __init__(self, config: TrainConfig, results_dir: Path) -> None:
        self.initial = config.recipe.initial
        self.told: Any = FRESH
        self._file: StoredFile | None = None
        goes_on = config.resume and Checkpoints(config.run_dir / CHECKPOINTS).paths()
        if self.initial is None or goes_on:
            return
        try:
            self._file = obtain(self.initial, results_dir)
        except BlockedError as error:
            if config.max_steps is None:
                instead = "train from fresh weights with initial=null, or begin with checkpoint.path=FILE"
                raise type(error)(f"initial weights: {error.message}", next_step=instead) from None
            reason = " ".join(error.message.split())
            _log.warning("warning: this trial begins with fresh weights: %s", reason)
            self.told = {"weights": FRESH, "instead_of": self.initial.urls[0], "reason": reason}

    def load(self, detector: Detector) -> None:
        """Put the weights into a detector that has fresh ones.

        Raises:
            CheckpointError: the file cannot be read.
            ConversionError: it belongs to another model.
        """
        if self.initial is not None and self._file is not None:
            report = load_initial(detector, self.initial, self._file.path)
            self.told = described(self._file) | {"load_report": report.to_json()}


def load_initial(detector: Detector, initial: Checkpoint, path: Path) -> LoadReport:
    """Load initial weights into a detector; what the file lacks by rule keeps its values.

    Args:
        detector: the detector, initialised.
        initial: what the file is: its format and its key map.
        path: the file.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: it belongs to another model.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    converted, report = convert(read(path, initial.format), key_map(initial.keymap), expected)
    detector.load_state_dict(converted, strict=False)
    return report


def refuse_trial(told: Any, config: TrainConfig) -> None:
    """Raise UsageError where a trial from fresh weights would be gone on with as a whole training."""
    if config.max_steps is None and isinstance(told, Mapping) and "instead_of" in told:
        message = f"the training began with fresh weights as a trial, without {told['instead_of']}"
        raise UsageError(message, next_step="begin a whole training in another hydra.run.dir=DIR")
