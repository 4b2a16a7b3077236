"""The weights of a run: a checkpoint that is evaluated or trained on, or what a recipe begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo.checkpoints.fetch_checkpoint import checkpoint_info, fetch_checkpoint
from zoo.config.build import build_model, load_detector
from zoo.config.run_settings import RunSettings
from zoo.errors import ConversionError
from zoo.results.record import CheckpointRecord, LoadReport
from zoo.schema import plain
from zoo.train.initial import InitialWeights
from zoo.types import Json

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector


class Weights:
    """What a detector is loaded with; the file is there when this is.

    Args:
        settings: the run.

    Attributes:
        checkpoint: the file for the record; None where a recipe begins with weights of its own.

    Raises:
        DownloadError, HashMismatchError, CheckpointError: the file cannot be had, is another, or is damaged.
    """

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._initial: InitialWeights | None = None
        self.checkpoint: CheckpointRecord | None = None
        own = settings.asked.checkpoint
        published = settings.entry.checkpoint
        if settings.train is not None and own.path is None and own.url is None and not settings.begins_with(published):
            self._initial = InitialWeights(settings.train, settings.results_dir)
            return
        stored = fetch_checkpoint(published, settings.results_dir, path=own.path, url=own.url)
        self._stored = stored
        self.checkpoint = CheckpointRecord(**checkpoint_info(stored))

    def load(self) -> Detector:
        """A detector with these weights, in eval mode, on the CPU; the load report is the checkpoint's afterwards.

        Raises:
            CheckpointError: the file cannot be read.
            ConversionError: it belongs to another model.
        """
        settings = self._settings
        if self._initial is not None:
            detector = build_model(settings.parts, settings.classes).eval()
            self._initial.load(detector)
            return detector
        try:
            detector, report = load_detector(
                settings.parts,
                settings.entry,
                settings.row_classes,
                self._stored.path,
                own=self._stored.is_own,
                own_classes=settings.asked.checkpoint.classes,
                classes=None if settings.train is None else settings.classes,
            )
        except ConversionError as error:
            if not settings.identity.changes:
                raise
            step = (
                f"train it first: zoo train {settings.entry.name} with the same settings, or give checkpoint.path=FILE"
            )
            raise ConversionError(f"{error.message} (the composition is not the row's)", next_step=step) from None
        assert self.checkpoint is not None  # noqa: S101 - there is a file
        self.checkpoint.load_report = LoadReport(**report.to_json())
        return detector

    @property
    def description(self) -> str | Mapping[str, Json]:
        """What a training starts from, for its record."""
        if self._initial is not None:
            return self._initial.description
        assert self.checkpoint is not None  # noqa: S101 - there is a file
        report = self.checkpoint.load_report
        kept = {} if report is None or not report.kept else {"load_report": plain(report)}
        return {"sha256": self.checkpoint.sha256, "path": self.checkpoint.path} | kept
