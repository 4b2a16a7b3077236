"""Records of schema version 1 as records of the present one: values only, no judgement.

Version 1 had one record per machine and entry, a name with a hash for a changed composition, and
no parts: everything in it was measured by one run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zoo.errors import UsageError
from zoo.results.identity import Role, bare_leaves, digest, role_of

_MEASURED_BY = {
    "accuracy": ("box_", "mask_", "per_class", "draws"),
    "speed": ("fps", "fps_rounds", "latency_ms", "phases_ms", "timed"),
    "memory": ("memory",),
    "complexity": ("params", "macs", "macs_input", "macs_by_part", "flops_published_counting"),
    "onnx_latency": ("onnx_latency_ms",),
    "train_memory": ("train_memory_gb", "train_memory"),
}
"""Measurement -> what its keys begin with, or are."""

_EVALUATORS = {"columns": "vectorized"}
"""Values of the setting `evaluator` that have another name now."""

_SPLITS = {"coco2017": "val2017", "shapes": "val"}
"""Data set -> the split that its rows are of."""

_FOLDED = ("ultralytics", "shapes_yolo")
"""Protocols that fold the normalisation by themselves."""


NEXT_STEP = "restore the file, or delete it and run its entry again"


def migrated(old: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record of schema version 1 in the present layout.

    Raises:
        UsageError: a block of it is no mapping.
    """
    protocol = dict(_block(old, "protocol"))
    config = dict(_block(protocol, "config"))
    based_on = old.get("based_on")
    measured = {key: value for key, value in _block(old, "measured").items() if key != "unmeasured"}
    code = {"version": "0.1.0", **_block(old, "code")}
    times = {"started": "", **_block(old, "times")}
    new = {key: old[key] for key in ("zoo", "status", "reason", "next_step", "seed", "verdict") if key in old}
    return new | {
        "entry": based_on or old["entry"],
        "name": old["entry"] if based_on else None,
        "schema_version": 2,
        "identity": _identity(old, config),
        "overrides": _list(old, "changes"),
        "checkpoint": dict(_block(old, "checkpoint")) if _block(old, "checkpoint").get("sha256") else None,
        "data": dict(_block(old, "data")) if _block(old, "data").get("annotations_sha256") else None,
        "protocol": {
            "name": protocol.get("name", ""),
            "version": protocol.get("version", 0),
            "config": config,
            "batches": protocol.get("batches"),
            "training": _training(protocol),
        },
        "measured": measured,
        "parts": _parts(measured, protocol.get("version", 0), times, code),
        "hardware": old.get("hardware") or None,
        "code": code,
        "times": times,
    }


def _identity(old: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Condition and changes; the row's hash is not known, because parts have other names now."""
    training = _block(config, "run").get("name") == "train"
    resolved = {**config, "evaluator": _EVALUATORS.get(str(config.get("evaluator")), config.get("evaluator"))}
    resolved["precision"] = _block(old, "protocol").get("precision") or "fp32"
    resolved["batch_size"] = 1 if resolved.get("batch_size") == "auto" else resolved.get("batch_size")
    leaves = {key: value for key, value in bare_leaves(resolved).items() if _known(key)}
    condition = {key: value for key, value in leaves.items() if role_of(key, training=training) is Role.CONDITION}
    folded = _block(old, "protocol").get("name") in _FOLDED
    own: dict[str, Any] = {"protocol.fold_batch_norm": folded, "protocol.channels_last": False}
    own |= {"data.split": _SPLITS.get(str(condition.get("data.name")), condition.get("data.split"))}
    own |= {"precision": "fp32", "batch_size": 1, "evaluator": "vectorized"}
    differing = [
        f"{key}={found if isinstance(found, str) else json.dumps(found)}"
        for key, value in own.items()
        if (found := condition.get(key, value)) != value
    ]
    limit = condition.get("data.limit")
    return {
        "scheme": 1,
        "row": None,
        "condition": {k: v if isinstance(v, str | int | float) else digest(v) for k, v in condition.items()},
        "changes": _list(old, "changes") if old.get("based_on") else [],
        "conditions": differing + ([f"data.limit={limit}"] if limit is not None else []),
    }


def _known(key: str) -> bool:
    try:
        role_of(key)
    except KeyError:
        return False
    return True


def _training(protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was noted of a training, by its present names."""
    if protocol.get("training") is None:
        return None
    block = _block(protocol, "training")
    renamed = {"begun_with": "init_from", "images_per_pass": "micro_batch_size"}
    new = {renamed.get(key, key): value for key, value in block.items()}
    if new.get("init_from") == "fresh weights":
        new["init_from"] = "random init"
    return new


def _parts(
    measured: Mapping[str, Any], version: int, times: Mapping[str, Any], code: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """One part for each measurement that left numbers; all of them by the one run."""
    parts = {}
    for name, prefixes in _MEASURED_BY.items():
        values = [key for key in measured if any(key == p or (p.endswith("_") and key.startswith(p)) for p in prefixes)]
        if values:
            parts[name] = {
                "version": version if name == "accuracy" else 1,
                "finished": times.get("finished") or times.get("started") or "",
                "seconds": _block(times, "stages").get(name, 0.0),
                "code": dict(code),
                "values": values,
                "images": _block(measured, "timed").get("images") if name == "speed" else None,
            }
    return parts


def _block(node: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key; empty where there is none. Raises UsageError for anything else."""
    value = node.get(key) or {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{key}: expected a mapping, got {type(value).__name__}", next_step=NEXT_STEP)
    return value


def _list(node: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key; empty where there is none. Raises UsageError for anything else."""
    value = node.get(key) or []
    if not isinstance(value, list):
        raise UsageError(f"{key}: expected a list, got {type(value).__name__}", next_step=NEXT_STEP)
    return value
