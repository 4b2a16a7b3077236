"""Exports as their consumers' own packages read them; skipped where a package is not there.

pip install every-eval-ever in-toto-attestation huggingface_hub
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from zoo import cli

ROOT = Path(__file__).resolve().parents[2]


def exported(folder: Path, *arguments: str) -> list[Path]:
    """The documents that are made of the committed records."""
    assert cli.main(["export", *arguments, "--into", str(folder), "--results-dir", str(ROOT / "results")]) == 0
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_every_eval_ever(tmp_path: Path) -> None:
    types = pytest.importorskip("every_eval_ever.eval_types", reason="needs every-eval-ever")
    checks = pytest.importorskip("every_eval_ever.validation_core", reason="needs all of every-eval-ever")
    for path in exported(tmp_path, "eee"):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(tmp_path).as_posix()
        types.EvaluationLog.model_validate_json(text)
        log = json.loads(text)
        assert checks.check_path_structure(place) == []
        assert checks.check_model_identity_path(place, log) == []
        assert checks.check_score_metadata(log) == []
        assert checks.check_model_deployment(log) == []


def test_hugging_face_hub(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    for path in exported(tmp_path, "hub", "--dataset", "owner/shapes"):
        results = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert hub.eval_result_entries_to_yaml(hub.parse_eval_result_entries(results)) == results


def test_in_toto(tmp_path: Path) -> None:
    json_format = pytest.importorskip("google.protobuf.json_format", reason="needs in-toto-attestation")
    messages = pytest.importorskip("in_toto_attestation.v1.statement_pb2", reason="needs in-toto-attestation")
    statements = pytest.importorskip("in_toto_attestation.v1.statement", reason="needs in-toto-attestation")
    predicates = pytest.importorskip(
        "in_toto_attestation.predicates.test_result.v0.test_result_pb2", reason="needs in-toto-attestation"
    )
    for path in exported(tmp_path, "in-toto"):
        document = json.loads(path.read_text(encoding="utf-8"))
        statements.Statement.copy_from_pb(json_format.ParseDict(document, messages.Statement())).validate()
        assert json_format.ParseDict(document["predicate"], predicates.TestResult()).result == "PASSED"
