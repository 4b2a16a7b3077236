"""The weights before the first step of a training: a file of the recipe's, or random ones.

A whole training without the file that its recipe starts from would be another one, and is refused. One that
is cut short (`run.max_steps`) is a dry run and compared with nothing: it goes on from random weights, and
its description says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.catalog.entry import Checkpoint
from zoo.checkpoints.convert import LoadReport, convert
from zoo.checkpoints.fetch_checkpoint import checkpoint_info, fetch_checkpoint
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.readers import read_contents
from zoo.checkpoints.store import StoredFile
from zoo.errors import BlockedError, UsageError
from zoo.models.detectors.base import Detector
from zoo.train.config import TrainConfig
from zoo.train.state import CHECKPOINTS, Checkpoints

RANDOM_INIT = "random init"

_log = logging.getLogger(__name__)


class InitialWeights:
    """The weights that a recipe starts from; a file is fetched at once, and loaded later.

    Args:
        config: the training.
        results_dir: the folder where a file without a published hash is pinned at first use.

    Attributes:
        description: what they are, for the record: `RANDOM_INIT`; or a mapping, of the file, or of the file that
            could not be had, with the reason.

    Raises:
        BlockedError: the file cannot be had, and the training is a whole one.
    """

    def __init__(self, config: TrainConfig, results_dir: Path) -> None:
        self.initial = config.recipe.initial
        self.description: str | dict[str, Any] = RANDOM_INIT
        self._file: StoredFile | None = None
        resumes = config.resume and Checkpoints(config.run_dir / CHECKPOINTS).paths()
        if self.initial is None or resumes:
            return
        try:
            self._file = fetch_checkpoint(self.initial, results_dir)
        except BlockedError as error:
            if config.max_steps is None:
                instead = "train from random weights with initial=null, or start from checkpoint.path=FILE"
                raise type(error)(f"initial weights: {error.message}", next_step=instead) from None
            reason = " ".join(error.message.split())
            _log.warning("warning: this dry run starts from random weights: %s", reason)
            self.description = {"weights": RANDOM_INIT, "instead_of": self.initial.urls[0], "reason": reason}

    def load(self, detector: Detector) -> None:
        """Load the file into a detector that has random weights; without a file they stay.

        Raises:
            CheckpointError: the file cannot be read.
            ConversionError: it belongs to another model.
        """
        if self.initial is not None and self._file is not None:
            report = load_initial(detector, self.initial, self._file.path)
            self.description = checkpoint_info(self._file) | {"load_report": report.to_json()}


def load_initial(detector: Detector, initial: Checkpoint, path: Path) -> LoadReport:
    """Load initial weights into a detector; what the file lacks by rule keeps its values.

    Args:
        detector: the detector, initialised.
        initial: format and key map of the file.
        path: the file.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: it belongs to another model.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    contents = read_contents(path, initial.format)
    converted, report = convert(contents.tensors, key_map(initial.keymap), expected)
    report.include(contents)
    detector.load_state_dict(converted, strict=False)
    return report


def refuse_dry_run(init_from: str | Mapping[str, Any], config: TrainConfig) -> None:
    """Refuse to resume a dry run that lacked its initial file as a whole training.

    Args:
        init_from: description of the weights that the training started from.
        config: the training that is to go on.

    Raises:
        UsageError: that is what would happen.
    """
    if config.max_steps is None and isinstance(init_from, Mapping) and "instead_of" in init_from:
        message = f"the training started from random weights as a dry run, without {init_from['instead_of']}"
        raise UsageError(message, next_step="start a whole training in another hydra.run.dir=DIR")
