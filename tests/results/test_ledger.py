"""The ledger: every record lies where it belongs, nothing that was measured is lost, nothing is judged wrongly."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from made_up import MACHINE, cell, file_all, files, make_entry, make_record

from zoo.errors import UsageError
from zoo.results.ledger import Ledger, all_records
from zoo.results.names import LONGEST_NAME, bounded, local_name
from zoo.results.record import Record
from zoo.results.verdict import judge

ENTRY_A = make_entry(cell("37.4"), cell("21.4", metric="fps", hardware="V100"))
SPEED = {"fps": 60.0, "latency_ms": {"p50": 16.0}, "timed": {"rounds": 3, "images": 64}}


def verdict(record: Record) -> str:
    return judge(record, ENTRY_A)["box_AP"].verdict


def test_an_empty_ledger(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "nowhere").records() == []
    assert Ledger(tmp_path / "nowhere").attempts() == []


def test_files_by_machine_and_entry(tmp_path: Path) -> None:
    for hardware, entry in (("h200", "mmdet_b"), ("cpu", "mmdet_b"), ("h200", "mmdet_a")):
        filed = Ledger(tmp_path).file(make_record(entry, hardware=hardware))
        assert filed.path == tmp_path / "records" / hardware / f"{entry}.json"
        assert filed.notes == ()
    found = [(record.hardware_id, record.entry) for record in Ledger(tmp_path).records()]
    assert found == [("cpu", "mmdet_b"), ("h200", "mmdet_a"), ("h200", "mmdet_b")]


# --- two runs of one row, in both orders ----------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "precision": (
        {"conditions": ("precision=bf16",)},
        f"records/{MACHINE}/mmdet_a+precision-bf16.json",
        "NOT-COMPARED",
    ),
    "batch size": (
        {"conditions": ("batch_size=8",)},
        f"records/{MACHINE}/mmdet_a+batch_size-8.json",
        "NOT-COMPARED",
    ),
    "split": (
        {"conditions": ("data.split=train2017",)},
        f"records/{MACHINE}/mmdet_a+split-train2017.json",
        "NOT-COMPARED",
    ),
    "limit": (
        {"conditions": ("data.limit=20",), "images": 20, "partial": True},
        f"local/{MACHINE}/mmdet_a+limit-20.json",
        "PARTIAL",
    ),
    "folding": (
        {"conditions": ("protocol.fold_batch_norm=true",)},
        f"records/{MACHINE}/mmdet_a+fold_batch_norm-true.json",
        "NOT-COMPARED",
    ),
    "layout": (
        {"conditions": ("protocol.channels_last=true",)},
        f"records/{MACHINE}/mmdet_a+channels_last-true.json",
        "NOT-COMPARED",
    ),
    "evaluator": (
        {"conditions": ("evaluator=pycocotools",)},
        f"records/{MACHINE}/mmdet_a+evaluator-pycocotools.json",
        "EXACT",
    ),
    "device": ({"hardware": "epyc"}, "records/epyc/mmdet_a.json", "EXACT"),
    "two at once": (
        {"conditions": ("precision=bf16", "batch_size=8")},
        f"records/{MACHINE}/mmdet_a+precision-bf16+batch_size-8.json",
        "NOT-COMPARED",
    ),
    "composition": (
        {"changes": ("neck=pafpn",), "row": "b" * 64},
        f"local/{MACHINE}/mmdet_a+neck-pafpn.json",
        "NOT-COMPARED",
    ),
    "weights": (
        {"weights": "1" * 64, "hash_evidence": "other weights"},
        f"local/{MACHINE}/mmdet_a+weights.json",
        "OTHER-WEIGHTS",
    ),
    "data": (
        {"known": False, "annotations": "b" * 64},
        f"local/{MACHINE}/mmdet_a+data-coco2017.json",
        "NOT-COMPARED",
    ),
    "training": (
        {"trained": True, "hash_evidence": "none", "weights": "2" * 64},
        f"records/{MACHINE}/mmdet_a+trained+seed-0.json",
        "NUMERIC",
    ),
    "blocked": (
        {"status": "blocked", "reason": "link dead", "weights": None},
        f"local/{MACHINE}/mmdet_a+blocked.json",
        "BLOCKED",
    ),
    "failed": (
        {"status": "failed", "reason": "out of memory"},
        f"local/{MACHINE}/mmdet_a+failed.json",
        "FAILED",
    ),
}
"""Name -> how a run differs from the plain one, where it is filed, and what its AP of 37.41 is judged."""


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_after_the_plain_run(tmp_path: Path, name: str) -> None:
    changes, path, expected = OTHERS[name]
    plain, other = make_record(), make_record(**changes)
    file_all(tmp_path, plain, other)
    assert files(tmp_path) == sorted([f"records/{MACHINE}/mmdet_a.json", path])
    assert Record.read(tmp_path / "records" / MACHINE / "mmdet_a.json") == plain
    assert Record.read(tmp_path / path) == other
    assert (verdict(plain), verdict(other)) == ("EXACT", expected)


@pytest.mark.parametrize("name", OTHERS)
def test_the_plain_run_after_the_other(tmp_path: Path, name: str) -> None:
    changes, path, expected = OTHERS[name]
    plain, other = make_record(), make_record(**changes)
    file_all(tmp_path, other, plain)
    assert Record.read(tmp_path / "records" / MACHINE / "mmdet_a.json") == plain
    if other.status == "measured":
        assert Record.read(tmp_path / path) == other
        assert verdict(other) == expected
    else:
        assert files(tmp_path) == [f"records/{MACHINE}/mmdet_a.json"], "it could be measured in the end"


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_filed_is_found(tmp_path: Path, name: str) -> None:
    changes, path, _ = OTHERS[name]
    plain, other = make_record(), make_record(**changes)
    file_all(tmp_path, plain, other)
    rows, attempts = Ledger(tmp_path).records(), Ledger(tmp_path).attempts()
    assert plain in rows
    assert (other in rows) is path.startswith("records/")
    assert (other in attempts) is path.startswith("local/")
    assert len(list(all_records(tmp_path))) == 2


def test_seeds_of_a_training_lie_side_by_side(tmp_path: Path) -> None:
    for seed in range(3):
        conditions = (f"seed={seed}",) if seed else ()
        file_all(tmp_path, make_record(trained=True, seed=seed, conditions=conditions, hash_evidence="none"))
    assert files(tmp_path) == [f"records/{MACHINE}/mmdet_a+trained+seed-{seed}.json" for seed in range(3)]


def test_a_name_of_ones_own(tmp_path: Path) -> None:
    filed = Ledger(tmp_path).file(make_record(name="with_pafpn", changes=("neck=pafpn",)))
    assert filed.path == tmp_path / "local" / MACHINE / "with_pafpn.json"
    assert filed.notes == (f"called with_pafpn: `zoo forget with_pafpn --results-dir {tmp_path}` takes it away",)


def test_a_named_run_of_the_row_itself_is_not_the_row(tmp_path: Path) -> None:
    plain, named = make_record(), make_record(name="mine")
    file_all(tmp_path, plain, named)
    assert files(tmp_path) == [f"local/{MACHINE}/mine.json", f"records/{MACHINE}/mmdet_a.json"]
    assert verdict(named) == "EXACT", "and it is compared all the same"


def test_a_run_that_failed_under_a_name_leaves_what_was_measured_under_it(tmp_path: Path) -> None:
    good = make_record(name="mine")
    file_all(tmp_path, good, make_record(name="mine", status="failed", reason="out of memory"))
    assert files(tmp_path) == [f"local/{MACHINE}/mine+failed.json", f"local/{MACHINE}/mine.json"]
    assert Record.read(tmp_path / "local" / MACHINE / "mine.json") == good


def other_weights(sha256: str, path: str = "/home/me/best.pt", **more: Any) -> Record:
    config = {"checkpoint": {"path": path, "url": None}}
    return make_record(weights=sha256 * 64, hash_evidence="other weights", config=config, **more)


@pytest.mark.parametrize("name", [None, "mine"])
def test_two_checkpoints_of_one_entry_stand_side_by_side(tmp_path: Path, name: str | None) -> None:
    first, second = other_weights("1", name=name), other_weights("2", name=name)
    stem = name or "mmdet_a+best"
    for _ in range(2):  # either of them again is itself again
        assert Ledger(tmp_path).file(first).path.stem == stem
        filed = Ledger(tmp_path).file(second)
        assert filed.path.stem.startswith(f"{stem}-")
        assert len(filed.path.stem) == len(stem) + 9
        assert (f"another run is called {stem}: this one is {filed.path.stem}" in filed.notes) is (name is not None)
    assert len(files(tmp_path)) == 2


def other_data(root: str | None, annotations: str = "b", **more: Any) -> Record:
    config = {"data": {"name": "coco2017", "root": root, "annotations": "annotations/instances_mine.json"}}
    return make_record(known=False, annotations=annotations * 64, config=config, **more)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (other_weights("1"), "mmdet_a+best"),
        (other_weights("1", "weights.pth", conditions=("precision=bf16",)), "mmdet_a+precision-bf16+weights"),
        (other_data("/home/me/parking"), "mmdet_a+data-coco2017-parking"),
        (other_data(None), "mmdet_a+data-coco2017-instances_mine"),
        (other_data("/x/birds", data="birds"), "mmdet_a+data-birds"),
        (
            other_data("/x/birds", data="birds", conditions=("data.name=birds", 'data.classes=["a"]', "data.limit=3")),
            "mmdet_a+limit-3+data-birds",
        ),
        (
            make_record(trained=True, hash_evidence="none", config={"checkpoint": {"path": "runs/last.pt"}}),
            "mmdet_a+trained+seed-0+last",
        ),
    ],
)
def test_names_are_made_of_what_differs(record: Record, name: str) -> None:
    assert not record.belongs_to_the_row
    assert local_name(record) == name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entry": "mmdet_b"}, "of mmdet_a"),
        ({"row": "b" * 64}, "of another composition"),
        ({"conditions": ("precision=bf16",)}, r"under other conditions \(those of the row\)"),
    ],
)
def test_a_name_is_not_taken_twice(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.file(make_record(name="mine"))
    with pytest.raises(UsageError, match=f"name=mine: .*mine.json holds a run {reason}$") as error:
        ledger.refuse_taken_name(make_record(name="mine", **changes), None)
    assert "zoo forget mine" in error.value.next_step
    ledger.refuse_taken_name(make_record(name="mine"), None)
    ledger.refuse_taken_name(make_record(name="yours", **changes), None)


def test_a_name_is_not_taken_by_other_weights(tmp_path: Path) -> None:
    own, other = tmp_path / "own.pth", tmp_path / "other.pth"
    own.write_bytes(b"own")
    other.write_bytes(b"other")
    ledger = Ledger(tmp_path)
    ledger.file(make_record(name="mine", weights=hashlib.sha256(b"own").hexdigest(), hash_evidence="other weights"))
    ledger.refuse_taken_name(make_record(name="mine"), own)
    with pytest.raises(UsageError, match="holds a run of other weights"):
        ledger.refuse_taken_name(make_record(name="mine"), other)


# --- what is no row's -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions": ("data.name=mine",)},
        {"conditions": ("data.num_images=4",)},
        {"conditions": ("data.annotations_sha256.val2017=00",)},
        {"trained": True, "conditions": ("data.train.limit=10",)},
        {"trained": True, "conditions": ("batch_size=4",)},
        {"trained": True, "conditions": ("precision=bf16",)},
        {"trained": True, "conditions": ("run.scale_lr=false",)},
        {"trained": True, "changes": ("run.max_steps=5",)},
        {"trained": True, "training": {"other_data": "mine.json is not the annotation file of coco2017 train2017"}},
    ],
)
def test_a_trial_leaves_the_row_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    own: dict[str, Any] = {"trained": True, "hash_evidence": "none"} if changes.get("trained") else {}
    plain = make_record(**own)
    trial = make_record(**{**own, "measured": {"box_AP": 1.0}, **changes})
    for order in ((plain, trial), (trial, plain)):
        file_all(tmp_path, *order)
        assert Ledger(tmp_path).records() == [plain]
        assert trial in Ledger(tmp_path).attempts()
    assert verdict(trial) == "NOT-COMPARED"


@pytest.mark.parametrize("condition", ["evaluator=pycocotools", "protocol.fold_batch_norm=true"])
def test_what_comes_after_a_training_leaves_its_recipe(condition: str) -> None:
    assert make_record(trained=True, hash_evidence="none", conditions=(condition,)).belongs_to_the_row


def test_a_run_without_a_machine_is_no_result_of_one(tmp_path: Path) -> None:
    record = make_record(status="blocked", reason="this machine has no GPU", hardware=None, weights=None)
    filed = Ledger(tmp_path).file(record, tmp_path / "run")
    assert filed.path == tmp_path / "run" / "record.json"
    assert filed.notes == ("not filed: the run ended before it used a machine",)
    assert files(tmp_path) == []
    assert not (tmp_path / "local").exists()


# --- forgetting -----------------------------------------------------------------------------------


def test_forgetting_takes_away_what_has_the_name_and_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    kept = make_record(), make_record(name="mine2")
    mine = make_record(name="mine"), make_record(name="mine", hardware="epyc")
    gone = (*mine, make_record(name="mine", status="blocked", reason="link dead"))
    paths = [ledger.file(record).path for record in (*kept, *gone)]
    assert sorted(ledger.forget("mine")) == sorted(paths[2:])
    assert files(tmp_path) == sorted(path.relative_to(tmp_path).as_posix() for path in paths[:2])


def test_what_cannot_be_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(UsageError, match=r"no local result 'mine' \(there is none\)"):
        ledger.forget("mine")
    file_all(tmp_path, make_record(), make_record(name="my-v2"))
    with pytest.raises(UsageError, match=r"no local result 'my-v3' \(closest: my-v2\)"):
        ledger.forget("my-v3")
    with pytest.raises(UsageError, match=r"mmdet_a is a record of the row, not a local result: .*mmdet_a\.json"):
        ledger.forget("mmdet_a")


def test_long_names_end_in_a_hash(tmp_path: Path) -> None:
    changes = [f"head.roi_head.detections.threshold_{i}=0.{i}" for i in range(20)]
    first, second = (bounded(local_name(make_record(changes=changes[:length]))) for length in (19, 20))
    assert len(first) == len(second) == LONGEST_NAME
    assert first != second
    classes = ", ".join(f'"class {i}"' for i in range(80))
    path = Ledger(tmp_path).file(make_record(conditions=(f"data.classes=[{classes}]",))).path
    assert path.parent == tmp_path / "local" / MACHINE
    assert len(path.stem) == LONGEST_NAME


def test_a_name_of_just_the_length_stays() -> None:
    for surplus in (0, 1):
        missing = LONGEST_NAME + surplus - len(local_name(make_record(changes=("a=1",))))
        name = bounded(local_name(make_record(changes=("a=1" + "1" * missing,))))
        assert len(name) == LONGEST_NAME
        assert name.endswith("1" * 10) is (surplus == 0)


# --- what becomes of an attempt -------------------------------------------------------------------


def test_a_row_that_was_measured_is_not_blocked_any_more(tmp_path: Path) -> None:
    blocked = make_record(status="blocked", reason="link dead", weights=None)
    bf16 = make_record(status="failed", reason="out of memory", conditions=("precision=bf16",))
    elsewhere = make_record(status="failed", reason="out of memory", hardware="epyc")
    changed = make_record(status="failed", reason="no such layer", changes=("neck=pafpn",))
    file_all(tmp_path, blocked, bf16, elsewhere, changed, make_record())
    assert blocked not in Ledger(tmp_path).attempts()
    for other in (bf16, elsewhere, changed):
        assert other in Ledger(tmp_path).attempts()


def test_a_training_says_nothing_of_the_published_weights(tmp_path: Path) -> None:
    blocked = make_record(status="blocked", reason="link dead", weights=None)
    file_all(tmp_path, blocked, make_record(trained=True, hash_evidence="none"))
    assert Ledger(tmp_path).attempts() == [blocked]


def test_the_last_attempt_counts(tmp_path: Path) -> None:
    first = make_record(status="blocked", reason="link dead", weights=None)
    second = dataclasses.replace(first, reason="another hash")
    assert file_all(tmp_path, first, second) == second
    assert Ledger(tmp_path).attempts() == [second]


def test_a_damaged_record_does_not_stop_its_own_replacement(tmp_path: Path) -> None:
    ledger, record = Ledger(tmp_path), make_record()
    ledger.path(record).parent.mkdir(parents=True)
    ledger.path(record).write_text("{", encoding="utf-8")
    filed = ledger.file(record)
    assert filed.record == record
    assert ledger.records() == [record]
    assert filed.notes == (f"{filed.path} was no record that can be read: it is kept as mmdet_a.damaged",)
    assert filed.path.with_suffix(".damaged").read_text(encoding="utf-8") == "{"


def test_the_record_of_a_newer_version_is_kept(tmp_path: Path) -> None:
    ledger, record = Ledger(tmp_path), make_record()
    newer = record.to_json().replace('"schema_version": 2', '"schema_version": 3')
    ledger.path(record).parent.mkdir(parents=True)
    ledger.path(record).write_text(newer, encoding="utf-8")
    assert ledger.file(record).path.with_suffix(".damaged").read_text(encoding="utf-8") == newer


def test_a_record_that_was_taken_away_since_it_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_record("mmdet_a"), make_record("mmdet_b")
    file_all(tmp_path, first, second)
    read = Record.read

    def forgotten(path: Path) -> Record:
        if path.stem == "mmdet_a":
            path.unlink()  # as another process does
        return read(path)

    monkeypatch.setattr(Record, "read", forgotten)
    assert Ledger(tmp_path).records() == [second]


def test_a_trial_that_was_measured_forgets_its_own_attempts_alone(tmp_path: Path) -> None:
    mine, yours = ({"data": {"name": "folder", "root": root}} for root in ("mine", "yours"))
    trial: dict[str, Any] = {"known": False, "data": "folder"}
    for config, entry in ((mine, "mmdet_a"), (yours, "mmdet_b")):
        Ledger(tmp_path).file(make_record(entry, status="failed", config=config, images=None))
    Ledger(tmp_path).file(make_record("mmdet_b", config=mine, **trial))
    assert files(tmp_path / "local" / MACHINE) == [
        "mmdet_a+failed.json",
        "mmdet_b+data-folder-mine.json",
        "mmdet_b+failed.json",
    ]
    Ledger(tmp_path).file(make_record("mmdet_b", config=yours, **trial))
    left = files(tmp_path / "local" / MACHINE)
    assert left == ["mmdet_a+failed.json", "mmdet_b+data-folder-mine.json", "mmdet_b+data-folder-yours.json"]


def test_the_rest_of_a_killed_writer_is_removed(tmp_path: Path) -> None:
    path = Ledger(tmp_path).file(make_record()).path
    rest = path.with_name(f".{path.name}.abc.part")
    rest.write_text("{", encoding="utf-8")
    Ledger(tmp_path).file(make_record())
    assert not rest.exists()
