"""Writing videos: what comes back, time stamps, tags, alpha, sound, and that nothing half-written stays."""

from __future__ import annotations

import gc
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masklet.errors import InputError, MediaError
from masklet.media import CODECS, ColorInfo, VideoWriter, open_media

ALL = {
    "h264": "mp4",
    "h265": "mp4",
    "prores4444": "mov",
    "prores422": "mov",
    "vp9": "webm",
    "ffv1": "mkv",
}


def write(path: Path, pictures, times=None, **options) -> Path:
    height, width = pictures[0].shape[:2]
    options.setdefault("rate", 25)
    with VideoWriter(path, width, height, **options) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, None if times is None else times[number])
    return path


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def soft_circle(width: int, height: int, center: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - center, y - height / 2)
    return np.clip((height / 3 - distance) * 40 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("codec", ALL)
def test_every_codec_comes_back(codec, clip_256_frames, tmp_path):
    pictures = clip_256_frames[:12]
    path = write(tmp_path / f"out.{ALL[codec]}", pictures, codec=codec, alpha=False, rate=Fraction(30000, 1001))
    with open_media(path, exact_color=True) as reader:
        info = reader.info
        assert (info.frame_count, info.width, info.height) == (12, 256, 256)
        assert (info.rate, info.variable_rate) == (Fraction(30000, 1001), False)
        assert info.duration == pytest.approx(12 * 1.001 / 30, abs=0.002)
        got = [f.image_hwc for f in reader.frames()]
        if CODECS[codec].lossless:
            assert all(np.array_equal(a, b) for a, b in zip(got, pictures, strict=True))
        else:
            assert (info.color.matrix, info.color.range) == ("bt709", "limited")
            assert (info.color.primaries, info.color.transfer) == ("bt709", "bt709")
            assert min(psnr(a, b) for a, b in zip(got, pictures, strict=True)) > 30
        means = [float(a.mean() - b.mean()) for a, b in zip(got, pictures, strict=True)]
        assert abs(np.mean(means)) < 1  # neither matrix nor range is off
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("codec", [codec for codec in ALL if codec != "prores422"])
@pytest.mark.parametrize("size", [(97, 63), (33, 64), (98, 17)])
def test_odd_sizes_stay_what_they_are(codec, size, numbered, tmp_path):
    pictures = [numbered(n, *size) for n in range(3)]
    path = write(tmp_path / f"odd.{ALL[codec]}", pictures, codec=codec, alpha=False, quality=90)
    with open_media(path) as reader:
        assert (reader.info.width, reader.info.height, len(reader)) == (*size, 3)
        assert psnr(reader.read(2).image_hwc, pictures[2]) > 24


@pytest.mark.parametrize("codec", ["h264", "ffv1", "vp9"])
def test_one_pixel(codec, tmp_path):
    pictures = [np.full((1, 1, 3), value, np.uint8) for value in (10, 200)]
    path = tmp_path / f"dot.{ALL[codec]}"
    try:
        write(path, pictures, codec=codec, alpha=False)
    except MediaError as error:
        assert "1×1" in str(error)
        assert not list(tmp_path.iterdir())
    else:
        with open_media(path) as reader:
            assert (reader.info.width, reader.info.height, len(reader)) == (1, 1, 2)
            assert abs(int(reader.read(1).image_hwc[0, 0, 0]) - 200) < 12


def test_the_input_of_a_mask_stays_black_and_white(tmp_path):
    mask = np.zeros((64, 96, 3), np.uint8)
    mask[16:48, 32:64] = 255
    path = write(tmp_path / "matte.mp4", [mask] * 4, quality=90)
    with open_media(path, exact_color=True) as reader:
        got = reader.read(3).image_hwc
    assert got[8, 8].max() <= 1 and got[32, 48].min() >= 254
    assert np.array_equal(got[..., 1] > 127, mask[..., 1] > 127)


# Tags


@pytest.mark.parametrize(
    "color", [ColorInfo("smpte170m", "smpte170m", "smpte170m", "limited"), ColorInfo("bt709", "bt709", "bt709", "full")]
)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_sources_tags_survive_and_are_true(color, suffix, clip_256_frames, tmp_path):
    path = write(tmp_path / f"tags.{suffix}", clip_256_frames[:3], color=color, quality=95)
    with open_media(path, exact_color=True) as reader:
        assert reader.info.color == color
        # Had other numbers been written than the tags say, colours would shift by much more.
        got = reader.read(1).image_hwc
        assert psnr(got, clip_256_frames[1]) > 34
        assert np.abs((got.astype(float) - clip_256_frames[1]).mean(axis=(0, 1))).max() < 0.8


def test_hdr_tags_are_not_passed_on(clip_256_frames, tmp_path):
    hdr = ColorInfo("bt2020", "smpte2084", "bt2020nc", "limited")
    path = write(tmp_path / "sdr.mp4", clip_256_frames[:2], color=hdr)
    assert open_media(path).info.color == ColorInfo("bt709", "bt709", "bt709", "limited")


def test_pixel_aspect_and_metadata(numbered, tmp_path):
    path = write(tmp_path / "wide.mp4", [numbered(0)], pixel_aspect=Fraction(16, 11), metadata={"title": "Bunny"})
    assert open_media(path).info.pixel_aspect == Fraction(16, 11)
    with av.open(str(path)) as container:
        assert container.metadata["title"] == "Bunny"


def test_h265_can_be_played_by_apple(numbered, tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(0)], codec="h265")
    assert b"hvc1" in path.read_bytes()


