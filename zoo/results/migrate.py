"""Records of schema version 1 as records of the present one: values only, no judgement.

Version 1 had one record per machine and entry, a name with a hash for a changed composition, and
no parts: everything in it was measured by one run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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


def migrated(old: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record of schema version 1 in the present layout."""
    protocol = dict(old.get("protocol") or {})
    config = dict(protocol.get("config") or {})
    based_on = old.get("based_on")
    measured = {key: value for key, value in (old.get("measured") or {}).items() if key != "unmeasured"}
    code = {"version": "0.1.0", **(old.get("code") or {})}
    times = {"started": "", **(old.get("times") or {})}
    new = {key: old[key] for key in ("zoo", "status", "reason", "next_step", "seed", "verdict") if key in old}
    return new | {
        "entry": based_on or old["entry"],
        "name": old["entry"] if based_on else None,
        "schema_version": 2,
        "identity": _identity(old, config),
        "overrides": list(old.get("changes") or []),
        "checkpoint": dict(old["checkpoint"]) if (old.get("checkpoint") or {}).get("sha256") else None,
        "data": dict(old["data"]) if (old.get("data") or {}).get("annotations_sha256") else None,
        "protocol": {
            "name": protocol.get("name", ""),
            "version": protocol.get("version", 0),
            "config": config,
            "batches": protocol.get("batches"),
            "training": _training(protocol.get("training")),
        },
        "measured": measured,
        "parts": _parts(measured, protocol.get("version", 0), times, code),
        "hardware": old.get("hardware") or None,
        "code": code,
        "times": times,
    }


def _identity(old: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Condition and changes; the row's hash is not known, because parts have other names now."""
    training = (config.get("run") or {}).get("name") == "train"
    resolved = {**config, "evaluator": _EVALUATORS.get(str(config.get("evaluator")), config.get("evaluator"))}
    resolved["precision"] = (old.get("protocol") or {}).get("precision") or "fp32"
    resolved["batch_size"] = 1 if resolved.get("batch_size") == "auto" else resolved.get("batch_size")
    leaves = {key: value for key, value in bare_leaves(resolved).items() if _known(key)}
    condition = {key: value for key, value in leaves.items() if role_of(key, training=training) is Role.CONDITION}
    folded = (old.get("protocol") or {}).get("name") in _FOLDED
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
        "changes": list(old.get("changes") or []) if old.get("based_on") else [],
        "conditions": differing + ([f"data.limit={limit}"] if limit is not None else []),
    }


def _known(key: str) -> bool:
    try:
        role_of(key)
    except KeyError:
        return False
    return True


def _training(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was noted of a training, by its present names."""
    if block is None:
        return None
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
                "seconds": (times.get("stages") or {}).get(name, 0.0),
                "code": dict(code),
                "values": values,
                "images": (measured.get("timed") or {}).get("images") if name == "speed" else None,
            }
    return parts
