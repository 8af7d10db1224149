"""Project files: one writer, durable, refused when strange, versions, and sources that move."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from masklet.errors import ProjectError, ProjectInUseError
from masklet.masks import rle
from masklet.project import Project, schema
from masklet.project.run import Leg, RunPlace, TrackingRun
from masklet.project.source import SourceReference
from masklet.results import ObjectMask

_IMPORTS = """
import os, sys, time
import numpy as np
from masklet.masks import rle
from masklet.project import Project
from masklet.results import ObjectMask, Scores
"""
# Goes on for one project after the other, each in a process of its own that need not import anything.
_FORK = """
for path in sys.argv[1:]:
    if not os.fork():
        print(os.getpid(), flush=True)
        sys.argv[1] = path
        break
    os.wait()
else:
    sys.exit()
"""
# Writes masks of rising frames as fast as it can, and says after each call which frame it handed over.
_WRITE = """
project = Project.open(sys.argv[1])
step = project.begin_step("Track")
for frame in range(1, project.source.frame_count):
    mask = np.zeros((72, 128), bool)
    mask[10:20, frame % 100 : frame % 100 + 5] = True
    record = ObjectMask(1, frame, rle.encode(mask), scores=Scores(object_score=float(frame)))
    step = project.record_masks(step, "Track", [record])
    print(frame, time.time(), flush=True)
    time.sleep(0.005)
"""
_WRITER = _IMPORTS + "print('ready', flush=True)" + _WRITE


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def long_project(path: Path, frames: int) -> None:
    """A project of many frames; its source is never opened."""
    from fractions import Fraction

    from masklet.project.file import write_new
    from masklet.project.records import TrackSettings

    source = SourceReference("gone.mp4", None, "video", "f", 128, 72, frames, Fraction(25))
    write_new(path, source, TrackSettings())
    with Project.open(path) as project:
        project.add_object(1)


def mask_in(path: Path) -> ObjectMask | None:
    """What another process would find of object 1 on frame 5."""
    with Project.open(path, read_only=True) as reader:
        return reader.mask(5, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")
def test_twenty_kills_lose_at_most_half_a_second_each(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.masklet" for number in range(20)]
    for path in paths:
        long_project(path, 100_000)
    chance = random.Random(1)
    late: list[float] = []
    command = [sys.executable, "-c", _IMPORTS + _FORK + _WRITE, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writers:
        assert writers.stdout is not None
        writer = writers.stdout.readline()
        for path in paths:
            said = list(islice(writers.stdout, chance.randrange(1, 90)))
            os.kill(int(writer), signal.SIGKILL)
            killed = time.time()
            for writer in writers.stdout:  # the number of the next one comes once this one is dead
                if " " not in writer:
                    break
                said.append(writer)
            handed = {int(frame): float(when) for frame, when in map(str.split, said)}
            with Project.open(path) as project:  # the dead process's lock is gone with it
                frames = project.tracked_frames(1)
                assert frames == list(range(1, len(frames) + 1))
                late.append(max([killed - when for frame, when in handed.items() if frame > len(frames)], default=0.0))
                assert all(record.scores.object_score == record.frame for record in project.masks([1]))
                # What was tracked is one step, and it can be taken back.
                if frames:
                    assert project.undo() == "Track"
                    assert project.tracked_frames(1) == []
    # A second more for a machine that is busy; its disk may let one of the writers wait for long.
    assert sorted(late)[len(late) * 3 // 4] < 0.5 + 1 and max(late) < 30


def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long.masklet"
    long_project(path, 5)
    subprocess.run([sys.executable, "-c", _WRITER, str(path)], capture_output=True, check=True)
    with Project.open(path) as project:
        assert project.tracked_frames(1) == [1, 2, 3, 4]


def test_a_quiet_writer_commits_by_itself(make_project) -> None:
    project = make_project()
    project.flush()
    step = project.begin_step("Track")  # a commit, so that the next one has to wait
    mask = ObjectMask(1, 5, rle.encode(np.ones((72, 128), bool)))
    project.record_masks(step, "Track", [mask])
    for _ in range(1200):
        if mask_in(project.path) == mask:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the mask never reached the file")


def test_the_second_process_is_told_who_has_it(make_project) -> None:
    project = make_project()
    code = (
        "import sys; from masklet.project import Project; from masklet.errors import ProjectInUseError\n"
        "try: Project.open(sys.argv[1])\n"
        "except ProjectInUseError as problem: print(problem)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(project.path)], capture_output=True, text=True, check=True)
    assert f"in use by another process (number {os.getpid()})" in said.stdout
    with pytest.raises(ProjectInUseError, match="this very process"):
        Project.open(project.path)
    with pytest.raises(ProjectInUseError):
        Project.create(project.path, project.source.path, overwrite=True)
    with Project.open(project.path, read_only=True) as reader:
        assert reader.tracked_frames(1) == list(range(8))
        with pytest.raises(ProjectError, match="read-only"):
            reader.add_object()
    project.close()
    assert [p.name for p in project.path.parent.iterdir()] == ["clip.masklet"]
    Project.open(project.path).close()


READS = """import sys
from masklet.project import Project
with Project.open(sys.argv[1], read_only=True) as project:
    print([known.name for known in project.objects()])
