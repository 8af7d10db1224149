"""Small clips and projects that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

DEMO = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"
CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES, CLIP_RATE = 128, 72, 8, 25


def write_clip(
    path: Path,
    images: np.ndarray,
    *,
    times: list[Fraction] | None = None,
    rate: int = CLIP_RATE,
    sound_from: Path | None = None,
) -> Path:
    """A video made with PyAV alone: FFV1 in Matroska, or H.264 in MP4 with the sound of another file."""
    lossless = path.suffix == ".mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1" if lossless else "libx264", rate=rate)
        video.width, video.height = images.shape[2], images.shape[1]
        video.pix_fmt = "bgr0" if lossless else "yuv420p"
        video.time_base = Fraction(1, 1000) if lossless else Fraction(1, 12800)
        if not lossless:
            video.options = {"crf": "12", "preset": "ultrafast"}
        source = av.open(str(sound_from)) if sound_from else None
        sound = container.add_stream_from_template(source.streams.audio[0]) if source else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = Fraction(index, rate) if times is None else times[index]
            frame.time_base = video.time_base
            frame.pts = round(seconds / video.time_base)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if source and sound:
            for packet in source.demux(source.streams.audio[0]):
                if packet.pts is not None and packet.pts * packet.time_base < len(images) / rate:
                    packet.stream = sound
                    container.mux(packet)
            source.close()
    return path


@pytest.fixture(scope="session")
def demo_images() -> np.ndarray:
    """Eight frames of the demo clip, uint8 (8, 72, 128, 3)."""
    with av.open(str(DEMO)) as container:
        images = []
        for index, frame in enumerate(container.decode(video=0)):
            if index % 4 == 0:
                small = frame.reformat(CLIP_WIDTH, CLIP_HEIGHT, format="rgb24")
                images.append(small.to_ndarray())
            if len(images) == CLIP_FRAMES:
                break
    return np.stack(images)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, demo_images: np.ndarray) -> Path:
    """Those frames as H.264 in MP4, 25 frames a second, with sound."""
    return write_clip(tmp_path_factory.mktemp("media") / "bunny cut.mp4", demo_images, sound_from=DEMO)


@pytest.fixture(scope="session")
def uneven_clip(tmp_path_factory: pytest.TempPathFactory, demo_images: np.ndarray) -> tuple[Path, list[Fraction]]:
    """Those frames without loss and unevenly spaced, with the time stamps."""
    times = [Fraction(ms, 1000) for ms in (0, 40, 80, 200, 240, 400, 440, 600)]
    return write_clip(tmp_path_factory.mktemp("media") / "uneven.mkv", demo_images, times=times), times


def moving_mask(frame: int, width: int = CLIP_WIDTH, height: int = CLIP_HEIGHT) -> np.ndarray:
    """An ellipse that goes right, with a hole and a separate speck."""
    y, x = np.mgrid[:height, :width]
    centre = 30 + 7 * frame
    mask = ((x - centre) / 18) ** 2 + ((y - 36) / 22) ** 2 <= 1
    mask &= ~(((x - centre) / 6) ** 2 + ((y - 30) / 5) ** 2 <= 1)
    mask[60:64, 4:9] = True
    return mask


def still_mask(frame: int, width: int = CLIP_WIDTH, height: int = CLIP_HEIGHT) -> np.ndarray:
    """A rectangle that touches the lower border and isn't there on frames 3 and 4."""
    mask = np.zeros((height, width), bool)
    if frame not in (3, 4):
        mask[50:height, 80:110] = True
    return mask


MASKS: dict[int, Callable[[int], np.ndarray]] = {1: moving_mask, 2: still_mask}


@pytest.fixture(scope="session")
def true_masks() -> dict[int, Callable[[int], np.ndarray]]:
    """For each object id a function from the frame to its mask, boolean (72, 128)."""
    return MASKS


@pytest.fixture(scope="session")
def clip_writer() -> Callable[..., Path]:
    """The function that makes videos with PyAV alone."""
    return write_clip


@pytest.fixture
def make_project(tmp_path: Path, clip: Path) -> Iterator[Callable[..., Any]]:
    """Makes projects with objects 1 "bunny" and 2 "rock", whose masks are in `MASKS`."""
    from masklet.masks import rle
    from masklet.project import Project
    from masklet.results import ObjectMask, Scores

    made = []

    def make(source: Path | None = None, frames: int = CLIP_FRAMES, name: str = "clip.masklet", **settings: Any) -> Any:
        project = Project.create(tmp_path / name, source or clip, **settings)
        made.append(project)
        with project.edit("Set up"):
            project.add_object(1, "bunny")
            project.add_object(2, "rock")
            project.add_prompt(0, 1, points=[(30, 50)])
            project.add_prompt(0, 2, box=(80, 50, 110, 72))
            records = []
            for frame in range(frames):
                for number, mask_of in MASKS.items():
                    mask = mask_of(frame)
                    records.append(
                        ObjectMask(
                            number,
                            frame,
                            rle.encode(mask),
                            scores=Scores(
                                object_score=5.5 if mask.any() else -3.25,
                                predicted_iou=0.875 - 0.25 * number / 2,
                                motion_score=None if frame < 2 else 0.5,
                            ),
                            lost=not mask.any(),
                            is_prompt=frame == 0,
                        )
                    )
            project.put_masks(records)
        return project

    yield make
    for project in made:
        project.close()
