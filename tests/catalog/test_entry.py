"""Entries from YAML: what the schema takes, what it refuses and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import cell, entry_yaml, make_catalogue

from zoo.catalog.entry import Checkpoint, Entry, PublishedCell, entry_names, read_entries, read_entry, resolve
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.results.ladder import digits


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Read an entry some lines of which are changed."""
    entries = make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    (entries / "mmdet_a.yaml").write_text(entry_yaml("mmdet_a", **changes), encoding="utf-8")
    read_entry("mmdet_a")


def test_an_entry_is_read_without_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    entry = read_entry("mmdet_a")
    assert (entry.zoo, entry.model, entry.upstream, entry.license) == ("mmdet", "a", "faster-rcnn", "Apache-2.0")
    assert entry.parts == {"backbone": "resnet50", "protocol": "mmdet"}
    assert entry.checkpoint.urls == ("https://example.org/w-047c8118.pth",)
    assert entry.checkpoint.sha256_prefix == "047c8118"
    assert entry.published_metrics == ("box_AP", "fps")
    (fps,) = entry.cells("fps")
    assert (fps.text, fps.value, fps.line, fps.hardware) == ("21.4", 21.4, 25, "V100")
    assert entry.cells("mask_AP") == ()
    assert entry.classes == ()


@pytest.mark.parametrize(
    ("text", "decimals", "half_unit"), [("37.4", 1, 0.05), ("37.40", 2, 0.005), ("61.425", 3, 0.0005), ("37", 0, 0.5)]
)
def test_a_cell_knows_the_precision_it_was_printed_with(text: str, decimals: int, half_unit: float) -> None:
    printed = cell(text)
    assert printed.decimals == decimals
    assert printed.half_unit == pytest.approx(half_unit, rel=1e-12)


def test_a_measured_number_has_two_digits_more_and_a_count_none() -> None:
    assert digits(37.4561, PublishedCell(metric="box_AP", text="37.4", source="README.md")) == "37.456"
    assert digits(41755286.0, PublishedCell(metric="params", text="41755286", source="README.md")) == "41755286"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upstream": "  upstraem: faster-rcnn"}, r"entry: unknown key 'upstraem' \(closest: upstream\)"),
        ({"keymap": "    key_map: mmdet"}, r"entry\.checkpoint: unknown key 'key_map' \(closest: keymap"),
        (
            {"fps": "    - {metric: fsp, text: '1', source: a}"},
            r"published\[1\]\.metric: no 'fsp' \(closest: fps\)",
        ),
        ({"fps": "    - {metrics: fps}"}, r"published\[1\]: unknown key 'metrics' \(closest: metric\)"),
        ({"license": "  license:"}, r"entry: missing license"),
        ({"format": "    # format"}, r"checkpoint: missing format"),
        ({"fps": "    - {metric: fps, text: '1'}"}, r"published\[1\]: missing source"),
        (
            {"box": "    - {metric: box_AP, text: 37.40, source: a}"},
            r"\[0\]\.text: 37\.4 is not a string \(quote it\)",
        ),
        (
            {"box": "    - {metric: box_AP, text: '37,4', source: a}"},
            r"\[0\]\.text: '37,4' is not a number as printed",
        ),
        (
            {"sha256_prefix": "    sha256_prefix: 12345678"},
            r"\.sha256_prefix: 12345678 is not a string \(quote it\)",
        ),
        (
            {"sha256_prefix": "    sha256_prefix: 047C8118"},
            r"\.sha256_prefix: '047C8118' is not 6 to 64 lower",
        ),
        ({"zoo": "  zoo: paddle"}, r"entry\.name: 'mmdet_a' does not begin with its zoo, 'paddle'"),
        ({"name": "  name: mmdet_b"}, r"entry\.name is 'mmdet_b'"),
        ({"zoo": "  zoo: ["}, r"not valid YAML"),
        (
            {"checkpoint": "  checkpoint: 3\n  more:"},
            r"entry: unknown key 'more'|checkpoint: 3 is not a mapping",
        ),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, monkeypatch, **changes)
    assert str(tmp_path / "conf" / "entry" / "mmdet_a.yaml") in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["", "entry:\n", "entry: 3\n", "[]\n", "just text\n"])