def test_mp4_begins_with_its_index(numbered, tmp_path):
    data = write(tmp_path / "a.mp4", [numbered(0)]).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # so that browsers can start at once


# Time stamps


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_variable_rate_is_kept_exactly(suffix, make_video, tmp_path, read_number):
    path, times = make_video.variable_rate()
    with open_media(path) as source:
        copy = tmp_path / f"copy.{suffix}"
        with VideoWriter(copy, 96, 64, source.info.rate, time_base=source.time_base) as writer:
            for frame in source.frames():
                writer.write(frame.image_hwc, frame.time)
    with open_media(copy) as reader:
        assert [reader.time_of(i) for i in range(len(reader))] == times
        assert [read_number(f.image_hwc) for f in reader.frames()] == list(range(len(times)))


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", "mkv"), ("vp9", "webm")])
def test_matroska_keeps_milliseconds(codec, suffix, make_video, tmp_path):
    path, times = make_video.variable_rate()
    with open_media(path) as source:
        pictures = [f.image_hwc for f in source.frames()]
        clock = source.time_base
    copy = write(tmp_path / f"copy.{suffix}", pictures, times, codec=codec, alpha=False, time_base=clock)
    with open_media(copy) as reader:
        assert all(abs(reader.time_of(i) - t) <= Fraction(1, 2000) for i, t in enumerate(times))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    steps=st.lists(st.integers(1, 20000), min_size=1, max_size=20),
    clock=st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1001, 30000), Fraction(1, 600)]),
)
def test_any_time_stamps_come_back_in_mp4(steps, clock, tmp_path):
    ticks = np.cumsum([0, *steps]).tolist()
    picture = np.zeros((16, 16, 3), np.uint8)
    path = write(tmp_path / "t.mp4", [picture] * len(ticks), [t * clock for t in ticks], time_base=clock, rate=30)
    with open_media(path) as reader:
        assert [reader.time_of(i) for i in range(len(reader))] == [t * clock for t in ticks]


def test_times_without_a_clock_are_kept_to_a_ninety_thousandth(tmp_path, numbered):
    times = [0, 0.04, 0.1, 0.5, 1.25]
    path = write(tmp_path / "t.mp4", [numbered(n) for n in range(5)], times)
    with open_media(path) as reader:
        assert [float(reader.time_of(i)) for i in range(5)] == pytest.approx(times, abs=1 / 90000)


def test_times_must_advance(tmp_path, numbered):
    with pytest.raises(InputError, match="later"), VideoWriter(tmp_path / "t.mp4", 96, 64, 25) as writer:
        writer.write(numbered(0), 0.0)
        writer.write(numbered(1), 0.0)
    with pytest.raises(InputError, match="every frame"), VideoWriter(tmp_path / "t.mp4", 96, 64, 25) as writer:
        writer.write(numbered(0), 0.0)
        writer.write(numbered(1))
    assert not list(tmp_path.iterdir())


# Alpha


