"""The verdict ladder with worked numbers, and what is set apart from it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from made_up import cell, make_entry, make_record

from zoo.catalog.entry import PublishedCell
from zoo.results.ladder import printed, trained_verdict, verdict
from zoo.results.published import hardware_bound, measured_value, published_cells
from zoo.results.record import Record, Verdict
from zoo.results.verdict import judge


@pytest.mark.parametrize(
    ("measured", "text", "expected"),
    [
        # one decimal: u = 0.05, noise 0.05
        (37.4, "37.4", "EXACT"),
        (37.45, "37.4", "EXACT"),  # |m-p| is exactly u, and 0.05000000000000426 in binary floats
        (37.35, "37.4", "EXACT"),
        (0.3745 * 100, "37.4", "EXACT"),
        (37.4501, "37.4", "NUMERIC"),
        (37.5, "37.4", "NUMERIC"),
        (37.3, "37.4", "NUMERIC"),
        (37.5001, "37.4", "DRIFT"),
        (37.2999, "37.4", "DRIFT"),
        # two decimals: u = 0.005
        (37.405, "37.40", "EXACT"),
        (37.4051, "37.40", "NUMERIC"),
        (37.455, "37.40", "NUMERIC"),
        (37.456, "37.40", "DRIFT"),
        # none: u = 0.5
        (37.5, "37", "EXACT"),
        (37.55, "37", "NUMERIC"),
        (37.56, "37", "DRIFT"),
    ],
)
def test_ladder(measured: float, text: str, expected: str) -> None:
    found = verdict(measured, [cell(text)])
    assert found.verdict == expected
    assert found.published == text
    assert found.measured == measured
    assert found.delta == pytest.approx(measured - float(text))


def test_noise_widens_numeric_only() -> None:
    assert verdict(37.55, [cell("37.4")], noise=0.10).verdict == "NUMERIC"
    assert verdict(37.5501, [cell("37.4")], noise=0.10).verdict == "DRIFT"
    assert verdict(37.46, [cell("37.4")], noise=0.0).verdict == "DRIFT"
    assert verdict(37.45, [cell("37.4")], noise=0.0).verdict == "EXACT"


@pytest.mark.parametrize("noise", [0.1001, 1.0, -0.01, math.nan])
def test_a_noise_floor_that_hides_faults_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise floor"):
        verdict(37.4, [cell("37.4")], noise=noise)


def test_no_cells_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="published cell"):
        verdict(37.4, [])


def test_conflict_of_carriers() -> None:
    cells = [cell("41.2", source="README.md", line=9), cell("41.5", source="configs/README.md")]
    found = verdict(41.52, cells)
    assert found == Verdict(
        "CONFLICT",
        "41.2 / 41.5",
        41.52,
        None,
        "README.md:9 prints 41.2, configs/README.md prints 41.5; measured agrees with 41.5",
    )
    nothing_fits = verdict(40.0, cells).reason
    assert nothing_fits is not None
    assert nothing_fits.endswith("agrees with none of them")


@pytest.mark.parametrize("other", ["37.4", "37.40", "37.42", "37.35", "37"])
def test_rounding_is_no_conflict(other: str) -> None:
    found = verdict(37.41, [cell("37.4"), cell(other, source="metafile.yml")])
    assert found.verdict == "EXACT"
    assert found.published == "37.4"


@pytest.mark.parametrize("other", ["37.6", "37.2", "37.51", "36"])
def test_more_than_a_unit_is_a_conflict(other: str) -> None:
    assert verdict(37.41, [cell("37.4"), cell(other, source="metafile.yml")]).verdict == "CONFLICT"


@pytest.mark.parametrize(
    ("measured", "name", "held"),
    [(42.21, "EXACT", "42.2"), (42.34, "EXACT", "42.3"), (42.38, "NUMERIC", "42.3"), (42.05, "DRIFT", "42.2")],
)
def test_carriers_that_differ_by_a_unit_are_one_claim(measured: float, name: str, held: str) -> None:
    found = verdict(measured, [cell("42.2"), cell("42.3", source="metafile.yml")])
    assert (found.verdict, found.published) == (name, "42.2 / 42.3")
    assert found.reason is not None
    assert f"README.md prints 42.2, metafile.yml prints 42.3; held against {held}" in found.reason
    assert found.delta == pytest.approx(measured - float(held))


def test_claims_of_others_are_shown_and_judge_nothing() -> None:
    cells = [
        cell("52.0"),
        cell("53.0", source="other.md", publisher="somebody"),
        cell("51.1", source="README.md", line=3, protocol="rectangular batches"),
    ]
    found = verdict(52.03, cells)
    assert (found.verdict, found.published) == ("EXACT", "52.0")
    assert found.reason == (
        "other.md (somebody) prints 53.0: DRIFT; README.md:3 (rectangular batches) prints 51.1: DRIFT"
    )


@pytest.mark.parametrize(
    ("seeds", "margin"),
    [(1, 0.4658), (2, 0.4101)],  # 1.96 * 0.15 * sqrt(1 + 1/k) + 0.05
)
def test_trained_models_are_judged_as_draws(seeds: int, margin: float) -> None:
    p = cell("37.4")
    inside = trained_verdict([37.4 - margin + 0.0005] * seeds, p)
    assert inside.verdict == "NUMERIC"
    assert inside.measured == pytest.approx(37.4 - margin + 0.0005)
    assert trained_verdict([37.4 + margin + 0.0005] * seeds, p).verdict == "DRIFT"


@pytest.mark.parametrize(
    ("values", "margin", "limit"),
    [
        ((36.9, 37.0, 37.1), 0.5469, 0.3872),  # t of 2: 4.3027 and 2.9200, times 0.1 * sqrt(4 / 3), plus 0.05
        ((36.9, 37.0, 37.1, 36.9, 37.1), 0.3542, 0.2835),  # t of 4: 2.7764 and 2.1318, times 0.1 * sqrt(6 / 5)
    ],
)
def test_from_three_seeds_on_their_own_spread_counts(values: tuple[float, ...], margin: float, limit: float) -> None:
    def judged(p: float) -> tuple[str, str | None]:
        found = trained_verdict(values, cell(f"{p:.1f}"), sigma=9.0)
        return found.verdict, found.reason

    mean = sum(values) / len(values)
    for p in (36.3, 36.6, 36.8, 37.0, 37.2, 37.3, 37.4, 37.6):
        name, reason = judged(p)
        assert name == ("NUMERIC" if abs(mean - p) <= margin else "DRIFT")
        assert reason is not None
        assert reason.endswith(", below" if p - mean > limit else ", not below"), p


def test_trained_verdict_takes_the_mean_and_a_known_sigma() -> None:
    assert trained_verdict([36.6, 38.2], cell("37.4")).delta == pytest.approx(0.0)
    assert trained_verdict([37.8], cell("37.4")).verdict == "NUMERIC"
    assert trained_verdict([37.8], cell("37.4"), sigma=0.1).verdict == "DRIFT"  # 0.327
    assert trained_verdict([37.4], cell("37.4")).verdict == "NUMERIC", "an equal digit is luck"
    with pytest.raises(ValueError, match="seed"):
        trained_verdict([], cell("37.4"))


ONNX = {"p50": 31.4, "p95": 40.0, "cpu": "EPYC 9654", "onnxruntime": "1.31.1", "threads": 4}


def test_training_memory_in_megabytes() -> None:
    assert measured_value(make_record(measured={"train_memory_gb": 10.5}), "train_memory_mb") == 10752
    assert hardware_bound("train_memory_mb")
    assert hardware_bound("hours_per_epoch"), "what is published and not measured"
    assert not hardware_bound("box_AP")


def test_the_size_of_a_file_is_known_without_measuring() -> None:
    record = make_record()
    assert measured_value(record, "file_size_mib") == 9 / 2**20
    assert not hardware_bound("file_size_mib")
    trained = make_record(trained=True)
    assert measured_value(trained, "file_size_mib") is None, "of a file of its own"
    other = make_record(hash_evidence="other weights")
    assert judge(other, make_entry(cell("0.000", metric="file_size_mib")))["file_size_mib"].verdict == "OTHER-WEIGHTS"


def test_judge_answers_for_every_published_metric() -> None:
    entry = make_entry(
        cell("37.4"),
        cell("34.7", metric="mask_AP"),
        cell("21.4", metric="fps", hardware="V100"),
        cell("80.4", metric="latency_ms", hardware="CPU ONNX"),
        cell("0.99", metric="latency_ms", hardware="A100 TensorRT"),
        cell("4.0", metric="train_memory_gb", hardware="V100"),
        cell("10956", metric="train_memory_mb", hardware="Titan X"),
        cell("6.0", metric="hours_per_epoch", hardware="8 Titan X"),
        cell("3.2", metric="params_m"),
        cell("8.7", metric="flops_b"),
        cell("3157201", metric="params"),
        cell("4.43", metric="gmacs"),
        cell("0.001", metric="file_size_mib"),
    )
    measured = {
        "box_AP": 37.41,
        "mask_AP": 35.0,
        "fps": 61.2,
        "latency_ms": {"p50": 16.3, "p95": 19.9},
        "onnx_latency_ms": ONNX,
        "params": 3_157_200,
        "macs": 4_430_000_000,
    }
    found = judge(make_record(measured=measured), entry)
    assert {metric: outcome.verdict for metric, outcome in found.items()} == {
        "box_AP": "EXACT",
        "mask_AP": "DRIFT",
        "fps": "NOT-COMPARED",
        "onnx_latency_ms": "NOT-COMPARED",
        "latency_ms": "NOT-COMPARED",
        "train_memory_gb": "NOT-ASKED",
        "train_memory_mb": "NOT-ASKED",
        "hours_per_epoch": "NOT-ASKED",
        "params_m": "EXACT",
        "flops_b": "DRIFT",  # 8.86, and complexity has no noise floor
        "params": "DRIFT",  # by one
        "gmacs": "EXACT",
        "file_size_mib": "DRIFT",  # 9 bytes
    }
    assert found["box_AP"] == Verdict("EXACT", "37.4", 37.41, 37.41 - 37.4)
    assert found["fps"].reason == "published for V100, measured on h200-sxm"
    assert found["fps"].delta is None
    assert found["latency_ms"].reason == "published for A100 TensorRT, measured on h200-sxm"
    assert found["latency_ms"].published == "0.99"
    assert found["latency_ms"].measured == 16.3
    assert found["flops_b"].measured == pytest.approx(8.86)


def test_measured_values_are_in_the_units_of_the_tables() -> None:
    measured = {"params": 41_532_886, "macs": 207e9, "latency_ms": {"p50": 12.5}, "onnx_latency_ms": ONNX}
    record = make_record(measured=measured)
    assert measured_value(record, "params_m") == pytest.approx(41.532886)
    assert measured_value(record, "flops_b") == pytest.approx(414.0)
    assert measured_value(record, "latency_ms") == 12.5
    assert measured_value(record, "onnx_latency_ms") == 31.4
    assert measured_value(record, "box_AP") is None


def outcome(record: Record, *cells: PublishedCell, **more: Any) -> tuple[str, str | None]:
    found = judge(record, make_entry(*(cells or (cell("37.4"),)), **more))["box_AP"]
    assert found.delta is None or found.verdict in ("EXACT", "NUMERIC", "EXPLAINED", "DRIFT")
    return found.verdict, found.reason


def test_runs_that_say_nothing_of_the_row() -> None:
    assert outcome(make_record(status="blocked", reason="link dead")) == ("BLOCKED", "link dead")
    assert outcome(make_record(status="failed", reason="out of memory")) == ("FAILED", "out of memory")
    assert outcome(make_record(measured={"fps": 61.2}))[0] == "NOT-ASKED"
    changed = make_record(changes=("backbone.depth=101", "neck=pafpn"))
    assert outcome(changed) == ("NOT-COMPARED", "a changed composition of mmdet_a: backbone.depth=101, neck=pafpn")


def test_other_weights_and_parts_of_a_split_are_never_compared() -> None:
    others: dict[str, Any] = {"weights": "1" * 64, "hash_evidence": "other weights"}
    part: dict[str, Any] = {"partial": True, "images": 100, "conditions": ("data.limit=100",)}
    assert outcome(make_record(**part)) == ("PARTIAL", "not the whole split: 100 images")
    assert outcome(make_record(**others)) == ("OTHER-WEIGHTS", "not the published checkpoint file")
    both = outcome(make_record(**others, **part))
    assert both == ("OTHER-WEIGHTS", "not the published checkpoint file; not the whole split: 100 images")
    assert outcome(make_record(images=None))[0] == "PARTIAL", "a run must say that it saw the whole split"


def test_data_is_known_by_its_content() -> None:
    unknown = make_record(known=False, annotations="b" * 64)
    words = "annotations with sha256 bbbbbbbb are not those of coco2017 val2017"
    assert outcome(unknown) == ("NOT-COMPARED", words)
    assert judge(unknown, make_entry(cell("41.8", metric="params_m")))["params_m"].verdict == "NOT-ASKED"
    counted = make_record(known=False, measured={"params": 41_753_056})
    assert judge(counted, make_entry(cell("41.8", metric="params_m")))["params_m"].verdict == "EXACT"


def test_a_split_that_is_taken_as_another_one_is_compared_and_says_so() -> None:
    record = make_record(measured={"box_AP": 37.41, "params": 41_753_056})
    assert record.data is not None
    record.data = replace(record.data, split="minival2014", equivalent="val2017", evidence="the same images")
    found = judge(record, make_entry(cell("37.4"), cell("41.8", metric="params_m")))
    assert found["box_AP"].verdict == "EXACT"
    assert found["box_AP"].reason == "minival2014 is taken as val2017: the same images"
    assert found["params_m"].reason is None, "it does not depend on the images"
    record.data.partial = True
    assert judge(record, make_entry(cell("37.4")))["box_AP"].reason == "not the whole split: 5000 images"


@pytest.mark.parametrize(
    "condition",
    [
        "precision=bf16",
        "batch_size=8",
        "data.split=train2017",
        "protocol.fold_batch_norm=true",
        "protocol.channels_last=true",
    ],
)
def test_another_condition_is_shown_and_not_compared(condition: str) -> None:
    record, entry = make_record(conditions=(condition,)), make_entry(cell("37.4"), cell("39.9", metric="mask_AP"))
    found = judge(record, entry)["box_AP"]
    assert found == Verdict("NOT-COMPARED", "37.4", 37.41, None, f"measured with {condition}")
    assert judge(record, entry)["mask_AP"].verdict == "NOT-ASKED", "nothing was measured that could be compared"


@pytest.mark.parametrize("condition", ["evaluator=pycocotools", "device=cuda"])
def test_published_accuracy_names_no_device_and_no_evaluator(condition: str) -> None:
    assert outcome(make_record(conditions=(condition,))) == ("EXACT", None)


def test_every_reason_is_given() -> None:
    record = make_record(conditions=("precision=bf16", "batch_size=8", "evaluator=pycocotools", "data.limit=7"),
                         partial=True, images=7, weights="1" * 64, hash_evidence="other weights")  # fmt: skip
    assert outcome(record) == (
        "NOT-COMPARED",
        "measured with precision=bf16, batch_size=8; not the published checkpoint file; not the whole split: 7 images",
    )


def test_complexity_does_not_depend_on_the_split() -> None:
    record = make_record(images=None, measured={"params": 3_157_200})
    assert judge(record, make_entry(cell("3.2", metric="params_m")))["params_m"].verdict == "EXACT"


def test_a_broken_number_is_a_failure() -> None:
    assert outcome(make_record(measured={"box_AP": math.nan}))[0] == "FAILED"


def test_a_training_run_is_judged_as_one() -> None:
    trained = make_record(measured={"box_AP": 37.1}, trained=True, hash_evidence="none")
    assert outcome(trained) == ("NUMERIC", "trained here, 1 seed: within ±0.47, not below")
    assert outcome(make_record(measured={"box_AP": 37.1}))[0] == "DRIFT"
    conflict = (cell("41.2"), cell("41.5", source="metafile.yml"))
    assert outcome(trained, *conflict)[0] == "CONFLICT"


def test_verdicts_are_made_when_a_record_is_read() -> None:
    record, entry = make_record(measured={"box_AP": 37.1}), make_entry(cell("37.4"))
    record.verdict = {"box_AP": Verdict("EXACT", "37.4", 37.1)}
    assert judge(record, entry)["box_AP"].verdict == "DRIFT", "what a record holds of its run is not believed"
    assert judge(record, make_entry(cell("37.1")))["box_AP"].verdict == "EXACT"


def test_annotations_without_an_object_leave_nothing_to_find() -> None:
    record = make_record(measured={"box_AP": None, "box_AP50": None})
    found = judge(record, make_entry(cell("37.4"), cell("58.1", metric="box_AP50"), cell("34.7", metric="mask_AP")))
    nothing = ("NOT-COMPARED", "nothing to find: the annotations have no object that it counts")
    assert {metric: (item.verdict, item.reason) for metric, item in found.items()} == {
        "box_AP": nothing,
        "box_AP50": nothing,
        "mask_AP": ("NOT-ASKED", "the run did not measure it"),
    }


def test_what_was_asked_for_and_could_not_be_measured_is_blocked() -> None:
    record = make_record(measured={"params": 7}, skipped={"speed": "speed needs a clock"})
    found = judge(record, make_entry(cell("37.4"), cell("21.4", metric="fps"), cell("16.0", metric="latency_ms")))
    assert {metric: (item.verdict, item.reason) for metric, item in found.items()} == {
        "box_AP": ("NOT-ASKED", "the run did not measure it"),
        "fps": ("BLOCKED", "speed needs a clock"),
        "latency_ms": ("BLOCKED", "speed needs a clock"),
    }


def test_printed() -> None:
    assert printed([cell("37.4"), cell("37.40", source="metafile.yml")]) == "37.4"
    assert printed([cell("41.2"), cell("41.5"), cell("41.2")]) == "41.2 / 41.5"


def test_numbers_of_two_machines_are_not_in_conflict() -> None:
    cpu = cell("80.4", metric="latency_ms", hardware="CPU")
    gpu = cell("0.99", metric="latency_ms", hardware="A100, TensorRT")
    found = judge(make_record(measured={"latency_ms": {"p50": 40.0}}), make_entry(cpu, gpu))["latency_ms"]
    assert found.verdict == "NOT-COMPARED"
    assert found.published == "80.4 / 0.99"
    assert found.reason == "published for A100, TensorRT and CPU, measured on h200-sxm"
    assert verdict(80.4, [cpu, gpu]).verdict == "EXACT"
    assert verdict(80.4, [cpu, gpu, cell("80.9", metric="latency_ms", hardware="CPU")]).verdict == "CONFLICT"
    assert verdict(80.4, [cpu, cell("80.9", metric="latency_ms")]).verdict == "CONFLICT"  # might be the same machine


def test_a_latency_of_onnx_is_held_beside_that_of_onnx_alone() -> None:
    cpu = cell("80.4", metric="latency_ms", hardware="CPU, ONNX")
    gpu = cell("0.99", metric="latency_ms", hardware="A100, TensorRT")
    entry = make_entry(cpu, gpu)
    assert published_cells(entry) == {"onnx_latency_ms": (cpu,), "latency_ms": (gpu,)}
    both = judge(make_record(measured={"latency_ms": {"p50": 16.3}, "onnx_latency_ms": ONNX}), entry)
    assert {metric: outcome.measured for metric, outcome in both.items()} == {
        "onnx_latency_ms": 31.4,
        "latency_ms": 16.3,
    }
    where = "EPYC 9654, onnxruntime 1.31.1, 4 threads"
    assert both["onnx_latency_ms"].reason == f"published for CPU, ONNX, measured on {where}"
    assert both["onnx_latency_ms"].verdict == "NOT-COMPARED"
    eager = judge(make_record(measured={"latency_ms": {"p50": 16.3}}), entry)
    assert (eager["onnx_latency_ms"].verdict, eager["onnx_latency_ms"].measured) == ("NOT-ASKED", None)
    exported = judge(make_record(measured={"onnx_latency_ms": ONNX}), entry)
    assert (exported["latency_ms"].verdict, exported["latency_ms"].measured) == ("NOT-ASKED", None)


@pytest.mark.parametrize("hardware", ["T4, ONNX", "CPU", "CPU, OpenVINO", None])
def test_other_latencies_are_not_of_onnx_on_a_cpu(hardware: str | None) -> None:
    assert list(published_cells(make_entry(cell("80.4", metric="latency_ms", hardware=hardware)))) == ["latency_ms"]


def test_another_counting_explains() -> None:
    measured = {"macs": 82_574_259_200, "flops_published_counting": {"counter": "thop", "flops": 165_156_710_400}}
    record = make_record(measured=measured)
    found = judge(record, make_entry(cell("165.2", metric="flops_b")))["flops_b"]
    assert (found.verdict, found.reason) == ("EXPLAINED", "with the counting of thop: 165.157")
    assert judge(record, make_entry(cell("165.1", metric="flops_b")))["flops_b"].verdict == "EXACT"
    assert judge(record, make_entry(cell("165.4", metric="flops_b")))["flops_b"].verdict == "DRIFT"
    of_more = cell("165.4", metric="flops_b", protocol="with 100 objects found in random noise")
    found = judge(record, make_entry(of_more))["flops_b"]
    assert (found.verdict, found.delta) == ("NOT-COMPARED", None)
    assert found.reason == "published with 100 objects found in random noise"
