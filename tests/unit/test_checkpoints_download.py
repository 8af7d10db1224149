"""Downloads against a real HTTP server on this machine: ranges, cut connections, wrong bytes, full disks."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import masklet
from masklet.cli import app
from masklet.errors import CheckpointError, DownloadError
from masklet.weights import cache, registry
from masklet.weights.download import MAX_FAILURES, MAX_UNREACHABLE, fetch
from masklet.weights.registry import RELEASED, ReleasedCheckpoint

BODY = bytes((i * i + i // 251) % 256 for i in range(700_000))


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    body: bytes = BODY
    ranges: bool = True
    etag: str | None = '"one"'
    announce_length: bool = True
    statuses: list[int] = field(default_factory=list)  # of the next answers, before it behaves
    cuts: list[int] = field(default_factory=list)  # the next answers break off after so many bytes
    retry_after: str | None = None
    hold: threading.Event | None = None  # waits in the middle of an answer
    started: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    conditions: list[str | None] = field(default_factory=list)  # and the If-Range header


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        how = self.behaviour
        wanted = self.headers.get("Range")
        how.asked.append(wanted)
        how.conditions.append(self.headers.get("If-Range"))
        if how.statuses:
            self.send_response(how.statuses.pop(0))
            if how.retry_after:
                self.send_header("Retry-After", how.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        condition = self.headers.get("If-Range")
        if wanted and how.ranges and condition in (None, how.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(how.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(how.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(how.body) - 1}/{len(how.body)}")
        else:
            self.send_response(200)
        rest = how.body[start:]
        if how.announce_length:
            self.send_header("Content-Length", str(len(rest)))
        if how.etag:
            self.send_header("ETag", how.etag)
        self.end_headers()
        if how.hold:
            self.wfile.write(rest[:200_000])
            self.wfile.flush()
            how.started.set()
            how.hold.wait(20)
            rest = rest[200_000:]
        self.wfile.write(rest[: how.cuts.pop(0)] if how.cuts else rest)
        self.close_connection = True

    def log_message(self, *words: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some of these tests are about."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Behaviour]:
    behaviour = Behaviour()
    handler = type("ThisHandler", (Handler,), {"behaviour": behaviour})
    listener = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("MASKLET_MIRROR", f"http://127.0.0.1:{listener.server_port}/mirror/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MASKLET_OFFLINE", raising=False)
    yield behaviour
    listener.shutdown()
    listener.server_close()


def entry(body: bytes = BODY, *, size: int | None = -1) -> ReleasedCheckpoint:
    size = len(body) if size == -1 else size
    return ReleasedCheckpoint("sam2.1-tiny", size, 1, hashlib.sha256(body).hexdigest())


class Pauses(list[float]):
    """Takes the place of time.sleep and keeps what it was asked for."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def put_part(checkpoint: ReleasedCheckpoint, content: bytes) -> None:
    cache.cache_folder().mkdir(parents=True, exist_ok=True)
    cache.part_path(checkpoint).write_bytes(content)


def files_in_cache() -> set[str]:
    return {path.name for path in cache.cache_folder().iterdir()} - {"sam2.1_hiera_tiny.pt.lock"}


def test_a_download_arrives_whole_is_checked_and_is_not_repeated(server: Behaviour) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(entry(), on_progress=lambda done, total: seen.append((done, total)))
    assert path == cache.cached_path(entry())
    assert path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert files_in_cache() == {"sam2.1_hiera_tiny.pt", "sam2.1_hiera_tiny.pt.verified"}
    assert cache.cache_state(entry()) == "ready"
    assert fetch(entry()) == path
    assert server.asked == [None]


def test_a_cut_connection_goes_on_where_it_stopped(server: Behaviour) -> None:
    server.cuts = [300_000, 100_000]
    notes: list[str] = []
    pauses = Pauses()
    assert fetch(entry(), on_note=notes.append, sleep=pauses).read_bytes() == BODY
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]
    assert server.conditions == [None, '"one"', '"one"']
    assert len(pauses) == 2
    assert all("trying again" in note for note in notes)


def test_an_earlier_part_is_taken_up(server: Behaviour) -> None:
    put_part(entry(), BODY[:123_456])
    assert fetch(entry()).read_bytes() == BODY
    assert server.asked == ["bytes=123456-"]


def test_a_part_that_is_complete_needs_no_connection(server: Behaviour) -> None:
    put_part(entry(), BODY)
    assert fetch(entry()).read_bytes() == BODY
    assert server.asked == []


