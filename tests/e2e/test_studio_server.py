"""The studio's server as a page uses it, with the network that comes along and the demo clip."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.e2e.studio_client import DEMO, Client, running, until
from websockets.exceptions import ConnectionClosed

from masklet.masks import rle
from masklet.media import open_media, read_mask
from masklet.project import Project
from masklet.studio.workspace import OpenProject

BUNNY = DEMO.with_name("bunny_frame48.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio") / "footage"
    folder.mkdir()
    shutil.copy(DEMO, folder / "bunny.mp4")
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Client]:
    with running(root) as client:
        yield client


@pytest.fixture
def project(client: Client) -> Iterator[str]:
    """A project of the demo clip, empty; the address of its routes."""
    state = client.ask("POST", "/api/projects", path="bunny.mp4")
    address = f"/api/projects/{state['id']}"
    for object_ in state["objects"]:
        client.ask("PATCH", f"{address}/objects/{object_['id']}", locked=False)
        client.ask("DELETE", f"{address}/objects/{object_['id']}")
    client.ask("PUT", f"{address}/settings", masks={})
    yield address
    for job in client.ask("GET", "/api/jobs"):
        if job["state"] in ("running", "waiting", "paused"):
            client.ask("POST", f"/api/jobs/{job['id']}/cancel")
            client.wait(job, "cancelled", "done")


def decode(mask: dict[str, Any]) -> np.ndarray:
    return rle.decode(mask["rle"])


def bunny_mask() -> dict[str, Any]:
    return dict(rle.encode(read_mask(BUNNY)))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_the_whole_loop(client: Client, project: str, root: Path) -> None:
    """Open, box, track, correct, undo, redo, export, close, open again."""
    name = project.rsplit("/", 1)[-1]
    with client.listen(name) as news:
        assert until(news, lambda m: m["type"] == "hello")
        bunny = client.ask("POST", f"{project}/objects", name="bunny", color="#ff8800")
        truth = read_mask(BUNNY)
        ys, xs = truth.nonzero()
        box = [float(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())]
        answer = client.ask("POST", f"{project}/prompts", frame=48, object=bunny["id"], box=box)
        assert (decode(answer["mask"]) & truth).any()
        assert answer["mask"]["prompt"]
        until(news, lambda m: m["type"] == "changed" and "prompts" in m["what"] and m["frames"] == [48])

        job = client.ask("POST", f"{project}/track", direction="both", start=42, end=56)
        seen = until(news, lambda m: m["type"] == "job" and m["job"]["state"] == "done")
    arrived = {m["frame"]: m["objects"][0] for m in seen if m["type"] == "masks"}
    assert sorted(arrived) == list(range(42, 57))
    assert seen[-1]["job"]["done"] == seen[-1]["job"]["total"]
    stored = client.ask("GET", f"{project}/masks?start=42&end=56")["frames"]
    assert {f["frame"]: f["objects"][0]["rle"] for f in stored} == {n: m["rle"] for n, m in arrived.items()}
    # The prompt's own mask is what the click showed.
    assert arrived[48]["rle"] == answer["mask"]["rle"]
    assert client.ask("GET", f"/api/jobs/{job['id']}")["model"] == "nano"

    state = client.ask("GET", project)
    [lane] = state["lanes"]
    assert lane["spans"] == [[42, 56]]
    assert len(lane["flags"]) == 15 and lane["flags"][6] & 2
    tracked = state["history"]["step"]
    assert state["history"] == {"undo": "Track", "redo": None, "step": tracked} and state["run"] is None

    # A correction, painted on frame 52, changes no other frame, until the object is re-tracked from it to both sides.
    painted = client.ask("POST", f"{project}/prompts", frame=52, object=bunny["id"], mask=bunny_mask())
    assert painted["mask"]["painted"]
    stored = client.ask("GET", f"{project}/masks?start=42&end=56")["frames"]
    assert [f["frame"] for f in stored if f["objects"][0]["rle"] != arrived[f["frame"]]["rle"]] == [52]
    client.wait(client.ask("POST", f"{project}/correct", frame=52, object=bunny["id"]))
    after = {f["frame"]: f["objects"][0] for f in client.ask("GET", f"{project}/masks?start=42&end=56")["frames"]}
    assert all(after[n]["rle"] == arrived[n]["rle"] for n in range(42, 49))  # frame 48 has a prompt
    assert after[52]["rle"] == bunny_mask()
    assert any(after[n]["rle"] != arrived[n]["rle"] for n in range(53, 57))

    # What was there before can still be looked at.
    past = client.ask("GET", f"{project}/masks?start=42&end=56&before={tracked + 1}")["frames"]
    assert {f["frame"]: f["objects"][0]["rle"] for f in past} == {n: m["rle"] for n, m in arrived.items()}
    assert not client.ask("GET", f"{project}/masks?start=49&end=56&before={tracked}")["frames"][0]["objects"]

    # Undo takes back the re-track, then the paint; redo brings both back.
    assert client.ask("POST", f"{project}/undo")["label"] == "Re-track bunny from frame 52"
    assert client.ask("POST", f"{project}/undo")["label"] == "Paint"
    undone = {f["frame"]: f["objects"][0] for f in client.ask("GET", f"{project}/masks?start=42&end=56")["frames"]}
    assert {n: m["rle"] for n, m in undone.items()} == {n: m["rle"] for n, m in arrived.items()}
    assert client.ask("POST", f"{project}/redo")["label"] == "Paint"
    client.ask("POST", f"{project}/redo")
    assert client.ask("GET", f"{project}/masks/52")["objects"][0]["rle"] == bunny_mask()

    # Export as a file and as a folder.
    video = client.wait(client.ask("POST", f"{project}/exports", format="vp9-alpha", start=46, end=49))
    with open_media(root / video["files"][0]) as reader:
        assert len(reader) == 4 and (reader.info.width, reader.info.height) == (1280, 720)
    downloaded = client.get(f"/api/jobs/{video['id']}/download")
    assert downloaded.content == (root / video["files"][0]).read_bytes()
    coco = client.wait(
        client.ask("POST", f"{project}/exports", format="coco", path="out/coco", options={"images": "none"})
    )
    with zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{coco['id']}/download").content)) as packed:
        annotations = json.loads(packed.read("coco/annotations.json"))
    assert {annotation["image_id"] for annotation in annotations["annotations"]} and annotations["categories"][0][
        "name"
    ] == "bunny"

    # Closed and opened again, everything is as it was.
    before = client.ask("GET", project)
    client.ask("DELETE", project)
    assert client.get(project).status_code == 404
    again = client.ask("POST", "/api/projects", path="bunny.masklet")
    assert {k: again[k] for k in ("objects", "prompts", "lanes", "settings", "history", "id")} == {
        k: before[k] for k in ("objects", "prompts", "lanes", "settings", "history", "id")
    }
    [recent] = client.ask("GET", "/api/recent")
    assert recent["open_id"] == again["id"] and recent["objects"] == 1
    assert Image.open(io.BytesIO(client.get(recent["thumbnail"]).content)).size == (320, 180)


def test_candidates_can_be_flipped_through_and_tracking_starts_from_the_chosen_one(
    client: Client, project: str
) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    ys, xs = read_mask(BUNNY).nonzero()
    click = [float(np.median(xs)), float(np.median(ys))]
    answer = client.ask("POST", f"{project}/prompts", frame=48, object=object_id, points=[click])
    assert len(answer["candidates"]) == 3
    [first] = [c for c in answer["candidates"] if c["chosen"]]
    assert first["rle"] == answer["mask"]["rle"]
    other = next(c for c in answer["candidates"] if not c["chosen"] and c["rle"] != first["rle"])
    chosen = client.ask("POST", f"{project}/prompts/candidate", frame=48, object=object_id, candidate=other["index"])
    assert chosen["mask"]["rle"] == other["rle"] and chosen["mask"]["candidate"] == other["index"]
    assert [p["mask"] for p in client.ask("GET", f"{project}/prompts?frame=48")] == [None, "candidate"]
    client.wait(client.ask("POST", f"{project}/track", start=48, end=50))
    assert client.ask("GET", f"{project}/masks/48")["objects"][0]["rle"] == other["rle"]
    looked = client.ask("GET", f"{project}/prompts/candidates?frame=48&object={object_id}")
    assert [c["rle"] for c in looked["candidates"]] == [c["rle"] for c in answer["candidates"]]
    assert [c["chosen"] for c in looked["candidates"]] == [c["index"] == other["index"] for c in answer["candidates"]]
    # Back to the first one, and the choice is forgotten.
    back = client.ask("POST", f"{project}/prompts/candidate", frame=48, object=object_id, candidate=first["index"])
    assert back["mask"]["rle"] == first["rle"]
    assert [p["mask"] for p in client.ask("GET", f"{project}/prompts?frame=48")] == [None]
    assert (
        client.post(f"{project}/prompts/candidate", json={"frame": 48, "object": object_id, "candidate": 7}).status_code
        == 400
    )


def test_clicks_on_a_tracked_frame_correct_it_and_can_be_taken_back(client: Client, project: str) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    client.ask("POST", f"{project}/prompts", frame=48, object=object_id, mask=bunny_mask())
    client.wait(client.ask("POST", f"{project}/track", start=48, end=51))
    tracked = client.ask("GET", f"{project}/masks/50")["objects"][0]
    ys, xs = decode(tracked).nonzero()
    middle = len(xs) // 2
    answer = client.ask(
        "POST",
        f"{project}/prompts",
        frame=50,
        object=object_id,
        points=[[float(xs[middle]), float(ys[middle])]],
        labels=[0],
    )
    assert answer["mask"]["rle"] != tracked["rle"]
    assert [p["mask"] for p in client.ask("GET", f"{project}/prompts?frame=50")] == ["tracked", None]
    taken_back = client.request("DELETE", f"{project}/prompts?frame=50&object={object_id}").json()
    assert taken_back["mask"]["rle"] == tracked["rle"] and not taken_back["mask"]["prompt"]
    # A frame without anything shows nothing after its click is taken back.
    client.ask("POST", f"{project}/prompts", frame=70, object=object_id, box=[100, 100, 400, 400])
    assert client.request("DELETE", f"{project}/prompts?frame=70&object={object_id}").json()["mask"] is None
    # A click that only takes away has nothing to take away from.
    alone = client.post(
        f"{project}/prompts", json={"frame": 80, "object": object_id, "points": [[5, 5]], "labels": [0]}
    )
    assert alone.status_code == 400 and alone.json()["error"]["kind"] == "prompt"


def test_locked_objects_and_painted_frames_stay_as_they_are(client: Client, project: str) -> None:
    first, second = (client.ask("POST", f"{project}/objects")["id"] for _ in range(2))
    for object_id in (first, second):
        client.ask("POST", f"{project}/prompts", frame=48, object=object_id, mask=bunny_mask())
    other = np.zeros((720, 1280), bool)
    other[100:200, 100:300] = True
    client.ask("POST", f"{project}/prompts", frame=50, object=first, mask=dict(rle.encode(other)))
    client.ask("PATCH", f"{project}/objects/{second}", locked=True)
    job = client.wait(client.ask("POST", f"{project}/track", start=48, end=51))
    assert any("locked" in note for note in job["notes"])
    lanes = {lane["object"]: lane["spans"] for lane in client.ask("GET", f"{project}/lanes")}
    assert lanes == {first: [[48, 51]], second: [[48, 48]]}
    assert client.ask("GET", f"{project}/masks/50")["objects"][0]["rle"] == dict(rle.encode(other))
    refused = client.post(f"{project}/prompts", json={"frame": 49, "object": second, "points": [[5, 5]]})
    assert refused.status_code == 400 and "locked" in refused.json()["error"]["message"]


def test_tracking_pauses_goes_on_and_answers_clicks_meanwhile(client: Client, project: str) -> None:
    first, second = (client.ask("POST", f"{project}/objects")["id"] for _ in range(2))
    client.ask("POST", f"{project}/prompts", frame=0, object=first, box=[300, 150, 560, 560])
    with client.listen(project.rsplit("/", 1)[-1]) as news:
        job = client.ask("POST", f"{project}/track")
        busy = client.post(f"{project}/track", json={})
        assert busy.status_code == 409 and busy.json()["error"]["kind"] == "busy"
        until(news, lambda m: m["type"] == "masks")
        answer = client.ask("POST", f"{project}/prompts", frame=90, object=second, box=[10, 10, 200, 200])
        assert answer["mask"] is not None
        # The click was answered in the middle of the track.
        assert client.ask("GET", f"/api/jobs/{job['id']}")["state"] == "running"
        assert client.post(f"{project}/undo").status_code == 409
        client.ask("POST", f"/api/jobs/{job['id']}/pause")
    paused = client.wait(job, "paused")
    state = client.ask("GET", project)
    assert 0 < state["run"]["frames_left"] < 100 and paused["seconds_left"] is None
    reached = state["lanes"][0]["spans"][0][1]
    client.ask("POST", f"/api/jobs/{job['id']}/resume")
    client.wait(job, "running", "done")
    client.ask("POST", f"/api/jobs/{job['id']}/cancel")
    client.wait(job, "cancelled", "done")
    state = client.ask("GET", project)
    assert state["run"] is None
    assert state["lanes"][0]["spans"][0][1] >= reached


def test_a_prompt_made_while_tracking_passes_is_not_overwritten(client: Client, project: str) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    client.ask("POST", f"{project}/prompts", frame=0, object=object_id, box=[300, 150, 560, 560])
    job = client.ask("POST", f"{project}/track", end=40)
    answer = client.ask("POST", f"{project}/prompts", frame=40, object=object_id, box=[700, 100, 900, 300])
    client.wait(job, "done", "cancelled")  # a run that had begun already ends with what is said of its object
    assert client.ask("GET", f"{project}/masks/40")["objects"][0]["rle"] == answer["mask"]["rle"]


def test_one_frame_alone(client: Client, project: str) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    client.ask("POST", f"{project}/prompts", frame=48, object=object_id, mask=bunny_mask())
    client.wait(client.ask("POST", f"{project}/track", direction="frame", start=50))
    assert client.ask("GET", f"{project}/lanes")[0]["spans"] == [[48, 48], [50, 50]]
    found = decode(client.ask("GET", f"{project}/masks/50")["objects"][0])
    assert overlap(found, read_mask(BUNNY)) > 0.3
    # It is nothing but one step of undo.
    assert client.ask("POST", f"{project}/undo")["label"] == "Track frame 50"
    assert client.ask("GET", f"{project}/lanes")[0]["spans"] == [[48, 48]]


def test_why(client: Client, project: str) -> None:
    """The inspector's data, and that it is still there after the project was closed."""
    object_id = client.ask("POST", f"{project}/objects")["id"]
    client.ask("POST", f"{project}/prompts", frame=48, object=object_id, mask=bunny_mask())
    options = {"stable_frames_threshold": 2, "memory_bank_iou_threshold": 0.99}
    settings = client.ask("GET", project)["settings"]["track"] | {"policy_options": options}
    client.ask("PUT", f"{project}/settings", track=settings)
    client.wait(client.ask("POST", f"{project}/track", start=48, end=58))
    painted = client.ask("GET", f"{project}/explanation/48/{object_id}")
    assert painted["direction"] == "painted" and painted["summary"]
    client.ask("DELETE", project)
    client.ask("POST", "/api/projects", path="bunny.masklet")
    why = client.ask("GET", f"{project}/explanation/57/{object_id}")
    assert why["direction"] == "forward" and why["policy"] == "samurai"
    assert len(why["candidates"]) == 3 and sum(c["chosen"] for c in why["candidates"]) == 1
    assert why["motion_box"] is not None and all(c["motion_iou"] is not None for c in why["candidates"])
    weight = 0.25
    for c in why["candidates"]:
        assert c["final_score"] == pytest.approx(weight * c["motion_iou"] + (1 - weight) * c["predicted_iou"], abs=2e-4)
    memories = {m["frame"]: m for m in why["memories"]}
    assert memories[48]["used"] and memories[48]["kind"] == "prompt"
    assert memories[56]["used"]  # the frame before is always read
    unused = [m for m in why["memories"] if not m["used"]]
    assert unused and all("is not above 0.99" in m["reason"] for m in unused if m["predicted_iou"] < 0.99)
    assert client.get(f"{project}/explanation/90/{object_id}").status_code == 400


