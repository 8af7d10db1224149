"""A video that was moved or renamed: the studio is told where it is now, and takes no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.e2e.studio_client import Client, running
from typer.testing import CliRunner

from masklet import cli
from masklet.project import Project
from masklet.studio.server import Server


@pytest.fixture
def root(tmp_path: Path, clip: Path) -> Path:
    """A project `work/dog.masklet`, whose video went from beside it to `archive/7.mov`."""
    folder = tmp_path / "root"
    for name in ("work", "archive"):
        (folder / name).mkdir(parents=True)
    video = folder / "work" / "dog.mp4"
    video.write_bytes(clip.read_bytes())
    with Project.create(folder / "work" / "dog.masklet", video) as project:
        project.add_object(1, "dog")
    video.rename(folder / "archive" / "7.mov")
    return folder


@pytest.fixture
def client(root: Path) -> Iterator[Client]:
    with running(root) as client:
        yield client


def refused(client: Client, **given: Any) -> dict[str, str]:
    answer = client.post("/api/projects", json={"path": "work/dog.masklet", **given})
    assert answer.is_client_error, answer.text
    return answer.json()["error"]


def test_a_moved_video_is_found_again(client: Client) -> None:
    error = refused(client)
    assert error["kind"] == "source_missing" and "dog.mp4 is not there" in error["message"]
    opened = client.ask("POST", "/api/projects", path="work/dog.masklet", source="archive/7.mov")
    assert opened["media"]["path"] == "archive/7.mov" and opened["objects"][0]["name"] == "dog"
    assert client.get(f"/api/projects/{opened['id']}/frames/3.jpg").status_code == 200
    # It is remembered.
    client.ask("DELETE", f"/api/projects/{opened['id']}")
    assert client.ask("POST", "/api/projects", path="work/dog.masklet")["media"]["path"] == "archive/7.mov"


def test_another_video_is_refused_with_its_reasons(
    client: Client, root: Path, clip_writer: Any, demo_images: np.ndarray
) -> None:
    clip_writer(root / "archive" / "small.mkv", demo_images[:5, :36, :64], rate=50)
    error = refused(client, source="archive/small.mkv")
    assert (
        "is not the source of dog.masklet: it has 64×36 instead of 128×72 pixels, 5 instead of 8 frames, "
        "50 instead of 25 frames a second." in error["message"]
    )
    clip_writer(root / "archive" / "dark.mp4", demo_images // 2)
    assert "as large and as long as" in refused(client, source="archive/dark.mp4")["message"]
    with av.open(str(root / "archive" / "7.mov")) as video:
        next(video.decode(video=0)).to_image().save(root / "archive" / "one.png")
    assert "it is a picture, not a video" in refused(client, source="archive/one.png")["message"]
    assert "holds text" in refused_text(client, root)
    assert refused(client, source="../dog.mp4")["kind"] == "outside_root"
    assert "can't be read" in refused(client, source="archive/nothing.mp4")["message"]


def refused_text(client: Client, root: Path) -> str:
    (root / "archive" / "list.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    return refused(client, source="archive/list.mp4")["message"]


def test_a_video_outside_of_the_root_is_said_to_be_there(client: Client, root: Path, clip: Path) -> None:
    Project.create(root / "elsewhere.masklet", clip).close()
    error = refused(client, path="elsewhere.masklet")
    assert error["kind"] == "source_missing"
    assert f"{clip} is outside of {root}, where nothing is opened (--root says another folder)" in error["message"]


def test_the_command_takes_the_place_as_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(Server, "run", lambda server, started: served.append(server.studio))

    def run(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, ["studio", *map(str, words)], env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output
        return result.stderr

    project = root / "work" / "dog.masklet"
    assert "Say where it is with --source FILE" in run(project, code=2)
    assert "choose a --root that holds it" in run(project, "--source", root / "archive" / "7.mov", code=2)
    assert "name the project" in run(root, "--source", root / "archive" / "7.mov", code=2)
    run(project, "--root", root, "--source", root / "archive" / "7.mov")
    [studio] = served
    [opened] = studio.workspace.all()
    assert opened.media().path == "archive/7.mov"
    studio.close()
