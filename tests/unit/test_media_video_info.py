"""What is said about a video: time stamps, rate, rotation, pixel aspect, depth, interlacing."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.media import open_media
from masklet.media.orientation import Orientation
from masklet.media.video_index import EntryPoint, VideoIndex


def test_the_bunny_clip(bunny_clip):
    info = open_media(bunny_clip).info
    assert (info.kind, info.width, info.height, info.frame_count) == ("video", 1280, 720, 100)
    assert (info.rate, info.duration, info.variable_rate) == (25, 4, False)
    assert (info.codec, info.pixel_format, info.bit_depth) == ("h264", "yuv420p", 8)
    assert info.has_audio and info.rotation == 0 and info.pixel_aspect == 1 and not info.interlaced
    assert (info.color.matrix, info.color.range) == ("bt709", "limited")
    assert info.notes == ()


def test_variable_rate_goes_by_time_stamps(make_video, read_number):
    path, times = make_video.variable_rate()
    with open_media(path) as reader:
        assert reader.info.variable_rate
        assert [reader.time_of(i) for i in range(len(reader))] == times
        frames = list(reader.frames())
        assert [f.time for f in frames] == times
        assert [read_number(f.image_hwc) for f in frames] == list(range(len(times)))
        assert reader.info.rate == pytest.approx(float((len(times) - 1) / times[-1]), rel=1e-4)
        for index, time in enumerate(times):
            assert reader.index_at(time) == index
            if index:
                assert reader.index_at(time - Fraction(1, 500)) == index - 1
        assert all((time / reader.time_base).denominator == 1 for time in times)
        assert any("Variable" in note for note in reader.info.notes)


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(5, 2)]
)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_constant_rates_are_exact_even_where_time_stamps_are_rounded(rate, container, make_video):
    path = make_video.make(f"rate.{container}", count=40, rate=rate)
    with open_media(path) as reader:
        assert reader.info.rate == rate
        assert not reader.info.variable_rate
        assert abs(reader.time_of(39) - 39 / rate) <= reader.time_base
        assert reader.info.duration == pytest.approx(float(40 / rate), abs=0.002)
        assert all(reader.index_at(i / rate) == i for i in range(40))


def test_very_slow_videos(make_video):
    hours = [0, 3600, 10800, 90000]
    path = make_video.make("slow.mkv", count=4, ticks=[1000 * h for h in hours], time_base=Fraction(1, 1000))
    with open_media(path) as reader:
        assert [reader.time_of(i) for i in range(4)] == hours
        assert reader.info.variable_rate and reader.info.rate == Fraction(3, 90000)


def test_a_late_start_counts_from_zero(make_video):
    path = make_video.make("late.mkv", count=5, ticks=[5000, 5040, 5080, 5120, 5160], time_base=Fraction(1, 1000))
    with open_media(path) as reader:
        assert [reader.time_of(i) for i in range(5)] == [Fraction(i, 25) for i in range(5)]


def test_seconds_outside_are_refused(make_video):
    with open_media(make_video.long_gop(count=10)) as reader:
        assert reader.index_at(0) == 0
        assert reader.index_at(0.4) == 9  # the end belongs to the last frame
        assert reader.index_at(0.2) == 5  # 0.2 means a fifth, not the float below it
        assert reader.index_at("0.0799999") == 2  # rounding does not lose a frame
        for outside in (-0.1, 0.5, 1e9):
            with pytest.raises(InputError, match=r"0\.400 s"):
                reader.index_at(outside)
        with pytest.raises(InputError, match="number of seconds"):
            reader.index_at("soon")


@pytest.mark.parametrize("counter_clockwise", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_metadata_is_applied(counter_clockwise, mirrored, make_video):
    path = make_video.rotated(degrees=counter_clockwise, mirrored=mirrored)
    with av.open(str(path)) as container:  # PyAV leaves frames as they are stored
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][5]
    with open_media(path) as reader:
        upright = reader.read(5).image_hwc
        info = reader.info
    # FFmpeg mirrors what was turned; numpy's rot90 is counter-clockwise too.
    expected = np.rot90(stored, counter_clockwise // 90)
    if mirrored:
        expected = np.fliplr(expected)
    assert np.array_equal(upright, expected)
    assert upright.flags.c_contiguous
    assert (info.height, info.width) == upright.shape[:2]
    assert bool(any("mirror" in note for note in info.notes)) == mirrored
    again = np.rot90(np.fliplr(stored) if mirrored else stored, -info.rotation // 90)
    assert np.array_equal(again, expected)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
def test_display_matrix_means_what_the_standard_says(transpose, flip_x, flip_y):
    """The matrix takes stored coordinates to those on screen: move every pixel by it, and compare."""
    sx, sy = (-1 if flip_x else 1), (-1 if flip_y else 1)
    a, b, c, d = (0, sy, sx, 0) if transpose else (sx, 0, 0, sy)
    matrix = np.array([a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30], np.int32)
    stored = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    upright = Orientation.from_display_matrix(matrix.tobytes()).apply(stored)
    shown = {(a * x + c * y, b * x + d * y): stored[y, x] for y in range(4) for x in range(6)}
    left, top = min(x for x, _ in shown), min(y for _, y in shown)
    for (x, y), pixel in shown.items():
        assert np.array_equal(upright[y - top, x - left], pixel)


def test_pixel_aspect_is_recorded_not_applied(make_video):
    path = make_video.make("anamorphic.mp4", count=3, context={"sample_aspect_ratio": Fraction(4, 3)})
    info = open_media(path).info
    assert info.pixel_aspect == Fraction(4, 3)
    assert (info.width, info.height) == (96, 64)
    assert any("4:3" in note for note in info.notes)


def test_interlaced_is_noted(make_video):
    assert open_media(make_video.interlaced()).info.interlaced
    assert not open_media(make_video.long_gop(count=3)).info.interlaced


def test_ten_bits_are_rounded_to_eight(make_video, read_number):
    with open_media(make_video.ten_bit()) as reader:
        assert reader.info.bit_depth == 10
        assert reader.read(3).image_hwc.dtype == np.uint8
        assert read_number(reader.read(3).image_hwc) == 3


def test_motion_jpeg_is_full_range(make_video):
    with open_media(make_video.motion_jpeg()) as reader:
        assert reader.info.color.range == "full"
        image = reader.read(4).image_hwc
        assert abs(int(image[60, 5].mean()) - 20) <= 3  # the dark bars; limited range would make them 5


def test_gif_frames_and_times(make_video, read_number):
    with open_media(make_video.gif()) as reader:
        assert (reader.info.kind, reader.info.frame_count, reader.info.rate) == ("video", 10, 10)
        assert [read_number(f.image_hwc) for f in reader.frames(step=-1)] == list(range(9, -1, -1))


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_animated_webp_and_png(suffix, tmp_path, numbered, read_number):
    from PIL import Image

    images = [Image.fromarray(numbered(n)) for n in range(8)]
    durations = [100, 40, 40, 200, 60, 40, 40, 80]
    path = tmp_path / f"moving.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, lossless=True)
    with open_media(path) as reader:
        assert reader.info.kind == "video" and len(reader) == 8
        expected = [Fraction(sum(durations[:n]), 1000) for n in range(8)]
        assert [f.time for f in reader.frames()] == expected
        assert reader.info.variable_rate and reader.info.duration == Fraction(600, 1000)
        for index in (7, 2, 5, 0):
            assert np.array_equal(reader.read(index).image_hwc, numbered(index))
        assert [read_number(f.image_hwc) for f in reader.frames(step=-1)] == list(range(7, -1, -1))
        assert reader.index_at(0.139) == 1 and reader.index_at(0.14) == 2


def test_edit_lists_hide_frames_that_are_only_needed_for_decoding(make_video, read_number):
    """A clip trimmed without encoding, as phones do: what lies before the cut is decoded but not shown."""
    source = make_video.make("whole.mkv", count=40, options={"x264-params": "keyint=40:bframes=0"})
    trimmed = make_video.folder / "trimmed.mp4"
    with av.open(str(source)) as given, av.open(str(trimmed), "w") as output:
        stream = given.streams.video[0]
        target = output.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 480, packet.pts - 480  # 12 frames before zero
                packet.stream = target
                output.mux(packet)
    with open_media(trimmed) as reader:
        numbers = [read_number(f.image_hwc) for f in reader.frames()]
        assert numbers == list(range(40 - len(numbers), 40))
        assert len(numbers) < 40, "this file was meant to hide frames"
        assert [read_number(reader.read(i).image_hwc) for i in (len(reader) - 1, 0, 9)] == [39, numbers[0], numbers[9]]


@given(
    steps=st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    start=st.integers(-(10**6), 10**9),
    clock=st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1001, 30000), Fraction(1, 12800)]),
    data=st.data(),
)
def test_time_and_index_agree(steps, start, clock, data):
    pts = np.cumsum([start, *steps]).astype(np.int64)
    index = VideoIndex(pts, clock, 1, (EntryPoint(0, start, start),))
    frame = data.draw(st.integers(0, len(pts) - 1))
    time = index.time(frame)
    assert index.at(time) == frame
    assert index.at(time - Fraction(1, 10**9)) == frame - 1
    assert index.frame_of(int(pts[frame])) == frame
    assert index.frame_of(int(pts[frame]) - 1) in (frame - 1, None)
