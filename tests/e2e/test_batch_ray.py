"""`masklet batch --ray` on a real cluster of two nodes: a node dies, the driver dies, and the masks are the same."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from masklet.jobs.driver import BatchProgress, QueueHome, drive, open_queue
from masklet.jobs.job import VideoJob
from masklet.jobs.places import Place
from masklet.jobs.queue import JobRow
from masklet.jobs.ray_cluster import Needs, RayTasks
from masklet.jobs.work import project_path, run_job
from masklet.project import Project
from masklet.runtime import threads

ray = pytest.importorskip("ray", reason="batches on a cluster need the extra masklet[ray]")
pytestmark = pytest.mark.slow
FRAMES = 100
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The head, which works on nothing, and a node with one core. Ray's sockets need a short path."""
    from ray.cluster_utils import Cluster

    folder = Path("/tmp", f"mr{secrets.token_hex(3)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        folder.mkdir()
        started = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        ray.init(started.address, log_to_driver=False, logging_level="error")  # at the head, as long as it is alone
        started.add_node(**NODE)
        yield started
        ray.shutdown()
        started.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path, session_video_maker: Any) -> list[VideoJob]:
    """Two of the same clip: the corner of the demo clip with the rabbit."""
    with av.open(str(bunny_clip)) as container:
        pictures = [frame.reformat(256, 144, format="rgb24").to_ndarray() for frame in container.decode(video=0)]
    shown = [picture[40:112, :128] for picture in pictures[:FRAMES]]
    made = session_video_maker.make("ray.mkv", "ffv1", count=FRAMES, size=(128, 72), pictures=shown)
    clip = made.rename(tmp_path_factory.mktemp("footage") / made.name)
    return [
        VideoJob(
            name=name,
            source=f"file://{clip}",
            prompts=({"object": "fox", "box": (8, 12, 75, 60)},),
            settings={"resolution": 256, "dtype": "float32"},
            exports=({"format": "coco"},),
        )
        for name in ("first", "second")
    ]


@pytest.fixture(scope="module")
def alone(jobs: list[VideoJob], tmp_path_factory: pytest.TempPathFactory) -> list:
    """The masks that one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    with threads(1):
        assert run_job(jobs[0], folder) is not None
    return masks_of(project_path(folder, jobs[0]))


def masks_of(path: Path) -> list:
    with Project.open(path, read_only=True) as project:
        return list(project.masks())


def is_whole(out: Path, jobs: list[VideoJob], alone: list) -> None:
    """Projects and exports are complete, the masks are those of one process, and nothing is left over."""
    for job in jobs:
        assert masks_of(project_path(out, job)) == alone
        with Project.open(project_path(out, job)) as project:
            assert project.run is None and project.open_source().info.path.endswith("ray.mkv")
        found = json.loads((out / "exports" / "coco" / job.name / "annotations.json").read_text())
        assert len(found["images"]) == FRAMES
    assert not list((out / "unfinished").iterdir())


def test_a_node_dies_in_the_middle(cluster: Any, jobs: list[VideoJob], alone: list, tmp_path: Path) -> None:
    out = tmp_path / "out"
    home = QueueHome(Place(f"file://{out}"))
    with open_queue(home.folder) as queue:
        queue.add(jobs[:1])
    safe, later = [], []

    def watch(state: BatchProgress) -> None:
        if safe:
            later.extend(done for name, done, _ in state.working.values() if name == "first")
        elif (there := reached(out / "unfinished" / "first.masklet")) > 0:
            safe.append(there)
            [node] = cluster.worker_nodes
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(**NODE)

    counts = drive(home, RayTasks(home.place, needs=Needs(snapshots=0.1)), watch)
    assert counts == {**counts, "done": 1, "failed": 0, "waiting": 0}
    is_whole(out, jobs[:1], alone)
    assert 0 < safe[0] < min(later)  # whoever took over went on from there


def reached(project: Path) -> int:
    """The frame from which an unfinished project goes on."""
    if not project.exists():
        return 0
    with Project.open(project, read_only=True) as begun:
        return begun.run.place.frame


def test_the_driver_is_killed(cluster: Any, jobs: list[VideoJob], alone: list, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "broken.mkv").write_bytes(b"no video" * 99)
    asked = {"formats": ["coco"], "object": "fox", "box": [8, 12, 75, 60]}
    videos = [{"name": job.name, "video": job.source, **asked} for job in jobs]
    table = tmp_path / "t.json"
    table.write_text(json.dumps([{"video": "broken.mkv", **asked}, *videos]))
    command = [sys.executable, "-m", "masklet", "batch", str(table), "-o", f"file://{out}", "--ray", cluster.address]
    command += ["--resolution", "256", "--dtype", "float32", "--ray-save", "0.1"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while driver.poll() is None and not (rows := running(out)):
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    text, _ = driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGKILL and 0 < rows[0].done < FRAMES, text
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert again.returncode == 2 and "2 done, 1 failed" in again.stdout, again.stdout + again.stderr
    with open_queue(out) as queue:
        attempts = {row.job.name: row.attempts for row in queue.rows()}
    assert attempts["first"] == 2 and attempts["broken"] == 1  # what was over is not begun again
    is_whole(out, jobs, alone)
    assert (out / "report.html").read_text().count("<img") == 8 * len(jobs)
    assert len(list((out / "merged" / "coco" / "images").rglob("*.jpg"))) == FRAMES * len(jobs)


def running(out: Path) -> list[JobRow]:
    """The jobs of which something is safe."""
    if not (out / "batch.sqlite").is_file():
        return []
    with open_queue(out) as queue:
        return [row for row in queue.rows("running") if row.done]
