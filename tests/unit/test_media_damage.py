"""Files that are broken, cut short, or not what their name says."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from masklet.errors import InputError, MediaError
from masklet.media import open_media, read_image


def break_packets(path: Path, numbers: set[int], keep: int) -> None:
    """Overwrite all but the first `keep` bytes of these video packets (in decoding order)."""
    with av.open(str(path)) as container:
        packets = [(p.pos, bytes(p)) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, content = packets[number]
        start = data.index(content, position)
        data[start + keep : start + len(content)] = b"\xff" * (len(content) - keep)
    path.write_bytes(data)


NAL_HEADER = 5  # length and type
PNG_HEADER = 60


def test_a_frame_that_cannot_be_decoded_is_named_and_survived(make_video, read_number):
    path = make_video.make("broken.mov", "png", count=20, pixel_format="rgb24")
    break_packets(path, {7, 8, 15}, PNG_HEADER)
    with open_media(path) as reader:
        shown = [read_number(f.image_hwc) for f in reader.frames()]
        assert shown == [*range(7), 6, 6, *range(9, 15), 14, *range(16, 20)]  # the last good one is repeated
        assert set(reader.damaged) == {7, 8, 15}
        assert "last good frame" in reader.damaged[7]
        assert len(reader) == 20
    with open_media(path) as fresh:  # random access and backwards agree
        assert read_number(fresh.read(8).image_hwc) == 6
        assert [read_number(f.image_hwc) for f in fresh.frames(16, 5, -1)] == [16, 14, *range(14, 8, -1), 6, 6, 6]


def test_damaged_first_frames_show_the_first_good_one(make_video, read_number):
    path = make_video.make("head.mov", "png", count=6, pixel_format="rgb24")
    break_packets(path, {0, 1}, PNG_HEADER)
    with open_media(path) as reader:
        assert [read_number(f.image_hwc) for f in reader.frames()] == [2, 2, 2, 3, 4, 5]
        assert set(reader.damaged) == {0, 1} and "first good frame after" in reader.damaged[0]


@pytest.mark.parametrize("name", ["middle.mp4", "middle.mkv"])
def test_damage_in_the_middle_of_h264_is_survived(name, make_video, read_number):
    path = make_video.long_gop(name, count=60, gop=20)
    break_packets(path, {30, 31, 32}, NAL_HEADER)
    with open_media(path) as reader:
        images = [f.image_hwc for f in reader.frames()]
        assert len(images) == 60
        damaged = set(reader.damaged)
        assert damaged and damaged <= set(range(20, 41))
        whole = [i for i in range(60) if not 20 <= i < 40]
        assert [read_number(images[i]) for i in whole] == whole
    with open_media(path) as fresh:
        assert read_number(fresh.read(55).image_hwc) == 55
        for index in (45, 35, 25, 10):
            assert fresh.read(index).image_hwc.shape == (64, 96, 3)


def test_a_broken_key_frame_costs_only_its_group(make_video, read_number):
    path = make_video.long_gop("key.mkv", count=60, gop=20)
    break_packets(path, {20}, NAL_HEADER)
    with open_media(path) as reader:
        forwards = [read_number(f.image_hwc) for f in reader.frames()]
        assert forwards[:17] == list(range(17)) and forwards[40:] == list(range(40, 60))
        assert reader.damaged
    with open_media(path) as fresh:
        assert read_number(fresh.read(50).image_hwc) == 50
        assert read_number(fresh.read(5).image_hwc) == 5
        fresh.read(22)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.ts", "cut.mp4"])
def test_a_file_that_was_cut_short_gives_what_is_there(name, make_video, read_number):
    if name.endswith("mp4"):
        whole = make_video.long_gop("whole.mp4", count=60, gop=15)
        path = make_video.folder / name
        with av.open(str(whole)) as given, av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
            target = output.add_stream_from_template(given.streams.video[0])
            for packet in given.demux(given.streams.video[0]):
                if packet.size:
                    packet.stream = target
                    output.mux(packet)
    else:
        path = make_video.long_gop(name, count=60, gop=15)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with open_media(path) as reader:
        count = len(reader)
        assert 15 <= count < 60
        shown = [read_number(f.image_hwc) for f in reader.frames()]
        good = [i for i in range(count) if i not in reader.damaged]
        # The very last ones may lack a part of their data without the decoder noticing.
        assert [shown[i] for i in good[:-4]] == good[:-4] and len(good) >= 15
        if name.endswith("mp4"):
            assert any("promises 60 frames" in note for note in reader.info.notes)


def test_a_recording_that_starts_in_the_middle_of_a_group(make_video, read_number):
    whole = make_video.make("whole.ts", count=40, options={"x264-params": "keyint=15:bframes=0:scenecut=0"})
    path = make_video.folder / "started_late.ts"
    with av.open(str(whole)) as given, av.open(str(path), "w") as output:
        target = output.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(given.streams.video[0])):
            if packet.size and number >= 8:
                packet.stream = target
                output.mux(packet)
    with open_media(path) as reader:
        numbers = [read_number(f.image_hwc) for f in reader.frames()]
        assert numbers[-1] == 39
        whole_groups = [n for n in numbers if n >= 15]
        assert whole_groups == list(range(15, 40))
        assert read_number(reader.read(len(reader) - 1).image_hwc) == 39


def test_things_that_are_no_video(make_video, tmp_path):
    def refused(path, match):
        with pytest.raises(MediaError, match=match) as caught:
            open_media(path)
        assert str(path) in str(caught.value)

    refused(tmp_path / "missing.mp4", "no file")
    (tmp_path / "empty.mp4").write_bytes(b"")
    refused(tmp_path / "empty.mp4", "empty")
    (tmp_path / "text.mp4").write_text("This is a shopping list, not a film.\n" * 50)
    refused(tmp_path / "text.mp4", "text")
    (tmp_path / "notes.txt").write_text("hello\n" * 500)
    refused(tmp_path / "notes.txt", "text")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).integers(0, 256, 9000, np.uint8).tobytes())
    refused(tmp_path / "noise.mp4", "can't be")
    whole = make_video.long_gop("whole.mp4").read_bytes()
    (tmp_path / "no_index.mp4").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "no_index.mp4", "cut short")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "no pictures")


def test_text_in_an_old_alphabet_does_no_harm(make_video, read_number):
    path = make_video.make("title.mkv", count=5)
    whole = make_video.folder / "titled.mp4"
    with av.open(str(path)) as given, av.open(str(whole), "w") as output:
        output.metadata["title"] = "Hase XX"
        target = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = target
                output.mux(packet)
    data = whole.read_bytes()
    whole.write_bytes(data.replace(b"Hase XX", "H\xe4s\xe4 XX".encode("latin-1")))
    with pytest.raises(UnicodeDecodeError), av.open(str(whole)):
        pass
    with open_media(whole) as reader:
        assert [read_number(f.image_hwc) for f in reader.frames(step=-1)] == [4, 3, 2, 1, 0]


def test_sound_alone_is_named_as_such(make_video, tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        tone = make_video._add_tone(output, "aac")
        make_video._write_tone(output, tone, 0.5)
    with pytest.raises(MediaError, match="sound only"):
        open_media(path)


def test_a_cover_picture_is_no_video(make_video, tmp_path):
    from PIL import Image

    cover = tmp_path / "cover.png"
    Image.new("RGB", (32, 32), "red").save(cover)
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as output, av.open(str(cover)) as picture:
        tone = output.add_stream("libmp3lame", rate=48000)
        art = output.add_stream_from_template(picture.streams.video[0])
        art.disposition = av.stream.Disposition.attached_pic
        for packet in picture.demux(video=0):
            if packet.size:
                packet.stream = art
                output.mux(packet)
        make_video._write_tone(output, tone, 0.5)
    with av.open(str(path)) as container:
        assert container.streams.video, "this file was meant to have a cover"
    with pytest.raises(MediaError, match="sound only"):
        open_media(path)


def test_a_video_without_frames(tmp_path):
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        output.start_encoding()
    with pytest.raises(MediaError, match="no frame"):
        open_media(path)


def test_network_addresses_are_sent_to_open_stream():
    with pytest.raises(InputError, match="open_stream"):
        open_media("rtsp://camera.example/stream")


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (31, 17)])
def test_tiny_and_odd_sizes(size, make_video, numbered):
    random = np.random.default_rng(5)
    pictures = [random.integers(0, 256, (size[1], size[0], 3), np.uint8) for _ in range(3)]

    def frame(number):
        return av.VideoFrame.from_ndarray(pictures[number], format="rgb24").reformat(format="bgr0")

    path = make_video.make("tiny.mkv", "ffv1", count=3, size=size, pixel_format="bgr0", planes=frame)
    with open_media(path) as reader:
        assert (reader.info.width, reader.info.height) == size
        assert all(np.array_equal(f.image_hwc, pictures[f.index]) for f in reader.frames())


def test_eight_k_frames(make_video):
    picture = np.zeros((4320, 7680, 3), np.uint8)
    picture[::2] = 255

    def frame(_):
        return av.VideoFrame.from_ndarray(picture, format="rgb24")

    path = make_video.make("8k.mov", "qtrle", count=1, size=(7680, 4320), pixel_format="rgb24", planes=frame)
    with open_media(path) as reader:
        assert np.array_equal(reader.read(0).image_hwc, picture)


def test_changing_size_inside_a_stream_keeps_one_frame_size(make_video, read_number):
    """Video calls change resolution while they run; every frame comes out in the size of the first."""
    small = make_video.make("small.ts", count=10, size=(96, 64))
    large = make_video.make("large.ts", count=10, size=(192, 128), ticks=range(10, 20), pictures=None)
    path = make_video.folder / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with open_media(path) as reader:
        frames = list(reader.frames())
        assert {f.image_hwc.shape for f in frames} == {(64, 96, 3)}
        assert [read_number(f.image_hwc) for f in frames][:10] == list(range(10))
        assert len(frames) >= 18


def test_damaged_pictures(tmp_path):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for suffix in ("png", "jpg", "webp", "tif"):
        path = tmp_path / f"cut.{suffix}"
        Image.fromarray(noise).save(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(MediaError, match="cut"):
            read_image(path)
    (tmp_path / "text.png").write_text("not a picture\n" * 20)
    with pytest.raises(MediaError, match="not a picture"):
        read_image(tmp_path / "text.png")
    with pytest.raises(MediaError, match="no file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MediaError, match="folder"):
        read_image(tmp_path)


SPOILED = ["mp4", "mkv", "ts", "avi", "gif", "mov"]


@pytest.mark.parametrize("kind", [*SPOILED, "png", "jpg", "webp", "tif", "bmp"])
def test_spoiled_files_never_raise_anything_else(kind, make_video, numbered, tmp_path):
    """Cut at any place, single bytes and runs of bytes changed: a MediaError, or frames of one size."""
    from PIL import Image

    if kind == "gif":
        path = make_video.gif()
    elif kind in SPOILED:
        path = make_video.long_gop(f"a.{kind}", count=12, gop=6)
    else:
        path = tmp_path / f"a.{kind}"
        Image.fromarray(numbered(5)).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    survived = 0
    for attempt in range(24):
        data = whole.copy()
        place = int(random.integers(0, len(data)))
        if attempt % 3 == 0:
            data = data[:place]
        elif attempt % 3 == 1:
            places = random.integers(0, len(data), 8)
            data[places] = random.integers(0, 256, 8)
        else:
            data[place : place + 100] = random.integers(0, 256)
        spoiled = tmp_path / f"spoiled.{kind}"
        spoiled.write_bytes(data.tobytes())
        try:
            with open_media(spoiled, sequence=False) as reader:
                shapes = {frame.image_hwc.shape for frame in itertools.islice(reader.frames(), 30)}
                assert shapes == {(reader.info.height, reader.info.width, 3)}
                assert reader.read(len(reader) - 1).image_hwc.dtype == np.uint8
                survived += 1
        except MediaError:
            pass
    assert survived > 0
