"""Where a video is cut, and what is tracked in which shot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.jobs.job import JobPrompt, VideoJob
from masklet.jobs.shots import find_shots, shots_of, split_job
from masklet.media import open_media


@pytest.fixture
def cut_clip(tmp_path: Path, demo_images: np.ndarray, clip_writer) -> Path:
    """Four frames of the demo, and four of something else."""
    other = 255 - np.stack([np.roll(image[::-1], 40, axis=1) // 2 for image in demo_images[:4]])
    return clip_writer(tmp_path / "cut.mp4", np.concatenate([demo_images[:4], other]))


def test_a_cut_is_found_and_motion_is_none(cut_clip: Path, clip: Path) -> None:
    assert find_shots(str(cut_clip)) == [range(4), range(4, 8)]
    assert len(find_shots(str(clip))) == 1


def test_a_threshold_has_to_make_sense(cut_clip: Path) -> None:
    with open_media(cut_clip) as reader, pytest.raises(InputError, match="threshold"):
        shots_of(reader, 0)


def test_every_prompted_shot_becomes_a_job_and_the_others_are_told(cut_clip: Path) -> None:
    prompts = (
        JobPrompt(points=((30, 50), (34, 50))),
        JobPrompt(object="rock", frame="0.2s", box=(80, 50, 110, 72)),
    )
    job = VideoJob(name="film", source=str(cut_clip), prompts=prompts)
    first, second = split_job(job, [range(4), range(4, 6), range(6, 8)])
    assert [(made.name, made.settings.start, made.settings.end) for made in (first, second)] == [
        ("film_shot01", "0", "3"),
        ("film_shot02", "4", "5"),
    ]
    assert [[(p.object, p.frame, len(p.points)) for p in made.prompts] for made in (first, second)] == [
        [(None, "0", 2)],
        [("rock", "5", 0)],
    ]
    assert first.unprompted == {"film_shot03": (6, 7)} and not second.unprompted
    assert split_job(job, [range(8)]) == [job]


def test_a_detector_looks_at_every_shot(cut_clip: Path) -> None:
    job = VideoJob(name="film", source=str(cut_clip), detector={"detector": "math:hypot"})
    jobs = split_job(job, [range(4), range(4, 8)])
    assert [(made.name, made.settings.start, made.unprompted) for made in jobs] == [
        ("film_shot01", "0", {}),
        ("film_shot02", "4", {}),
    ]


def test_a_video_without_any_prompted_shot_is_told(cut_clip: Path) -> None:
    job = VideoJob(name="film", source=str(cut_clip), prompts=(JobPrompt(points=((30, 50),), frame="0"),))
    late = job.model_copy(update={"settings": job.settings.model_copy(update={"start": "4"})})
    with pytest.raises(InputError, match="no shot has a prompt"):
        split_job(late, [range(4), range(4, 8)])
