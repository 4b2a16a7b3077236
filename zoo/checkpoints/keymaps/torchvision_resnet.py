"""Classification networks that detectors begin with: torchvision's ResNets, and conversions under its names.

The last stage goes to the backbone, or to the RoI head where that has it.
"""

from __future__ import annotations

from dataclasses import replace

from zoo.checkpoints.convert import COUNTED, Drop, Fresh, KeyMap, Rename

NEW = "a layer that a classification network does not have"
WHOLE_IMAGES = "classifies whole images"

NEW_LAYERS: KeyMap = (
    Fresh("neck.{*p}", NEW),
    Fresh("rpn_head.{*p}", NEW),
    Fresh("roi_head.stages.{stage}.box_head.{layer}.{p}", NEW),
    Fresh("roi_head.stages.{stage}.box_head.{part}.{layer}.{*p}", NEW),
    Fresh("roi_head.mask_head.{*p}", NEW),
    Fresh("roi_head.keypoint_head.{*p}", NEW),
    Fresh("dense_head.{*p}", NEW),
    Fresh("backbone.{*layer}.conv_offset.{p}", NEW),
)
"""Rules for the layers of a detector that begin anew."""


def backbone_rules(of_detector: KeyMap) -> tuple[Rename, ...]:
    """The rules of a detector's files for its backbone, whose last stage may be the RoI head's instead."""
    last, shared = "backbone.layer4.", "roi_head.stages.0.shared.blocks."
    rules = (rule for rule in of_detector if isinstance(rule, Rename) and rule.target.startswith("backbone."))
    return tuple(
        replace(rule, otherwise=rule.target.replace(last, shared)) if rule.target.startswith(last) else rule
        for rule in rules
    )


def blocks(source: str, target: str, otherwise: str | None = None) -> KeyMap:
    """Rules for the blocks of a residual stage; see `Rename` for `otherwise`."""

    def rename(name: str, own: str) -> Rename:
        second = None if otherwise is None else f"{otherwise}.{{block}}.{own}"
        return Rename(f"{source}.{{block}}.{name}", f"{target}.{{block}}.{own}", second)

    convolutions = [rename(f"conv{i}.weight", f"conv{i}.conv.weight") for i in (1, 2, 3)]
    normalisations = [rename(f"bn{i}.{{p}}", f"conv{i}.norm.{{p}}") for i in (1, 2, 3)]
    shortcuts = (
        rename("downsample.0.weight", "shortcut.conv.weight"),
        rename("downsample.1.{p}", "shortcut.norm.{p}"),
    )
    return (*convolutions, *normalisations, *shortcuts)


KEY_MAP: KeyMap = (
    Rename("conv1.weight", "backbone.stem.conv.weight"),
    Rename("bn1.{p}", "backbone.stem.norm.{p}"),
    *blocks("layer4", "backbone.layer4", "roi_head.stages.0.shared.blocks"),
    *blocks("{layer}", "backbone.{layer}"),
    Drop("fc.{p}", WHOLE_IMAGES),
    Drop("conv1.bias", "what the normalisation after it takes the place of"),
    Fresh("{*layer}.num_batches_tracked", COUNTED),
    *NEW_LAYERS,
)
