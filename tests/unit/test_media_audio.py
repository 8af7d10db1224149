"""Sound: copied or converted, cut to the range, in time with the pictures."""

from __future__ import annotations

import io
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from masklet.errors import MediaError
from masklet.media import VideoWriter, open_media
from masklet.media.audio import sound_between

RATE = 48000


def beep_file(make_video, name: str, encoder: str, begin: float, end: float, seconds: float = 2.0):
    """A video of 25 frames/s whose sound is a tone from `begin` to `end` and silence otherwise."""
    path = make_video.folder / name
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height = 96, 64
        sound = output.add_stream(encoder, rate=RATE, layout="stereo")
        for number in range(round(seconds * 25)):
            image = np.full((64, 96, 3), 40 + number, np.uint8)
            for packet in video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                output.mux(packet)
        for packet in video.encode(None):
            output.mux(packet)
        time = np.arange(round(seconds * RATE)) / RATE
        tone = np.where((time >= begin) & (time < end), 0.5 * np.sin(2 * np.pi * 1000 * time), 0).astype(np.float32)
        resampler = av.AudioResampler(format=sound.codec_context.format, layout="stereo", rate=RATE)
        for start in range(0, len(tone), 1024):
            piece = np.ascontiguousarray(np.stack([tone[start : start + 1024]] * 2))
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            for part in resampler.resample(frame):
                for packet in sound.encode(part):
                    output.mux(packet)
        for packet in sound.encode(None):
            output.mux(packet)
    return path


def loud_span(path) -> tuple[str, float, float, float]:
    """(codec, first loud second, last loud second, end of the sound), on the clock of the pictures."""
    with av.open(str(path)) as container:
        origin = _first_video_time(path)
        stream = container.streams.audio[0]
        pieces, start, rate = [], None, stream.codec_context.sample_rate
        resampler = av.AudioResampler(format="fltp", layout="mono")
        end = 0.0
        for frame in container.decode(stream):
            start = float(frame.pts * frame.time_base) if start is None else start
            end = float(frame.pts * frame.time_base) + frame.samples / rate
            pieces.extend(part.to_ndarray()[0] for part in resampler.resample(frame))
        samples = np.concatenate(pieces)
        # 5 ms windows
        loud = np.flatnonzero(np.abs(samples) > 0.1)
        name = stream.codec_context.codec.canonical_name
        return name, start + loud[0] / rate - origin, start + loud[-1] / rate - origin, end - origin


def _first_video_time(path) -> float:
    with av.open(str(path)) as container:
        return float(next(container.decode(video=0)).time)


def copy_range(source, target, start: int, stop: int, **options):
    with open_media(source) as reader:
        end = reader.time_of(stop) if stop < len(reader) else reader.info.duration
        with VideoWriter(
            target,
            96,
            64,
            reader.info.rate,
            audio_from=source,
            audio_start=reader.time_of(start),
            audio_stop=end,
            **options,
        ) as writer:
            for frame in reader.frames(start, stop):
                writer.write(frame.image_hwc)
    return writer


CASES = {
    # source, its encoder, target, its video codec → codec of the sound
    "aac into mp4": ("a.mp4", "aac", "b.mp4", "h264", "aac"),
    "aac into mov": ("a.mp4", "aac", "b.mov", "prores4444", "aac"),
    "aac into mkv": ("a.mp4", "aac", "b.mkv", "ffv1", "aac"),
    "aac into webm": ("a.mp4", "aac", "b.webm", "vp9", "opus"),
    "opus into webm": ("a.mkv", "libopus", "b.webm", "vp9", "opus"),
    "opus into mp4": ("a.mkv", "libopus", "b.mp4", "h264", "aac"),
    "flac into mp4": ("a.mkv", "flac", "b.mp4", "h264", "aac"),
    "pcm into mov": ("a.mov", "pcm_s16le", "b.mov", "h264", "pcm_s16le"),
    "pcm into mp4": ("a.mov", "pcm_s16le", "b.mp4", "h264", "aac"),
    "mp3 out of a transport stream": ("a.ts", "libmp3lame", "b.mp4", "h264", "mp3"),
}


@pytest.mark.parametrize("case", CASES)
def test_sound_stays_in_time_whatever_the_container(case, make_video, tmp_path):
    name, encoder, target, codec, expected = CASES[case]
    source = beep_file(make_video, name, encoder, 0.8, 1.2)
    _, begin, end, _ = loud_span(source)
    assert (begin, end) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.03))
    # Frames 10 to 39: everything moves 0.4 s forwards.
    writer = copy_range(source, tmp_path / target, 10, 40, codec=codec, alpha=False)
    found, begin, end, last = loud_span(tmp_path / target)
    assert found == expected
    assert begin == pytest.approx(0.4, abs=0.03)
    assert end == pytest.approx(0.8, abs=0.03)
    assert last <= 1.2 + 0.05
    copied = CASES[case][1].removeprefix("lib") == expected or expected == "mp3"
    assert bool(writer.notes) != copied
    with open_media(tmp_path / target) as reader:
        assert len(reader) == 30 and reader.info.has_audio
        assert reader.info.rate == 25 and not reader.info.variable_rate


