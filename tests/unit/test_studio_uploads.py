"""Uploads: what arrives complete and can be read is kept, anything else leaves nothing behind."""

from __future__ import annotations

import io
import logging
import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from tests.e2e.studio_client import DEMO, Client, running

from masklet.errors import MediaError
from masklet.media import image_size
from masklet.project import Project
from masklet.studio.files import check_media

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio") / "root"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Client]:
    with running(root, upload_limit=LIMIT) as client:
        yield client


def png(width: int, height: int, data: bytes | None = None) -> bytes:
    """A grey PNG; without data it has the picture that its header promises."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress(b"\0" * ((width + 1) * height), 9) if data is None else data
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "PNG")
    return file.getvalue()


def left(root: Path) -> set[str]:
    return {
        name for _, folders, files in os.walk(root) for name in (*folders, *files)
    }  # what goes meanwhile is left out


def test_a_video_in_pieces(client: Client, root: Path) -> None:
    data = DEMO.read_bytes()
    pieces = (data[i : i + 10_000] for i in range(0, len(data), 10_000))
    answer = client.post("/api/uploads?name=../../my%20clip.mp4", content=pieces)
    assert answer.status_code == 201 and answer.json()["path"] == "uploads/my clip.mp4"
    assert (root / "uploads" / "my clip.mp4").read_bytes() == data
    # A second one of this name does not replace the first.
    assert client.post("/api/uploads?name=my%20clip.mp4", content=data).json()["path"] == "uploads/my clip 2.mp4"
    state = client.ask("POST", "/api/projects", path="uploads/my clip.mp4")
    assert state["media"]["frame_count"] == 100
    assert not [name for name in left(root) if ".part" in name]


def test_pictures_of_a_sequence_share_a_folder(client: Client) -> None:
    for number in range(3):
        path = f"/api/uploads?name=s.{number:03}.png&folder=my%20shot"
        assert client.post(path, content=picture()).status_code == 201
    assert client.post("/api/uploads?name=s.001.png&folder=my%20shot", content=picture()).status_code == 400
    state = client.ask("POST", "/api/projects", path="uploads/my shot")
    assert state["media"]["kind"] == "sequence" and state["media"]["frame_count"] == 3


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("text.mp4", b"hello, this is text\n" * 50, "text"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "text"),
        ("list2.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n\xff\xfe", "text"),
        ("concat.mkv", b"ffconcat version 1.0\nfile /etc/passwd\n", "text"),
        ("noise.mp4", bytes(range(256)) * 20, "can't be read"),
        ("cut.mp4", DEMO.read_bytes()[:5000], "can't be"),
        ("empty.mp4", b"", "empty"),
        ("program.exe", b"MZ", "suffix"),
        ("no_suffix", b"x", "suffix"),
        ("huge.png", png(60_000, 60_000, zlib.compress(b"\0" * 1000)), "large"),
        ("bomb.png", partial(png, 20_000, 15_000), "large"),
        ("cut.png", picture()[:40], ""),
        ("fake.png", b"not a picture \xff\x00", ""),
        ("fake.masklet", b"SQLite format 3\0" + b"\0" * 200, ""),
        ("fake2.masklet", b"not even that", "not a masklet project"),
        ("large.mp4", b"\0" * (LIMIT + 1), "larger"),
    ],
)
def test_hostile_uploads(client: Client, root: Path, name: str, data: bytes | Callable[[], bytes], says: str) -> None:
    before = left(root)
    answer = client.post("/api/uploads", params={"name": name}, content=data() if callable(data) else data)
    assert answer.status_code in (400, 413), answer.text
    message = answer.json()["error"]["message"]
    assert says in message and ".part" not in message and str(root) not in message
    assert left(root) == before


def test_too_large_without_saying_so(client: Client, root: Path) -> None:
    before = left(root)
    answer = client.post("/api/uploads?name=a.mp4", content=(b"\0" * 65536 for _ in range(40)))
    assert answer.status_code == 413 and left(root) == before


@pytest.mark.parametrize("where", ["name=half.mp4", "name=s.001.png&folder=a%20new%20shot"])
def test_an_upload_that_breaks_off_leaves_nothing(
    client: Client, root: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = left(root)

    def half() -> Iterator[bytes]:
        yield DEMO.read_bytes()[:20_000]
        raise KeyboardInterrupt

    logs = [logging.getLogger(name) for name in ("uvicorn.error", "masklet.studio")]
    for log in logs:
        log.addHandler(caplog.handler)
    try:
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                client.post(f"/api/uploads?{where}", content=half())
        client.ask("GET", "/api/studio")
        for _ in range(1200):
            if left(root) == before:
                break
            time.sleep(0.05)
    finally:
        for log in logs:
            log.removeHandler(caplog.handler)
    assert left(root) == before
    assert not caplog.records  # somebody who hung up is no news


def test_a_refused_picture_leaves_no_empty_folder(client: Client, root: Path) -> None:
    before = left(root)
    answer = client.post("/api/uploads?name=s.001.png&folder=refused", content=b"not a picture \xff\x00")
    assert answer.status_code == 400
    assert left(root) == before


def test_pictures_as_large_as_a_poster_are_taken(client: Client, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow alone would call it an attack. (Its usual limit, 179 million pixels, takes seconds to meet.)"""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert client.post("/api/uploads?name=poster.png", content=png(134, 134)).status_code == 201
    media = client.ask("POST", "/api/projects", path="uploads/poster.png")["media"]
    assert (media["width"], media["height"]) == (134, 134)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_the_largest_picture(tmp_path: Path) -> None:
    path = tmp_path / "largest.png"
    path.write_bytes(png(16_000, 16_000))
    assert image_size(path) == (16_000, 16_000)
    check_media(path)
    path.write_bytes(png(16_385, 16_384, b""))
    with pytest.raises(MediaError, match="too large"):
        image_size(path)


