"""`masklet batch` as people use it: a table, a folder of results, and a power cut in between."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from masklet.cli import main
from masklet.jobs.driver import open_queue
from masklet.jobs.job import VideoJob
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
    assert code == 0 and re.search(r"Left out: .*broken.mkv can't be read", text), text
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
        "--workers",
        "1",
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
    assert "://" not in page  # it can be sent to somebody as it is
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
    (out / "exports" / "csv" / ".clip1.csv.0123abcd.part").mkdir(parents=True)  # as a killed export leaves it
    command = [sys.executable, "-m", "masklet", "batch", str(tmp_path / "t.json"), "-o", str(out)]
    command += ["--resolution", "128", "--dtype", "float32", "--workers", "2"]
    for turn in range(2):  # the driver, and then all workers, in whose place the driver begins others
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for_frames(out, driver, 7 * turn)
        time.sleep(chance.random() * 0.2)
        for victim in children(driver.pid) if turn else [driver.pid]:
            os.kill(victim, signal.SIGKILL)
        text, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0 and "3 done" in text, text
    for job in jobs:
        assert masks_of(project_path(out, job)) == masks_of(project_path(tmp_path / "whole", job))
        [table] = (out / "exports" / "csv").glob(f"{job.name}*")
        assert table.stat().st_size > 500
    assert np.mean([mask.area for mask in masks_of(project_path(out, jobs[0]))]) > 100
    assert not list(out.rglob("*.part"))


def test_a_video_that_ends_everything_comes_last_and_fails_alone(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, signal\n"
        "def find(image_hwc):\n"
        "    for process in (os.getppid(), os.getpid()):\n"
        "        os.kill(process, signal.SIGKILL)\n"
    )
    jobs = [
        {"video": str(footage / f"clip{number}.mkv"), "box": [8, 12, 75, 60], "end": 3, "resolution": 128}
        for number in range(2)
    ]
    jobs[0] |= {"detector": "deadly:find"}
    (tmp_path / "t.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "masklet", "batch", str(tmp_path / "t.json"), "-o", str(tmp_path / "out")]
    ends = []
    while len(ends) < 6 and (not ends or ends[-1] == -signal.SIGKILL):
        ends.append(
            subprocess.run(
                [*command, "--workers", "1"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
                stdout=subprocess.DEVNULL,
                check=False,
            ).returncode
        )
    kills = len(ends) - 1  # one more if the queue was told of the first frame only the second time
    assert kills in (3, 4) and ends == [-signal.SIGKILL] * kills + [2]
    with open_queue(tmp_path / "out") as queue:
        deadly, good = queue.rows()
    assert (deadly.state, deadly.attempts) == ("failed", kills) and "died 3 times" in deadly.reason
    assert (good.state, good.attempts) == ("done", 1)


def test_a_detector_finds_an_animal_by_itself(
    bunny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/detectors.md, whose camera moves a little, against a box that was drawn by hand."""
    docs = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?class Moving.*?)```", docs, re.DOTALL)
    (tmp_path / "moving.py").write_text(example)
    clip = {"video": str(bunny_clip), "end": 16, "resolution": 256}
    detector = {"detector": "moving:Moving", "every": "8", "max_objects": 1}
    videos = [{"name": "found", "detector": detector} | clip, {"name": "drawn", "box": "153,219,571,558"} | clip]
    (tmp_path / "t.json").write_text(json.dumps(videos))
    out = tmp_path / "out"
    monkeypatch.syspath_prepend(tmp_path)  # workers get the path
    code, text = batch(tmp_path / "t.json", "-o", out, "-f", "coco", "--workers", "1")
    assert code == 0, text
    found, drawn = (masks_of(out / "projects" / f"{name}.masklet") for name in ("found", "drawn"))
    assert [mask.frame for mask in found] == list(range(8, 17))  # on the first frame nothing has moved yet
    assert np.mean([iou(a.mask, b.mask) for a, b in zip(found, drawn[8:], strict=True)]) > 0.8
    coco = json.loads((out / "merged" / "coco" / "annotations.json").read_text())
    assert "moving" in [category["name"] for category in coco["categories"]]


def test_every_shot_with_a_prompt_is_tracked_and_the_report_tells_the_others(
    footage: Path, tmp_path: Path, session_video_maker
) -> None:
    with av.open(str(footage / "clip0.mkv")) as container:
        rabbit = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    shots = [rabbit[:9], [255 - image[::-1] // 2 for image in rabbit[:6]], [image[:, ::-1] for image in rabbit[9:19]]]
    pictures = [np.ascontiguousarray(image) for shot in shots for image in shot]
    film = session_video_maker.make("film.mkv", "ffv1", count=len(pictures), size=(128, 72), pictures=pictures)
    prompts = [
        {"object": "fox", "box": [8, 12, 75, 60]},
        {"object": "fox", "frame": 15, "box": [128 - 75, 12, 128 - 8, 60]},
    ]
    (tmp_path / "t.json").write_text(json.dumps([{"video": str(film), "prompts": prompts}]))
    out = tmp_path / "out"
    command = (tmp_path / "t.json", "-o", out, "--resolution", "128", "--workers", "1")
    command += ("--split", "shots", "-f", "davis")
    code, text = batch(*command)
    assert code == 0 and "film_shot02, frames 9 to 14, has no prompt" in text, text
    for name, frames in (("film_shot01", range(9)), ("film_shot03", range(15, 25))):
        masks = masks_of(out / "projects" / f"{name}.masklet")
        assert [mask.frame for mask in masks] == list(frames)
        assert np.mean([mask.area for mask in masks]) > 100
    overview = (out / "report.html").read_text().split("<section ")[0]
    assert "2 videos: 2 done. 1 shot has no prompt." in overview
    assert "<td>film_shot02<td colspan='3' class='dim'>no prompt on frames 9 to 14" in overview
    with (out / "report.csv").open(newline="") as file:
        assert {row["video"]: row["state"] for row in csv.DictReader(file)} == {
            "film_shot01": "done",
            "film_shot02": "no prompt",
            "film_shot03": "done",
        }
    # A prompt for the shot that had none is more to do, and nothing is done again.
    prompts.append({"object": "rock", "frame": 9, "points": [[20, 20]]})
    (tmp_path / "t.json").write_text(json.dumps([{"video": str(film), "prompts": prompts}]))
    code, text = batch(*command)
    assert "no prompt" not in text and code == 0
    with open_queue(out) as queue:
        assert {row.job.name: row.attempts for row in queue.rows()} == {
            "film_shot01": 1,
            "film_shot02": 1,
            "film_shot03": 1,
        }


BROKEN = {
    "empty.mp4": "is empty (0 bytes)",
    "text.mp4": "holds text",
    "page.webm": "holds text",
    "zeros.mp4": "can't be read",
    "header.mp4": "contains no frame",
    "cut.mp4": "cut short",
    "noise.mkv": "can't be read",
    "chunks.avi": "can't be read",
    "moving.gif": "can't be read",
    "database.mp4": "can't be read",
    "playlist.mp4": "can't be read",
    "sound.mp4": "sound only",
    "folder.mp4": "holds no pictures",
    "nothing": "holds no pictures",
    "sizes": "must be of one size",
    "pictures": "None of the 3 pictures can be read",
    "pipe.mp4": "is a pipe",
}


@pytest.fixture(scope="module")
def broken_batch(
    footage: Path, tmp_path_factory: pytest.TempPathFactory, session_video_maker, bunny_clip: Path
) -> tuple[Path, int, str]:
    """A batch of every kind of broken video, with one that is well and one that has a picture missing."""
    folder, clip = tmp_path_factory.mktemp("broken"), bunny_clip.read_bytes()
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"This is no video.\n" * 20,
        "page.webm": b"<html><body>404 not found</body></html>",
        "zeros.mp4": bytes(4096),
        "header.mp4": clip[:2000],
        "cut.mp4": clip[:24] + clip[-2000:],
        "noise.mkv": b"\x1aE\xdf\xa3" + random.Random(1).randbytes(3000),
        "chunks.avi": b"RIFF\xe8\x03\0\0AVI " + bytes(500),
        "moving.gif": b"GIF89a" + bytes(20),
        "database.mp4": b"SQLite format 3\0" + bytes(500),
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    session_video_maker.make("tone.mp4", count=2, sound="aac")
    with (
        av.open(str(session_video_maker.folder / "tone.mp4")) as tone,
        av.open(str(folder / "sound.mp4"), "w") as sound,
    ):
        stream = sound.add_stream_from_template(tone.streams.audio[0])
        for packet in tone.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                sound.mux(packet)
    os.mkfifo(folder / "pipe.mp4")
    for name in ("folder.mp4", "nothing", "sizes", "pictures", "hole"):
        (folder / name).mkdir()
    (folder / "folder.mp4" / "notes.txt").write_text("not yet")
    for number in range(3):
        Image.new("RGB", (96 + 2 * number, 64)).save(folder / "sizes" / f"{number}.png")
        (folder / "pictures" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
        Image.new("RGB", (96, 64), (90, 60, 9 * number)).save(folder / "hole" / f"{number}.png")
    (folder / "hole" / "1.png").write_bytes((folder / "hole" / "1.png").read_bytes()[:60])
    videos = [
        *({"video": name, "points": "20,20", "name": name.partition(".")[0]} for name in BROKEN),
        {"video": "hole", "points": "20,20", "end": 2},
        {"video": str(footage / "clip0.mkv"), "name": "good.v2", "box": "8,12,75,60", "end": 2},
    ]
    (folder / "t.json").write_text(json.dumps(videos))
    words = (folder / "t.json", "-o", folder / "out", "--resolution", "128", "-f", "csv", "--workers", "1")
    return folder / "out", *batch(*words)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_video_fails_alone_with_its_reason(broken_batch, name: str) -> None:
    out, code, text = broken_batch
    assert code == 2 and "Traceback" not in text, text
    with (out / "report.csv").open(newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["video"] == name.partition(".")[0]]
    assert row["state"] == "failed" and BROKEN[name] in row["error"]
    assert len(row["error"]) > 20 and "Error" not in row["error"]


def test_the_others_are_tracked(broken_batch) -> None:
    out, _, text = broken_batch
    assert f"2 done, {len(BROKEN)} failed" in text
    assert "1 frames could not be decoded and were replaced" in (out / "report.html").read_text()
    assert (out / "exports" / "csv" / "good.v2.csv").stat().st_size > 100


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


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
