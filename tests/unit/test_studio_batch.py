"""The studio's API over a batch: what it says of every video, where it leads, what it refuses, and exports anew."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.studio_client import Client, running

from masklet.cli.studio import _places
from masklet.errors import InputError
from masklet.jobs import overview
from masklet.jobs.job import JobExport, VideoJob
from masklet.jobs.queue import Queue
from masklet.jobs.work import export_corrected, project_path, run_job
from masklet.project import Project
from masklet.studio import batches as studio_batches

NAMES = ("sure", "rock falls", "broken", "busy", "later", "rock again")
WORKER = "somebody else"


@pytest.fixture
def folder(tmp_path: Path, clip: Path, make_project: Callable[..., Project]) -> Path:
    """A batch in `root/out` of videos in `root/footage`: three are done, of which two have a rock that gets lost."""
    folder, footage = tmp_path / "root" / "out", tmp_path / "root" / "footage"
    for place in (folder / "projects", footage):
        place.mkdir(parents=True)
    with Queue(folder / "batch.sqlite") as queue:
        for name in NAMES:
            source = shutil.copy(clip, footage / f"{name}.mp4")
            exports = (JobExport(format="csv"),)
            queue.add([VideoJob(name=name, source=str(source), exports=exports)])
        for name in ("sure", "rock falls", "rock again"):
            row = queue.claim(WORKER, number=NAMES.index(name) + 1)
            assert row is not None
            path = project_path(folder, row.job)
            with make_project(Path(row.job.source), name=str(path)) as project:
                if name == "sure":
                    project.remove_object(2)
            do(queue, row.number, folder)
        queue.fail(queue.claim(WORKER, number=3).number, WORKER, "broken.mp4 can't be read: it is no video.")
        queue.claim(WORKER, number=4)
        queue.beat(4, WORKER, 3, 8, lease=3600)
    return folder


def do(queue: Queue, number: int, folder: Path) -> None:
    """Writes the exports of a video that was claimed, as a worker does."""
    row = next(queue.rows(after=number - 1))

    def wrote(export: str, digest: str) -> None:
        queue.wrote(number, WORKER, export, digest)

    result = run_job(row.job, folder, tracked=True, written=row.written, wrote=wrote)
    assert result is not None
    queue.finish(number, WORKER, result)


@pytest.fixture
def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(studio_batches, "_SEARCH", 600)
    with running(folder.parent) as client:
        yield client


@pytest.fixture
def address(client: Client) -> str:
    return f"/api/batches/{client.ask('POST', '/api/batches', path='out')['id']}"


def videos(client: Client, address: str, query: str = "") -> dict[str, Any]:
    """By name, once all projects were looked into."""
    while True:
        found = client.ask("GET", f"{address}/videos{query}")
        if not found["pending"]:
            return {video["name"]: video for video in found["videos"]}


def refused(client: Client, status: int, method: str, address: str, **body: Any) -> str:
    answer = client.request(method, address, json=body or None)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def correct(client: Client, path: str) -> str:
    """Deletes a mask in a project, and returns its address."""
    project = client.ask("POST", "/api/projects", path=path)
    at = f"/api/projects/{project['id']}"
    client.ask("POST", f"{at}/edits", kind="delete", object=1, start=7, end=7)
    return at


def test_every_video_says_how_it_is(client: Client, address: str) -> None:
    batch = client.ask("GET", address)
    assert batch["counts"] == {"waiting": 1, "running": 1, "done": 3, "failed": 1}
    assert (batch["name"], batch["path"], batch["workers"]) == ("out", "out", 1)
    assert client.ask("GET", "/api/batches") == [batch]
    found = videos(client, address)
    assert list(found) == list(NAMES)
    assert [found[name]["state"] for name in NAMES] == ["done", "done", "failed", "running", "waiting", "done"]
    assert found["broken"]["reason"] == "broken.mp4 can't be read: it is no video."
    assert (found["busy"]["done"], found["busy"]["total"], found["busy"]["silent"]) == (3, 8, False)
    assert found["sure"]["review"] == {"stretches": 0, "frames": 0, "worst": None, "object": None}
    review = found["rock falls"]["review"]
    assert review["object"] == "rock" and "lost" in review["worst"]["words"]
    assert (review["worst"]["first"], review["worst"]["last"]) == (3, 5)
    assert client.get(found["rock falls"]["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert [found[name]["project"] is None for name in NAMES] == [False, False, True, True, True, False]


def test_a_list_is_read_in_parts_by_state_and_by_name(client: Client, address: str) -> None:
    assert list(videos(client, address, "?start=1&count=2")) == list(NAMES[1:3])
    assert client.ask("GET", f"{address}/videos?start=1&count=2")["more"]
    assert not client.ask("GET", f"{address}/videos?start=4")["more"]
    assert list(videos(client, address, "?state=failed")) == ["broken"]
    assert list(videos(client, address, "?search=ROCK")) == ["rock falls", "rock again"]
    assert "state" in refused(client, 422, "GET", f"{address}/videos?state=lost")


def test_projects_are_looked_into_once_as_long_as_they_stay_as_they_are(
    client: Client, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def counting(project: Project) -> list[overview.ObjectSummary]:
        looked.append(project.path.stem)
        return overview.summarise_objects(project)

    monkeypatch.setattr(studio_batches, "summarise_objects", counting)
    for _ in range(3):
        videos(client, address)
        client.ask("GET", f"{address}/next-doubtful?after=2")
    assert sorted(looked) == ["rock again", "rock falls", "sure"]
    with Project.open(folder / "projects" / "rock falls.masklet") as project:
        project.update_object(2, locked=True)  # it is settled
    assert videos(client, address)["rock falls"]["review"]["stretches"] == 0
    assert looked[3:] == ["rock falls"]


def test_the_next_doubtful_video_is_further_down(client: Client, address: str) -> None:
    found = client.ask("GET", f"{address}/next-doubtful")
    assert (found["video"]["name"], found["video"]["review"]["worst"]["worst"]) == ("rock falls", 3)
    project = client.ask("POST", "/api/projects", path=found["video"]["project"])
    assert project["batch"]["number"] == 2 and project["batch"]["id"] == address.rsplit("/", 1)[-1]
    found = client.ask("GET", f"{address}/next-doubtful?after=2")
    assert found["video"]["name"] == "rock again"
    assert client.ask("GET", f"{address}/next-doubtful?after=6") == {"video": None, "go_on_after": None}
    client.ask("POST", f"/api/projects/{project['id']}/review", object=2, first=3, last=5, verdict="accepted")
    assert client.ask("GET", f"{address}/next-doubtful")["video"]["name"] == "rock again"


def test_a_long_search_is_gone_on_with(client: Client, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio_batches, "_SEARCH", -1)
    assert client.ask("GET", f"{address}/next-doubtful") == {"video": None, "go_on_after": 1}
    assert client.ask("GET", f"{address}/next-doubtful?after=1")["video"]["name"] == "rock falls"


def test_what_a_worker_has_or_is_about_to_have_is_not_opened(
    client: Client, address: str, folder: Path, make_project: Callable[..., Project]
) -> None:
    for name in ("busy", "later"):
        source = folder.parent / "footage" / f"{name}.mp4"
        make_project(source, name=str(folder / "projects" / f"{name}.masklet")).close()
    opening = "POST", "/api/projects"
    busy, later = (f"out/projects/{name}.masklet" for name in ("busy", "later"))
    assert "busy is being worked on by its batch right now" in refused(client, 409, *opening, path=busy)
    assert "later waits for its turn" in refused(client, 409, *opening, path=later)
    assert "is running; only what is done" in refused(client, 409, "POST", f"{address}/videos/4/exports")
    with Queue(folder / "batch.sqlite") as queue:  # the worker dies
        queue.beat(4, WORKER, lease=-1)
    found = videos(client, address)["busy"]
    assert found["silent"] and client.ask("GET", address)["workers"] == 0
    assert client.ask("POST", "/api/projects", path=busy)["batch"]["number"] == 4
    assert client.ask("POST", "/api/projects", path=later)["batch"]["number"] == 5


def test_who_looks_holds_no_lock(client: Client, address: str, folder: Path) -> None:
    videos(client, address)
    with sqlite3.connect(folder / "batch.sqlite", timeout=0) as queue:
        queue.execute("PRAGMA journal_mode = DELETE")  # needs the file alone
    queue.close()


def test_exports_of_a_corrected_video_are_written_again(client: Client, address: str, folder: Path) -> None:
    [table] = (folder / "exports" / "csv").glob("rock falls*")
    before = table.read_text()
    assert not any(video["outdated"] for video in videos(client, address).values())
    at = correct(client, "out/projects/rock falls.masklet")
    found = videos(client, address)
    assert [name for name in found if found[name]["outdated"]] == ["rock falls"]
    assert found["rock falls"]["open_id"]
    job = client.wait(client.ask("POST", f"{address}/videos/2/exports"))
    assert job["folder"] == "out/exports"
    assert len(before.splitlines()) - len(table.read_text().splitlines()) == 1
    found = videos(client, address)["rock falls"]
    assert (found["state"], found["outdated"]) == ("done", False)
    client.ask("POST", f"{at}/undo")
    assert videos(client, address)["rock falls"]["outdated"]


def test_the_command_writes_again_what_was_corrected_and_nothing_else(client: Client, folder: Path) -> None:
    [table], [other] = ((folder / "exports" / "csv").glob(f"{name}*") for name in ("rock falls", "sure"))
    before, untouched = table.read_text(), other.stat().st_mtime_ns
    with Queue(folder / "batch.sqlite") as queue:
        assert export_corrected(folder, queue) == 0
        os.utime(folder / "projects" / "sure.masklet")  # written, but with the same in it
        assert export_corrected(folder, queue) == 0
        at = correct(client, "out/projects/rock falls.masklet")
        client.ask("POST", f"{at}/undo")
        assert export_corrected(folder, queue) == 0  # it is as it was
        client.ask("POST", f"{at}/redo")
        assert export_corrected(folder, queue) == 1
        row = queue.claim(WORKER, number=2)
        assert row is not None and row.result is not None
        do(queue, row.number, folder)  # though the studio has it open
        assert export_corrected(folder, queue) == 0
    assert table.read_text() != before and other.stat().st_mtime_ns == untouched


def test_no_path_leads_out_of_the_root(client: Client, folder: Path, tmp_path: Path) -> None:
    opening = "POST", "/api/batches"
    assert "outside" in refused(client, 403, *opening, path="../elsewhere")
    assert "There is no" in refused(client, 404, *opening, path="nowhere")
    assert "There is no batch in" in refused(client, 400, *opening, path="footage")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (folder.parent / "link").symlink_to(elsewhere)
    assert "outside" in refused(client, 403, *opening, path="link")
    half = folder.parent / "half"
    half.mkdir()
    (half / "batch.sqlite").symlink_to(elsewhere / "batch.sqlite")
    assert "outside" in refused(client, 403, *opening, path="half")
    # A batch that lies below the root, whose projects and exports do not.
    mixed = folder.parent / "mixed"
    mixed.mkdir()
    shutil.copy(folder / "batch.sqlite", mixed)
    for name in ("projects", "exports"):
        (mixed / name).symlink_to(elsewhere / name)
    address = f"/api/batches/{client.ask(*opening, path='mixed')['id']}"
    found = videos(client, address)["rock falls"]
    assert found["review"] is None and found["thumbnail"] is None
    assert "outside" in refused(client, 403, "POST", "/api/projects", path=found["project"])
    assert "outside" in refused(client, 403, "POST", f"{address}/videos/2/exports")
    assert "No batch" in refused(client, 404, "GET", "/api/batches/nothing")


def test_folders_with_a_batch_are_offered_as_one(client: Client) -> None:
    kinds = {entry["name"]: entry["kind"] for entry in client.ask("GET", "/api/files")["entries"]}
    assert kinds == {"out": "batch", "footage": "folder"}
    assert client.ask("GET", "/api/files?path=out")["batch"] and not client.ask("GET", "/api/files")["batch"]


def test_the_command_opens_a_batch_in_a_folder_that_holds_its_videos_too(folder: Path) -> None:
    assert _places(folder, None) == (folder.parent, "out")
    assert _places(folder, folder) == (folder, "")
    with running(folder) as client:
        client.server.open("")  # type: ignore[attr-defined]
        started = client.ask("GET", "/api/studio")
        assert client.ask("GET", f"/api/batches/{started['batch_at_start']}")["path"] == ""
    with Queue(folder / "batch.sqlite") as queue:
        queue.add([VideoJob(name="far", source="/far/away/clip.mp4"), VideoJob(name="web", source="s3://a/clip.mp4")])
    with pytest.raises(InputError, match="choose a --root"):
        _places(folder, None)


def test_a_damaged_queue_is_told_in_a_sentence(client: Client, address: str, folder: Path) -> None:
    (folder / "batch.sqlite").write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    assert "can't be used" in refused(client, 400, "GET", f"{address}/videos")
    client.ask("POST", "/api/projects", path="out/projects/sure.masklet")  # it needs no batch
