"""Positions and rates as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.media import MediaInfo, open_media, parse_position, to_rate

NTSC = Fraction(30000, 1001)


def info(frames: int = 1000, rate: Fraction = Fraction(25)) -> MediaInfo:
    return MediaInfo("clip.mp4", "video", 64, 48, frames, rate, False, frames / rate, "h264", "yuv420p", 8)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("0", 0),
        ("120", 120),
        (" 999 ", 999),
        ("4.8s", 120),
        ("4.8", 120),
        (".2s", 5),
        ("2s", 50),
        ("4.79s", 119),
        ("0:30", 750),
        ("0:02.5", 62),
        ("00:00:04.8", 120),
        ("00:00:04:20", 120),
        ("0:0:39:24", 999),
        ("first", 0),
        ("last", 999),
        ("END", 999),
        ("40s", 999),
    ],
)
def test_positions(text, frame):
    assert parse_position(text, info()) == frame


@pytest.mark.parametrize("text", ["1000", "-1", "41s", "0:41", "00:00:40:00", "1:00:00"])
def test_positions_outside_name_the_range(text):
    with pytest.raises(InputError, match=r"frames 0 to 999 and lasts 40\.000 s"):
        parse_position(text, info())


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1.5.2", "4,8", "1:2:3:4:5", "0:75", "0:61:00", "00:00:04:25", "nan", "1e3", "--1", "00:00:01;00"],
)
def test_nonsense_is_explained(text):
    with pytest.raises(InputError, match=r"position|up to|drop-frame"):
        parse_position(text, info())


def test_drop_frame_timecode():
    """At 29.97 the numbers 0 and 1 are left out every minute except every tenth (SMPTE 12M)."""
    long = info(200_000, NTSC)
    for text, frame in (
        ("00:00:59;29", 1799),
        ("00:01:00;02", 1800),
        ("00:10:00;00", 17982),
        ("01:00:00;00", 107892),
        ("00:02:00;02", 3598),
    ):
        assert parse_position(text, long) == frame
    with pytest.raises(InputError, match="does not exist"):
        parse_position("00:01:00;00", long)


def test_variable_rate_positions_go_by_time_stamps(make_video):
    path, times = make_video.variable_rate()
    with open_media(path) as reader:
        for index, time in enumerate(times):
            assert parse_position(f"{float(time):.6f}s", reader) == index
        with pytest.raises(InputError, match="lasts"):
            parse_position("60s", reader)


RATES = st.sampled_from(
    [Fraction(24), Fraction(25), NTSC, Fraction(60), Fraction(24000, 1001), Fraction(15, 2), Fraction(120)]
)


@given(RATES, st.integers(0, 10**6))
def test_timecodes_of_editing_programs(rate, frame):
    seconds, frames = divmod(frame, max(1, round(rate)))
    timecode = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"
    assert parse_position(timecode, info(10**6 + 1, rate)) == frame


@given(RATES, st.integers(0, 10**6), st.integers(4, 9))
def test_rounded_seconds_find_their_frame(rate, frame, digits):
    """A time that was printed with four digits or more leads back to the frame it was printed for."""
    text = f"{float(frame / rate):.{digits}f}s"
    assert parse_position(text, info(10**6 + 1, rate)) == frame


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (25, Fraction(25)),
        ("29.97", NTSC),
        (29.97, NTSC),
        (23.976, Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        ("30000/1001", NTSC),
        (Fraction(2997, 100), Fraction(2997, 100)),
        (12.5, Fraction(25, 2)),
        (30, Fraction(30)),
        ("24", Fraction(24)),
    ],
)
def test_rates(written, meant):
    assert to_rate(written) == meant
