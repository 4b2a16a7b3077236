"""Checkpoint keys to model keys, strictly: every key of either side is accounted for, or it is an error.

A key map is a table of rules. In a rule `{name}` stands for one dotted segment and `{*name}` for one
or more; the same name on the right repeats what it stood for on the left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from zoo.checkpoints.contents import Contents
from zoo.checkpoints.tensor_ops import TensorOp
from zoo.errors import ConversionError

if TYPE_CHECKING:
    from torch import Tensor

Shape: TypeAlias = tuple[int | None, ...]
"""Of a tensor; None for a side that may have any length."""

MAX_LISTED = 8
"""Keys listed in full in an error; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Rename:
    """Checkpoint keys that a model has under another (or the same) name.

    Attributes:
        source: pattern of the checkpoint's keys.
        target: the model's key for it.
        otherwise: key in models that do not have `target`.
        ops: operations on the values, in this order.
    """

    source: str
    target: str
    otherwise: str | None = None
    ops: tuple[TensorOp, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Checkpoint keys that no model needs, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Checkpoint keys that repeat another, as files do whose network shares a weight between layers.

    They are compared: where one differs, the file is of a network that does not share.
    """

    source: str
    of: str


REPEATED = "equal to the key they are a copy of"


@dataclass(frozen=True, slots=True)
class Constant:
    """Checkpoint keys of which the method fixes the values, so that a model has no parameter for them.

    They are compared: a file with other values is of another method.
    """

    source: str
    values: Sequence[float]


FIXED = "equal to what the method fixes them to"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Model keys that keep their first values where the checkpoint lacks them, and why: in files to begin with."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Zeros:
    """Model keys that are 0 where the checkpoint lacks them, and why: counters that its framework does not keep."""

    target: str
    reason: str


COUNTED = "a counter that decides nothing while the momentum is fixed"
"""Why batch normalisation's `num_batches_tracked` may be missing."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Checkpoint keys that only a file of another kind has, and of which: its tensors mean something else.

    Attributes:
        source: pattern of the checkpoint's keys.
        kind: what such a file is, as a message says it: "a file of ...".
    """

    source: str
    kind: str


Rule = Rename | Drop | Copy | Constant | Fresh | Zeros | Foreign
KeyMap = Sequence[Rule]


@dataclass(slots=True)
class LoadReport:
    """What became of every key of a checkpoint.

    Attributes:
        loaded: number of keys that went into the model.
        changed: operations, by name -> the keys that they were applied to, or whose values were.
        dropped: reason -> the keys dropped for it, and what else the file holds.
        fresh: reason -> how many keys of the model kept their first values for it, or are 0.
        kept: the same of keys for which the file has other values than the model can take, each named.
    """

    loaded: int = 0
    changed: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)

    def include(self, contents: Contents) -> None:
        """Add what the reader of the file left out or changed before any key map saw it."""
        for own, more in ((self.dropped, contents.dropped), (self.changed, contents.changed)):
            for reason, keys in more.items():
                own.setdefault(reason, []).extend(keys)

    def to_json(self) -> dict[str, Any]:
        """The report as a record holds it."""
        rare = {"changed": self.changed, "fresh": self.fresh, "kept": self.kept}
        return {"loaded": self.loaded, "dropped": self.dropped} | {name: keys for name, keys in rare.items() if keys}


def convert(
    tensors: Mapping[str, Tensor], key_map: KeyMap, expected: Mapping[str, Shape]
) -> tuple[dict[str, Tensor], LoadReport]:
    """A checkpoint's tensors under the model's keys.

    Args:
        tensors: by checkpoint key.
        key_map: the first rule that fits a key decides.
        expected: shape of every key of the model.

    Returns:
        Tensors by model key, one for each of `expected` that need not stay fresh, and what became of the others.

    Raises:
        ConversionError: the file is of another kind; or a key without a rule, without a place, without a tensor,
            twice, of another shape, or a copy or a constant that differs.
    """
    _refuse_foreign(tensors, key_map)
    rules = [(_pattern(rule.source), rule) for rule in key_map if isinstance(rule, Rename | Drop | Copy | Constant)]
    conversion = _Conversion(tensors, expected)
    for key in tensors:
        match, rule = next(((m, rule) for pattern, rule in rules if (m := pattern.fullmatch(key))), (None, None))
        if match is None or rule is None:
            conversion.note("no rule for checkpoint keys", key)
        elif isinstance(rule, Rename):
            conversion.rename(rule, match)
        else:
            conversion.leave_out(rule, match)
    converted, report, problems = conversion.converted, conversion.report, conversion.problems
    report.loaded = len(converted)
    converted |= _zeros([key for key in expected if key not in converted], key_map, expected, report)
    missing = _count_fresh([key for key in expected if key not in converted], key_map, report)
    if missing:
        problems["the checkpoint lacks model keys"] = missing
    if problems:
        raise ConversionError(_describe(problems), next_step="check that the checkpoint belongs to this entry")
    return converted, report


def stand_ins(shapes: Mapping[str, tuple[int, ...]], key_map: KeyMap) -> dict[str, Tensor]:
    """Tensors of these shapes without storage, for `convert`; those that the method fixes have their values.

    Args:
        shapes: by checkpoint key.
        key_map: says which are fixed.
    """
    import torch

    rules = [(_pattern(rule.source), rule.values) for rule in key_map if isinstance(rule, Constant)]
    tensors: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        values = next((values for pattern, values in rules if pattern.fullmatch(key)), ())
        is_fixed = bool(values) and math.prod(shape) == len(values)
        tensors[key] = torch.tensor(list(values)).reshape(shape) if is_fixed else torch.empty(shape, device="meta")
    return tensors


class _Conversion:
    """A conversion under way.

    Args:
        tensors: by checkpoint key.
        expected: shape of every key of the model.
    """

    def __init__(self, tensors: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> None:
        self._tensors = tensors
        self._expected = expected
        self.converted: dict[str, Tensor] = {}
        self.report = LoadReport()
        self.problems: dict[str, list[str]] = {}

    def note(self, problem: str, key: str) -> None:
        """Keep a problem for the error at the end."""
        self.problems.setdefault(problem, []).append(key)

    def leave_out(self, rule: Drop | Copy | Constant, match: re.Match[str]) -> None:
        """A key that does not go into the model, if it is what its rule says of it."""
        key = match.string
        tensor = self._tensors[key]
        if isinstance(rule, Drop):
            self._drop(rule.reason, key)
        elif isinstance(rule, Copy):
            original = _fill(rule.of, match)
            if original in self._tensors and _equal(tensor, self._tensors[original]):
                self._drop(REPEATED, key)
            else:
                self.note("not equal to what they are copies of", f"{key}, of {original}")
        elif tensor.numel() == len(rule.values) and tensor.flatten().tolist() == list(rule.values):
            self._drop(FIXED, key)
        else:
            self.note("other values than the method fixes them to", key)

    def _drop(self, reason: str, key: str) -> None:
        self.report.dropped.setdefault(reason, []).append(key)

    def rename(self, rule: Rename, match: re.Match[str]) -> None:
        """A key that goes into the model, its values through the operations of the rule."""
        key, target = match.string, _target(rule, match, self._expected)
        tensor = self._tensors[key]
        for op in rule.ops:
            try:
                tensor = op.apply(tensor)
            except ValueError as error:
                self.note(f"{op.name} does not fit", f"{key} ({error})")
                break
            self.report.changed.setdefault(op.name, []).append(key)
        problem = _problem(target, tensor, self.converted, self._expected)
        if problem:
            self.note(problem, f"{key} -> {target}")
        self.converted[target] = tensor


def _refuse_foreign(tensors: Mapping[str, Tensor], key_map: KeyMap) -> None:
    """Raise ConversionError for a file that is known to be of another kind."""
    for rule in key_map:
        if isinstance(rule, Foreign):
            pattern = _pattern(rule.source)
            shown = next((key for key in tensors if pattern.fullmatch(key)), None)
            if shown is not None:
                message = f"this is {rule.kind}, by its key {shown}: not the checkpoint of this entry"
                raise ConversionError(message, next_step="choose the entry that it belongs to, or give another file")


def _zeros(
    keys: Sequence[str], key_map: KeyMap, expected: Mapping[str, Shape], report: LoadReport
) -> dict[str, Tensor]:
    """The keys that are 0 where the checkpoint lacks them, which are reported."""
    import torch

    zeros: dict[str, Tensor] = {}
    for rule in key_map:
        if isinstance(rule, Zeros):
            pattern = _pattern(rule.target)
            found = {key: torch.zeros([side or 0 for side in expected[key]]) for key in keys if pattern.fullmatch(key)}
            if found:
                report.fresh[rule.reason] = report.fresh.get(rule.reason, 0) + len(found)
            zeros |= found
    return zeros


def _target(rule: Rename, match: re.Match[str], expected: Mapping[str, Shape]) -> str:
    """The model key of a checkpoint key."""
    target = _fill(rule.target, match)
    if rule.otherwise is not None and target not in expected:
        return _fill(rule.otherwise, match)
    return target


def _count_fresh(keys: Sequence[str], key_map: KeyMap, report: LoadReport) -> list[str]:
    """Report the keys that may stay fresh; returns the others."""
    fresh = [(_pattern(rule.target), rule.reason) for rule in key_map if isinstance(rule, Fresh)]
    missing = []
    for key in keys:
        reason = next((reason for pattern, reason in fresh if pattern.fullmatch(key)), None)
        if reason is None:
            missing.append(key)
        else:
            report.fresh[reason] = report.fresh.get(reason, 0) + 1
    return missing


def _problem(target: str, tensor: Tensor, converted: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> str | None:
    """Why a tensor cannot go where its rule sends it; None where it can."""
    if target not in expected:
        return "the model has no place for"
    if target in converted:
        return "two checkpoint keys for one model key"
    wanted = expected[target]
    fits = len(tensor.shape) == len(wanted) and all(b in (a, None) for a, b in zip(tensor.shape, wanted, strict=True))
    return None if fits else f"shape {list(tensor.shape)} where the model has {list(wanted)}"


def _equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same values; quick where they are one and the same memory."""
    if tensor.shape != other.shape or tensor.dtype != other.dtype:
        return False
    same_memory = tensor.data_ptr() == other.data_ptr() and tensor.stride() == other.stride()
    return same_memory or tensor.equal(other)


def _pattern(template: str) -> re.Pattern[str]:
    """A rule's left side as a regular expression with named groups."""
    parts = re.split(r"(\{\*?\w+\})", template)
    return re.compile("".join(_group(part) for part in parts))


def _group(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name = part.strip("{*}")
    return f"(?P<{name}>.+)" if part.startswith("{*") else f"(?P<{name}>[^.]+)"


def _fill(template: str, match: re.Match[str]) -> str:
    """A rule's right side with the segments its left side found."""
    return re.sub(r"\{\*?(\w+)\}", lambda m: match[m[1]], template)


def _describe(problems: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for problem, keys in problems.items():
        rest = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
        lines.append(f"{problem}: {', '.join(keys[:MAX_LISTED])}{rest}")
    return "checkpoint and model do not fit: " + "; ".join(lines)