def test_mask_settings_show_at_once_and_destroy_nothing(client: Client, project: str) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    client.ask("POST", f"{project}/prompts", frame=48, object=object_id, mask=bunny_mask())
    area = decode(client.ask("GET", f"{project}/masks/48")["objects"][0]).sum()
    grown = client.ask("POST", f"{project}/masks/48/preview", settings={"grow": 6})["objects"][0]
    assert decode(grown).sum() > area
    assert decode(client.ask("GET", f"{project}/masks/48")["objects"][0]).sum() == area
    client.ask("PATCH", f"{project}/objects/{object_id}", mask_settings={"grow": 6, "feather": 9})
    kept = client.ask("GET", f"{project}/masks/48")["objects"][0]
    assert kept["rle"] == grown["rle"] and kept["soft"]
    assert decode(client.ask("GET", f"{project}/masks/48?raw=true")["objects"][0]).sum() == area
    alpha = cv2.imdecode(
        np.frombuffer(client.get(f"{project}/masks/48/{object_id}/alpha.png").content, np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert alpha.shape == (720, 1280) and len(np.unique(alpha)) > 50
    refined = client.ask("POST", f"{project}/masks/48/preview", settings={"refine": 1.0, "grow": 0})["objects"][0]
    assert overlap(decode(refined), read_mask(BUNNY)) > 0.8
    wrong = client.post(f"{project}/masks/48/preview", json={"settings": {"grow": "much"}})
    assert wrong.status_code == 400 and "grow" in wrong.json()["error"]["message"]
    assert client.ask("POST", f"{project}/undo")["label"] == "Change object"
    assert decode(client.ask("GET", f"{project}/masks/48")["objects"][0]).sum() == area


def test_pictures(client: Client, project: str) -> None:
    fingerprint = client.ask("GET", project)["media"]["fingerprint"]
    with open_media(DEMO) as reader:
        wanted = reader.read(30).image_hwc
    answer = client.get(f"{project}/frames/30.jpg?v={fingerprint}")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).mean() < 4
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(f"{project}/frames/30.jpg", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and "no-cache" in again.headers["cache-control"]
    sizes = [Image.open(io.BytesIO(client.get(f"{project}/frames/{n}.jpg?width=320").content)).size for n in range(8)]
    assert set(sizes) == {(320, 180)}
    small = Image.open(io.BytesIO(client.get(f"{project}/thumbnails/99.jpg").content))
    assert small.size == (160, 90)
    assert client.get(f"{project}/frames/100.jpg").status_code == 400


def test_hover_keeps_nothing_and_settings_are_checked(client: Client, project: str) -> None:
    object_id = client.ask("POST", f"{project}/objects")["id"]
    before = client.ask("GET", project)
    found = client.ask("POST", f"{project}/hover", frame=48, points=[[400, 300]])
    assert found["rle"]["size"] == [720, 1280]
    client.ask("POST", f"{project}/hover", frame=48, object=object_id, box=[300, 150, 560, 560])
    after = client.ask("GET", project)
    assert after["prompts"] == before["prompts"] and after["history"] == before["history"]
    assert client.ask("POST", f"{project}/frames/49/encode")["frame"] == 49
    for wrong in ({"model": "huge"}, {"policy": "none"}, {"resolution": 100}, {"policy_options": {"nonsense": 1}}):
        refused = client.put(f"{project}/settings", json={"track": wrong})
        assert refused.status_code == 400 and refused.json()["error"]["kind"] == "input", wrong
    client.ask("PUT", f"{project}/settings", track={"model": "sam2.1-tiny"})
    missing = client.post(f"{project}/prompts", json={"frame": 1, "object": object_id, "points": [[5, 5]]})
    assert missing.status_code == 409 and missing.json()["error"]["kind"] == "model_missing"
    client.ask("POST", f"{project}/undo")


def test_what_there_is(client: Client, root: Path) -> None:
    info = client.ask("GET", "/api/studio")
    assert info["local"] and set(info["mask_settings_schema"]["properties"]) >= {"grow", "feather", "refine"}
    assert {format_["name"] for format_ in client.ask("GET", "/api/formats")} >= {"coco", "vp9-alpha", "exr"}
    samurai = next(policy for policy in info["policies"] if policy["name"] == "samurai")["settings_schema"][
        "properties"
    ]
    assert samurai["kf_score_weight"]["title"] and samurai["kf_score_weight"]["maximum"] == 1
    models = {model["name"]: model for model in client.ask("GET", "/api/models")}
    assert models["sam2.1-large"]["policy_defaults"]["samurai"] == {"kf_score_weight": 0.15}
    assert models["nano"]["state"] == "packaged" and models["sam2.1-tiny"]["image_size"] == 1024
    (root / "shots").mkdir(exist_ok=True)
    for number in range(3):
        Image.new("RGB", (64, 48), (number * 80, 0, 0)).save(root / "shots" / f"a.{number:04}.png")
    listing = client.ask("GET", "/api/files?path=shots")
    assert [(e["kind"], e["path"], e["count"]) for e in listing["entries"]] == [("sequence", "shots/a.####.png", 3)]
    opened = client.ask("POST", "/api/projects", path="shots/a.####.png", rate="30000/1001")
    assert opened["media"]["frame_count"] == 3 and opened["media"]["rate"] == "30000/1001"
    assert client.ask("POST", "/api/projects", path="shots/a.####.png")["id"] == opened["id"]
    # Two projects side by side.
    assert len(client.ask("GET", "/api/projects")) >= 1
    client.ask("DELETE", f"/api/projects/{opened['id']}")
    with Project.open(root / opened["path"]) as project:  # the lock was given back
        assert project.source.frame_count == 3


def test_the_socket_says_when_a_project_is_closed(client: Client) -> None:
    opened = client.ask("POST", "/api/projects", path="bunny.mp4")
    with client.listen() as news:
        news.send('{"type": "ping"}')
        until(news, lambda m: m["type"] == "pong")
        client.ask("DELETE", f"/api/projects/{opened['id']}")
        until(news, lambda m: m["type"] == "closed" and m["project"] == opened["id"])
        news.send("x" * 10_000)  # nothing that a client should say
        with pytest.raises(ConnectionClosed):
            while True:
                news.recv(timeout=900)


def test_a_project_that_is_undone_while_it_is_read_is_no_error(
    client: Client, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.ask("POST", f"{project}/objects")
    plain = OpenProject.object_state

    def undone_first(opened: OpenProject, known: Any) -> Any:
        monkeypatch.setattr(OpenProject, "object_state", plain)
        opened.project.undo()  # "Add object", just after the objects were listed
        return plain(opened, known)

    monkeypatch.setattr(OpenProject, "object_state", undone_first)
    assert len(client.ask("GET", project)["objects"]) == 1 + len(client.ask("GET", project)["objects"])
