"""Objects that a detector finds, here by OpenCV's background subtraction, which needs no weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from masklet.errors import InputError
from masklet.jobs import detectors
from masklet.jobs.detectors import Detection, DetectorSettings, detect, load_detector, new_objects, scheduled
from masklet.jobs.table import read_jobs
from masklet.jobs.work import run_job
from masklet.media import open_media
from masklet.project import Project
from masklet.runs.request import TrackRequest

WALKERS = ((0, 6), (4, 40))  # first frame, and row, of two squares that go right


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, demo_images: np.ndarray, clip_writer) -> Path:
    """A still background, over which first one and then a second square of the demo's picture goes."""
    images = np.repeat(demo_images[:1] // 2, 10, axis=0)
    for first, row in WALKERS:
        for t in range(first, 10):
            images[t, row : row + 26, 10 + 6 * (t - first) : 36 + 6 * (t - first)] = (250, 220, 60 + row)
    return clip_writer(tmp_path_factory.mktemp("walk") / "walk.mp4", images)


@pytest.fixture
def moving(demo_images: np.ndarray):
    """A detector of what is in front of the background."""
    subtractor = cv2.createBackgroundSubtractorMOG2(detectShadows=False)
    for _ in range(20):
        subtractor.apply(demo_images[0] // 2)

    def find(image_hwc: np.ndarray):
        front = cv2.medianBlur(subtractor.apply(image_hwc, learningRate=0), 5)
        for contour in cv2.findContours(front, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
            x, y, width, height = cv2.boundingRect(contour)
            if width * height > 200:
                yield (x, y, x + width, y + height), "walker", 0.9

    return find


def masks(path: Path) -> dict[tuple[str, int], dict]:
    with Project.open(path, read_only=True) as project:
        return {
            (known.name, frame): project.mask(frame, known.id).rle
            for known in project.objects()
            for frame in project.tracked_frames(known.id)
        }


def test_moving_things_are_found_tracked_and_come_in_later(walk: Path, moving, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(detectors, "load_detector", lambda name: moving)
    settings = DetectorSettings(detector="moving", every="5")
    request = TrackRequest(source=str(walk), resolution=128)
    report = detectors.track_detected(tmp_path / "whole.masklet", request, settings)
    assert report.complete
    whole = masks(tmp_path / "whole.masklet")
    assert sorted({(name, min(t for n, t in whole if n == name)) for name, _ in whole}) == [
        ("walker 1", 0),
        ("walker 2", 5),
    ]
    with Project.open(tmp_path / "whole.masklet") as project:
        assert {known.category for known in project.objects()} == {"walker"}

    # Stopped after any frame and gone on with, it ends with the same masks.
    for stop in (2, 7):
        path, seen = tmp_path / f"{stop}.masklet", []

        def stopped(seen: list[int] = seen, stop: int = stop) -> bool:
            seen.append(1)
            return len(seen) >= stop

        assert not detectors.track_detected(path, request, settings, stopped=stopped).complete
        assert detectors.track_detected(path, request, settings, resume=True).complete
        assert masks(path) == whole
    limit = DetectorSettings(detector="moving", every="5", max_objects=1)
    detectors.track_detected(tmp_path / "one.masklet", request, limit)
    assert {name for name, _ in masks(tmp_path / "one.masklet")} == {"walker 1"}


def test_nothing_found_is_told_and_leaves_nothing(walk: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(detectors, "load_detector", lambda name: lambda image: [])
    with pytest.raises(InputError, match="found nothing on 2 frames"):
        detectors.track_detected(
            tmp_path / "p.masklet", TrackRequest(source=str(walk)), DetectorSettings(detector="none", every="5")
        )
    assert not (tmp_path / "p.masklet").exists()


def test_known_objects_and_second_boxes_are_not_new() -> None:
    found = [Detection(box, "car", 0.9) for box in ((0, 0, 10, 10), (20, 0, 30, 10), (20, 0, 30, 11), (1, 0, 11, 10))]
    assert new_objects(found, [(1, 1, 10, 10)], 0.3) == [found[1]]


def test_boxes_are_cut_and_weak_ones_left_out() -> None:
    image, settings = np.zeros((20, 30, 3), np.uint8), DetectorSettings(detector="d")
    given = [((-5, 2, 8, 9), "a", 0.5), ((0, 0, 5, 5), "b", 0.1), ((40, 0, 50, 5), "c", 0.9)]
    assert detect(lambda image: given, image, settings) == [Detection((0, 2, 8, 9), "a", 0.5)]
    with pytest.raises(InputError, match="the detector d failed"):
        detect(lambda image: [1], image, settings)


def test_the_schedule_is_in_seconds_or_frames(clip: Path) -> None:
    with open_media(clip) as reader:
        assert scheduled(reader, range(8), "0.12s") == [0, 3, 6]
        assert scheduled(reader, range(2, 8), "4") == [2, 6]
        with pytest.raises(InputError, match="distance in time"):
            scheduled(reader, range(8), "often")


def test_detectors_are_found_by_module_and_mistakes_are_told() -> None:
    assert load_detector("math:hypot").__name__ == "hypot"
    assert load_detector("unittest.mock:Mock") is not load_detector(
        "unittest.mock:Mock"
    )  # a class is called for every video
    for name in ("nowhere_at_all:f", "math:nothing", "math:pi", "nonsense"):
        with pytest.raises(InputError):
            load_detector(name)


def test_a_batch_takes_boxes_and_detectors(walk: Path, tmp_path: Path, moving, monkeypatch) -> None:
    (tmp_path / "det.txt").write_text("3,7,10,5,30,30,1,-1,-1,-1\n")
    table = tmp_path / "jobs.csv"
    table.write_text(f"video,name,boxes,detector,end\n{walk},boxes,det.txt,,3\n{walk},found,,math:hypot,2\n")
    boxes, found = read_jobs(table)
    assert [(prompt.object, prompt.frame) for prompt in boxes.prompts] == [("7", "2")]
    monkeypatch.setattr(detectors, "load_detector", lambda name: moving)
    assert run_job(found, tmp_path).frames == 3
    assert run_job(found, tmp_path).frames == 3  # nothing is left to do
