"""Any frame of a video by its number: the same picture as decoding from the start gives."""

from __future__ import annotations

import random
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from masklet.errors import InputError, MediaError
from masklet.media import base, open_media
from masklet.media.video import VideoReader

OPEN_GOP = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"}
# Containers and codecs with B-frames, hidden frames, open groups of pictures, odd clocks, or no time stamps at all.
KINDS = {
    "mp4, H.264, long GOP": ("a.mp4", "libx264", {"x264-params": "keyint=40:scenecut=0:bframes=3:b-adapt=0"}),
    "mkv, H.264, open GOP": ("b.mkv", "libx264", OPEN_GOP),
    "mp4, H.264, intra refresh": ("c.mp4", "libx264", {"x264-params": "keyint=16:intra-refresh=1:bframes=0"}),
    "ts, H.264": ("d.ts", "libx264", OPEN_GOP),
    "raw H.264": ("e.h264", "libx264", {"x264-params": "keyint=20:bframes=2"}),
    "mkv, H.265": ("f.mkv", "libx265", {"x265-params": "keyint=20:bframes=4:log-level=none:cutree=0"}),
    "avi, MPEG-4, B-frames": ("g.avi", "mpeg4", {"bf": "2", "g": "15"}),
    "ts, MPEG-2": ("h.ts", "mpeg2video", {"bf": "2", "g": "12"}),
    "mpg, MPEG-2": ("i.mpg", "mpeg2video", {"bf": "2", "g": "12"}),
    "webm, VP8, hidden frames": ("j.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
    "webm, VP9, hidden frames": ("k.webm", "libvpx-vp9", {"lag-in-frames": "16", "cpu-used": "8", "b": "200k"}),
    "flv": ("l.flv", "flv", {"g": "12"}),
    "mp4, AV1": ("m.mp4", "libsvtav1", {"preset": "12", "g": "20"}),
    "mov, ProRes": ("n.mov", "prores_ks", {"profile": "3"}),
    "mov, DNxHR": ("o.mov", "dnxhd", {"profile": "dnxhr_hq"}),
}


def decode_all(path, matrix: int = 5) -> list[np.ndarray]:
    """What FFmpeg gives from the start to the end, in one thread; the matrix by its number in swscale."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = container.decode(video=0)
        return [f.to_ndarray(format="rgb24", src_colorspace=matrix, dst_colorspace=matrix) for f in frames]


@pytest.fixture(autouse=True)
def quiet_av1_encoder(monkeypatch):
    monkeypatch.setenv("SVT_LOG", "0")


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_equals_sequential_decoding(kind, make_video, read_number):
    name, codec, options = KINDS[kind]
    formats = {"prores_ks": "yuv422p10le", "dnxhd": "yuv422p"}
    size = (256, 128) if codec == "dnxhd" else (96, 64)
    path = make_video.make(
        name, codec, count=50, options=options, size=size, pixel_format=formats.get(codec, "yuv420p")
    )
    expected = decode_all(path, matrix=1 if codec == "dnxhd" else 5)  # DNxHR says BT.709
    assert [read_number(image) for image in expected] == list(range(50))
    with open_media(path) as reader:
        assert len(reader) == 50
        assert all(np.array_equal(f.image_hwc, expected[f.index]) for f in reader.frames())
        order = random.Random(0).sample(range(50), 50)
        for index in order:
            assert np.array_equal(reader.read(index).image_hwc, expected[index]), index
        backwards = list(reader.frames(step=-1))
        assert [f.index for f in backwards] == list(range(49, -1, -1))
        assert all(np.array_equal(f.image_hwc, expected[f.index]) for f in backwards)
        assert not reader.damaged


def test_first_read_of_a_fresh_reader_is_exact(make_video):
    path = make_video.long_gop()
    expected = decode_all(path)
    for index in (0, 1, 39, 40, 41, 79, 80, 89):
        with open_media(path) as reader:
            assert np.array_equal(reader.read(index).image_hwc, expected[index])


def test_bunny_clip_seeks_into_its_second_group(bunny_clip):
    expected = decode_all(bunny_clip, matrix=1)
    with open_media(bunny_clip) as reader:
        for index in (99, 60, 59, 0, 75):
            frame = reader.read(index)
            assert np.array_equal(frame.image_hwc, expected[index])
            assert frame.image_hwc.shape == (720, 1280, 3)
            assert frame.image_hwc.flags.c_contiguous and frame.image_hwc.flags.writeable
            assert frame.time == Fraction(index, 25)


@pytest.fixture
def decoded(monkeypatch):
    """Time stamps of the frames that readers decode from now on."""
    from masklet.media import video

    stamps = []
    real = video.decoded

    def counting(*args, **kwargs):
        for frame in real(*args, **kwargs):
            stamps.append(frame.pts)
            yield frame

    monkeypatch.setattr(video, "decoded", counting)
    return stamps


def test_seeking_decodes_only_one_group(make_video, monkeypatch, decoded):
    """Reading a late frame starts at its key frame, and stepping back does not decode the group for each frame."""
    path = make_video.long_gop(count=90, gop=40)
    reader = VideoReader(path)
    reader.index  # noqa: B018  (makes the index, which is not to be counted)
    decoded.clear()
    reader.read(85)
    # The first cursor opens at the start (nothing is decoded yet), then jumps to key frame 80. Threads run ahead.
    assert len(decoded) <= 10
    decoded.clear()
    monkeypatch.setattr(base, "CACHE_FRAMES", 16)
    fresh = VideoReader(path)
    backwards = [frame.index for frame in fresh.frames(79, 39, -1, prefetch=0)]
    assert backwards == list(range(79, 39, -1))
    # Without the cache: 40 + 39 + … = 820 frames. With chunks of 16: 40 + 24 + 8, and what threads run ahead.
    assert len(decoded) < 160


def test_a_jump_leaves_out_pictures_that_no_other_leans_on(make_video, decoded):
    """Far into a group of pictures, only what the wanted frame needs is decoded, and what comes out is the same."""
    path = make_video.long_gop(count=130, gop=125)
    expected = decode_all(path)
    with VideoReader(path) as reader:
        reader.index  # noqa: B018  (makes the index, which is not to be counted)
        decoded.clear()
        assert np.array_equal(reader.read(110).image_hwc, expected[110])
        assert len(decoded) < 85  # of 111: half of the first hundred is left out
        for index in (*range(109, 60, -1), 120, 61, 124, 3, 129, 100):
            assert np.array_equal(reader.read(index).image_hwc, expected[index]), index
        assert not reader.damaged


def test_the_nearest_entry_is_a_key_frame_before_or_after(make_video):
    with open_media(make_video.long_gop(count=90, gop=40)) as reader:
        assert [reader.entry_near(index) for index in (0, 19, 21, 40, 59, 61, 89)] == [0, 0, 40, 40, 40, 80, 80]
    with open_media(make_video.sequence()[0], sequence=True) as reader:
        assert reader.entry_near(3) == 3


def test_cache_is_bounded(make_video, monkeypatch):
    monkeypatch.setattr(base, "CACHE_FRAMES", 8)
    reader = VideoReader(make_video.long_gop(gop=90))
    for index in (89, 50, 10):
        reader.read(index)
        assert len(reader._cursor._cache) <= 8
    for _ in reader.frames(prefetch=0):
        pass
    assert len(reader._cursor._cache) <= 8


def test_cache_shrinks_for_large_frames():
    assert base.cache_size(1280 * 720 * 3 // 2) == base.CACHE_FRAMES
    eight_k = 7680 * 4320 * 3 // 2
    assert 2 <= base.cache_size(eight_k) <= base.CACHE_BYTES // eight_k


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(0, None, 1), (5, 20, 1), (3, None, 7), (0, 30, 29), (29, None, -1), (20, 4, -3), (None, None, -1), (10, 10, 1)],
)
@pytest.mark.parametrize("prefetch", [0, 3])
def test_ranges_are_those_of_slices(start, stop, step, prefetch, session_video_maker, read_number):
    path = session_video_maker.folder / "ranges.mp4"
    if not path.exists():
        session_video_maker.long_gop("ranges.mp4", count=30, gop=10)
    with open_media(path) as reader:
        frames = list(reader.frames(start, stop, step, prefetch=prefetch))
        expected = list(range(30))[slice(start, stop, step)]
        assert [f.index for f in frames] == expected
        assert [read_number(f.image_hwc) for f in frames] == expected


def test_iterations_and_reads_do_not_disturb_each_other(make_video, read_number):
    with open_media(make_video.long_gop(count=40, gop=20)) as reader:
        forwards, backwards = reader.frames(), reader.frames(step=-1)
        for step in range(40):
            assert read_number(next(forwards).image_hwc) == step
            assert read_number(next(backwards).image_hwc) == 39 - step
            assert read_number(reader.read(step * 7 % 40).image_hwc) == step * 7 % 40


def test_reading_from_several_threads(make_video, read_number):
    wrong = []
    with open_media(make_video.long_gop(count=40, gop=20)) as reader:

        def work(seed):
            for index in random.Random(seed).sample(range(40), 15):
                if read_number(reader.read(index).image_hwc) != index:
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_leaving_an_iteration_stops_its_thread(make_video):
    def workers():
        return [t for t in set(threading.enumerate()) - before if t.name == "masklet-prefetch"]

    before = set(threading.enumerate())
    with open_media(make_video.long_gop()) as reader:
        iteration = reader.frames()
        next(iteration)
        assert len(workers()) == 1
        iteration.close()
        assert workers() == []


def test_the_thread_hands_errors_over():
    from masklet.media.prefetch import prefetched

    def failing():
        yield 1
        yield 2
        raise MediaError("the third is broken")

    got = []
    with pytest.raises(MediaError, match="third"):
        for item in prefetched(failing, 1):
            got.append(item)
    assert got == [1, 2]


def test_wrong_indices_name_the_valid_range(make_video):
    with open_media(make_video.long_gop(count=12)) as reader:
        for bad in (-1, 12, 10**9):
            with pytest.raises(InputError, match="0 to 11"):
                reader.read(bad)
            with pytest.raises(InputError, match="0 to 11"):
                reader.time_of(bad)
            with pytest.raises(InputError, match="0 to 11"):
                reader.frames(bad)
        with pytest.raises(InputError, match="12 frames"):
            reader.frames(0, 13)
        with pytest.raises(InputError, match="step"):
            reader.frames(step=0)
        with pytest.raises(InputError, match="whole number"):
            reader.read(1.5)
        assert reader.read(np.int64(3)).index == 3


def test_a_closed_reader_says_so(make_video):
    reader = open_media(make_video.long_gop(count=12))
    reader.close()
    with pytest.raises(MediaError, match="closed"):
        reader.read(0)
    with pytest.raises(MediaError, match="closed"):
        reader.frames()


def test_fingerprint_follows_content_not_name(make_video, tmp_path):
    path = make_video.long_gop(count=12)
    with open_media(path) as reader:
        fingerprint = reader.fingerprint()
    moved = path.rename(tmp_path / "elsewhere.mp4")
    with open_media(moved) as reader:
        assert reader.fingerprint() == fingerprint
    data = bytearray(moved.read_bytes())
    data[-1] ^= 1
    moved.write_bytes(data)
    with open_media(moved) as reader:
        assert reader.fingerprint() != fingerprint