"""


def test_reading_in_one_process_takes_no_lock_from_its_writer(make_project) -> None:
    """Closing a file frees all locks that its process has on it; the log of a project without locks may be removed."""
    project = make_project()
    project.close()
    with Project.open(project.path) as writer:
        Project.open(writer.path, read_only=True).close()
        read = [sys.executable, "-c", READS, writer.path]
        subprocess.run(read, check=True)
        writer.add_object(name="late")
        assert "late" in subprocess.run(read, capture_output=True, text=True, check=True).stdout


def test_a_read_only_folder_can_be_read_but_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    kept = folder / "clip.masklet"
    long_project(kept, 100_000)
    # A killed process leaves its last commits in the log beside the file; they count too.
    writer = start(_WRITER, kept)
    while mask_in(kept) is None:
        assert writer.poll() is None
        time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert (folder / "clip.masklet-wal").stat().st_size > 0
    code = (
        "import os, sys; from masklet.project import Project; from masklet.errors import ProjectError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "with Project.open(sys.argv[1], read_only=True) as p: print(p.mask(5, 1).scores.object_score)\n"
        "try: Project.open(sys.argv[1])\n"
        "except ProjectError as problem: print(problem)\n"
    )
    if os.getuid() != 0:
        code = code.replace("os.setgid(65534); os.setuid(65534)\n", "")
    before = sorted(path.name for path in folder.iterdir())
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o555)
    folder.chmod(0o555)
    try:
        said = subprocess.run([sys.executable, "-c", code, str(kept)], capture_output=True, text=True, check=False)
    finally:
        folder.chmod(0o755)
    assert said.stderr == ""
    score, refusal = said.stdout.splitlines()
    assert score == "5.0"
    assert "Can't write in" in refusal
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "long.masklet"
    long_project(path, 5000)
    code = (
        "import resource, signal, sys\nimport numpy as np\n"
        "from masklet.errors import ProjectError\nfrom masklet.masks import rle\n"
        "from masklet.project import Project\nfrom masklet.results import ObjectMask, Scores\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "project = Project.open(sys.argv[1])\nstep = project.begin_step('Track')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))\n"
        "noise = np.random.default_rng(0)\n"
        "try:\n"
        "    for frame in range(5000):\n"
        "        mask = rle.encode(noise.random((72, 128)) > 0.5)\n"
        "        record = ObjectMask(1, frame, mask, scores=Scores(object_score=1.0))\n"
        "        step = project.record_masks(step, 'Track', [record], durable=frame % 10 == 9)\n"
        "except ProjectError as problem:\n"
        "    print(frame, problem)\n"
        "    try: project.close()\n"
        "    except ProjectError as problem: print(problem)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert said.stderr == "", said.stderr
    first = said.stdout.splitlines()[0]
    frame = int(first.split()[0])
    assert "full" in first and "safe" in first
    with Project.open(path) as project:
        frames = project.tracked_frames(1)
        assert frames == list(range(len(frames)))
        assert frame - 20 <= len(frames) <= frame
        assert all(record.area > 0 for record in project.masks())
        project.add_object()


def test_a_project_can_not_be_made_where_nothing_can_be_written(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(ProjectError, match="There is no folder"):
        Project.create(tmp_path / "nowhere" / "a.masklet", clip)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError, match="no folder"):
        Project.create(tmp_path / "file" / "a.masklet", clip)


# Strange and hostile files


def altered(project: Project, *statements: str) -> Path:
    project.close()
    connection = sqlite3.connect(project.path)
    for statement in statements:
        connection.executescript(statement)
    connection.commit()
    connection.close()
    return project.path


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON mask BEGIN DELETE FROM prompt; END", "other tables"),
        ("CREATE VIEW v AS SELECT 1", "other tables"),
        ("CREATE TABLE extra (a)", "other tables"),
        ("ALTER TABLE object ADD COLUMN evil TEXT", "other tables"),
        ("DROP TABLE change", "other tables"),
        (
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES "
            "('trigger', 'sqlite_stat_zz', 'mask', 0, 'CREATE TRIGGER sqlite_stat_zz AFTER INSERT ON mask "
            "BEGIN DELETE FROM prompt; END')",
            "other tables",
        ),
        ("PRAGMA application_id = 7", "another program"),
        ("PRAGMA user_version = 99", "newer masklet"),
        ("PRAGMA user_version = 0", "other tables"),
        ("DELETE FROM source", "which video"),
        ("UPDATE source SET width = -5", "damaged"),
        ("UPDATE source SET rate = '1/0'", "damaged"),
        ("UPDATE source SET times = x'00', tick = '1/25'", "damaged"),
        ("UPDATE source SET frame_count = 1 << 60", "damaged"),
    ],
)
def test_strange_files_are_not_opened(make_project, statement: str, message: str) -> None:
    path = altered(make_project(), statement)
    with pytest.raises(ProjectError, match=message):
        Project.open(path)
    with pytest.raises(ProjectError, match=message):
        Project.open(path, read_only=True)
    assert not path.with_name(".clip.masklet.lock").exists()


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE mask SET counts = 'PPPPPPPPPP' WHERE frame = 2", lambda p: p.mask(2, 1)),
        ("UPDATE mask SET counts = x'00' WHERE frame = 2", lambda p: p.mask(2, 1)),
        ("UPDATE mask SET counts = '0' WHERE frame = 2", lambda p: list(p.masks())),
        ("UPDATE mask SET object_score = 'high' WHERE frame = 2", lambda p: p.mask(2, 1)),
        ("UPDATE object SET name = ''", lambda p: p.objects()),
        ("UPDATE object SET color = -1", lambda p: p.objects()),
        ("UPDATE object SET mask_settings = '[1'", lambda p: p.objects()),
        ("UPDATE prompt SET data = '{}'", lambda p: p.prompts()),
        ('UPDATE prompt SET data = \'{"points": [[1]], "labels": [1]}\'', lambda p: p.prompts()),
        ("UPDATE prompt SET data = '{\"points\": 7}'", lambda p: p.prompts()),
        ("UPDATE prompt SET frame = 'x'", lambda p: p.prompts()),
        ("UPDATE setting SET value = '{\"model\": {}}' WHERE key = 'track'", lambda p: p.track_settings),
        ("UPDATE setting SET value = '" + "[" * 5000 + "' WHERE key = 'track'", lambda p: p.track_settings),
        ("INSERT INTO run (id, data) VALUES (1, '{\"legs\": [{}]}')", lambda p: p.run),
        ("UPDATE change SET table_name = 'sqlite_master' WHERE table_name = 'object'", lambda p: p.undo()),
        ("UPDATE change SET key = '[1,2,3,4]' WHERE key = '[1,0]'", lambda p: p.undo()),
        ("UPDATE change SET row = '{\"id\": 1}' WHERE table_name = 'object'", lambda p: p.undo()),
    ],
)
def test_damaged_entries_are_errors_and_not_crashes(make_project, statement: str, read) -> None:
    path = altered(make_project(), statement)
    with Project.open(path) as project, pytest.raises(ProjectError):
        read(project)


def test_other_files_are_not_projects(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(ProjectError, match="There is no project"):
        Project.open(tmp_path / "none.masklet")
    with pytest.raises(ProjectError, match="not a masklet project"):
        Project.open(clip)
    with pytest.raises(ProjectError):
        Project.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_file_is_an_error(make_project) -> None:
    project = make_project()
    project.close()
    whole = project.path.read_bytes()
    for length in (100, 4096, len(whole) // 2):
        project.path.write_bytes(whole[:length])
        with pytest.raises(ProjectError), Project.open(project.path) as torn:
            list(torn.masks())
            torn.history()
            torn.prompts()


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path, clip: Path, make_project) -> None:
    new = make_project()
    old = tmp_path / "old.masklet"
    connection = sqlite3.connect(old)
    schema.build(connection, version=1)
    connection.execute("ATTACH ? AS new", (str(new.path),))
    new.flush()
    for table in ("meta", "source", "object", "prompt", "setting", "step", "change"):
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
        connection.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
    columns = "object_id, frame, counts, object_score, predicted_iou, motion_score, candidate, lost, is_prompt"
    connection.execute(f"INSERT INTO mask ({columns}) SELECT {columns} FROM new.mask")
    connection.commit()
    connection.close()
    before = old.read_bytes()
    with Project.open(old, read_only=True) as reader:
        assert list(reader.masks()) == list(new.masks())
        assert reader.run is None
    assert old.read_bytes() == before  # reading an old file leaves it as it is
    with Project.open(old) as project:
        assert list(project.masks()) == list(new.masks())
        assert not project.mask(2, 1).painted
        assert project.prompts() == new.prompts()
        project.put_masks([ObjectMask(1, 2, rle.encode(np.ones((72, 128), bool)), painted=True)])
        project.undo()
        assert project.undo() == "Set up"
    with Project.open(old) as project:
        assert schema.version_of(project._database._connection) == schema.VERSION


# Sources


def test_a_source_that_moved_is_found_by_its_contents(tmp_path: Path, clip: Path) -> None:
    home, far = tmp_path / "home", tmp_path / "far"
    (home / "media").mkdir(parents=True)
    far.mkdir()
    video = Path(shutil.copy(clip, home / "media" / "a.mp4"))
    with Project.create(home / "clip.masklet", video) as project:
        assert project.source.relative_path == "media/a.mp4"
    # The whole folder moves: found as seen from the project.
    moved = tmp_path / "moved"
    home.rename(moved)
    with Project.open(moved / "clip.masklet") as project:
        assert project.open_source().info.path == str(moved / "media" / "a.mp4")
    # The video alone, renamed, beside the project; another one with the old name is no use.
    shutil.copy(moved / "media" / "a.mp4", moved / "renamed.mp4")
    (moved / "media" / "a.mp4").write_bytes(video.name.encode() * 100)
    with Project.open(moved / "clip.masklet") as project:
        assert project.open_source().info.path == str(moved / "renamed.mp4")
    with Project.open(moved / "clip.masklet", read_only=True) as project:
        assert project.source.path == str(moved / "renamed.mp4")  # remembered
    # Far away: it has to be said.
    (moved / "renamed.mp4").rename(far / "x.mp4")
    with Project.open(moved / "clip.masklet") as project:
        with pytest.raises(ProjectError, match="--source"):
            project.open_source()
        with pytest.raises(ProjectError, match="can't be read"):
            project.open_source(tmp_path / "nothing.mp4")
        assert len(project.open_source(far / "x.mp4")) == 8


def test_another_video_is_not_taken_for_the_source(tmp_path: Path, clip: Path, uneven_clip) -> None:
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    with Project.create(tmp_path / "clip.masklet", video):
        pass
    video.unlink()
    shutil.copy(uneven_clip[0], video)
    with Project.open(tmp_path / "clip.masklet") as project:
        with pytest.raises(ProjectError, match="other contents than when it was tracked"):
            project.open_source()
        with pytest.raises(ProjectError, match="not the source of"):
            project.open_source(video)


def test_a_sequence_is_found_again_with_its_rate(tmp_path: Path, demo_images: np.ndarray) -> None:
    from PIL import Image

    from masklet.media import open_media

    shots = tmp_path / "shots"
    shots.mkdir()
    for number, image in enumerate(demo_images[:3]):
        Image.fromarray(image).save(shots / f"take.{number:04d}.png")
    for source in (shots / "take.####.png", shots):
        with Project.create(tmp_path / "s.masklet", open_media(source, rate=30), overwrite=True):
            pass
        moved = tmp_path / "renamed"
        shots.rename(moved)
        with Project.open(tmp_path / "s.masklet", read_only=True) as project:
            reader = project.open_source()
            assert len(reader) == 3 and reader.info.rate == 30
            np.testing.assert_array_equal(reader.read(2).image_hwc, demo_images[2])
        moved.rename(shots)


LEGS = (Leg(1, 2, 7, (1, 2), keep_from=2), Leg(-1, 1, 0, (1,), keep_from=1))


def test_a_run_and_its_state_are_kept_until_they_no_longer_fit(make_project) -> None:
    project = make_project()
    run = project.begin_run(TrackingRun(legs=LEGS, place=RunPlace(0, 2)), {1: b"one", 2: b"two"})
    on = run.model_copy(update={"place": RunPlace(0, 4)})
    step = project.record_run(on, run.undo_step, [])  # without a state, the run still stands where it stood
    assert project.run == run and project.tracker_state == {1: b"one", 2: b"two"}
    assert project.record_run(on, step, state={2: b"two", 3: b"three"}) == step
    project.close()
    with Project.open(project.path) as again:
        assert again.run == on and again.run.frames_left == 6 and again.run.frames_total == 8
        assert again.tracker_state == {2: b"two", 3: b"three"}
        again.update_object(1, name="still fits")
        assert again.run == on
        again.add_prompt(5, 1, points=[(1, 1)])
        assert again.run is None and again.tracker_state == {}


def test_a_run_that_an_edit_ended_writes_nothing_more(make_project) -> None:
    project = make_project()
    run = project.begin_run(TrackingRun(legs=LEGS, place=RunPlace(0, 2)), {1: b"state"})
    mask = ObjectMask(3, 1, rle.encode(np.ones((72, 128), bool)))
    before = project.mask(3, 1)
    project.add_prompt(5, 1, points=[(1, 1)])
    assert project.record_run(run, run.undo_step, [mask], {1: b"late"}) is None
    assert project.run is None and project.tracker_state == {} and project.mask(3, 1) == before
    # Another run is not the earlier one's to write or to end.
    other = project.begin_run(TrackingRun(label="Again", legs=LEGS, place=RunPlace(0, 2)), {1: b"other"})
    assert project.record_run(run, run.undo_step, [mask], {1: b"late"}) is None
    project.finish_run(run)
    assert project.run == other and project.tracker_state == {1: b"other"}


def test_only_what_changed_of_a_state_is_written(make_project) -> None:
    project = make_project()
    run = project.begin_run(TrackingRun(legs=LEGS, place=RunPlace(0, 2)), {1: bytes(1 << 20), 2: b"two"})
    log = project.path.with_name("clip.masklet-wal")
    size = log.stat().st_size
    project.record_run(run, run.undo_step, [], {1: bytes(1 << 20), 2: b"three"})
    project.flush()
    assert log.stat().st_size < size + (1 << 18)


def test_a_run_goes_leg_by_leg() -> None:
    place: RunPlace | None = RunPlace(0, 6)
    run = TrackingRun(legs=LEGS, place=place)
    way = []
    while place is not None:
        way.append((place.leg, place.frame, run.model_copy(update={"place": place}).frames_left))
        place = run.after(place)
    assert way == [(0, 6, 4), (0, 7, 3), (1, 1, 2), (1, 0, 1)]
    with pytest.raises(ValueError, match="not on its way"):
        TrackingRun(legs=LEGS, place=RunPlace(1, 3))


def test_undo_waits_for_tracking_to_stop(make_project) -> None:
    project = make_project()
    project.recording = True
    with pytest.raises(ProjectError, match="Stop it before undoing"):
        project.undo()
    project.recording = False
    assert project.undo() == "Set up"
