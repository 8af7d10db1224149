"""What playing asks the studio for: masks as bytes, sound, previews; and news that say all that changed."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.e2e.studio_client import DEMO, Client, running, until

from masklet.masks import rle
from masklet.studio.packed import pack
from masklet.studio.schemas import FrameMasksState

PACKED_JS = Path(__file__).parents[2] / "src" / "masklet" / "studio" / "page" / "packed.js"
BUNNY_HW = np.array(Image.open(DEMO.with_name("bunny_frame48.png")).convert("L")) > 127


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("studio") / "root"
    root.mkdir()
    shutil.copy(DEMO, root / "bunny.mp4")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / "still.png")
    with running(root) as client:
        yield client


@pytest.fixture
def project(client: Client) -> Iterator[str]:
    """The address of a project whose two objects have masks on frames 10 to 29."""
    state = client.ask("POST", "/api/projects", path="bunny.mp4")
    address = f"/api/projects/{state['id']}"
    opened = client.server.studio.workspace.get(state["id"]).project  # type: ignore[attr-defined]
    from masklet.results import ObjectMask, Scores

    for number in (1, 2):
        opened.add_object(number, f"bunny {number}")
        masks = [rle.encode(np.roll(BUNNY_HW, number * frame, axis=1)) for frame in range(10, 30)]
        scores = Scores(object_score=3.0, predicted_iou=0.5)
        opened.put_masks([ObjectMask(number, 10 + i, mask, scores=scores) for i, mask in enumerate(masks)])
    yield address
    for known in opened.objects():
        opened.remove_object(known.id)
    client.ask("PUT", f"{address}/settings", masks={})


def unpacked(packed: bytes, *, pieces: int = 1000) -> list[dict[str, Any]]:
    """What the page makes of the bytes, which reach it in pieces."""
    script = f"""
        import {{ MaskUnpacker }} from {json.dumps(PACKED_JS.as_uri())};
        const bytes = Buffer.from(await new Response(process.stdin).text(), "base64");
        const unpacker = new MaskUnpacker([720, 1280]);
        const frames = [];
        for (let i = 0; i < bytes.length; i += {pieces}) frames.push(...unpacker.take(bytes.subarray(i, i + {pieces})));
        console.log(JSON.stringify(frames));
    """
    command = ["node", "--input-type=module", "-e", script]
    text = base64.b64encode(packed).decode()
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_masks_come_as_bytes_in_the_order_of_playing(client: Client, project: str) -> None:
    told = {f["frame"]: f for f in client.ask("GET", f"{project}/masks?start=0&end=99")["frames"]}
    assert set(told) == set(range(10, 30))
    for query, frames in (("start=5&count=30", range(5, 35)), ("start=20&count=64&backward=true", range(20, -1, -1))):
        answer = client.get(f"{project}/mask-stream?{query}")
        assert answer.is_success
        found = unpacked(answer.content)
        assert [f["frame"] for f in found] == list(frames)
        assert found == [told.get(frame, {"frame": frame, "objects": []}) for frame in frames]
    assert client.get(f"{project}/mask-stream?start=100").status_code == 400


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_every_mask_survives_packing() -> None:
    common = {"candidate": 2, "lost": True, "prompt": False, "painted": True, "soft": True}
    run_lengths = rle.encode(np.zeros((720, 1280), bool))
    objects = [
        {
            "object": 2**31 - 1,
            "rle": run_lengths,
            "object_score": None,
            "predicted_iou": 0.5,
            "motion_score": None,
            **common,
        },
        {
            "object": 1,
            "rle": rle.encode(BUNNY_HW),
            "object_score": -3.25,
            "predicted_iou": None,
            "motion_score": 0.75,
            **common,
        },
    ]
    frame = {"frame": 2**31 - 1, "objects": objects}
    packed = pack(FrameMasksState(**frame))
    assert unpacked(packed * 2, pieces=7) == json.loads(json.dumps([frame, frame]))


def test_masks_are_streamed_as_their_settings_want_them(client: Client, project: str) -> None:
    plain = client.get(f"{project}/mask-stream?start=12&count=1").content
    client.ask("PUT", f"{project}/settings", masks={"grow": 4})
    grown = client.get(f"{project}/mask-stream?start=12&count=1").content
    assert grown != plain
    assert client.ask("GET", f"{project}/masks/12")["objects"][0]["rle"]["counts"].encode() in grown


def test_a_preview_is_the_nearest_key_frame(client: Client, project: str) -> None:
    answer = client.get(f"{project}/frames/52/preview.jpg?width=320")
    near = int(answer.headers["x-frame"])
    assert near in (0, 60) and answer.headers["cache-control"] == "no-store"
    assert answer.content == client.get(f"{project}/frames/{near}.jpg?width=320").content
    assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape == (180, 320, 3)


def test_sound_comes_in_parts(client: Client, project: str) -> None:
    answer = client.get(f"{project}/sound.wav?start=1.5&seconds=2")
    with wave.open(io.BytesIO(answer.content)) as part:
        assert part.getnframes() == 2 * part.getframerate()
        assert np.abs(np.frombuffer(part.readframes(-1), np.int16)).max() > 100
    still = client.ask("POST", "/api/projects", path="still.png")
    assert client.get(f"/api/projects/{still['id']}/sound.wav").status_code == 404


def changes(client: Client, project: str, act: Any) -> dict[str, Any]:
    """The news of what `act` changes."""
    with client.listen(project.rpartition("/")[2]) as news:
        news.send('{"type": "ping"}')
        until(news, lambda message: message["type"] == "pong")
        act()
        return until(news, lambda message: message["type"] == "changed")[-1]


def test_news_of_a_click_say_all_that_changed(client: Client, project: str) -> None:
    click = {"frame": 20, "object": 2, "points": [[345, 420]]}
    news = changes(client, project, lambda: client.ask("POST", f"{project}/prompts", **click))
    state = client.ask("GET", project)
    now = news["now"]
    assert news["revision"] == state["revision"]
    assert now["prompts"] == state["prompts"] != []
    assert now["history"] == state["history"] and now["run"] is None and now["plain"]
    [masks] = now["masks"]
    assert masks["frame"] == 20
    assert masks["objects"] == [m for m in client.ask("GET", f"{project}/masks/20")["objects"] if m["object"] == 2]

    news = changes(client, project, lambda: client.ask("DELETE", f"{project}/prompts?frame=20&object=2"))
    assert news["now"]["prompts"] == []
    assert not news["now"]["masks"][0]["objects"][0]["prompt"]


def test_news_of_an_object_bring_the_objects(client: Client, project: str) -> None:
    news = changes(client, project, lambda: client.ask("PATCH", f"{project}/objects/1", name="rabbit"))
    assert news["now"]["objects"] == client.ask("GET", project)["objects"]
    assert news["now"]["prompts"] is None and news["now"]["masks"] is None


def test_what_may_have_changed_anywhere_is_asked_for(client: Client, project: str) -> None:
    changes(client, project, lambda: client.ask("PATCH", f"{project}/objects/1", name="hare"))
    assert changes(client, project, lambda: client.ask("POST", f"{project}/undo"))["now"] is None
    grow = {"masks": {"grow": 3}}
    assert changes(client, project, lambda: client.ask("PUT", f"{project}/settings", **grow))["now"] is None
    click = {"frame": 20, "object": 1, "points": [[345, 420]]}
    news = changes(client, project, lambda: client.ask("POST", f"{project}/prompts", **click))
    assert not news["now"]["plain"]  # masks are finished by the settings: asked for
