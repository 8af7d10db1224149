"""The worker: urgent before patient, the newest of a kind, and long work in steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from masklet.studio.problems import SupersededError
from masklet.studio.worker import Urgency, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.stop()


@pytest.fixture
def held(worker: Worker) -> Iterator[threading.Event]:
    """Holds the worker until it is set, so that a queue can form."""
    go = threading.Event()
    began = threading.Event()

    def hold() -> None:
        began.set()
        go.wait(30)

    worker.submit(hold, Urgency.PROMPT)
    assert began.wait(30)
    yield go
    go.set()


def test_the_most_urgent_first(worker: Worker, held: threading.Event) -> None:
    order: list[str] = []
    wanted = [Urgency.TRACK, Urgency.PREVIEW, Urgency.AHEAD, Urgency.PROMPT, Urgency.PROMPT]
    futures = [
        worker.submit(lambda n=n, urgency=urgency: order.append(f"{urgency.name}{n}"), urgency)
        for n, urgency in enumerate(wanted)
    ]
    held.set()
    for future in futures:
        future.result(30)
    assert order == ["PROMPT3", "PROMPT4", "PREVIEW1", "AHEAD2", "TRACK0"]


def test_a_newer_question_takes_the_place_of_one_that_waits(worker: Worker, held: threading.Event) -> None:
    done: list[int] = []
    futures = [worker.submit(lambda n=n: done.append(n), Urgency.PREVIEW, "hover") for n in range(5)]
    other = worker.submit(lambda: done.append(99), Urgency.PREVIEW, "another")
    held.set()
    futures[-1].result(30)
    other.result(30)
    assert done == [4, 99]
    for future in futures[:-1]:
        with pytest.raises(SupersededError):
            future.result(30)


def test_what_nobody_waits_for_is_not_done(worker: Worker, held: threading.Event) -> None:
    done: list[int] = []
    future = worker.submit(lambda: done.append(1), Urgency.PROMPT)
    assert future.cancel()
    held.set()
    worker.submit(lambda: None, Urgency.TRACK).result(30)
    assert done == []


def test_long_works_take_turns_and_let_urgent_work_in_between(worker: Worker, held: threading.Event) -> None:
    order: list[str] = []
    ended = threading.Event()
    prompts = []

    def long(name: str, count: int):
        left = [count]

        def step() -> bool:
            order.append(name)
            if name == "a" and left[0] == 2:
                prompts.append(worker.submit(lambda: order.append("click"), Urgency.PROMPT))
            left[0] -= 1
            if not left[0] and name == "a":
                ended.set()
            return bool(left[0])

        return step

    worker.steps(long("a", 3))
    worker.steps(long("b", 2))
    held.set()
    assert ended.wait(30)
    assert order == ["a", "b", "a", "click", "b", "a"]


def test_errors_belong_to_who_asked(worker: Worker) -> None:
    def wrong() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        worker.submit(wrong, Urgency.PROMPT).result(30)
    assert worker.submit(lambda: 7, Urgency.PROMPT).result(30) == 7


def test_when_it_is_stopped_nobody_waits_for_ever(worker: Worker, held: threading.Event) -> None:
    waiting = worker.submit(lambda: 1, Urgency.TRACK)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while not worker._stopped:
        pass
    held.set()
    stopping.join(30)
    with pytest.raises(SupersededError):
        waiting.result(30)
    with pytest.raises(SupersededError):
        worker.submit(lambda: 1, Urgency.PROMPT).result(30)
