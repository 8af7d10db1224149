"""Fixtures for all tests: the packaged clip, a small real clip, and makers of small videos with known frames."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from PIL import Image

# The same examples in every run: a change passes or fails by what it does, not by luck.
settings.register_profile("masklet", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("masklet")
if hasattr(providers, "_get_local_constants"):
    # Hypothesis would draw constants, too, from those modules of ours that are imported so far: others in every run.
    providers._get_local_constants = lambda: providers._local_constants

# One thread for each test and each process that a test begins: threads of small operations mostly wait for each other,
# and bits depend on how many add them up. PyTorch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that runs the suite in the background has it ignore Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
BITS = 8


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end, so nobody need look through it for garbage again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow modules first: they are shared out whole, and no process shall wait for a long one in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def bunny_clip() -> Path:
    """The packaged demo clip: 100 frames of 1280×720 at 25 frames/s with sound; see its README for prompts."""
    return ROOT / "src" / "masklet" / "data" / "bunny.mp4"


@pytest.fixture(scope="session")
def clip_256_frames() -> list[np.ndarray]:
    """48 frames of a real clip, 256×256 uint8 RGB (the clip that the parity goldens were made from)."""
    folder = ROOT / "tests" / "parity" / "goldens" / "clip_256"
    return [np.array(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]


def numbered_picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A uint8 RGB picture that says which one it is: a moving square on a gradient, and its number in black and white
    bars along the lower quarter, which survive lossy codecs. `number_in` reads them."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(40, 200, width).astype(np.uint8)
    picture[..., 2] = np.linspace(60, 180, height).astype(np.uint8)[:, None]
    side = max(1, height // 4)
    left = number * 3 % max(1, width - side)
    picture[height // 8 : height // 8 + side, left : left + side] = (240, 220, 40)
    for bit in range(BITS):
        bar = slice(bit * width // BITS, (bit + 1) * width // BITS)
        picture[height * 3 // 4 :, bar] = 235 if number >> bit & 1 else 20
    return picture


def number_in(picture: np.ndarray) -> int:
    """The number of a (decoded, perhaps lossy) picture from `numbered_picture`."""
    height, width = picture.shape[:2]
    row = picture[height * 7 // 8].mean(axis=-1)
    centers = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centers) if row[x] > 128)


class VideoMaker:
    """Makes small videos in a folder. Frame n of each shows `numbered_picture(n)`, unless pictures are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(
        self,
        name: str,
        codec: str = "libx264",
        *,
        count: int = 30,
        size: tuple[int, int] = (96, 64),
        rate: Fraction | int = 25,
        pixel_format: str = "yuv420p",
        options: dict[str, str] | None = None,
        ticks: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        pictures: Iterable[np.ndarray] | None = None,
        planes: Callable[[int], av.VideoFrame] | None = None,
        display: tuple[float, bool, bool] | None = None,
        sound: str | None = None,
        context: dict[str, Any] | None = None,
        container: str | None = None,
    ) -> Path:
        """A video by FFmpeg's names of things.

        Args:
            ticks, time_base: time stamps of the frames.
            pictures: uint8 RGB; planes: a function that gives frame n in the codec's own pixel format.
            display: (degrees counter-clockwise, mirrored left-right, mirrored top-bottom) for the display matrix.
            sound: audio encoder; a 440 Hz tone as long as the pictures.
            context: attributes of the codec context (colour tags and the like).
        """
        path = self.folder / name
        with av.open(str(path), "w", format=container) as output:
            stream: Any = output.add_stream(codec, rate=rate, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pixel_format
            stream.codec_context.thread_count = 1
            for key, value in (context or {}).items():
                setattr(stream.codec_context, key, value)
            clock = time_base or 1 / Fraction(rate)
            stream.codec_context.time_base = clock
            if display is not None:
                if not hasattr(stream, "set_display_rotation"):
                    pytest.skip("this PyAV can't write a display matrix")
                stream.set_display_rotation(*display)
            tone = self._add_tone(output, sound) if sound else None
            images = iter(pictures) if pictures is not None else None
            for number in range(count):
                if planes is not None:
                    frame = planes(number)
                else:
                    image = next(images) if images is not None else numbered_picture(number, *size)
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = ticks[number] if ticks is not None else number
                frame.time_base = clock
                for packet in stream.encode(frame):
                    output.mux(packet)
            for packet in stream.encode(None):
                output.mux(packet)
            if tone is not None:
                last = ticks[count - 1] if ticks is not None else count - 1
                self._write_tone(output, tone, float(last * clock + 1 / Fraction(rate)))
        return path

    @staticmethod
    def _add_tone(output: Any, encoder: str) -> Any:
        return output.add_stream(encoder, rate=48000, layout="stereo")

    @staticmethod
    def _write_tone(output: Any, stream: Any, seconds: float) -> None:
        samples = np.arange(round(seconds * 48000))
        wave = (0.3 * np.sin(2 * np.pi * 440 / 48000 * samples)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            piece = np.ascontiguousarray(np.stack([wave[start : start + 1024]] * 2))
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            for part in av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=48000).resample(
                frame
            ):
                for packet in stream.encode(part):
                    output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)

    def long_gop(self, name: str = "long_gop.mp4", count: int = 90, gop: int = 40, **more: Any) -> Path:
        """H.264 with B-frames and few key frames."""
        params = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=3:b-pyramid=normal:b-adapt=0"
        return self.make(name, count=count, options={"preset": "fast", "x264-params": params}, **more)

    def variable_rate(self, name: str = "vfr.mp4") -> tuple[Path, list[Fraction]]:
        """Uneven time stamps on a 90 kHz clock; returns them too."""
        ticks = np.cumsum([0, 3003, 3003, 9009, 1501, 1502, 45045, 3003, 6006, 3003, 90090, 3003, 4504]).tolist()
        clock = Fraction(1, 90000)
        path = self.make(name, count=len(ticks), ticks=ticks, time_base=clock, rate=30)
        return path, [tick * clock for tick in ticks]

    def rotated(self, name: str = "rotated.mp4", degrees: float = 90, mirrored: bool = False) -> Path:
        """H.264 with a display matrix (degrees counter-clockwise)."""
        return self.make(name, count=8, display=(degrees, mirrored, False))

    def ten_bit(self, name: str = "ten_bit.mkv") -> Path:
        """10-bit H.265."""
        return self.make(
            name, "libx265", count=8, pixel_format="yuv420p10le", options={"x265-params": "log-level=none:cutree=0"}
        )

    def motion_jpeg(self, name: str = "mjpeg.avi") -> Path:
        """Motion JPEG: full range, every frame a key frame."""
        return self.make(name, "mjpeg", count=12, pixel_format="yuvj420p", options={"qmin": "1", "qmax": "2"})

    def gif(self, name: str = "moving.gif") -> Path:
        """An animated GIF at 10 frames/s."""
        images = [Image.fromarray(numbered_picture(n)).quantize(64) for n in range(10)]
        images[0].save(self.folder / name, save_all=True, append_images=images[1:], duration=100, loop=0)
        return self.folder / name

    def interlaced(self, name: str = "interlaced.mp4") -> Path:
        """H.264 coded as two fields per frame."""
        return self.make(name, count=8, options={"x264-params": "interlaced=1:tff=1:keyint=4"})

    def with_sound(self, name: str = "sound.mp4", sound: str = "aac", count: int = 50) -> Path:
        """H.264 and a tone of the same length."""
        return self.make(name, count=count, sound=sound)

    def sequence(
        self, pattern: str = "shot.{:04d}.png", numbers: Iterable[int] = range(1, 7), size: tuple[int, int] = (96, 64)
    ) -> list[Path]:
        """Pictures `numbered_picture(number)` under `pattern.format(number)`."""
        paths = []
        for number in numbers:
            path = self.folder / pattern.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(numbered_picture(number, *size)).save(path)
            paths.append(path)
        return paths


@pytest.fixture
def make_video(tmp_path: Path) -> VideoMaker:
    """A `VideoMaker` in the test's own folder."""
    return VideoMaker(tmp_path)


@pytest.fixture(scope="session")
def session_video_maker(tmp_path_factory: pytest.TempPathFactory) -> VideoMaker:
    """A `VideoMaker` whose files live as long as the test run, for videos that several tests read."""
    return VideoMaker(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def numbered() -> Callable[..., np.ndarray]:
    """`numbered_picture(number, width, height)`."""
    return numbered_picture


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    """`number_in(picture)`."""
    return number_in
