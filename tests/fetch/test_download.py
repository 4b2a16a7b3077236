from __future__ import annotations

import hashlib
import logging
import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from file_server import QUICK, Fault, FileServer

from zoo.errors import DownloadError, HashMismatchError
from zoo.fetch.download import Download, download, out_of_reach
from zoo.fetch.hashes import ExpectedFile
from zoo.fetch.transport import RetryPolicy

BODY = random.Random(0).randbytes(700_000)
OTHER = random.Random(1).randbytes(650_000)
SHA = hashlib.sha256(BODY).hexdigest()
INSTEAD = "give a file you have with checkpoint.path=FILE"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    out_of_reach.clear()
    with FileServer() as server:
        yield server


def fetch(*urls: str, to: Path, expect: ExpectedFile | None = None, policy: RetryPolicy = QUICK) -> Download:
    return download(urls, to, expect=expect or ExpectedFile(), label=to.name, instead=INSTEAD, policy=policy)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/a.pth"


def test_a_file_arrives_with_its_hash(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY)
    expect = ExpectedFile(size=len(BODY), sha256=SHA, sha256_prefix=SHA[:8], md5=hashlib.md5(BODY).hexdigest())  # noqa: S324
    got = fetch(url, to=tmp_path / "new" / "a.pth", expect=expect)
    assert got.path.read_bytes() == BODY
    assert (got.url, got.digest.sha256, got.digest.size) == (url, SHA, len(BODY))
    assert leftovers(tmp_path / "new") == ["a.pth"]


def test_a_file_that_is_there_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY)
    fetch(url, to=tmp_path / "a.pth")
    again = fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(sha256=SHA))
    assert again.url is None
    assert len(server.seen) == 1


def test_nothing_is_printed_where_stderr_is_no_terminal(
    server: FileServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(server.serve("/a.pth", BODY), to=tmp_path / "a.pth")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("version", [{"ETag": '"v1"'}, {"Last_Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}])
def test_a_cut_body_is_continued_where_it_broke(server: FileServer, tmp_path: Path, version: dict[str, str]) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=400_000), **version)
    got = fetch(url, to=tmp_path / "a.pth")
    first, second = server.seen
    assert got.digest.sha256 == SHA
    assert got.path.read_bytes() == BODY
    assert first.sent == 400_000
    assert "Range" not in first.headers
    start = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 300_000 < start <= 400_000
    assert second.sent == len(BODY) - start
    assert second.headers["If-Range"] == next(iter(version.values()))


def test_an_unversioned_file_begins_anew_after_a_cut(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=400_000), X_Nothing="1")
    assert fetch(url, to=tmp_path / "a.pth").digest.sha256 == SHA
    assert "Range" not in server.seen[1].headers


def test_a_file_without_a_hash_is_whole_to_the_last_byte(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=len(BODY) - 1))
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY


def test_progress_renews_patience(server: FileServer, tmp_path: Path) -> None:
    """More cuts than attempts, but every attempt brings something."""
    url = server.serve("/a.pth", BODY, *[Fault(cut_after=140_000)] * 4)
    assert fetch(url, to=tmp_path / "a.pth").digest.sha256 == SHA
    assert len(server.seen) == 5


def test_a_server_without_ranges_begins_anew(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=400_000), Fault(ignore_range=True))
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY
    assert "Range" in server.seen[1].headers
    assert server.seen[1].sent == len(BODY)


@pytest.mark.parametrize("stubborn", [False, True], ids=["If-Range honoured", "If-Range ignored"])
def test_two_versions_are_never_glued(server: FileServer, tmp_path: Path, stubborn: bool) -> None:
    url = server.serve("/a.pth", BODY, Fault(cut_after=400_000))
    with pytest.raises(DownloadError):
        fetch(url, to=tmp_path / "a.pth", policy=RetryPolicy(attempts=1))
    server.serve("/a.pth", OTHER, Fault(ignore_if_range=stubborn), ETag='"v2"')
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == OTHER


