"""The queue of a batch: nothing is done twice, and nothing is lost when whoever works on it is gone."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from pathlib import Path

import pytest

from masklet.errors import BatchError
from masklet.jobs.job import JobExport, JobResult, VideoJob
from masklet.jobs.queue import MOST_STUCK, MOST_STUCK_EARLY, Queue

RESULT = JobResult(model="nano", frames=3, seconds=1.5)


def job(name: str, end: str | None = None, *formats: str) -> VideoJob:
    return VideoJob(
        name=name,
        source=f"{name}.mp4",
        prompts=({"points": [(1, 2)]},),
        settings={"end": end},
        exports=tuple(JobExport(format=format) for format in formats),
    )


@pytest.fixture
def queue(tmp_path: Path):
    with Queue(tmp_path / "batch.sqlite") as made:
        yield made


def states(queue: Queue) -> dict[str, str]:
    return {row.job.name: row.state for row in queue.rows()}


def test_jobs_come_back_in_order_and_as_they_were_given(queue: Queue) -> None:
    given = [job("b", "12", "coco"), job("a")]
    assert queue.add(given) == 2
    assert [row.job for row in queue.rows()] == given
    assert [queue.claim("one").job.name, queue.claim("two").job.name, queue.claim("three")] == ["b", "a", None]
    assert queue.counts() == {"waiting": 0, "running": 2, "done": 0, "failed": 0}


def test_what_is_done_stays_done_when_the_same_is_asked_again(queue: Queue) -> None:
    queue.add([job("a")])
    row = queue.claim("one")
    queue.beat(row.number, "one", 3, 3)
    queue.finish(row.number, "one", RESULT)
    assert queue.add([job("a")]) == 0
    [done] = queue.rows()
    assert (done.state, done.result, done.done) == ("done", RESULT, 3)


def test_other_prompts_are_refused_unless_tracking_anew_is_asked_for(queue: Queue) -> None:
    queue.add([job("a")])
    queue.finish(queue.claim("one").number, "one", RESULT)
    with pytest.raises(BatchError, match="already with other prompts"):
        queue.add([job("new"), job("a", "50")])
    assert states(queue) == {"a": "done"}  # all or nothing
    assert queue.add([job("a", "50")], again=True) == 1
    row = queue.claim("one")
    assert row.anew and row.job.settings.end == "50"
    queue.beat(row.number, "one", 1, 50)  # its first frame took the place of what was there
    queue.lost("one")
    assert not queue.claim("two").anew


def test_another_format_is_written_without_tracking_again(queue: Queue) -> None:
    queue.add([job("a")])
    queue.finish(queue.claim("one").number, "one", RESULT)
    assert queue.add([job("a", None, "coco")]) == 1
    row = queue.claim("one")
    assert not row.anew and row.job.exports[0].format == "coco"
    queue.finish(row.number, "one", RESULT.model_copy(update={"seconds": 0.0}))
    [done] = queue.rows()
    assert done.result.seconds == RESULT.seconds  # tracking took what it took


def test_exports_are_written_again_of_what_is_done(queue: Queue) -> None:
    queue.add([job("a", None, "coco"), job("b")])
    assert not queue.export_again(1)  # it isn't done yet
    row = queue.claim("one")
    queue.wrote(row.number, "one", "coco", "as it was")
    queue.finish(row.number, "one", RESULT)
    assert next(queue.rows("done")).written == {"coco": "as it was"}
    assert queue.export_again(1)
    assert queue.claim("two", number=2).job.name == "b"
    row = queue.claim("two", number=1)
    assert (row.job.name, row.written, row.result) == ("a", {}, RESULT)  # it knows that it was tracked
    assert queue.claim("two", number=1) is None


def test_who_looks_sees_a_part_and_never_writes(queue: Queue) -> None:
    queue.add(job(f"Clip {number}") for number in range(250))
    queue.fail(queue.claim("one").number, "one", "broken")
    queue.claim("gone", lease=-1)
    with Queue(queue.path, read_only=True) as looks:
        assert [row.job.name for row in itertools.islice(looks.rows(skip=120), 2)] == ["Clip 120", "Clip 121"]
        assert [row.job.name for row in looks.rows(skip=245)] == [f"Clip {number}" for number in range(245, 250)]
        assert [row.job.name for row in looks.rows("failed", "running")] == ["Clip 0", "Clip 1"]
        assert [row.job.name for row in looks.rows(search="clip 24", after=247)] == ["Clip 247", "Clip 248", "Clip 249"]
        assert [row.silent for row in looks.rows(after=1)][:2] == [True, False]
        with pytest.raises(BatchError, match="readonly"):
            looks.add([job("new")])
    with pytest.raises(BatchError, match="no batch"):
        Queue(queue.path.with_name("nothing.sqlite"), read_only=True)


def test_which_shots_have_no_prompt_may_change(queue: Queue) -> None:
    queue.add([job("a")])
    queue.finish(queue.claim("one").number, "one", RESULT)
    told = job("a").model_copy(update={"unprompted": {"a_shot02": (5, 9)}})
    assert queue.add([told]) == 0
    assert [(row.job, row.state) for row in queue.rows()] == [(told, "done")]


def test_a_job_of_a_silent_worker_is_taken_over_and_the_old_one_told(queue: Queue) -> None:
    queue.add([job("a")])
    row = queue.claim("gone", lease=-1)
    again = queue.claim("next")
    assert again.number == row.number and again.attempts == 2
    assert not queue.beat(row.number, "gone", 5, 9)
    queue.finish(row.number, "gone", RESULT)  # too late: it is somebody else's
    assert states(queue) == {"a": "running"}
    assert queue.beat(row.number, "next", 5, 9)


def test_a_video_that_kills_its_workers_comes_last_and_fails_alone(queue: Queue) -> None:
    queue.add([job("deadly"), job("good")])
    assert queue.claim("worker").job.name == "deadly"
    queue.lost("worker")
    assert queue.claim("worker").job.name == "good"
    for turn in range(1, MOST_STUCK):
        row = queue.claim(f"worker {turn}")
        assert (row.job.name, row.attempts, row.retried, row.reason) == (
            "deadly",
            turn + 1,
            True,
            "The process that worked on it died.",
        )
        queue.lost(f"worker {turn}")
    assert states(queue) == {"deadly": "failed", "good": "running"}
    assert "died 3 times" in next(queue.rows("failed")).reason
    assert queue.retry() == 1 and states(queue)["deadly"] == "waiting"
    assert next(queue.rows("waiting")).retried


def test_a_video_that_kills_everything_with_it_is_not_tried_without_end(queue: Queue) -> None:
    queue.add([job("deadly"), job("good")])
    for turn in range(MOST_STUCK):
        row = queue.claim("worker")
        assert row.job.name == "deadly"
        queue.beat(row.number, "worker", 0, 9)
        queue.abandoned()
        if turn == 0:
            row = queue.claim("worker")
            assert row.job.name == "good"
            queue.finish(row.number, "worker", RESULT)
    assert states(queue) == {"deadly": "failed", "good": "done"}


def test_a_batch_may_be_killed_early_many_times(queue: Queue) -> None:
    queue.add([job("slow to load")])
    for _ in range(MOST_STUCK_EARLY - 1):
        row = queue.claim("worker")
        queue.beat(row.number, "worker")  # alive, but tracking hasn't begun
        queue.abandoned()
    assert states(queue) == {"slow to load": "waiting"}
    queue.claim("worker")
    queue.abandoned()
    assert states(queue) == {"slow to load": "failed"}


@pytest.mark.parametrize("end", ["lost", "abandoned"])
def test_workers_may_die_as_often_as_they_like_while_frames_are_done(queue: Queue, end: str) -> None:
    queue.add([job("long")])
    for turn in range(4 * MOST_STUCK):
        row = queue.claim("worker")
        queue.beat(row.number, "worker", turn + 1, 100)
        queue.lost("worker") if end == "lost" else queue.abandoned()
    assert states(queue) == {"long": "waiting"}


def test_what_the_user_stopped_was_not_tried_in_vain(queue: Queue) -> None:
    queue.add([job("a")])
    for _ in range(2 * MOST_STUCK):
        queue.release(queue.claim("one").number, "one")
    [row] = queue.rows()
    assert (row.state, row.attempts, row.retried) == ("waiting", 0, False)
    queue.stuck(queue.claim("one").number, "one", "somebody has its project open")
    [row] = queue.rows()
    assert (row.state, row.retried, row.reason) == ("waiting", True, "somebody has its project open")
    queue.finish(queue.claim("one").number, "one", RESULT)
    [row] = queue.rows()
    assert (row.state, row.attempts, row.retried, row.reason) == ("done", 2, True, None)


def test_many_claim_at_once_and_nobody_gets_the_same(tmp_path: Path) -> None:
    path = tmp_path / "batch.sqlite"
    with Queue(path) as queue:
        queue.add(job(f"clip {number}") for number in range(60))
    claimed: list[str] = []

    def work(name: str) -> None:
        with Queue(path) as own:
            while row := own.claim(name, lease=3600):
                claimed.append(row.job.name)
                own.finish(row.number, name, RESULT)

    workers = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(f"clip {number}" for number in range(60))
    with Queue(path) as queue:
        assert queue.counts()["done"] == 60


def test_a_file_that_is_no_queue_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="no batch"):
        Queue(tmp_path / "batch.sqlite", make=False)
    (tmp_path / "text.sqlite").write_text("not a database at all, but long enough to look at" * 20)
    with pytest.raises(BatchError, match="can't be used"):
        Queue(tmp_path / "text.sqlite")
    with Queue(tmp_path / "damaged.sqlite") as queue:
        queue.add([job("a")])
    with sqlite3.connect(tmp_path / "damaged.sqlite") as database:
        database.execute("UPDATE job SET asked = '{'")
    with Queue(tmp_path / "damaged.sqlite") as queue, pytest.raises(BatchError, match="damaged"):
        queue.claim("one")
