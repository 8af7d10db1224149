"""Image sequences: which files belong to one, gaps, sizes, damage; single pictures; arrays."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masklet.errors import InputError, MediaError
from masklet.media import natural_key, open_media
from masklet.media.patterns import SequenceFiles, files_of_pattern


def numbers_of(reader, read_number):
    return [read_number(f.image_hwc) for f in reader.frames()]


@pytest.mark.parametrize(
    "given_as", ["shot.####.png", "shot.%04d.png", "shot.@@@@.png", "shot.*.png", "shot.0003.png", "."]
)
def test_one_sequence_by_all_its_names(given_as, make_video, read_number):
    paths = make_video.sequence()
    with open_media(make_video.folder / given_as) as reader:
        assert reader.info.kind == "sequence"
        assert numbers_of(reader, read_number) == [1, 2, 3, 4, 5, 6]
        assert reader.frame_numbers == (1, 2, 3, 4, 5, 6)
        assert list(reader.paths) == paths
        assert (reader.info.width, reader.info.height) == (96, 64)
        assert reader.info.rate == 24 and any("24 frames/s" in note for note in reader.info.notes)
        assert reader.read(2).time == Fraction(2, 24)


def test_only_members_of_the_pattern_are_taken(make_video, read_number):
    make_video.sequence("shot.{:04d}.png", range(1, 4))
    make_video.sequence("shot.{:04d}.jpg", range(1, 9))
    make_video.sequence("other.{:04d}.png", range(1, 9))
    make_video.sequence("shot.{:02d}.png", [77])
    (make_video.folder / "shot.note.png").write_text("no frame")
    with open_media(make_video.folder / "shot.####.png") as reader:
        assert numbers_of(reader, read_number) == [1, 2, 3]
    with pytest.raises(MediaError, match=r"more than one sequence.*shot\.#\.jpg \(8 frames\)"):
        open_media(make_video.folder)
    with pytest.raises(MediaError, match=r"No file matches.*The folder has"):
        open_media(make_video.folder / "scene.####.png")


def test_unpadded_numbers_sort_as_numbers(make_video, read_number):
    make_video.sequence("f{}.png", [8, 9, 10, 11, 100])
    for given_as in (".", "f#.png", "f%d.png", "f*.png"):
        with open_media(make_video.folder / given_as) as reader:
            assert numbers_of(reader, read_number) == [8, 9, 10, 11, 100]


def test_numbers_may_outgrow_their_padding(make_video):
    make_video.sequence("s.{:03d}.png", [998, 999, 1000, 1001])
    for given_as in ("s.###.png", "s.998.png", "s.1001.png"):
        with open_media(make_video.folder / given_as) as reader:
            assert reader.frame_numbers == (998, 999, 1000, 1001)


def test_gaps_are_named_and_frame_numbers_kept(make_video, read_number):
    make_video.sequence(numbers=[1, 2, 5, 6, 9])
    with open_media(make_video.folder / "shot.####.png") as reader:
        assert len(reader) == 5
        assert reader.frame_numbers == (1, 2, 5, 6, 9)
        assert numbers_of(reader, read_number) == [1, 2, 5, 6, 9]
        (note,) = [note for note in reader.info.notes if "Missing" in note]
        assert "3–4, 7–8" in note


@given(st.sets(st.integers(0, 300), min_size=2, max_size=40), st.integers(1, 5))
def test_gaps_hold_exactly_what_is_missing(numbers, step):
    present = sorted(n * step for n in numbers)
    files = SequenceFiles("x", (), tuple(present))
    smallest = min(b - a for a, b in pairwise(present))
    for first, last in files.gaps():
        assert first <= last
        assert first - smallest in present
        assert not any(first <= n <= last for n in present)
    if all(b - a == smallest for a, b in pairwise(present)):
        assert files.gaps() == []


@given(
    st.lists(st.integers(0, 99999), unique=True, min_size=2, max_size=30),
    st.sampled_from(["a{}.png", "{}.jpg", "x_{}_y"]),
)
def test_natural_order_is_the_order_of_numbers(numbers, pattern):
    names = [pattern.format(n) for n in numbers]
    assert sorted(names, key=natural_key) == [pattern.format(n) for n in sorted(numbers)]


@given(st.lists(st.text(max_size=12), max_size=12))
def test_natural_order_takes_any_name(names):
    ordered = sorted(names, key=natural_key)
    assert [natural_key(name) for name in ordered] == sorted(natural_key(name) for name in names)


def test_any_naming_in_a_folder(make_video, read_number, numbered):
    for name, number in (("b.png", 2), ("A.JPG", 1), ("c.webp", 3), ("d.bmp", 4), ("e.tiff", 5)):
        Image.fromarray(numbered(number)).save(make_video.folder / name)
    (make_video.folder / ".hidden.png").write_bytes(b"no picture")
    (make_video.folder / "Thumbs.db").write_bytes(b"no picture")
    with open_media(make_video.folder) as reader:
        assert numbers_of(reader, read_number) == [1, 2, 3, 4, 5]


def test_different_sizes_are_refused_by_name(make_video, numbered):
    make_video.sequence(numbers=range(1, 5))
    Image.fromarray(numbered(3, 48, 32)).save(make_video.folder / "shot.0003.png")
    with pytest.raises(MediaError, match=r"shot\.0001\.png is 96×64, shot\.0003\.png is 48×32"):
        open_media(make_video.folder / "shot.####.png")


def test_photos_of_different_sizes_are_single_pictures(make_video, numbered):
    """IMG_0001.jpg, IMG_0002.jpg … of a camera are no film."""
    for number, size in ((1, (96, 64)), (2, (64, 96)), (3, (48, 32))):
        Image.fromarray(numbered(number, *size)).save(make_video.folder / f"IMG_{number:04d}.png")
    with open_media(make_video.folder / "IMG_0002.png") as reader:
        assert (reader.info.kind, len(reader)) == ("image", 1)
        assert np.array_equal(reader.read(0).image_hwc, numbered(2, 64, 96))


def test_a_member_can_be_opened_alone(make_video, read_number):
    make_video.sequence()
    with open_media(make_video.folder / "shot.0004.png", sequence=False) as reader:
        assert reader.info.kind == "image" and numbers_of(reader, read_number) == [4]
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(make_video.folder / "alone.png")
    assert open_media(make_video.folder / "alone.png").info.kind == "image"
    with pytest.raises(MediaError, match="not part of a sequence"):
        open_media(make_video.folder / "alone.png", sequence=True)


def test_a_damaged_picture_is_named_and_survived(make_video, read_number):
    paths = make_video.sequence(numbers=range(6))
    for path in (paths[0], paths[3], paths[4]):
        path.write_bytes(path.read_bytes()[:-60])
    with open_media(make_video.folder) as reader:
        assert numbers_of(reader, read_number) == [1, 1, 2, 2, 2, 5]
        assert set(reader.damaged) == {0, 3, 4}
        assert "shot.0003.png" in reader.damaged[3] and "Frame 2" in reader.damaged[3]


def test_a_list_of_files_keeps_its_order(make_video, read_number):
    paths = make_video.sequence(numbers=range(4))
    with open_media([paths[2], paths[0], str(paths[3])], rate="29.97") as reader:
        assert numbers_of(reader, read_number) == [2, 0, 3]
        assert reader.info.rate == Fraction(30000, 1001)
    with pytest.raises(MediaError, match="nowhere"):
        open_media([paths[0], make_video.folder / "nowhere.png"])
    with pytest.raises(InputError, match="empty"):
        open_media([])


def test_backwards_and_random_access(make_video, read_number):
    make_video.sequence(numbers=range(6))
    with open_media(make_video.folder, rate=12) as reader:
        assert [read_number(f.image_hwc) for f in reader.frames(step=-1)] == [5, 4, 3, 2, 1, 0]
        assert read_number(reader.read(4).image_hwc) == 4
        assert reader.index_at(0.25) == 3
        with pytest.raises(InputError, match="0 to 5"):
            reader.read(6)


def test_fingerprint_of_a_sequence(make_video, tmp_path):
    make_video.sequence()
    first = open_media(make_video.folder / "shot.####.png").fingerprint()
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in make_video.folder.glob("shot.*.png"):
        (moved / path.name).write_bytes(path.read_bytes())
    assert open_media(moved).fingerprint() == first
    (moved / "shot.0006.png").unlink()
    assert open_media(moved).fingerprint() != first


def test_missing_folder_and_pattern(tmp_path):
    with pytest.raises(MediaError, match="no folder"):
        open_media(tmp_path / "none" / "shot.####.png")
    with pytest.raises(MediaError, match="no file"):
        open_media(tmp_path / "none")
    with pytest.raises(MediaError, match="No picture matches"):
        open_media(tmp_path / "*.png")


def test_a_file_whose_name_holds_pattern_characters_is_itself(make_video, read_number, numbered):
    Image.fromarray(numbered(9)).save(make_video.folder / "take #2 [final].png")
    with open_media(make_video.folder / "take #2 [final].png") as reader:
        assert numbers_of(reader, read_number) == [9]
    video = make_video.long_gop("50%d: a#b.mp4", count=3)
    assert len(open_media(video)) == 3


def test_the_same_frame_twice_is_refused(tmp_path):
    for name in ("f1.png", "f01.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(MediaError, match="twice"):
        files_of_pattern(tmp_path / "f#.png")


# Arrays


def test_arrays_are_videos(clip_256_frames):
    video = np.stack(clip_256_frames[:6])
    with open_media(video, rate=25) as reader:
        assert (reader.info.kind, len(reader), reader.info.width) == ("video", 6, 256)
        frame = reader.read(4)
        assert np.array_equal(frame.image_hwc, video[4]) and frame.time == Fraction(4, 25)
        frame.image_hwc[:] = 0
        assert video[4].any()  # what is given out is a copy
        assert open_media(clip_256_frames[:6], rate=25).fingerprint() == reader.fingerprint()
    assert open_media(video[0]).info.kind == "image"


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "uint8"),
        (np.zeros((2, 8, 8, 4), np.uint8), "RGB"),
        (np.zeros((2, 8, 8, 1), np.uint8), "RGB"),
        (np.zeros((8, 8), np.uint8), "RGB"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
        (np.zeros((2, 0, 8, 3), np.uint8), "RGB"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "one size"),
        (7, "int"),
    ],
)
def test_arrays_that_are_no_pictures(array, match):
    with pytest.raises(InputError, match=match):
        open_media(array)


@pytest.mark.parametrize("rate", [0, -1, "fast", "1/0", float("nan"), float("inf")])
def test_rates_that_make_no_sense(rate):
    with pytest.raises(InputError, match="rate"):
        open_media(np.zeros((2, 4, 4, 3), np.uint8), rate=rate)
