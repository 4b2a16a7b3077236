"""States of the results: the records of a commit, and versions of the tables."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from made_up import make_catalogue, make_record

from zoo.errors import UsageError
from zoo.results.compare.rows import compare_snapshots
from zoo.results.compare.snapshots import matching_versions, of_commit, of_tables, present
from zoo.results.ledger import Ledger
from zoo.results.table import current_folder, write_tables
from zoo.runtime.provenance import Code

CODE = Code(version="1", commit="b" * 40)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of three records in a folder of a checkout, all of them committed."""
    make_catalogue(tmp_path, monkeypatch, "mmdet_a", "mmdet_b", "paddle_c")
    folder = tmp_path / "checkout" / "bench" / "results"
    for name in ("mmdet_a", "mmdet_b"):
        Ledger(folder).file(make_record(name, measured={"box_AP": 37.4123, "fps": 60.25}, code=CODE))
    Ledger(folder).file(make_record("paddle_c", partial=True))
    git(tmp_path, "init", "--quiet", "checkout")
    (tmp_path / "checkout" / "docs").mkdir()
    (tmp_path / "checkout" / "docs" / "notes.md").write_text("notes", encoding="utf-8")
    git(folder, "add", "--all", ":/")
    git(folder, "commit", "--quiet", "--message", "records")
    return folder


def test_a_commit_has_the_rows_that_were_committed(results: Path) -> None:
    Ledger(results).file(make_record("paddle_c"))
    old, new = of_commit("HEAD", results), present(results)
    assert [row.label for row in old.rows] == ["mmdet_a", "mmdet_b"], "what is no row is left out"
    assert [row.label for row in new.rows] == ["mmdet_a", "mmdet_b", "paddle_c"]
    assert old.title == "git:HEAD"
    row = old.rows[0]
    assert row.numbers == {"accuracy": {"box_AP": 37.4123}, "speed": {"fps": 60.25}}
    assert row.stamps["speed"] == "2026-01-01 bbbbbbbb"
    assert (row.machine, row.protocol, row.versions["accuracy"]) == ("h200-sxm", "mmdet", "1")
    assert of_commit(git(results, "rev-parse", "HEAD")[:7], results).rows == old.rows


def test_what_is_no_commit(results: Path, tmp_path: Path) -> None:
    for name in ("nope", "--all", "HEAD~9"):
        with pytest.raises(UsageError, match=f"git:{name}: no such commit"):
            of_commit(name, results)
    git(results, "rm", "-r", "--quiet", "--cached", ":/")
    git(results, "commit", "--quiet", "--message", "none", "--allow-empty")
    with pytest.raises(UsageError, match="git:HEAD: it has no records in"):
        of_commit("HEAD", results)
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match=r"in no git checkout that git will read \(not a git repository"):
        of_commit("HEAD", tmp_path / "plain")
    with pytest.raises(UsageError, match="gone: no such folder"):
        of_commit("HEAD", tmp_path / "gone")


def test_a_damaged_record_of_a_commit_is_named(results: Path) -> None:
    (results / "records" / "h200-sxm" / "mmdet_b.json").write_text("{", encoding="utf-8")
    git(results, "commit", "--quiet", "--all", "--message", "damaged")
    with pytest.raises(UsageError, match=r"git:HEAD:records/h200-sxm/mmdet_b\.json: not valid JSON"):
        of_commit("HEAD", results)


def test_a_table_says_what_its_records_say_rounded(results: Path) -> None:
    write_tables(results)
    version = current_folder(results).name
    table = of_tables(version[:5], results)
    assert table.title == f"table {version}"
    assert [row.label for row in table.rows] == ["mmdet_a", "mmdet_b"], "rows without a record are none"
    row = table.rows[0]
    assert row.numbers == {"accuracy": {"box_AP": 37.41}, "speed": {"fps": 60.25}}
    assert (row.stamps, row.protocol) == (present(results).rows[0].stamps, "mmdet")
    assert {pair.state for pair in compare_snapshots(table, present(results))} == {"unchanged"}


def test_two_versions_of_the_tables(results: Path, tmp_path: Path) -> None:
    write_tables(results)
    old = current_folder(results).name
    (tmp_path / "conf" / "protocol" / "mmdet.yaml").write_text("name: mmdet\nversion: 4\n", encoding="utf-8")
    (results / "records" / "h200-sxm" / "mmdet_b.json").unlink()
    Ledger(results).file(make_record("mmdet_a", measured={"box_AP": 37.5}))
    write_tables(results)
    new = current_folder(results).name
    assert old != new
    pairs = compare_snapshots(of_tables(old, results), of_tables(new, results))
    assert [(pair.label, pair.state) for pair in pairs] == [("mmdet_a", "changed"), ("mmdet_b", "gone")]
    assert pairs[0].numbers[0].delta == pytest.approx(0.09)
    Ledger(results).file(make_record("mmdet_a", version=2))
    write_tables(results)
    with pytest.raises(UsageError, match="accuracy by protocol 'mmdet' in 2 versions"):
        compare_snapshots(of_tables(old, results), of_tables(new, results))


def test_a_version_is_named_by_a_beginning_that_no_other_has(results: Path) -> None:
    for version in ("abcd00000000", "abcd11111111", "beef00000000"):
        (results / "tables" / version).mkdir(parents=True)
    assert matching_versions("abcd", results) == ["abcd00000000", "abcd11111111"]
    assert matching_versions("bee", results) == [], "three digits may be a word"
    assert of_tables("beef", results).rows == ()
    with pytest.raises(UsageError, match="begin with 'abcd': abcd00000000, abcd11111111"):
        of_tables("abcd", results)
    with pytest.raises(UsageError, match=r"no table version 'dead' .* in .*tables .*beef00000000"):
        of_tables("dead", results)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a table that can be read"),
        ('{"rows": []}', "not a table that can be read"),
        (json.dumps({"hardware": "h", "rows": [{"status": "measured", "entry": "a"}]}), "a table of an older layout"),
    ],
)
def test_tables_that_cannot_be_compared(results: Path, text: str, message: str) -> None:
    folder = results / "tables" / "abcd00000000"
    folder.mkdir(parents=True)
    (folder / "h200.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        of_tables("abcd", results)
