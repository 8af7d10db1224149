"""Batches and projects in small: what is refused at once, what reading leaves behind, what is said of another try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from masklet.cli import app
from masklet.errors import ProjectError
from masklet.jobs.detectors import track_detected
from masklet.jobs.driver import QueueHome, drive
from masklet.jobs.job import DetectorSettings, JobResult, VideoJob
from masklet.jobs.places import Place
from masklet.jobs.queue import Queue
from masklet.project import Project
from masklet.runs.prompt_text import PromptText
from masklet.runs.request import TrackRequest
from masklet.studio.batches import Batch, Looks
from masklet.studio.files import Root


@pytest.mark.parametrize("wrong", [("--device", "cuda:99"), ("--device", "toaster"), ("--dtype", "float7")])
def test_a_device_or_number_format_that_is_not_there_ends_a_batch_at_once(
    tmp_path: Path, wrong: tuple[str, str]
) -> None:
    (tmp_path / "t.csv").write_text('video,points\nclip.mp4,"20,16"\n')
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    done = CliRunner().invoke(app, ["batch", str(tmp_path / "t.csv"), "-o", str(tmp_path / "out"), *wrong])
    assert done.exit_code == 2
    assert wrong[1] in done.output
    assert not (tmp_path / "out").exists()


def test_reading_a_project_leaves_nothing_beside_it(make_project: Callable[..., Project]) -> None:
    with make_project() as project:
        path = project.path
    before = path.stat()
    with Project.open(path, read_only=True) as reader:
        assert reader.objects()
    assert [beside.name for beside in path.parent.glob(f"{path.name}-*")] == []
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


def test_who_reads_takes_nothing_from_who_writes(make_project: Callable[..., Project]) -> None:
    with make_project() as project:
        count = len(project.objects())
        with Project.open(project.path, read_only=True):
            pass
        project.add_object()
        with Project.open(project.path, read_only=True) as reader:
            assert len(reader.objects()) == count + 1


def test_the_page_learns_which_videos_are_tried_again(tmp_path: Path) -> None:
    with Queue(tmp_path / "batch.sqlite") as queue:
        queue.add([VideoJob(name="dies", source="dies.mp4"), VideoJob(name="new", source="new.mp4")])
        queue.claim("worker", number=1)
        queue.lost("worker")
    root = Root(tmp_path)
    looks = Looks(root)
    try:
        found = Batch(tmp_path, root, looks).videos({}, 0, 10, [], "").videos
    finally:
        looks.close()
    assert [(video.name, video.state, video.retried) for video in found] == [
        ("dies", "waiting", True),
        ("new", "waiting", False),
    ]


def test_a_detector_leaves_a_project_alone_that_is_there(make_project: Callable[..., Project], clip: Path) -> None:
    with make_project() as project:
        path, digest = project.path, project.digest()
    request = TrackRequest(str(clip), [PromptText("fox", "0", box=(8, 12, 75, 60))])
    with pytest.raises(ProjectError, match="exists already"):
        track_detected(path, request, DetectorSettings(detector="builtins:len"))
    with Project.open(path, read_only=True) as project:
        assert project.digest() == digest


class _DiesUnseen:
    """A team whose worker dies right after the team looked, and which works again once it has noticed."""

    busy = False
    working: Mapping[int, tuple[str, int, int]] = {}

    def turn(self, queue: Queue, stopping: bool) -> None:
        if (row := queue.claim("worker")) is not None and row.attempts > 1:
            queue.finish(row.number, "worker", JobResult(model="nano", frames=1, seconds=0.0))
        elif row is None:
            queue.lost("worker")

    def wait(self, seconds: float) -> None:
        pass

    def disband(self, queue: Queue) -> None:
        pass


def test_a_batch_goes_on_when_its_last_worker_dies_between_two_looks(tmp_path: Path) -> None:
    with Queue(tmp_path / "batch.sqlite") as queue:
        queue.add([VideoJob(name="dies", source="dies.mp4")])
    counts = drive(QueueHome(Place(tmp_path)), _DiesUnseen())
    assert counts == {"waiting": 0, "running": 0, "done": 1, "failed": 0}
