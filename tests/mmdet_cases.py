"""mmdetection's architectures: one entry of each parity case, composed and loaded."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

from cases import ENTRIES
from parity import weights

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.models.detectors.base import Detector
from zoo.models.layers.skip_init import SkipInit

ARCHITECTURES = {case.split("/")[1]: entries[0] for case, entries in ENTRIES.items() if case.startswith("mmdet/")}
"""Parity case, without its zoo -> an entry of that architecture."""


def build(case: str, overrides: Sequence[str] = ()) -> Detector:
    """A detector with fresh weights, on the default device."""
    config = composed(case, *overrides)
    return build_model(config, classes(case))


def composed(case: str, *overrides: str) -> dict[str, Any]:
    """The configuration of a case, composed once."""
    return copy.deepcopy(_composed(case, *overrides))


@functools.cache
def _composed(case: str, *overrides: str) -> dict[str, Any]:
    return compose(ARCHITECTURES[case], overrides)


def classes(case: str) -> list[str]:
    """Names of the object classes of a case."""
    config = composed(case)
    return list(config["entry"].get("classes") or config["data"]["classes"])


def load(case: str) -> Detector:
    """The eval-mode detector of a case, with the weights of its manifest."""
    with SkipInit("meta"):
        model = build(case)
    load_weights(model, weights(f"mmdet/{case}"), "mmdet")
    return model.eval()
