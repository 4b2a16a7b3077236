"""What the files of conf/ say about themselves is read as it is written."""

from __future__ import annotations

from pathlib import Path

from zoo.config.comments import GROUPS, comments, groups, options, written

FILE = """\
# @package _global_
# A part of two lines,
# this one too
defaults: [other]
name: "a # b" # with a hash inside
flow: {first: 1, second: 2} # of the whole
block: # of the block
  key: 3 # of the key
  none: 4
list: [
  1, 2 # not of a key's line
]
items:
  - one: 1 # of an item
"""


def test_comments_belong_to_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text(FILE, encoding="utf-8")
    assert comments(path) == {
        "": "A part of two lines, this one too",
        "name": "with a hash inside",
        "flow": "of the whole",
        "block": "of the block",
        "block.key": "of the key",
        "items.one": "of an item",
    }


def test_every_group_says_what_it_is() -> None:
    assert list(groups()) == list(GROUPS)
    assert all(groups().values())
    assert all(options(group) for group in GROUPS)


def test_values_are_written_as_overrides() -> None:
    assert written([1, True, None, {"a": [0.5]}]) == "[1,true,null,{a:[0.5]}]"