def test_a_file_that_is_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    entries = make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    (entries / "mmdet_a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"mmdet_a\.yaml"):
        read_entry("mmdet_a")


@pytest.mark.parametrize(
    ("key", "digits", "expected"),
    [
        ("sha256_prefix", "047c8118", None),
        ("sha256_prefix", "a" * 6, None),
        ("sha256_prefix", "a" * 64, None),
        ("sha256_prefix", "a" * 5, "6 to 64 lower-case hex digits"),
        ("sha256_prefix", "a" * 65, "6 to 64 lower-case hex digits"),
        ("sha256_prefix", "g" * 8, "6 to 64 lower-case hex digits"),
        ("sha256", "0" * 64, None),
        ("sha256", "0" * 63, "64 lower-case hex digits"),
        ("sha256", "0" * 65, "64 lower-case hex digits"),
        ("sha256", "A" * 64, "64 lower-case hex digits"),
    ],
)
def test_hashes_are_lower_case_hex(key: str, digits: str, expected: str | None) -> None:
    block = {"urls": [], "format": "pth", "keymap": "mmdet", key: digits}
    if expected is None:
        assert getattr(Checkpoint.from_mapping(block), key) == digits
        return
    with pytest.raises(UsageError, match=rf"^checkpoint\.{key}: '{digits}' is not {expected}$"):
        Checkpoint.from_mapping(block)


def test_an_unknown_entry_lists_the_closest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(tmp_path, monkeypatch, "mmdet_faster_rcnn_r50", "mmdet_mask_rcnn_r50", "paddle_faster_rcnn_r50")
    with pytest.raises(UsageError, match=r"no entry 'faster_rcn_r50'; closest: faster_rcnn_r50"):
        resolve("faster_rcn_r50")
    with pytest.raises(UsageError, match=r"no entry 'mmdet_mask_rcn_r50'; closest: mmdet_mask_rcnn_r50") as caught:
        read_entry("mmdet_mask_rcn_r50")
    assert caught.value.exit_status == 2


def test_the_preferred_zoo_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(
        *(tmp_path, monkeypatch, "jwyang_a", "paddle_a", "mmdet_a", "other_a", "torchvision_a"),
        *("torchvision_b", "jwyang_b", "ultralytics_b", "other_c"),
    )
    assert resolve("a") == ("mmdet_a", ["paddle_a", "jwyang_a", "torchvision_a", "other_a"])
    assert resolve("b") == ("ultralytics_b", ["jwyang_b", "torchvision_b"])
    assert resolve("other_c") == ("other_c", [])
    assert resolve("jwyang_a") == ("jwyang_a", []), "a full name needs no preference"


def test_the_catalogue_is_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(tmp_path, monkeypatch, "paddle_a", "mmdet_b", "mmdet_a")
    assert entry_names() == ["mmdet_a", "mmdet_b", "paddle_a"]
    assert [entry.name for entry in read_entries()] == entry_names()


def test_every_entry_of_the_project_is_sound() -> None:
    entries = list(read_entries())
    assert entries
    assert all(entry.parts for entry in entries)


SHARED_FACTS = "zoo: mmdet\nlicense: MIT\ncheckpoint: {format: pth, keymap: mmdet}\n"


def test_what_all_rows_of_a_zoo_share_lies_below_the_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = make_catalogue(tmp_path, monkeypatch, "mmdet_a")
    (tmp_path / "conf" / "zoo").mkdir()
    (tmp_path / "conf" / "zoo" / "mmdet.yaml").write_text(SHARED_FACTS, encoding="utf-8")
    text = """defaults:
  - /zoo@entry: mmdet
  - override /backbone: resnet50
entry:
  name: mmdet_a
  upstream: faster-rcnn
  checkpoint: {format: safetensors, urls: [https://example.org/w.pth]}
"""
    (entries / "mmdet_a.yaml").write_text(text, encoding="utf-8")
    entry = read_entry("mmdet_a")
    assert (entry.zoo, entry.license) == ("mmdet", "MIT")
    assert (entry.checkpoint.format, entry.checkpoint.keymap) == ("safetensors", "mmdet"), "the entry's own word wins"
    assert entry.parts == {"backbone": "resnet50"}
    (entries / "mmdet_a.yaml").write_text(text.replace("entry: mmdet", "entry: mdet"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"no zoo 'mdet' \(closest: mmdet\)"):
        read_entry("mmdet_a")
    of_some_rows = "defaults: [mmdet]\nlicense: BSD-3-Clause\nclasses: [cat]\n"
    (tmp_path / "conf" / "zoo" / "mmdet_cats.yaml").write_text(of_some_rows, encoding="utf-8")
    (entries / "mmdet_a.yaml").write_text(text.replace("entry: mmdet", "entry: mmdet_cats"), encoding="utf-8")
    entry = read_entry("mmdet_a")
    assert (entry.zoo, entry.license, entry.classes) == ("mmdet", "BSD-3-Clause", ("cat",)), "on top of another's facts"
    assert entry.checkpoint.keymap == "mmdet"


@pytest.mark.parametrize("name", entry_names())
def test_both_doors_read_the_same_entry(name: str) -> None:
    assert Entry.from_mapping(compose(name)["entry"], read_entry(name).parts) == read_entry(name)