def test_projects_from_strangers(client: Client, root: Path, tmp_path: Path) -> None:
    """A project may name any file as its source, and hold anything: nothing outside is opened, and nothing runs."""
    outside = tmp_path / "private.png"
    outside.write_bytes(picture())
    place = tmp_path / "evil.masklet"
    Project.create(place, outside).close()
    (root / "evil.masklet").write_bytes(place.read_bytes())
    answer = client.post("/api/projects", json={"path": "evil.masklet"})
    assert answer.status_code == 409 and answer.json()["error"]["kind"] == "source_missing"
    assert f"is outside of {root}" in answer.json()["error"]["message"]  # whether it is there isn't said
    listed = [project for project in client.ask("GET", "/api/recent") if project["name"] == "evil"]
    assert not listed

    (root / "inside.png").write_bytes(picture("blue"))
    opened = client.ask("POST", "/api/projects", path="inside.png")
    client.request("DELETE", f"/api/projects/{opened['id']}")
    with sqlite3.connect(root / opened["path"]) as database:
        settings = '{"model": "nano", "checkpoint": "/etc/passwd"}'
        database.execute("UPDATE setting SET value = ? WHERE key = 'track'", (settings,))
    opened = client.ask("POST", "/api/projects", path=opened["path"])
    object_id = client.ask("POST", f"/api/projects/{opened['id']}/objects")["id"]
    refused = client.post(
        f"/api/projects/{opened['id']}/prompts", json={"frame": 0, "object": object_id, "points": [[5, 5]]}
    )
    assert refused.status_code == 403 and refused.json()["error"]["kind"] == "outside_root"
    client.request("DELETE", f"/api/projects/{opened['id']}")
    with sqlite3.connect(root / opened["path"]) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON prompt BEGIN SELECT load_extension('x'); END")
    assert client.post("/api/projects", json={"path": opened["path"]}).status_code == 400


def test_a_sequence_with_a_link_that_leads_out(client: Client, root: Path, tmp_path: Path) -> None:
    (tmp_path / "private.png").write_bytes(picture())
    (root / "linked").mkdir()
    (root / "linked" / "a.001.png").write_bytes(picture())
    (root / "linked" / "a.002.png").symlink_to(tmp_path / "private.png")
    assert client.post("/api/projects", json={"path": "linked"}).status_code == 403


def test_a_project_that_another_program_holds(client: Client, root: Path, tmp_path: Path) -> None:
    (root / "held.png").write_bytes(picture("green"))
    with Project.create(root / "held.masklet", root / "held.png"):
        answer = client.post("/api/projects", json={"path": "held.masklet"})
        assert answer.status_code == 409 and answer.json()["error"]["kind"] == "in_use"
    assert client.ask("POST", "/api/projects", path="held.masklet")["media"]["kind"] == "image"
