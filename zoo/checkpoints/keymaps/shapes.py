"""The embedded models: their files bear the names of this code."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename

KEY_MAP: KeyMap = (Rename("{*key}", "{*key}"),)