def alpha_plane(frame: av.VideoFrame) -> np.ndarray:
    """Alpha 0–255 from the decoder's own plane (FFmpeg's conversion from 12 bits doesn't round)."""
    if frame.format.name == "bgra":
        return frame.to_ndarray()[..., 3]
    bits = frame.format.components[3].bits
    plane = frame.planes[3]
    row = np.frombuffer(bytes(plane), np.uint16 if bits > 8 else np.uint8).reshape(frame.height, -1)
    return np.rint(row[:, : frame.width] * (255 / (2**bits - 1))).astype(np.uint8)


@pytest.mark.parametrize(("codec", "mean", "worst"), [("ffv1", 0, 0), ("prores4444", 0, 0), ("vp9", 0.2, 40)])
def test_alpha_comes_back(codec, mean, worst, clip_256_frames, tmp_path):
    """Exactly where the codec is lossless (ProRes keeps alpha so too), and within a stated error in VP9."""
    alphas = [soft_circle(256, 256, 90 + 10 * n) for n in range(6)]
    pictures = [np.dstack([c, a]) for c, a in zip(clip_256_frames, alphas, strict=False)]
    path = write(tmp_path / f"cut.{ALL[codec]}", pictures, codec=codec)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if codec == "vp9":  # FFmpeg's own decoder leaves alpha out
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            frames = [f for packet in container.demux(stream) if packet.size for f in decoder.decode(packet)]
            frames += decoder.decode(None)
        else:
            frames = list(container.decode(stream))
        got = [(f.reformat(format="rgba").to_ndarray(), alpha_plane(f)) for f in frames]
    assert len(got) == 6
    for (image, opacity), picture, alpha in zip(got, pictures, alphas, strict=True):
        error = np.abs(opacity.astype(int) - alpha)
        assert error.max() <= worst and error.mean() <= mean
        inside = alpha == 255
        if codec == "ffv1":
            assert np.array_equal(image, picture)
        else:
            assert psnr(image[inside][:, :3], picture[inside][:, :3]) > 28


def test_browsers_are_told_of_alpha_in_webm(numbered, tmp_path):
    opaque = np.full((64, 96, 1), 255, np.uint8)
    path = write(tmp_path / "a.webm", [np.dstack([numbered(n), opaque]) for n in range(3)], codec="vp9")
    with av.open(str(path)) as container:
        assert (
            container.streams.video[0].metadata.get("alpha_mode", container.streams.video[0].metadata.get("ALPHA_MODE"))
            == "1"
        )


def test_rgb_into_an_alpha_codec_is_opaque_and_deep_pictures_are_taken(numbered, tmp_path):
    path = write(tmp_path / "a.mkv", [numbered(n) for n in range(2)], codec="ffv1")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).reformat(format="rgba").to_ndarray()[..., 3].min() == 255
    ramp = np.broadcast_to(np.linspace(0, 65535, 96).astype(np.uint16)[None, :, None], (64, 96, 4)).copy()
    path = write(tmp_path / "deep.mov", [ramp] * 2, codec="prores4444")
    with av.open(str(path)) as container:
        alpha = next(container.decode(video=0)).reformat(format="rgba64le").to_ndarray()[..., 3]
    assert np.abs(alpha.astype(int) - ramp[..., 3]).max() < 130  # finer than 8 bits (257)


def test_alpha_where_there_is_none_is_refused(numbered, tmp_path):
    rgba = np.dstack([numbered(0), numbered(0)[..., :1]])
    with pytest.raises(InputError, match="no alpha"), VideoWriter(tmp_path / "a.mp4", 96, 64, 25) as writer:
        writer.write(rgba)
    with pytest.raises(InputError, match="no alpha channel"):
        VideoWriter(tmp_path / "a.mp4", 96, 64, 25, alpha=True)
    with pytest.raises(MediaError, match="webm"):
        VideoWriter(tmp_path / "a.mp4", 96, 64, 25, codec="vp9", alpha=True)
    assert not list(tmp_path.iterdir())


# Refusals and failures


