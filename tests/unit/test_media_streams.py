"""Streams: frames in order of arrival, without an index or an end."""

from __future__ import annotations

import io
import itertools
import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from masklet.errors import InputError, MediaError
from masklet.media import open_media, open_stream, prefetch


class Sender:
    """A TCP server that sends a file once, perhaps in slow pieces, perhaps hanging up early."""

    def __init__(self, data: bytes, piece: int = 1 << 16, pause: float = 0.0, hang: bool = False) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(data, piece, pause, hang), daemon=True)
        self.thread.start()

    def _serve(self, data: bytes, piece: int, pause: float, hang: bool) -> None:
        connection, _ = self.socket.accept()
        with connection:
            try:
                for start in range(0, len(data), piece):
                    connection.sendall(data[start : start + piece])
                    time.sleep(pause)
                if hang:
                    self.done.wait(20)
            except OSError:
                pass

    def close(self) -> None:
        self.done.set()
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def transport_stream(make_video):
    return make_video.make("live.ts", count=40, options={"x264-params": "keyint=10:bframes=2"})


def test_a_network_stream_gives_the_frames_of_the_file(transport_stream, read_number):
    sender = Sender(transport_stream.read_bytes(), piece=4000, pause=0.001)
    try:
        frames = list(open_stream(sender.address, live=False))
    finally:
        sender.close()
    assert [f.index for f in frames] == list(range(40))
    assert [read_number(f.image_hwc) for f in frames] == list(range(40))
    with open_media(transport_stream) as reader:
        for frame in frames:
            same = reader.read(frame.index)
            assert np.array_equal(frame.image_hwc, same.image_hwc) and frame.time == same.time


def test_a_pipe_and_a_file(transport_stream, read_number):
    piped = list(open_stream(io.BytesIO(transport_stream.read_bytes())))
    plain = list(open_stream(transport_stream))
    assert [read_number(f.image_hwc) for f in piped] == [read_number(f.image_hwc) for f in plain] == list(range(40))


def test_standard_input_of_another_process(transport_stream):
    program = (
        "import sys; from masklet.media import open_stream;"
        "print(sum(1 for _ in open_stream(sys.stdin.buffer, format='mpegts')))"
    )
    with transport_stream.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", program], stdin=file, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "40", done.stderr


def test_a_slow_reader_of_a_live_source_gets_the_newest_frames():
    taken, sent = threading.Event(), threading.Event()

    def source():
        yield 0
        taken.wait(10)
        yield from range(1, 50)
        sent.set()

    late = prefetch.prefetched(source, 2, drop_oldest=True)
    assert next(late) == 0
    taken.set()
    assert sent.wait(10)  # nobody took a frame, and still the source was not held up
    rest = list(late)
    assert rest == [48, 49]  # the others were dropped, nothing was repeated


def test_a_thread_that_waits_for_room_need_not_look_up_to_be_stopped(monkeypatch):
    monkeypatch.setattr(prefetch, "_POLL_SECONDS", 3600)
    third = threading.Event()

    def source():
        yield from (0, 1)
        third.set()
        yield from range(2, 9)

    numbers = prefetch.prefetched(source, 1)
    assert next(numbers) == 0
    assert third.wait(10)
    closing = threading.Thread(target=numbers.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()


def test_leaving_a_live_stream_hangs_up(transport_stream):
    before = set(threading.enumerate())
    sender = Sender(transport_stream.read_bytes(), hang=True)
    stream = open_stream(sender.address, timeout=10)
    next(stream)  # on a busy machine not the first: a live stream keeps up
    stream.close()
    assert not [t for t in set(threading.enumerate()) - before if t.name == "masklet-prefetch"]
    sender.close()


def test_a_stream_that_dries_up_ends_with_an_error(transport_stream):
    sender = Sender(transport_stream.read_bytes(), hang=True)
    stream = open_stream(sender.address, live=False, timeout=5)
    received = []
    with pytest.raises(MediaError, match="connection was lost"):
        for frame in stream:
            received.append(frame.index)
    sender.close()
    assert len(received) >= 30


def test_time_never_runs_backwards(make_video, read_number):
    """Two recordings one after the other: the clock starts again in the middle."""
    first = make_video.make("one.ts", count=12)
    second = make_video.make("two.ts", count=12)
    joined = io.BytesIO(first.read_bytes() + second.read_bytes())
    frames = list(open_stream(joined, format="mpegts"))
    assert len(frames) >= 20
    assert all(b.time > a.time for a, b in itertools.pairwise(frames))
    assert all(isinstance(f.time, Fraction) for f in frames)


def test_rotated_streams_are_upright(make_video):
    path = make_video.rotated()
    with open_media(path) as reader:
        expected = reader.read(0).image_hwc
    assert np.array_equal(next(open_stream(path)).image_hwc, expected)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(MediaError, match="no file or device"):
        open_stream(tmp_path / "video9")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(MediaError, match="can't be opened"):
        open_stream(f"tcp://127.0.0.1:{free}", timeout=2)
    with pytest.raises(InputError, match="from 0"):
        open_stream(-1)
    with pytest.raises(MediaError, match="no camera 97"):
        open_stream(97)
    (tmp_path / "text.ts").write_text("hello " * 200)
    with pytest.raises(MediaError):
        open_stream(tmp_path / "text.ts")
