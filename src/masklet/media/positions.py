"""Where in a video: "120", "00:00:04:20", "4.8s", "1:02.5"."""

from __future__ import annotations

import re
from fractions import Fraction

from masklet.errors import InputError
from masklet.media.base import MediaReader
from masklet.media.types import MediaInfo

_TIMECODE = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})([:;])(\d{1,3})")
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")
_HELP = "Write a frame (120), seconds (4.8s), a time (1:02.5) or a timecode (00:00:04:20)."


def parse_position(text: str, source: MediaInfo | MediaReader) -> int:
    """The frame index that a person means.

    "120" is a frame index; "4.8s" seconds; "1:02.5" and "0:01:02.5" minutes and hours; "00:00:04:20" a timecode (hours,
    minutes, seconds, frames; with ";" before the frames: drop-frame, at 29.97 and 59.94 frames/s); "first" and "last"
    speak for themselves. Positions in time are frames on screen at that time: by time stamps if `source` is a reader,
    by the average rate if it is only its info.

    Raises:
        InputError: none of these, or outside of the video; the message names the valid range.
    """
    info = source.info if isinstance(source, MediaReader) else source
    last = info.frame_count - 1
    cleaned = text.strip().lower()
    if cleaned in {"first", "start"}:
        return 0
    if cleaned in {"last", "end"}:
        return last
    if re.fullmatch(r"[+-]?\d+", cleaned):
        return _in_range(int(cleaned), text, info)
    timecode = _TIMECODE.fullmatch(cleaned)
    if timecode:
        return _in_range(_timecode_frame(timecode, text, info.rate), text, info)
    clock = _CLOCK.fullmatch(cleaned.removesuffix("s").strip())
    if not clock:
        raise InputError(f"{text!r} is no position in a video. {_HELP}")
    hours, minutes, seconds = int(clock[1] or 0), int(clock[2] or 0), Fraction(clock[3].rstrip(".") or "0")
    if (clock[2] and seconds >= 60) or (clock[1] and minutes >= 60):
        raise InputError(f"{text!r}: minutes and seconds go up to 59.")
    moment = hours * 3600 + minutes * 60 + seconds
    if isinstance(source, MediaReader):
        return source.index_at(moment)
    if moment > info.duration:
        raise InputError(_outside(text, info))
    return min(last, int((moment + min(1 / info.rate / 20, Fraction(1, 2000))) * info.rate))


def _timecode_frame(match: re.Match[str], text: str, rate: Fraction) -> int:
    hours, minutes, seconds, frames = (int(match[i]) for i in (1, 2, 3, 5))
    per_second = max(1, round(rate))
    if minutes >= 60 or seconds >= 60:
        raise InputError(f"{text!r}: minutes and seconds go up to 59.")
    if frames >= per_second:
        raise InputError(f"{text!r}: at {float(rate):g} frames/s the last field goes up to {per_second - 1}.")
    index = (hours * 3600 + minutes * 60 + seconds) * per_second + frames
    if match[4] == ";":
        if per_second not in {30, 60} or rate.denominator != 1001:
            raise InputError(
                f"{text!r} is drop-frame timecode, which {float(rate):g} frames/s doesn't have; write ':'."
            )
        # Two (four) numbers are skipped every minute except every tenth.
        dropped = per_second // 15
        if frames < dropped and seconds == 0 and minutes % 10:
            raise InputError(f"{text!r} does not exist in drop-frame timecode.")
        index -= dropped * (hours * 54 + minutes - minutes // 10)
    return index


def _in_range(index: int, text: str, info: MediaInfo) -> int:
    if not 0 <= index < info.frame_count:
        raise InputError(_outside(text, info))
    return index


def _outside(text: str, info: MediaInfo) -> str:
    return (
        f"{text!r} lies outside of {info.path}: it has frames 0 to {info.frame_count - 1} "
        f"and lasts {float(info.duration):.3f} s."
    )