def test_ctrl_c_keeps_the_part(server: Behaviour) -> None:
    def press(done: int, total: int | None) -> None:
        if done >= 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(entry(), on_progress=press)
    kept = cache.part_path(entry()).read_bytes()
    assert len(kept) >= 200_000
    assert kept == BODY[: len(kept)]
    assert cache.cache_state(entry()) == "partial"
    assert fetch(entry()).read_bytes() == BODY
    assert server.asked == [None, f"bytes={len(kept)}-"]


def test_a_server_without_ranges_starts_again(server: Behaviour) -> None:
    server.ranges = False
    server.cuts = [300_000]
    notes: list[str] = []
    assert fetch(entry(), on_note=notes.append, sleep=Pauses()).read_bytes() == BODY
    assert any("starting again" in note for note in notes)


def test_a_server_without_ranges_that_always_cuts_is_given_up(server: Behaviour) -> None:
    server.ranges = False
    server.cuts = [300_000] * 50
    with pytest.raises(DownloadError, match="300,000 bytes are kept"):
        fetch(entry(), sleep=Pauses())
    assert len(server.asked) == MAX_FAILURES


def test_a_file_that_changed_between_two_connections_is_fetched_anew(server: Behaviour) -> None:
    server.cuts = [300_000]
    other = BODY[::-1]
    wanted = entry(other)

    def change(seconds: float) -> None:
        server.body, server.etag = other, '"two"'

    assert fetch(wanted, sleep=change).read_bytes() == other
    assert server.conditions == [None, '"one"']


def test_a_part_of_another_file_is_found_out_and_replaced(server: Behaviour) -> None:
    put_part(entry(), b"\0" * 200_000)
    notes: list[str] = []
    assert fetch(entry(), on_note=notes.append).read_bytes() == BODY
    assert server.asked == ["bytes=200000-", None]
    assert any("from the start" in note for note in notes)


def test_a_part_longer_than_the_file_is_dropped(server: Behaviour) -> None:
    put_part(entry(), BODY + b"more")
    assert fetch(entry()).read_bytes() == BODY
    assert server.asked == [None]


def test_wrong_bytes_are_deleted_and_both_hashes_told(server: Behaviour) -> None:
    server.body = BODY[:-1] + b"?"
    with pytest.raises(DownloadError) as caught:
        fetch(entry())
    message = str(caught.value)
    assert hashlib.sha256(BODY).hexdigest() in message
    assert hashlib.sha256(server.body).hexdigest() in message
    assert "--model nano" in message
    assert str(cache.cached_path(entry())) in message
    assert files_in_cache() == set()


def test_another_length_is_refused_before_anything_is_read(server: Behaviour) -> None:
    server.body = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="offers 26 bytes"):
        fetch(entry())
    assert files_in_cache() == set()


def test_a_server_that_sends_too_much_without_a_length(server: Behaviour) -> None:
    server.announce_length = False
    server.body = BODY + b"x"
    with pytest.raises(DownloadError, match="sends more than"):
        fetch(entry())
    assert files_in_cache() == set()


def test_an_answer_without_length_that_ends_early_is_taken_up(server: Behaviour) -> None:
    server.announce_length = False
    server.cuts = [5_000]
    assert fetch(entry(), sleep=Pauses()).read_bytes() == BODY
    assert server.asked == [None, "bytes=5000-"]


@pytest.mark.parametrize("announce", [True, False])
def test_a_file_of_unpublished_length(server: Behaviour, announce: bool) -> None:
    server.announce_length = announce
    server.cuts = [400_000] if announce else []
    unknown = entry(size=None)
    assert fetch(unknown, sleep=Pauses()).read_bytes() == BODY
    assert cache.cache_state(unknown) == "ready"


def test_a_complete_part_of_unpublished_length(server: Behaviour) -> None:
    unknown = entry(size=None)
    put_part(unknown, BODY)
    assert fetch(unknown).read_bytes() == BODY  # 416 with the whole length says that nothing is missing


@pytest.mark.parametrize(("status", "words"), [(404, "isn't there"), (403, "refuses access"), (418, "418")])
def test_refusals_are_final_and_say_what_to_do(server: Behaviour, status: int, words: str) -> None:
    server.statuses = [status]
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(entry(), sleep=Pauses())
    message = str(caught.value)
    assert str(status) in message
    assert entry().url in message
    assert str(cache.cached_path(entry())) in message
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again_after_the_time_it_names(server: Behaviour) -> None:
    server.statuses = [503, 429]
    server.retry_after = "7"
    pauses = Pauses()
    assert fetch(entry(), sleep=pauses).read_bytes() == BODY
    assert pauses == [7.0, 7.0]