@pytest.mark.parametrize(
    ("name", "options", "error", "match"),
    [
        ("a.mp4", {"codec": "realvideo"}, MediaError, "no codec 'realvideo'; use h264"),
        ("a.mp4", {"codec": "prores4444"}, MediaError, r"prores4444 can't be put into \.mp4.*\.mov"),
        ("a.webm", {"codec": "h264"}, MediaError, r"\.webm"),
        ("a", {}, MediaError, "without suffix"),
        ("a.mp4", {"rate": 0}, InputError, "rate"),
        ("a.mp4", {"quality": 101}, InputError, "quality"),
        ("a.mp4", {"speed": "warp"}, InputError, "speed"),
        ("a.mp4", {"width": 0}, InputError, "0×64"),
        ("a.mp4", {"width": 99999}, InputError, "99999"),
        ("a.mp4", {"width": 97, "pixel_format": "yuv420p"}, InputError, "even sides"),
        ("a.mov", {"width": 97, "codec": "prores422"}, InputError, "even width.*prores4444"),
        ("a.mp4", {"pixel_format": "rgb24"}, InputError, "yuv420p"),
        ("file/a.mp4", {}, MediaError, "folder"),
        ("taken.mp4", {}, MediaError, "is a folder"),
        ("old.mp4", {"overwrite": False}, MediaError, "exists already"),
        ("a.mp4", {"audio_from": "nowhere.wav"}, MediaError, "nowhere.wav"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(name, options, error, match, tmp_path):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "taken.mp4").mkdir()
    (tmp_path / "old.mp4").write_text("precious")
    arguments = {"width": 96, "height": 64, "rate": 25} | options
    with pytest.raises(error, match=match):
        VideoWriter(tmp_path / name, **arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "old.mp4", "taken.mp4"]
    assert (tmp_path / "old.mp4").read_text() == "precious"


def test_wrong_frames_are_refused(tmp_path, numbered):
    writer = VideoWriter(tmp_path / "a.mp4", 96, 64, 25)
    for bad in (
        numbered(0, 64, 96),
        numbered(0)[..., 0],
        numbered(0).astype(np.float32),
        np.zeros((64, 96, 2), np.uint8),
    ):
        with pytest.raises(InputError):
            writer.write(bad)
    writer.write(numbered(0))  # nothing is lost by that
    writer.commit()
    assert len(open_media(tmp_path / "a.mp4")) == 1


def test_the_file_appears_only_when_it_is_complete(tmp_path, numbered):
    path = tmp_path / "a.mp4"
    path.write_text("the one before")
    writer = VideoWriter(path, 96, 64, 25)
    for number in range(30):
        writer.write(numbered(number))
        assert path.read_text() == "the one before"
    assert writer.commit() == path
    assert len(open_media(path)) == 30
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(MediaError, match="finished"):
        writer.write(numbered(0))
    with pytest.raises(MediaError, match="finished"):
        writer.commit()


def test_errors_and_aborts_leave_nothing(tmp_path, numbered):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyError), VideoWriter(path, 96, 64, 25) as writer:
        writer.write(numbered(0))
        raise KeyError("the caller's own trouble")
    assert not list(tmp_path.iterdir())
    with VideoWriter(path, 96, 64, 25) as writer:
        writer.write(numbered(0))
        writer.abort()
    assert not list(tmp_path.iterdir())
    with pytest.raises(MediaError, match="no frame"), VideoWriter(path, 96, 64, 25):
        pass
    assert not list(tmp_path.iterdir())
    forgotten = VideoWriter(path, 96, 64, 25)
    forgotten.write(numbered(0))
    del forgotten
    gc.collect()
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, sys, numpy as np
from masklet.errors import MediaError
from masklet.media import VideoWriter, write_image
path, codec, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
random = np.random.default_rng(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if codec == "png":
        write_image(path, random.integers(0, 256, (256, 256, 3), np.uint8))
    else:
        with VideoWriter(path, 128, 128, 25, codec=codec, alpha=False, quality=95) as writer:
            for _ in range(20):
                writer.write(random.integers(0, 256, (128, 128, 3), np.uint8))
except MediaError as error:
    print("MediaError:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("name", ["a.mp4 h264", "a.mkv ffv1", "a.mov prores4444", "a.png png"])
def test_a_full_disk_is_reported_and_leaves_nothing(name, tmp_path):
    """The limit on file size makes writes fail in the middle, as a full disk does."""
    file, codec = name.split()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / file), codec, "100000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MediaError:" in done.stdout and file in done.stdout, done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
