from __future__ import annotations

import pytest

from zoo.fetch.hashes import published_prefix_from_name
from zoo.fetch.names import LONGEST_NAME, file_name, host_of


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/zoo/faster_rcnn-047c8118.pth?download=1#a", "faster_rcnn-047c8118.pth"),
        ("https://host/a%20b.pth", "a b.pth"),
        ("https://host/", "none"),
        ("https://host/..", "none"),
        ("https://host/%2e%2e", "none"),
        ("https://host/%2e%2e%2fpasswd", "passwd"),
        ("https://host/..%5c..%5cpasswd", "passwd"),
        ("https://host/.bashrc", "bashrc"),
        ("https://host/a%00b%0a.pth", "a_b_.pth"),
        ("https://host/C%3a.pth", "C_.pth"),
        ("https://host/con.pth", "_con.pth"),
        ("https://host/com1", "_com1"),
        ("https://host/%ff\ud800.pth", "__.pth"),
        ("http://[::1/a.pth", "a.pth"),
        ("", "none"),
    ],
)
def test_a_name_is_one_plain_name(url: str, name: str) -> None:
    assert file_name(url, default="none") == name


@pytest.mark.parametrize("letter", ["x", "\u00e4", "\u6a21"])
def test_a_long_name_keeps_its_ending(letter: str) -> None:
    name = file_name(f"https://host/{letter * 400}.pth", default="none")
    assert LONGEST_NAME - 3 < len(name.encode()) <= LONGEST_NAME
    assert name.endswith(f"{letter}.pth")
    assert len(file_name(f"https://host/a.{letter * 400}", default="none").encode()) <= LONGEST_NAME


def test_addresses_that_are_none_have_no_parts() -> None:
    assert host_of("http://[::1") == "http://[::1"
    assert host_of("http://host:99999/a") == "http://host:99999/a"
    assert host_of("https://Host/a") == "host"
    assert published_prefix_from_name("http://[::1/a-047c8118.pth") is None