@pytest.mark.parametrize("target", ["all.mp4", "all.mov", "all.mkv", "all.webm"])
def test_the_whole_sound_goes_along_without_a_range(target, make_video, tmp_path):
    source = beep_file(make_video, "a.mp4", "aac", 0.2, 1.9)
    codec = "vp9" if target.endswith("webm") else "h264"
    with (
        open_media(source) as reader,
        VideoWriter(tmp_path / target, 96, 64, 25, codec=codec, alpha=False, audio_from=source) as writer,
    ):
        for frame in reader.frames():
            writer.write(frame.image_hwc)
    _, begin, end, last = loud_span(tmp_path / target)
    assert begin == pytest.approx(0.2, abs=0.02) and end == pytest.approx(1.9, abs=0.03)
    assert last == pytest.approx(2.0, abs=0.06)


def test_the_bunny_keeps_its_sound(bunny_clip, tmp_path):
    with (
        open_media(bunny_clip) as reader,
        VideoWriter(
            tmp_path / "b.mp4", 64, 36, 25, audio_from=bunny_clip, audio_start=Fraction(2), audio_stop=Fraction(3)
        ) as writer,
    ):
        for _ in range(25):
            writer.write(np.zeros((36, 64, 3), np.uint8))

    def packets(path):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            origin = Fraction(container.streams.video[0].start_time or 0) * container.streams.video[0].time_base
            return {bytes(p): p.pts * p.time_base - origin for p in container.demux(stream) if p.size}

    whole, cut = packets(bunny_clip), packets(tmp_path / "b.mp4")
    # The very same packets, two seconds earlier.
    assert 46 <= len(cut) <= 49
    assert all(abs(whole[content] - 2 - time) < Fraction(1, 1000) for content, time in cut.items())
    assert reader.info.has_audio


def test_parts_of_the_sound_lie_where_the_pictures_are(make_video):
    """Parts that follow each other make the whole; what comes before the first sound is silence."""
    path = beep_file(make_video, "beep.mp4", "aac", 0.5, 1.2)
    waves = []
    for start in (Fraction(0), Fraction(3, 4), Fraction(3, 2)):
        with wave.open(io.BytesIO(sound_between(path, start, start + Fraction(3, 4)))) as part:
            assert part.getsampwidth() == 2 and part.getframerate() == RATE
            waves.append(np.frombuffer(part.readframes(part.getnframes()), np.int16).reshape(-1, 2)[:, 0])
    assert len(waves[0]) == len(waves[1]) == RATE * 3 // 4
    loud = np.flatnonzero(np.abs(np.concatenate(waves)) > 3000) / RATE
    assert loud[0] == pytest.approx(0.5, abs=0.01) and loud[-1] == pytest.approx(1.2, abs=0.01)
    with wave.open(io.BytesIO(sound_between(path, Fraction(5), Fraction(6)))) as part:
        assert part.getnframes() == 0
    with pytest.raises(MediaError, match="has no sound"):
        sound_between(make_video.long_gop(count=3), Fraction(0), Fraction(1))


def test_no_sound_is_no_error_but_is_said(make_video, tmp_path):
    silent = make_video.long_gop(count=5)
    with VideoWriter(tmp_path / "b.mp4", 96, 64, 25, audio_from=silent) as writer:
        writer.write(np.zeros((64, 96, 3), np.uint8))
    assert any("no sound" in note for note in writer.notes)
    assert not open_media(tmp_path / "b.mp4").info.has_audio


def test_sound_of_a_sound_file(make_video, tmp_path):
    path = tmp_path / "music.wav"
    with av.open(str(path), "w") as output:
        make_video._write_tone(output, make_video._add_tone(output, "pcm_s16le"), 1.0)
    with VideoWriter(tmp_path / "b.mkv", 96, 64, 25, codec="ffv1", audio_from=path) as writer:
        for _ in range(25):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    name, begin, end, _ = loud_span(tmp_path / "b.mkv")
    assert name == "pcm_s16le" and begin == pytest.approx(0, abs=0.01) and end == pytest.approx(1, abs=0.01)


def test_a_source_that_is_no_media_leaves_nothing(tmp_path):
    (tmp_path / "text.mp4").write_text("not sound " * 50)
    with pytest.raises(MediaError, match=r"text\.mp4"):
        VideoWriter(tmp_path / "b.mp4", 96, 64, 25, audio_from=tmp_path / "text.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["text.mp4"]


def test_damaged_sound_does_not_stop_the_pictures(make_video, tmp_path):
    source = beep_file(make_video, "a.mkv", "flac", 0.0, 2.0)
    with av.open(str(source)) as container:
        packets = [(p.pos, bytes(p)) for p in container.demux(audio=0) if p.size]
    data = bytearray(source.read_bytes())
    for position, content in packets[8:12]:
        start = data.index(content, position)
        data[start : start + len(content)] = b"\xff" * len(content)
    source.write_bytes(data)
    copy_range(source, tmp_path / "b.mp4", 0, 50)
    assert len(open_media(tmp_path / "b.mp4")) == 50
    assert loud_span(tmp_path / "b.mp4")[2] == pytest.approx(2.0, abs=0.05)
