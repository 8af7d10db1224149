"""Places of a batch, the same for a folder and an object store; and what goes from driver to workers."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from masklet.errors import BatchError
from masklet.jobs.batch import finish_batch
from masklet.jobs.driver import QueueHome, look_at_queue, open_queue
from masklet.jobs.job import JobSettings, VideoJob
from masklet.jobs.places import Place, fetch_source, local_path
from masklet.jobs.ray_cluster import WORKER_BYTES, Desk, Needs, RayTasks, portable
from masklet.jobs.report import summary_path, write_summary
from masklet.jobs.table import read_jobs
from masklet.jobs.work import Outcome, export_path, project_path, run_job
from masklet.masks import rle
from masklet.media import open_media
from masklet.project import Project
from masklet.project.file import copy_project


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return Place(f"file://{tmp_path}/place")
    return Place(f"memory://{secrets.token_hex(4)}/place/")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))


def test_files_go_there_and_come_back(place: Place, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one.txt", "b/two.txt"):
        (tmp_path / "a" / name).write_text(name)
    assert not place.fetch("x/one.txt", tmp_path / "back") and not place.fetch_all("x", tmp_path / "all")
    assert not (tmp_path / "back").exists()
    place.remove("x/one.txt")
    place.send(tmp_path / "a" / "b" / "two.txt", "x/one.txt")
    place.send_all(tmp_path / "a", "x")  # takes the place of what was there
    assert place.fetch("x/one.txt", tmp_path / "back") and (tmp_path / "back").read_text() == "one.txt"
    assert place.fetch_all("x", tmp_path / "all")
    assert sorted(path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("*.*")) == [
        "b/two.txt",
        "one.txt",
    ]
    place.remove("x/one.txt")
    assert not place.fetch("x/one.txt", tmp_path / "again")


def test_where_files_do_not_appear_as_a_whole_they_get_their_name_last(tmp_path: Path) -> None:
    place = Place(f"memory://{secrets.token_hex(4)}")
    place._fs = fsspec.filesystem("local")  # a file system like any that is no object store
    place._root = str(tmp_path / "far")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "a").write_text("new")
    place.send(tmp_path / "near" / "a", "x/a")
    place.send_all(tmp_path / "near", "x")
    assert (tmp_path / "far" / "x" / "a").read_text() == "new"
    assert not [path for path in (tmp_path / "far").rglob("*") if "part" in path.name]


def test_addresses(tmp_path: Path) -> None:
    assert local_path(f"file://{tmp_path}/a%20b") == tmp_path / "a b" and local_path("s3://bucket/clip.mp4") is None
    assert Place(tmp_path).folder == Place(f"file://{tmp_path}/").folder == tmp_path
    with pytest.raises(BatchError, match="nonsense"):
        Place("nonsense://bucket/out")
    gone = Place(f"memory://{secrets.token_hex(4)}")
    with pytest.raises(BatchError, match="can't be reached"):
        gone.send(tmp_path / "missing", "x")


def test_sources_are_fetched_once(tmp_path: Path, bunny_clip: Path) -> None:
    memory, root = fsspec.filesystem("memory"), secrets.token_hex(4)
    memory.pipe_file(f"/{root}/clip.mp4", bunny_clip.read_bytes())
    for number in range(3):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / "a.png")
        memory.pipe_file(f"/{root}/shot/a.{number:04d}.png", (tmp_path / "a.png").read_bytes())
    memory.pipe_file(f"/{root}/shot/notes.txt", b"")
    assert fetch_source(str(bunny_clip), tmp_path / "x") == fetch_source(f"file://{bunny_clip}", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    here = fetch_source(f"memory://{root}/clip.mp4", tmp_path / "clip")
    assert Path(here).read_bytes() == bunny_clip.read_bytes()
    for source in (f"memory://{root}/shot", f"memory://{root}/shot/", f"memory://{root}/shot/a.####.png"):
        with open_media(fetch_source(source, tmp_path / str(len(source)))) as reader:
            assert [reader.read(index).image_hwc[0, 0, 0] for index in range(len(reader))] == [0, 1, 2]
    memory.rm(f"/{root}", recursive=True)
    assert fetch_source(f"memory://{root}/clip.mp4", tmp_path / "clip") == here
    with pytest.raises(BatchError, match=r"gone\.mp4 can't be fetched"):
        fetch_source(f"memory://{root}/gone.mp4", tmp_path / "gone")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def test_a_batch_at_an_address_has_data_sets_and_a_report(tmp_path: Path, bunny_clip: Path) -> None:
    """What a worker sends is enough: the driver has neither project nor video."""
    memory, root = fsspec.filesystem("memory"), secrets.token_hex(4)
    memory.pipe_file(f"/{root}/bunny.mp4", bunny_clip.read_bytes())
    table = tmp_path / "t.json"
    table.write_text(
        json.dumps(
            [
                {
                    "video": f"memory://{root}/bunny.mp4",
                    "box": [300, 100, 900, 700],
                    "end": "3",
                    "formats": ["coco"],
                }
            ]
        )
    )
    [job] = read_jobs(table)
    place = Place(f"memory://{root}/out")
    scratch = tmp_path / "scratch"
    result = run_job(job, scratch, defaults={"resolution": 128})
    assert result is not None and result.frames == 4
    copy = tmp_path / "copy.masklet"
    copy_project(project_path(scratch, job), copy, source=job.source)
    place.send(copy, "projects/bunny.masklet")
    exported = export_path(scratch, job, "coco")
    place.send_all(exported.parent, "exports/coco")
    summary = summary_path(scratch, job)
    write_summary(project_path(scratch, job), summary)
    place.send(summary, summary.relative_to(scratch).as_posix())

    home = QueueHome(place)
    with open_queue(home.folder) as queue:
        queue.add([job])
        row = queue.claim("w")
        assert row is not None
        queue.finish(row.number, "w", result)
        written = finish_batch(place, queue)
    home.keep(now=True)
    assert f"memory://{root}/out/report.html" in written and f"memory://{root}/out/merged/coco" in written
    page = memory.cat_file(f"/{root}/out/report.html").decode()
    assert page.count("<img") == 4 and "<title>out</title>" in page and "object 1" in page
    assert len(memory.ls(f"/{root}/out/merged/coco/images/bunny")) == 4
    with look_at_queue(place) as queue:
        assert queue.counts()["done"] == 1
    with Project.open(copy, read_only=True) as project:
        assert project.source.path == job.source and len(list(project.masks())) == 4


def test_the_machine_that_began_last_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(f"memory://{secrets.token_hex(4)}/out")
    with pytest.raises(BatchError, match="no batch in memory://"), look_at_queue(place):
        pass
    first = QueueHome(place)
    with open_queue(first.folder) as queue:
        queue.add([VideoJob(name="a", source="a.mp4")])
        first.keep()
        queue.add([VideoJob(name="b", source="b.mp4")])  # not sent yet: killed
    again = QueueHome(place)  # the same machine knows more than the copy
    with open_queue(again.folder) as queue:
        assert queue.counts()["waiting"] == 2
    again.keep()
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "elsewhere"))
    other = QueueHome(place)
    assert other.folder != again.folder
    with open_queue(other.folder) as queue:
        assert queue.counts()["waiting"] == 2
        queue.add([VideoJob(name="c", source="c.mp4")])
    other.keep()
    with pytest.raises(BatchError, match="Another machine drives"):
        again.keep(now=True)
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    with open_queue(QueueHome(place).folder) as queue:
        assert queue.counts()["waiting"] == 3


def test_no_ray_and_no_cluster_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="batches on a cluster need the extra masklet[ray]")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where `auto` looks
    with pytest.raises(BatchError, match=r"no Ray cluster at auto.*`ray start --head` begins one"):
        RayTasks(Place(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BatchError, match=r"pip install 'masklet\[ray\]'"):
        RayTasks(Place(tmp_path))


def test_what_is_shipped_needs_nothing_of_the_driver(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    job = VideoJob(name="a", source="a.mp4", prompts=({"mask": tmp_path / "mask.png"}, {"points": [(1, 2)]}))
    shipped = portable(job, {"device": "cuda:1"})
    assert shipped.prompts[0].mask is None and rle.decode(shipped.prompts[0].rle).tolist() == mask.tolist()
    assert shipped.prompts[1] == job.prompts[1]
    assert shipped.settings.device == "cuda" and Needs(gpus=0.5).of(shipped)["num_gpus"] == 0.5
    alone = portable(job.model_copy(update={"settings": JobSettings(device="cpu")}), {"device": "cuda"})
    assert alone.settings.device == "cpu" and Needs(cpus=2).of(alone) == {
        "num_cpus": 2,
        "num_gpus": 0,
        "memory": WORKER_BYTES,
    }


def test_the_desk_knows_who_has_a_job(tmp_path: Path) -> None:
    with open_queue(tmp_path) as queue:
        queue.add([VideoJob(name="a", source="a.mp4")])
        row = queue.claim("driver")
    desk = Desk()
    first, _ = desk.begin(row)
    assert desk.tell(row.number, first, 3, 9)
    desk.saved(row.number, first, 3)
    desk.wrote(row.number, first, "csv", "d1")
    second, known = desk.begin(row)  # its node died
    assert (known.done, known.total, known.written) == (3, 9, {"csv": "d1"})
    assert (
        not desk.holds(row.number, first) and not desk.tell(row.number, first, 5, 9) and desk.holds(row.number, second)
    )
    desk.saved(row.number, first, 8)  # whom nobody believes any more
    assert desk.news()[row.number] == ((3, 9), 3, {"csv": "d1"})
    desk.begin(row)
    gave_up = desk.begin(row)  # three died since something was saved
    assert isinstance(gave_up, Outcome) and "3 workers died" in gave_up.reason
    desk.stop()
    assert not desk.tell(row.number, 3, 4, 9) and desk.holds(row.number, 3)
    assert desk.begin(row) == Outcome()
