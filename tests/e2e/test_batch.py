"""`masklet batch` as people use it: a table, a folder of results, and a power cut in between."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import av
import numpy as np
import pytest
from pycocotools.coco import COCO

from masklet.cli import main
from masklet.jobs.job import VideoJob
from masklet.jobs.local import open_queue
from masklet.jobs.work import project_path, run_job
from masklet.project import Project
from masklet.runtime import threads

pytestmark = pytest.mark.slow
FRAMES = 24


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path, session_video_maker) -> Path:
    """Three short clips, the corner of the demo clip with the rabbit, and a file that is no video."""
    pictures = []
    with av.open(str(bunny_clip)) as container:
        for frame in container.decode(video=0):
            pictures.append(frame.reformat(256, 144, format="rgb24").to_ndarray()[40:112, :128])
            if len(pictures) == FRAMES:
                break
    folder = tmp_path_factory.mktemp("footage")
    for number in range(3):
        pictures = pictures[1:] if number else pictures
        count = len(pictures)
        made = session_video_maker.make(f"clip{number}.mkv", "ffv1", count=count, size=(128, 72), pictures=pictures)
        made.rename(folder / made.name)
    (folder / "broken.mkv").write_bytes(b"no video" * 99)
    return folder


def batch(*words: str | Path) -> tuple[int, str]:
    """The command driven by this process: its exit code, and what it says."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said), pytest.raises(SystemExit) as left:
        main(["batch", *map(str, words)])
    return int(left.value.code or 0), said.getvalue()


def masks_of(path: Path) -> list:
    with Project.open(path, read_only=True) as project:
        return list(project.masks())


def test_a_table_from_init_to_the_report(footage: Path, tmp_path: Path) -> None:
    code, text = batch("init", footage, "-o", tmp_path / "t.csv")
    assert "batch" in text and code == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ["clip0.mkv", "clip1.mkv", "clip2.mkv"]
    pictures = (tmp_path / "t.html").read_text()
    assert pictures.count("<img") == 9 and pictures.count("<svg viewBox='0 0 128 72'") == 9
    assert ">120</text>" in pictures and ">130</text>" not in pictures  # the grid is in pixels of the video

    lines = [
        {"video": str(footage / row["video"]), "object": "fox", "class": "animal", "box": "8,12,75,60"}
        for row in rows[:2]
    ]
    lines.append({"video": str(footage / "broken.mkv"), "object": "fox", "box": "8,12,75,60"})
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["video", "object", "class", "box"])
        writer.writeheader()
        writer.writerows(lines)
    out = tmp_path / "out"
    command = (
        tmp_path / "t.csv",
        "-o",
        out,
        "--resolution",
        "128",
        "-f",
        "coco",
        "-f",
        "davis",
        "-f",
        "yolo-boxes",
        "-f",
        "csv",
    )
    code, text = batch(*command)
    assert code == 2 and "2 done, 1 failed" in text, text
    found = json.loads(batch("status", out, "--json")[1])
    assert found["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1}
    assert "broken.mkv" in found["videos"][2]["reason"]

    coco = COCO(out / "merged" / "coco" / "annotations.json")
    assert len(coco.imgs) == 2 * FRAMES - 1 and [category["name"] for category in coco.cats.values()] == ["animal"]
    for image in coco.imgs.values():
        assert (out / "merged" / "coco" / "images" / image["file_name"]).is_file()
    assert {annotation["image_id"] for annotation in coco.anns.values()} <= set(coco.imgs)
    labels = sorted((out / "merged" / "yolo-boxes" / "labels").rglob("*.txt"))
    images = sorted((out / "merged" / "yolo-boxes" / "images").rglob("*.jpg"))
    assert len({label.stem for label in labels}) == len(labels) == len(images) == 2 * FRAMES - 1
    davis = out / "merged" / "davis"
    assert (davis / "ImageSets" / "2017" / "val.txt").read_text() == "clip0\nclip1\n"
    assert len(list((davis / "Annotations" / "Full-Resolution" / "clip1").glob("*.png"))) == FRAMES - 1
    page = (out / "report.html").read_text()
    assert "clip0" in page and "broken" in page and page.count("<img") == 16
    overview, *sections = page.split("<section ")
    assert "3 videos: 2 done, 1 failed." in overview and overview.index(">broken<") < overview.index(">clip0<")
    assert all(f"id='v{number}'" in section for number, section in enumerate(sections))
    assert "http" not in page.lower()  # it can be sent to somebody as it is
    with (out / "report.csv").open(newline="") as file:
        assert [(row["video"], row["state"]) for row in csv.DictReader(file)] == [
            ("clip0", "done"),
            ("clip1", "done"),
            ("broken", "failed"),
        ]

    before = masks_of(out / "projects" / "clip0.masklet")
    batch(*command)
    with open_queue(out) as queue:  # nothing was begun a second time
        assert [row.attempts for row in queue.rows()] == [1, 1, 1]
    assert masks_of(out / "projects" / "clip0.masklet") == before
    code, text = batch(tmp_path / "nothing.csv", "-o", out)
    assert "no folder or table" in text and code == 2


def test_killed_at_any_moment_it_gives_the_same_masks(footage: Path, tmp_path: Path) -> None:
    jobs = [
        VideoJob(
            name=f"clip{number}",
            source=str(footage / f"clip{number}.mkv"),
            prompts=({"object": "fox", "box": (8, 12, 75, 60)},),
            settings={"resolution": 128, "dtype": "float32"},
            exports=({"format": "csv"},),
        )
        for number in range(3)
    ]
    with threads(1):
        for job in jobs:
            assert run_job(job, tmp_path / "whole") is not None
    (tmp_path / "t.json").write_text(
        json.dumps([{"video": job.source, "formats": ["csv"], "object": "fox", "box": [8, 12, 75, 60]} for job in jobs])
    )
    out, chance = tmp_path / "out", random.Random(3)
    command = [sys.executable, "-m", "masklet", "batch", str(tmp_path / "t.json"), "-o", str(out)]
    command += ["--resolution", "128", "--dtype", "float32", "--workers", "2"]
    for turn in range(5):
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if turn < 3:
            wait_for_frames(out, driver, 7 * turn)
            time.sleep(chance.random() * 0.2)
            victims = children(driver.pid) if turn % 2 else [driver.pid]
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
        text, _ = driver.communicate(timeout=240)
        if turn >= 3 or "3 done" in text:
            break
    assert driver.returncode == 0, text
    for job in jobs:
        assert masks_of(project_path(out, job)) == masks_of(project_path(tmp_path / "whole", job))
        [table] = (out / "exports" / "csv").glob(f"{job.name}*")
        assert table.stat().st_size > 500
    assert np.mean([mask.area for mask in masks_of(project_path(out, jobs[0]))]) > 100


def children(process: int) -> list[int]:
    """Processes that a process began."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in listed.split()]


def wait_for_frames(out: Path, driver: subprocess.Popen[str], count: int) -> None:
    """Until so many frames are tracked, or the driver has ended."""
    while driver.poll() is None:
        if (out / "batch.sqlite").is_file():
            with open_queue(out) as queue:
                if queue.counts()["running"] and queue.frames()[0] >= count:
                    return
        time.sleep(0.05)
