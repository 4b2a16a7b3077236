"""Files of this code's own training, and the embedded models: its names, or those it had when they were written."""

from __future__ import annotations

from zoo.checkpoints.convert import KeyMap, Rename

KEY_MAP: KeyMap = (
    Rename("roi_head.box_head.{*key}", "roi_head.stages.0.box_head.{*key}"),
    Rename("{*key}", "{*key}"),
)
