"""Every Eval Ever, the shared schema of evaluation results (version 0.3.0): a log for each record.

Logs lie where the datastore of that project has them, `data/<data set>/<developer>/<model>/<uuid>.json`
(https://github.com/evaleval/every_eval_ever). The uuid is made of the machine, row and condition, so that a row
that is measured again takes its own place.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from zoo.coco_tasks import TASKS
from zoo.fetch.coco import ARCHIVES, DATA_SETS, SERVER
from zoo.results.exporting import Document, Export, LeftOut, Measured, Request, json_text, provenance
from zoo.runtime.provenance import DISTRIBUTION
from zoo.types import Json

SCHEMA_VERSION = "0.3.0"

OWN_ZOO = "shapes"
"""The zoo whose models this project trained: of all others it is a third party."""


def _write(request: Request) -> Iterator[Document | LeftOut]:
    for measured in request.records:
        if measured.record.trained:
            reason = "trained here: the weights are not those that the developer published"
            yield LeftOut(name=measured.name, reason=reason)
        elif "accuracy" not in measured.record.parts:
            yield LeftOut(name=measured.name, reason="no accuracy was measured")
        else:
            log = _log(measured)
            name = uuid.UUID(bytes=hashlib.sha256(measured.name.encode()).digest()[:16], version=4)
            path = f"data/{measured.data.name}/{measured.record.zoo}/{measured.model}/{name}.json"
            yield Document(path=path, text=json_text(log))


def _log(measured: Measured) -> dict[str, Json]:
    record, part = measured.record, measured.record.parts["accuracy"]
    finished = datetime.fromisoformat(part.finished).astimezone(UTC)
    epoch = str(int(finished.timestamp()))
    model = f"{record.zoo}/{measured.model}"
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{measured.data.name}@{measured.name.replace('/', '@')}/{model}/{epoch}",
        "evaluation_timestamp": finished.isoformat(),
        "retrieved_timestamp": epoch,
        "source_metadata": {
            "source_name": DISTRIBUTION,
            "source_type": "evaluation_run",
            "source_organization_name": DISTRIBUTION,
            "evaluator_relationship": "first_party" if record.zoo == OWN_ZOO else "third_party",
        },
        "eval_library": {
            "name": DISTRIBUTION,
            "version": part.code.version,
            "additional_details": {"code_commit": part.code.commit or "unknown"},
        },
        "model_info": {
            "name": measured.entry.upstream if measured.entry is not None else measured.model,
            "id": model,
            "developer": record.zoo,
            "inference_engine": {"name": "PyTorch", "version": measured.hardware.software.torch},
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights",
                "checkpoint_sha256": measured.checkpoint.sha256,
            },
        },
        "evaluation_results": list(_results(measured)),
    }


_WHOLE = {task.prefix: task.whole for task in TASKS.values()}


def _results(measured: Measured) -> Iterator[dict[str, Json]]:
    """Every average precision and recall of a record, unrounded."""
    for key in measured.record.parts["accuracy"].values:
        kind, _, metric = key.partition("_")
        value = measured.record.number(key)
        if kind not in _WHOLE or value is None:  # a number of images, values of each class, nothing to find
            continue
        yield {
            "evaluation_result_id": f"{measured.name}/{key}",
            "evaluation_name": f"{measured.data.name} {measured.data.split} {kind}",
            "source_data": _source(measured),
            "metric_config": {
                "evaluation_description": f"COCO's {metric} of {_WHOLE[kind]}, in points from 0 to 100",
                "metric_id": f"coco.{key}",
                "metric_name": key,
                "metric_kind": "average_recall" if metric.startswith("AR") else "average_precision",
                "metric_unit": "points",
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 100.0,
            },
            "score_details": {"score": value, "details": provenance(measured, key)},
        }


def _source(measured: Measured) -> dict[str, Json]:
    """Where the images and annotations come from."""
    data = measured.data
    details = {"split": data.split, "images": str(data.images), "annotations_sha256": data.annotations_sha256}
    about: dict[str, Json] = {"dataset_name": data.name, "additional_details": details}
    archives = next((found for split, found in ARCHIVES.items() if data.name in DATA_SETS and data.split == split), ())
    if not archives:
        return about | {"source_type": "other"}
    return about | {"source_type": "url", "url": [f"{SERVER}/{archive.path}" for archive in archives]}


EXPORT = Export(write=_write)
