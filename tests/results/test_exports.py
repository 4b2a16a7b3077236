"""`zoo export`: what was measured in the formats of others, unrounded, with where it comes from, always the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_up import ANNOTATIONS, MACHINE, WEIGHTS, entry_yaml, file_all, files, make_catalogue, make_record

from zoo import cli
from zoo.results.exporting import export_names
from zoo.results.record import Record
from zoo.runtime.provenance import Code

Capture = pytest.CaptureFixture[str]
COMMIT = "c0ffee" * 6 + "c0ff"
CODE = Code(version="1.2.3", commit=COMMIT, dirty=False)
AP = 37.41234567890123
SPEED = {
    "fps": 60.5,
    "latency_ms": {"p50": 16.52892561983471},
    "timed": {"rounds": 3, "images": 64},
}
ROW = f"{MACHINE}/mmdet_a"


@pytest.fixture(autouse=True)
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b")


def record(entry: str = "mmdet_a", **more: Any) -> Record:
    measured = {"box_AP": AP, "per_class": {"cat": 1.0}, **SPEED}
    made = make_record(entry, **{"code": CODE, "measured": measured, **more})
    if "speed" in made.parts:
        made.measured["fps_rounds"] = {"lowest": 60.0, "highest": 61.0}
        made.parts["speed"].values.append("fps_rounds")
    return made


def export(what: str, *arguments: str, status: int = 0, into: str = "out") -> dict[str, str]:
    """The documents of a format by their place."""
    assert cli.main(["export", what, *arguments, "--into", into, "--results-dir", "results"]) == status
    found = sorted(path for path in Path(into).rglob("*") if path.is_file())
    return {path.relative_to(into).as_posix(): path.read_text(encoding="utf-8") for path in found}


def loaded(what: str, *arguments: str) -> dict[str, Any]:
    return {place: yaml.safe_load(text) for place, text in export(what, *arguments).items()}


def dataset(what: str) -> list[str]:
    return ["--dataset", "owner/coco"] if what == "hub" else []


@pytest.mark.parametrize("what", export_names())
def test_an_export_is_the_same_whenever_it_is_made(what: str) -> None:
    file_all(Path("results"), record(), record("mmdet_b"), record(hardware="h100"))
    first = export(what, *dataset(what), into="first")
    assert first
    assert export(what, *dataset(what), into="second") == first
    assert export(what, *dataset(what), into="first") == first


@pytest.mark.parametrize("what", [name for name in export_names() if name != "schema"])
def test_every_export_says_what_its_numbers_depend_on(what: str) -> None:
    file_all(Path("results"), record())
    for text in export(what, *dataset(what)).values():
        for fact in (WEIGHTS, ANNOTATIONS, COMMIT, MACHINE, "protocol_version"):
            assert fact in text, fact


@pytest.mark.parametrize("what", [name for name in export_names() if name != "schema"])
def test_only_what_was_measured_of_a_row_is_exported(what: str, capsys: Capture) -> None:
    others = [
        make_record(status="blocked", reason="no"),
        record("mmdet_b", partial=True, conditions=["data.limit=4"]),
        record("mmdet_b", name="mine"),
        record("mmdet_b", hash_evidence="other weights", weights="1" * 64),
    ]
    file_all(Path("results"), *others)
    assert export(what, *dataset(what), status=1) == {}
    assert "no measured records of these rows" in capsys.readouterr().err
    file_all(Path("results"), record())
    assert "mmdet_b" not in "".join([*(found := export(what, *dataset(what))), *found.values()])


def test_rows_may_be_chosen() -> None:
    file_all(Path("results"), record(), record("mmdet_b"))
    assert list(export("in-toto", "b")) == [f"{MACHINE}/mmdet_b.intoto.json"]


def test_a_chart_has_a_point_for_each_number_with_a_stable_name() -> None:
    file_all(Path("results"), record(), record(conditions=["precision=bf16"]))
    found = loaded("benchmark")
    assert list(found) == ["bigger_is_better.json", "smaller_is_better.json"]
    *of_bf16, ap, fps = found["bigger_is_better.json"]
    extra = ap.pop("extra")
    assert ap == {"name": f"{ROW}/box_AP", "unit": "AP points", "value": AP}
    assert extra.splitlines()[0] == f"checkpoint_sha256: {WEIGHTS}"
    assert (fps["name"], fps["unit"], fps["value"], fps["range"]) == (f"{ROW}/fps", "images/s", 60.5, "± 0.5")
    assert [point["name"] for point in of_bf16] == [f"{ROW}+precision-bf16/{metric}" for metric in ("box_AP", "fps")]
    assert "conditions: precision=bf16" in of_bf16[0]["extra"]
    latency = found["smaller_is_better.json"][-1]
    assert (latency["name"], latency["unit"], latency["value"]) == (f"{ROW}/latency_ms", "ms", 16.52892561983471)


def test_each_number_names_the_code_and_time_of_its_own_measurement() -> None:
    later = make_record(measured=SPEED, code=Code(version="2"), finished="2026-02-02T00:00:00+00:00")
    file_all(Path("results"), record(measured={"box_AP": AP}), later)
    ap, fps = loaded("benchmark")["bigger_is_better.json"]
    assert f"code_commit: {COMMIT}" in ap["extra"]
    assert "measured_at: 2026-01-01T00:00:00+00:00" in ap["extra"]
    assert "code_commit: unknown" in fps["extra"]
    assert "measured_at: 2026-02-02T00:00:00+00:00" in fps["extra"]


def test_a_statement_vouches_for_the_checkpoint_and_the_record() -> None:
    file_all(Path("results"), record())
    statement = loaded("in-toto")[f"{ROW}.intoto.json"]
    digest = hashlib.sha256(Path(f"results/records/{ROW}.json").read_bytes()).hexdigest()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [
        {"name": "mmdet_a", "digest": {"sha256": WEIGHTS}},
        {"name": "mmdet_a.json", "digest": {"sha256": digest}},
    ]
    predicate = statement["predicate"]
    of_record, of_data, of_code = predicate.pop("configuration")
    assert predicate == {"result": "PASSED", "passedTests": ["box_AP"], "warnedTests": [], "failedTests": []}
    assert of_record["digest"] == {"sha256": digest}
    judged = of_record["annotations"]["box_AP"]
    assert (judged["verdict"], judged["published"], judged["measured"]) == ("EXACT", "37.4", AP)
    assert of_data == {"name": "coco2017 val2017 annotations", "digest": {"sha256": ANNOTATIONS}}
    assert of_code == {"name": "code", "digest": {"gitCommit": COMMIT}}


def test_a_difference_fails_a_statement() -> None:
    file_all(Path("results"), record(measured={"box_AP": 36.0}))
    predicate = loaded("in-toto")[f"{ROW}.intoto.json"]["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["box_AP"])


def test_an_explained_difference_is_a_warning(entries: Path) -> None:
    flops = '    - {metric: flops_b, text: "10.0", source: README.md}'
    (entries / "mmdet_a.yaml").write_text(entry_yaml("mmdet_a", fps=flops), encoding="utf-8")
    counting = {"counter": "fvcore", "flops": 10_000_000_000}
    counted = {"box_AP": AP, "macs": 6_000_000_000, "flops_published_counting": counting}
    file_all(Path("results"), record(measured=counted))
    predicate = loaded("in-toto")[f"{ROW}.intoto.json"]["predicate"]
    assert (predicate["result"], predicate["warnedTests"]) == ("WARNED", ["flops_b"])


def test_what_a_format_cannot_say_is_named(capsys: Capture) -> None:
    file_all(Path("results"), record(measured=SPEED), record("mmdet_b", trained=True), record("mmdet_b"))
    said = {}
    for what in ("in-toto", "eee", "hub"):
        assert len(export(what, *dataset(what), into=what)) == 1
        said[what] = capsys.readouterr().err
    assert f"{ROW} is left out: none of its numbers can be compared" in said["in-toto"]
    assert f"{ROW} is left out: no accuracy was measured" in said["eee"]
    assert f"{ROW} is left out: no accuracy was measured" in said["hub"]
    for text in said.values():
        assert "mmdet_b+trained+seed-0 is left out" in text


def test_nothing_that_a_format_can_say_is_exit_1(capsys: Capture) -> None:
    file_all(Path("results"), record(measured=SPEED))
    assert export("eee", status=1) == {}
    assert "nothing to export" in capsys.readouterr().err


def test_the_hub_gets_a_file_for_each_model_of_its_own_conditions(capsys: Capture) -> None:
    file_all(Path("results"), record(), record(conditions=["precision=bf16"]))
    found = loaded("hub", "--dataset", "owner/coco")
    assert list(found) == [f"mmdet_a/.eval_results/zoo_{MACHINE}.yaml"]
    ((result,),) = found.values()
    notes = result.pop("notes")
    assert result == {
        "dataset": {"id": "owner/coco", "task_id": "box_AP"},
        "value": AP,
        "date": "2026-01-01T00:00:00+00:00",
    }
    assert notes.startswith(f"checkpoint_sha256 {WEIGHTS}; ")
    assert "precision-bf16 is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hub"], "the Hub shows results of a data set that is registered there"),
        (["hub", "--dataset", "coco"], "no data set of the Hub"),
        (["eee", "--dataset", "owner/coco"], "--dataset is of hub, not of eee"),
        (["schema", "mmdet_a"], "schema is of no row"),
        (["eee", "mmdet_z"], "no entry fits 'mmdet_z'"),
        (["intoto"], "no FORMAT 'intoto'; closest: in-toto"),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys: Capture) -> None:
    file_all(Path("results"), record())
    assert export(*arguments, status=2) == {}
    assert message in capsys.readouterr().err


def test_a_log_of_the_shared_schema() -> None:
    file_all(Path("results"), record())
    ((place, log),) = loaded("eee").items()
    folder, name = place.rsplit("/", 1)
    assert folder == "data/coco2017/mmdet/a"
    assert name[14] == "4", "a UUID of version 4"
    (result,) = log.pop("evaluation_results")
    assert log["schema_version"] == "0.3.0"
    assert log["evaluation_id"] == f"coco2017@{MACHINE}@mmdet_a/mmdet/a/1767225600"
    assert log["retrieved_timestamp"] == "1767225600"
    assert log["source_metadata"]["evaluator_relationship"] == "third_party"
    assert log["eval_library"]["version"] == "1.2.3"
    assert (log["model_info"]["id"], log["model_info"]["name"]) == ("mmdet/a", "faster-rcnn")
    assert log["model_info"]["additional_details"]["checkpoint_sha256"] == WEIGHTS
    assert result["score_details"]["score"] == AP
    details = result["score_details"]["details"]
    assert all(isinstance(value, str) for value in details.values())
    assert (details["images"], details["measurement_version"]) == ("5000", "1")
    assert result["source_data"]["source_type"] == "url"
    assert result["source_data"]["url"][-1].endswith("/zips/val2017.zip")
    metric = result["metric_config"]
    assert (metric["metric_id"], metric["min_score"], metric["max_score"]) == ("coco.box_AP", 0.0, 100.0)
    assert metric["lower_is_better"] is False


def test_a_row_that_is_measured_again_takes_its_own_place() -> None:
    file_all(Path("results"), record())
    (place,) = export("eee")
    file_all(Path("results"), record(measured={"box_AP": 1.5}, finished="2026-02-02T00:00:00+00:00"))
    ((again, log),) = loaded("eee").items()
    assert again == place
    assert log["evaluation_results"][0]["score_details"]["score"] == 1.5


def test_nothing_is_left_of_an_export_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    file_all(Path("results"), record(), record("mmdet_b", version=2))
    assert export("in-toto", status=2) == {}, "two versions of accuracy are not mixed"
    assert files(Path("out")) == []


def test_a_record_does_not_name_a_place_outside(capsys: Capture) -> None:
    file_all(Path("results"), record(data="../../x"))
    assert export("eee", status=2) == {}
    assert "leaves out" in capsys.readouterr().err
