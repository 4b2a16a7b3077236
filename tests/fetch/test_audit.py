"""Addresses are asked whether their file is there, and nothing of it is fetched."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import QUICK, Fault, FileServer

from zoo.fetch import audit as audit_module
from zoo.fetch.audit import PER_HOST, Link, Sighting, audit, last_seen
from zoo.fetch.transport import RetryPolicy

BODY = b"x" * 1234
THEN, NOW = "2026-01-01T00:00:00+00:00", "2026-02-02T00:00:00+00:00"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with FileServer() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ask(url: str) -> Link:
    return audit([url], QUICK)[url]


def test_a_file_is_alive_and_none_of_its_bytes_is_sent(server: FileServer) -> None:
    assert ask(server.serve("/a.pth", BODY)) == Link(status="alive", size=1234)
    assert [(seen.method, seen.sent) for seen in server.seen] == [("HEAD", 0)]


def test_an_address_that_is_wanted_twice_is_asked_once(server: FileServer) -> None:
    url = server.serve("/a.pth", BODY)
    assert list(audit([url, url], QUICK)) == [url]
    assert len(server.seen) == 1


def test_a_file_that_is_gone_is_dead(server: FileServer) -> None:
    assert ask(f"{server.address}/gone.pth") == Link(status="dead", reason="HTTP 404 Not Found", certain=True)


def test_a_host_that_is_gone_is_dead_after_so_many_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/a.pth"
    link = ask(url)
    assert link.status == "dead"
    assert link.reason is not None
    assert link.reason.startswith("no connection (")


@pytest.mark.parametrize(("failures", "status"), [(2, "alive"), (3, "dead")])
def test_an_overloaded_server_is_asked_again(server: FileServer, failures: int, status: str) -> None:
    assert ask(server.serve("/a.pth", BODY, *[Fault(status=503)] * failures)).status == status
    assert len(server.seen) == 3


@pytest.mark.parametrize("code", [405, 501])
def test_a_server_that_refuses_head_is_said_to_and_gets_no_other_request(server: FileServer, code: int) -> None:
    link = ask(server.serve("/a.pth", BODY, Fault(status=code)))
    assert link == Link(status="refuses HEAD", reason=f"HTTP {code} to HEAD; only a download would tell")
    assert [seen.method for seen in server.seen] == ["HEAD"]


def test_a_web_page_is_no_file(server: FileServer) -> None:
    page = server.serve("/login", b"<html>", Content_Type="text/html; charset=utf-8")
    moved = server.serve("/a.pth", BODY, Fault(status=302, headers={"Location": page}))
    assert ask(page) == Link(status="web page", reason="is a web page")
    assert ask(moved) == Link(status="web page", reason="redirects to a web page of 127.0.0.1")


def test_a_redirect_to_the_file_is_followed(server: FileServer) -> None:
    there = server.serve("/there.pth", BODY)
    moved = server.serve("/a.pth", b"", Fault(status=302, headers={"Location": there}))
    assert ask(moved) == Link(status="alive", size=1234)


@pytest.mark.parametrize(("announced", "size"), [(-1, None), (0, None), (77, 77)])
def test_the_size_is_what_the_server_announces(server: FileServer, announced: int, size: int | None) -> None:
    assert ask(server.serve("/a.pth", BODY, Fault(announce=announced))) == Link(status="alive", size=size)


def test_an_address_that_is_none_is_dead() -> None:
    link = ask("htp:/nowhere")
    assert link.status == "dead"
    assert "not an address" in str(link.reason)


def test_what_the_time_did_not_suffice_for_was_not_asked(server: FileServer) -> None:
    urls = [server.serve(f"/{i}.pth", BODY) for i in range(3)]
    over = RetryPolicy(total=-1.0)
    assert {link.status for link in audit(urls, over).values()} == {"not asked"}
    assert server.seen == []


def test_a_host_gets_only_so_many_requests_at_a_time(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def count(*_: object) -> Link:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == PER_HOST:
                full.set()
        full.wait(10)
        with lock:
            now -= 1
        return Link(status="alive")

    monkeypatch.setattr(audit_module, "_ask", count)
    found = audit([f"http://one.example/{i}" for i in range(3 * PER_HOST)], QUICK)
    assert len(found) == 3 * PER_HOST
    assert most == PER_HOST


def test_an_error_of_a_thread_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Link:
        raise ZeroDivisionError

    monkeypatch.setattr(audit_module, "_ask", broken)
    with pytest.raises(ZeroDivisionError):
        audit(["http://one.example/a"], QUICK)


def test_the_last_sighting_of_a_dead_address_stays(cache: Path) -> None:
    alive, dead = Link(status="alive", size=7), Link(status="dead", reason="HTTP 404 Not Found")
    assert last_seen({"a": alive, "b": dead}, THEN) == {"a": Sighting(seen=THEN, size=7)}
    assert last_seen({"a": dead}, NOW) == {"a": Sighting(seen=THEN, size=7)}
    assert last_seen({"a": alive, "b": alive}, NOW) == dict.fromkeys("ab", Sighting(seen=NOW, size=7))
    assert [path.name for path in cache.iterdir() if path.suffix == ".json"] == ["links.json"]


def test_a_damaged_list_of_sightings_is_said_and_begun_anew(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.mkdir()
    (cache / "links.json").write_text("[]", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert last_seen({"a": Link(status="dead")}, NOW) == {}
    assert "cannot be read" in caplog.text
