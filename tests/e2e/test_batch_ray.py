"""`masklet batch --ray` on a real cluster of two nodes: a node dies, the driver dies, and the masks are the same."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import av
import pytest

from masklet.cli import main
from masklet.errors import ProjectError
from masklet.jobs.driver import BatchProgress, QueueHome, drive, open_queue
from masklet.jobs.job import VideoJob
from masklet.jobs.places import Place
from masklet.jobs.ray_cluster import Needs, RayTasks
from masklet.jobs.work import export_corrected, project_path, run_job
from masklet.project import Project
from masklet.runtime import threads

ray = pytest.importorskip("ray", reason="batches on a cluster need the extra masklet[ray]")
pytestmark = pytest.mark.slow
FRAMES, SIZE = 60, 192
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
def job(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path, session_video_maker: Any) -> VideoJob:
    """The corner of the demo clip with the rabbit."""
    with av.open(str(bunny_clip)) as container:
        pictures = [frame.reformat(256, 144, format="rgb24").to_ndarray() for frame in container.decode(video=0)]
    shown = [picture[40:112, :128] for picture in pictures[:FRAMES]]
    made = session_video_maker.make("ray.mkv", "ffv1", count=FRAMES, size=(128, 72), pictures=shown)
    return VideoJob(
        name="clip",
        source=f"file://{made.rename(tmp_path_factory.mktemp('footage') / made.name)}",
        prompts=({"object": "fox", "box": (8, 12, 75, 60)},),
        settings={"resolution": SIZE, "dtype": "float32"},
        exports=({"format": "coco"},),
    )


@pytest.fixture(scope="module")
def alone(job: VideoJob, tmp_path_factory: pytest.TempPathFactory) -> list:
    """The masks that one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    with threads(1):
        assert run_job(job, folder) is not None
    return masks_of(project_path(folder, job))


def masks_of(path: Path) -> list:
    with Project.open(path, read_only=True) as project:
        return list(project.masks())


def is_whole(out: Path, job: VideoJob, alone: list) -> None:
    """Project and export are complete, the masks are those of one process, and nothing is left over."""
    assert masks_of(project_path(out, job)) == alone
    with Project.open(project_path(out, job)) as project:
        assert project.run is None and project.open_source().info.path.endswith("ray.mkv")
    found = json.loads((out / "exports" / "coco" / job.name / "annotations.json").read_text())
    assert len(found["images"]) == FRAMES
    assert not list((out / "unfinished").iterdir())


def reached(out: Path) -> int:
    """The frame from which the unfinished clip would go on now."""
    project = out / "unfinished" / "clip.masklet"
    with suppress(ProjectError), Project.open(project, read_only=True) as begun:
        return begun.run.place.frame if begun.run else 0
    return 0  # it isn't there, or not any more


def ended(out: Path) -> int:
    """How many videos are done or have failed."""
    with open_queue(out) as queue:
        counts = queue.counts()
    return counts["done"] + counts["failed"]


def test_the_driver_is_killed(cluster: Any, job: VideoJob, alone: list, tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "t.json"
    (tmp_path / "broken.mkv").write_bytes(b"no video" * 99)
    asked = {"video": job.source, "formats": ["coco"], "object": "fox", "box": [8, 12, 75, 60]}
    short = {**asked, "name": "short", "end": "3"}
    table.write_text(json.dumps([{**asked, "video": "broken.mkv"}, short, {**asked, "name": job.name}]))
    command = [sys.executable, "-m", "masklet", "batch", str(table), "-o", f"file://{out}", "--ray", cluster.address]
    command += ["--resolution", str(SIZE), "--dtype", "float32", "--ray-save", "0.1"]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while driver.poll() is None and not (reached(out) and ended(out) == 2):
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    text, _ = driver.communicate(timeout=600)
    assert driver.returncode == -signal.SIGKILL, text
    before = (out / "projects" / "short.masklet").stat().st_mtime_ns
    with redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit) as left:
        main(command[3:])
    assert left.value.code == 2 and "2 done, 1 failed" in said.getvalue(), said.getvalue()
    with open_queue(out) as queue:  # what was over is not begun again, and exports show what was sent
        assert not export_corrected(out, queue)
        assert [row.attempts for row in queue.rows()] == [1, 1, 2]
    assert (out / "projects" / "short.masklet").stat().st_mtime_ns == before
    is_whole(out, job, alone)
    assert (out / "report.html").read_text().count("<img") == 4 + 8
    assert len(list((out / "merged" / "coco" / "images").rglob("*.jpg"))) == 4 + FRAMES


def test_a_node_dies_in_the_middle(cluster: Any, job: VideoJob, alone: list, tmp_path: Path) -> None:
    out = tmp_path / "out"
    home = QueueHome(Place(f"file://{out}"))
    with open_queue(home.folder) as queue:
        queue.add([job])
    safe, seen, over = [], [], threading.Event()

    def kill_the_node() -> None:
        while not over.wait(0.02):
            with open_queue(out) as queue:
                told = queue.frames()[0]
            if told and (there := reached(out)):
                [node] = cluster.worker_nodes
                cluster.remove_node(node, allow_graceful=False)
                safe.append((min(told, there), len(seen)))
                return

    def watch(state: BatchProgress) -> None:
        seen.append([done for _, done, _ in state.working.values()])
        if safe and not cluster.worker_nodes:
            cluster.add_node(**NODE)

    killer = threading.Thread(target=kill_the_node)
    killer.start()
    try:
        counts = drive(home, RayTasks(home.place, needs=Needs(snapshots=0.1)), watch)
    finally:
        over.set()
        killer.join()
    assert counts == {**counts, "done": 1, "failed": 0, "waiting": 0}
    is_whole(out, job, alone)
    [(there, turn)] = safe
    later = [done for dones in seen[turn + 2 :] for done in dones]
    assert later and min(later) >= there  # whoever took over went on from there