def test_no_connection(server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLET_MIRROR", "http://127.0.0.1:9/")  # the discard port: nobody listens
    pauses = Pauses()
    with pytest.raises(DownloadError, match="online") as caught:
        fetch(entry(), sleep=pauses)
    assert "--model nano" in str(caught.value)
    assert len(pauses) == MAX_UNREACHABLE - 1
    assert entry().published_url in str(caught.value)


def test_an_address_that_is_none(server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLET_MIRROR", "nonsense")
    with pytest.raises(DownloadError, match="can't be fetched"):
        fetch(entry(), sleep=Pauses())


def test_offline_by_request(server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    with pytest.raises(DownloadError, match="MASKLET_OFFLINE"):
        fetch(entry())
    assert server.asked == []


def test_too_little_room_is_said_before_anything_is_written(server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(os.curdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DownloadError, match="700,000 more bytes are needed, 1,000 are free"):
        fetch(entry())
    assert files_in_cache() == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up(server: Behaviour) -> None:
    cache.cache_folder().mkdir(parents=True)
    cache.part_path(entry()).symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="no room"):
        fetch(entry())
    assert not cache.cached_path(entry()).exists()


def test_a_cache_folder_that_cannot_be_made(server: Behaviour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="MASKLET_HOME"):
        fetch(entry())


def test_two_at_once_fetch_it_once(server: Behaviour) -> None:
    server.hold = threading.Event()
    waiting = threading.Event()
    results: list[bytes] = []

    def run(on_note: object = None) -> None:
        results.append(fetch(entry(), on_note=lambda text: waiting.set()).read_bytes())

    first = threading.Thread(target=run)
    first.start()
    assert server.started.wait(20)
    second = threading.Thread(target=run)
    second.start()
    assert waiting.wait(20)  # the second one says that it waits
    server.hold.set()
    first.join(20)
    second.join(20)
    assert results == [BODY, BODY]
    assert server.asked == [None]


def test_a_lock_file_left_behind_by_a_crash_is_no_obstacle(server: Behaviour) -> None:
    cache.cache_folder().mkdir(parents=True)
    cache.cached_path(entry()).with_name("sam2.1_hiera_tiny.pt.lock").write_text("4711")
    assert fetch(entry()).read_bytes() == BODY


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    length=st.integers(1, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=MAX_FAILURES - 2),  # a part that does not fit costs a try too
    part=st.integers(0, 6000),
    ranges=st.booleans(),
    tagged=st.booleans(),
    known=st.booleans(),
)
def test_however_it_is_cut_the_bytes_are_right(
    server: Behaviour, *, length: int, cuts: list[int], part: int, ranges: bool, tagged: bool, known: bool
) -> None:
    body = BODY[1000 : 1000 + length]
    checkpoint = entry(body, size=length if known else None)
    server.body, server.cuts, server.ranges = body, list(cuts), ranges
    server.etag = '"tag"' if tagged else None
    put_part(checkpoint, (body + b"surplus" * 1000)[:part])
    assert fetch(checkpoint, sleep=Pauses()).read_bytes() == body
    assert not cache.part_path(checkpoint).exists()
    shutil.rmtree(cache.cache_folder())


# -- what lies in the cache already --------------------------------------------------------------------------


def test_a_file_put_there_by_hand_is_checked_once(server: Behaviour) -> None:
    path = cache.cached_path(entry())
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert cache.cache_state(entry()) == "unchecked"
    assert cache.find_cached(entry()) == path
    assert cache.cache_state(entry()) == "ready"
    path.write_bytes(BODY[::-1])  # same length, other content, other time
    os.utime(path, ns=(1, 1))
    assert cache.cache_state(entry()) == "unchecked"
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch(entry())
    assert path.exists()  # it may be somebody's only copy
    assert server.asked == []


def test_a_file_of_wrong_length_in_the_cache(server: Behaviour) -> None:
    path = cache.cached_path(entry())
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY[:100])
    assert cache.cache_state(entry()) == "wrong size"
    with pytest.raises(CheckpointError, match=r"has 100 bytes.*masklet models remove"):
        fetch(entry())


def test_remove_deletes_everything_of_one_checkpoint(server: Behaviour) -> None:
    fetch(entry())
    put_part(entry(), b"12345")
    stranger = cache.cache_folder() / "mine.pt"
    stranger.write_bytes(b"1")
    removed = cache.remove(entry())
    assert {path.name for path in removed.files} == {
        "sam2.1_hiera_tiny.pt",
        "sam2.1_hiera_tiny.pt.part",
        "sam2.1_hiera_tiny.pt.verified",
    }
    assert removed.freed > len(BODY)
    assert files_in_cache() == {"mine.pt"}
    assert cache.leftovers() == [stranger]
    assert cache.remove(entry()).files == ()


# -- the same through the command line -----------------------------------------------------------------------


@pytest.fixture
def served_tiny(server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Behaviour:
    """The server offers small real weights as if they were SAM 2.1 tiny."""
    server.body = registry.packaged_weights("nano").read_bytes()
    monkeypatch.setitem(RELEASED, "sam2.1-tiny", entry(server.body))
    return server


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_pull_list_where_remove(served_tiny: Behaviour) -> None:
    home = str(cache.cache_folder())
    assert run("models", "pull", "tiny")[0] == 0
    assert served_tiny.asked == [None]
    code, out, _ = run("models", "pull", "sam2.1_hiera_tiny")
    assert (code, "here already" in out) == (0, True)
    assert served_tiny.asked == [None]
    row = next(line for line in run("models")[1].splitlines() if line.startswith("sam2.1-tiny"))
    assert row.split() == ["sam2.1-tiny", "tiny", "0.00", "M", "12.4", "MB", "yes"]
    assert run("models", "where", "tiny")[1].strip() == str(cache.cached_path(entry()))
    assert run("models", "where")[1].strip() == home
    assert "12.4 MB" in run("models", "remove", "tiny")[1]
    assert "isn't here" in run("models", "remove", "tiny")[1]


def test_load_model_fetches_what_is_missing(served_tiny: Behaviour) -> None:
    from masklet.weights.loading import free_models, load_model

    with pytest.raises(CheckpointError, match=r"aren't here.*by hand"):
        load_model("tiny", device="cpu", download=False)
    assert served_tiny.asked == []
    model = load_model("tiny", device="cpu", dtype="float32")
    assert served_tiny.asked == [None]
    assert load_model("tiny", device="cpu", dtype="float32", download=False) is model
    free_models()


def test_pull_that_fails_is_one_line_and_code_2(served_tiny: Behaviour) -> None:
    served_tiny.statuses = [404]
    code, _, err = run("models", "pull", "tiny")
    assert code == 2
    assert "error: " in err
    assert "Traceback" not in err
    assert str(cache.cached_path(entry())) in err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to the whole console")
def test_pull_stopped_by_ctrl_c_keeps_what_it_has(server: Behaviour) -> None:
    server.hold = threading.Event()
    server.announce_length = False  # the real registry expects the real file
    command = [sys.executable, "-m", "masklet", "models", "pull", "tiny"]
    here = {**os.environ, "PYTHONPATH": str(Path(masklet.__file__).parents[1])}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=here)
    try:
        assert server.started.wait(60)
        part = cache.part_path(RELEASED["sam2.1-tiny"])
        while not part.exists() or part.stat().st_size == 0:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        server.hold.set()
        process.kill()
    assert process.returncode == 130
    assert "are kept; the same command goes on from there" in errors
    assert "Traceback" not in errors
    kept = part.read_bytes()
    assert kept
    assert kept == BODY[: len(kept)]


def test_the_published_table_is_complete() -> None:
    assert len(RELEASED) == 8
    for name, checkpoint in RELEASED.items():
        assert len(bytes.fromhex(checkpoint.sha256)) == 32
        folder = "092824" if name.startswith("sam2.1-") else "072824"
        assert checkpoint.published_url.endswith(f"/{folder}/{checkpoint.filename}")
        # Four bytes a value, and little else.
        assert checkpoint.size is None or 0 < checkpoint.size - 4 * checkpoint.values < 500_000
    assert len({checkpoint.sha256 for checkpoint in RELEASED.values()}) == 8


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKLET_MIRROR", raising=False)
    base = "https://dl.fbaipublicfiles.com/segment_anything_2"
    assert RELEASED["sam2.1-base-plus"].url == f"{base}/092824/sam2.1_hiera_base_plus.pt"
    assert RELEASED["sam2-large"].url == f"{base}/072824/sam2_hiera_large.pt"
