"""The version of the tables: resolved values alone count."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import make_catalogue

from zoo.catalog.resolved import resolved_entry
from zoo.config.compose import compose
from zoo.results import version as version_module
from zoo.results.version import table_version


def flat(node: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


@pytest.mark.parametrize("name", ["mmdet_mask_rcnn_r50_fpg_crop640_50e", "jwyang_faster_rcnn_r101_s600_10e"])
def test_an_entry_is_read_as_hydra_composes_it(name: str) -> None:
    ours, theirs = flat(resolved_entry(name)), flat(compose(name))
    assert len(ours) > 100
    assert {key: theirs[key] for key in ours if "${" not in str(ours[key])} == {
        key: value for key, value in ours.items() if "${" not in str(value)
    }


def test_what_makes_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = make_catalogue(tmp_path, monkeypatch, "mmdet_a") / "mmdet_a.yaml"
    (tmp_path / "conf" / "backbone").mkdir(exist_ok=True)
    backbone = tmp_path / "conf" / "backbone" / "resnet50.yaml"
    backbone.write_text("_target_: zoo.models.ResNet\ndepth: 50\n", encoding="utf-8")
    first, text = table_version(), entry.read_text(encoding="utf-8")
    backbone.write_text("# a comment\ndepth: 50\n_target_: zoo.elsewhere.ResNet\n", encoding="utf-8")
    entry.write_text(text.replace("example.org", "mirror.example.org"), encoding="utf-8")
    assert table_version() == first, "comments, order, modules and mirrors do not count"
    entry.write_text(text.replace('"37.4"', '"37.5"'), encoding="utf-8")
    assert table_version() != first
    entry.write_text(text, encoding="utf-8")
    backbone.write_text("_target_: zoo.models.ResNet\ndepth: 101\n", encoding="utf-8")
    assert table_version() != first
    backbone.write_text("_target_: zoo.models.ResNet\ndepth: 50\n", encoding="utf-8")
    monkeypatch.setattr(version_module, "EVALUATOR_VERSION", 2)
    assert table_version() != first