def test_a_part_that_is_already_whole_is_recognised(server: FileServer, tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the server answers 416."""
    url = server.serve("/a.pth", BODY)
    (tmp_path / "a.pth.part").write_bytes(BODY)
    (tmp_path / "a.pth.part.json").write_text(f'{{"url": "{url}", "version": "\\"v1\\""}}')
    assert fetch(url, to=tmp_path / "a.pth").digest.sha256 == SHA
    assert [seen.sent for seen in server.seen] == [0]


def test_a_part_longer_than_the_file_is_forgotten(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY)
    (tmp_path / "a.pth.part").write_bytes(BODY + b"tail")
    (tmp_path / "a.pth.part.json").write_text(f'{{"url": "{url}", "version": "\\"v1\\""}}')
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY


@pytest.mark.parametrize("origin", ["", "{", "[]", '{"url": "http://elsewhere/a.pth", "version": "1"}'])
def test_a_part_of_unknown_origin_is_not_continued(server: FileServer, tmp_path: Path, origin: str) -> None:
    url = server.serve("/a.pth", BODY)
    (tmp_path / "a.pth.part").write_bytes(b"who knows what this is")
    (tmp_path / "a.pth.part.json").write_text(origin)
    assert fetch(url, to=tmp_path / "a.pth").path.read_bytes() == BODY
    assert "Range" not in server.seen[0].headers


def test_a_damaged_part_costs_one_fresh_start(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY)
    (tmp_path / "a.pth.part").write_bytes(bytes(100_000))
    (tmp_path / "a.pth.part.json").write_text(f'{{"url": "{url}", "version": "\\"v1\\""}}')
    assert fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(sha256=SHA)).path.read_bytes() == BODY
    assert [seen.sent for seen in server.seen] == [len(BODY) - 100_000, len(BODY)]


def test_a_body_shorter_than_announced_is_an_error(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, *[Fault(announce=len(BODY) + 50_000)] * 9, X_Nothing="1")
    with pytest.raises(DownloadError, match=r"a\.pth: could not be downloaded\n  http.*, \d times"):
        fetch(url, to=tmp_path / "a.pth")
    assert not (tmp_path / "a.pth").exists()


def test_a_body_longer_than_announced_does_not_fit(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(announce=1000), Fault(announce=1000))
    with pytest.raises(HashMismatchError, match=f"published one begins with {SHA[:8]}"):
        fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(sha256_prefix=SHA[:8]))
    with pytest.raises(HashMismatchError, match=r"has 1,000 bytes instead of 700,000"):
        fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(size=len(BODY)))


def test_a_body_of_unknown_length_arrives(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, Fault(announce=-1))
    assert fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(sha256=SHA)).path.read_bytes() == BODY


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_mirror_that_refuses_is_left_at_once(server: FileServer, tmp_path: Path, status: int) -> None:
    dead = server.serve("/dead.pth", b"", *[Fault(status=status)] * 9)
    good = server.serve("/a.pth", BODY)
    assert fetch(dead, good, to=tmp_path / "a.pth").url == good
    assert [seen.path for seen in server.seen] == ["/dead.pth", "/a.pth"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_tried_again(server: FileServer, tmp_path: Path, status: int) -> None:
    url = server.serve("/a.pth", BODY, Fault(status=status), Fault(status=status))
    assert fetch(url, to=tmp_path / "a.pth").digest.sha256 == SHA
    assert len(server.seen) == 3


def test_retry_after_is_honoured_and_capped(server: FileServer, tmp_path: Path) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=0.4), usegmt=True)
    policy = RetryPolicy(first_wait=0.0, longest_wait=1.0)
    url = server.serve("/a.pth", BODY, Fault(status=429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    fetch(url, to=tmp_path / "a.pth", policy=policy)
    assert time.monotonic() - began >= 1.0
    url = server.serve("/b.pth", BODY, Fault(status=503, headers={"Retry-After": soon}))
    fetch(url, to=tmp_path / "b.pth", policy=policy)
    late = server.serve("/c.pth", BODY, Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(DownloadError, match="HTTP 429 Too Many Requests, come back in 3600 s"):
        fetch(late, to=tmp_path / "c.pth", policy=policy)


def test_waits_double_up_to_a_cap() -> None:
    policy = RetryPolicy(first_wait=1.0, longest_wait=5.0)
    assert [policy.wait(failures, None) for failures in (1, 2, 3, 4, 500)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert policy.wait(1, 3.0) == 3.0


HTML = b"\xef\xbb\xbf\n <!DOCTYPE html><html><title>Sign in</title></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_a_file(server: FileServer, tmp_path: Path, kind: str) -> None:
    url = server.serve("/a.pth", b"", Fault(status=200, headers={"Content-Type": kind, "ETag": '"1"'}, body=HTML))
    with pytest.raises(DownloadError, match=r"a\.pth.*\n.*answers with an HTML page instead of the file") as caught:
        fetch(url, to=tmp_path / "a.pth")
    assert caught.value.next_step == f"check the network, or {INSTEAD}"
    assert not (tmp_path / "a.pth").exists()
    assert fetch(server.serve("/a.pth", BODY), to=tmp_path / "a.pth").path.read_bytes() == BODY


def test_redirects_are_followed_and_keep_the_range(server: FileServer, tmp_path: Path) -> None:
    target = server.serve("/signed.bin", BODY, Fault(cut_after=400_000))
    url = server.serve("/a.pth", b"", *[Fault(status=302, headers={"Location": target})] * 2)
    got = fetch(url, to=tmp_path / "a.pth")
    assert got.url == url
    assert got.path.read_bytes() == BODY
    assert "Range" in server.seen[3].headers


def test_a_redirect_loop_ends(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", b"", *[Fault(status=302, headers={"Location": "/a.pth"})] * 99)
    with pytest.raises(DownloadError, match="redirects in a circle"):
        fetch(url, to=tmp_path / "a.pth")


def test_every_mirror_is_listed_with_its_reason(server: FileServer, tmp_path: Path) -> None:
    urls = [server.address + "/gone.pth", closed_port(), "https://", "ftp://host/a.pth"]
    with pytest.raises(DownloadError) as caught:
        fetch(*urls, to=tmp_path / "a.pth")
    lines = caught.value.message.splitlines()
    assert lines[0] == "a.pth: could not be downloaded"
    assert lines[1] == f"  {urls[0]}: HTTP 404 Not Found"
    assert lines[2].startswith(f"  {urls[1]}: no connection (")
    assert lines[2].endswith("Connection refused), 3 times")
    assert all(
        line.startswith(f"  {url}: not an address that can be fetched")
        for url, line in zip(urls[2:], lines[3:], strict=True)
    )


def test_a_host_that_was_not_reached_gets_one_try_for_the_next_file(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []

    def no_wait(_: RetryPolicy, failures: int, __: float | None) -> float:
        waits.append(failures)
        return 0.0

    monkeypatch.setattr(RetryPolicy, "wait", no_wait)
    for tries in ([1, 2], []):
        with pytest.raises(DownloadError):
            fetch(closed_port(), to=tmp_path / "a.pth")
        assert waits == tries
        waits.clear()
    fetch(server.serve("/a.pth", BODY), to=tmp_path / "a.pth")
    assert not out_of_reach, "it answered"


def test_addresses_of_one_host_that_fail_alike_are_one_line(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="zoo")
    dead = closed_port()
    with pytest.raises(DownloadError) as caught:
        fetch(f"{dead}/a.pth", f"{dead}/b.pth", server.address + "/gone.pth", to=tmp_path / "a.pth")
    assert caught.value.message.splitlines()[1:] == [
        "  2 addresses of 127.0.0.1: no connection (Connection refused), 3 times",
        f"  {server.address}/gone.pth: HTTP 404 Not Found",
    ]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4, "each trouble once"
    assert all(message.startswith("a.pth: 127.0.0.1: no connection") for message in said)


def test_silence_is_not_waited_for_forever(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", BODY, *[Fault(hold_after=0)] * 2)
    policy = RetryPolicy(attempts=2, first_wait=0.0, read_timeout=0.1)
    with pytest.raises(DownloadError, match=r"no connection|does not answer in time"):
        fetch(url, to=tmp_path / "a.pth", policy=policy)


def test_the_environment_names_the_proxy(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://zoo.invalid/a.pth"
    server.serve(url, BODY)
    monkeypatch.setenv("http_proxy", server.address)
    assert fetch(url, to=tmp_path / "a.pth").digest.sha256 == SHA


def test_the_wrong_file_is_kept_aside(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("/a.pth", OTHER)
    with pytest.raises(HashMismatchError) as caught:
        fetch(url, to=tmp_path / "a.pth", expect=ExpectedFile(sha256=SHA))
    other = hashlib.sha256(OTHER).hexdigest()
    assert caught.value.message == (
        f"a.pth: not the file it should be\n  {url}: sha256 is {other}, the published one is {SHA} "
        f"(kept as {tmp_path / 'a.pth.rejected'})"
    )
    assert INSTEAD in caught.value.next_step
    assert leftovers(tmp_path) == ["a.pth.rejected"]
    assert (tmp_path / "a.pth.rejected").read_bytes() == OTHER


def test_a_good_mirror_makes_up_for_a_wrong_one(server: FileServer, tmp_path: Path) -> None:
    wrong, right = server.serve("/wrong.pth", OTHER), server.serve("/a.pth", BODY)
    assert fetch(wrong, right, to=tmp_path / "a.pth", expect=ExpectedFile(sha256=SHA)).url == right


def test_md5_is_checked_where_it_is_all_there_is(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(HashMismatchError, match=r"md5 is .*, the published one is 0000"):
        fetch(server.serve("/a.zip", BODY), to=tmp_path / "a.zip", expect=ExpectedFile(md5="0" * 32))


def test_failures_are_logged_as_they_happen(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="zoo")
    fetch(server.serve("/a.pth", BODY, Fault(status=500)), to=tmp_path / "a.pth")
    assert "HTTP 500 Internal Server Error; trying again in 0.0 s" in caplog.text


def test_a_server_that_cannot_prove_who_it_is_gets_no_second_try(server: FileServer, tmp_path: Path) -> None:
    server.serve("/a.pth", BODY)
    with pytest.raises(DownloadError, match=r"no trusted TLS connection \(.*SSL.*\)$"):
        fetch(server.address.replace("http:", "https:") + "/a.pth", to=tmp_path / "a.pth")


def test_a_name_that_is_not_known_is_told_in_few_words() -> None:
    import requests.exceptions
    from urllib3.exceptions import MaxRetryError, NameResolutionError

    from zoo.fetch.transport import _failure

    unknown = NameResolutionError("a.invalid", None, socket.gaierror(-2, "Name or service not known"))  # type: ignore[arg-type] # no pool in a test
    error = requests.exceptions.ConnectionError(MaxRetryError(None, "/a.pth", unknown))  # type: ignore[arg-type] # no pool in a test
    assert str(_failure(error)) == "no connection (Name or service not known)"
