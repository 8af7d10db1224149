"""Video exports, read back with FFmpeg's own decoders."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from masklet.errors import ExportError, MediaError
from masklet.export import write
from masklet.media import open_media
from masklet.project import Project
from masklet.results import ObjectMask

HARD = {"feather": 0}
Masks = dict[int, Callable[[int], np.ndarray]]


def union(masks: Masks, frame: int) -> np.ndarray:
    return masks[1](frame) | masks[2](frame)


def decoded(path: Path, layout: str, decoder: str | None = None) -> list[np.ndarray]:
    """All frames in a pixel format, by the container's decoder or one that is named."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return [frame.to_ndarray(format=layout) for frame in container.decode(stream)]
        context = av.CodecContext.create(decoder, "r")
        frames = [
            frame for packet in container.demux(stream) for frame in context.decode(packet if packet.size else None)
        ]
        return [frame.to_ndarray(format=layout) for frame in frames]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def tags(path: Path) -> tuple[int, ...]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return tuple(int(v) for v in (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc))


def sound_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def source_images(clip: Path) -> list[np.ndarray]:
    with open_media(clip) as reader:
        return [frame.image_hwc for frame in reader]


def test_prores_4444_keeps_alpha_exactly_and_colours_closely(make_project, true_masks, clip: Path, tmp_path) -> None:
    [path] = write(make_project(), "prores4444", tmp_path / "cut.mov", settings=HARD)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height) == ("prores", 128, 72)
        assert stream.codec_context.codec_tag == "ap4h"
        assert stream.average_rate == 25
    frames = decoded(path, "rgba")
    assert len(frames) == 8
    for index, (frame, image) in enumerate(zip(frames, source_images(clip), strict=True)):
        np.testing.assert_array_equal(frame[..., 3], union(true_masks, index) * np.uint8(255))
        assert np.abs(frame[..., :3].astype(int) - image).mean() < 2.5
    assert sound_seconds(path) == pytest.approx(8 / 25, abs=0.05)
    assert times(path) == [Fraction(index, 25) for index in range(8)]


def test_prores_4444_keeps_soft_alpha_to_one_step_of_255(make_project, tmp_path) -> None:
    project = make_project()
    [lossless] = write(project, "ffv1-alpha", tmp_path / "soft.mkv", settings={"feather": 9})
    [prores] = write(project, "prores4444", tmp_path / "soft.mov", settings={"feather": 9})
    for exact, stored in zip(decoded(lossless, "rgba"), decoded(prores, "rgba"), strict=True):
        assert len(np.unique(exact[..., 3])) > 30
        assert np.abs(stored[..., 3].astype(int) - exact[..., 3]).max() <= 1


def test_ffv1_keeps_everything_exactly(make_project, true_masks, clip: Path, tmp_path) -> None:
    [path] = write(make_project(), "ffv1-alpha", tmp_path / "cut.mkv", settings=HARD)
    for index, (frame, image) in enumerate(zip(decoded(path, "rgba"), source_images(clip), strict=True)):
        np.testing.assert_array_equal(frame[..., 3] == 255, union(true_masks, index))
        np.testing.assert_array_equal(frame[..., :3], image)
    assert sound_seconds(path) > 0.25


def test_premultiplied_colours_are_black_outside(make_project, true_masks, clip: Path, tmp_path) -> None:
    [path] = write(make_project(), "ffv1-alpha", tmp_path / "cut.mkv", settings=HARD, alpha="premultiplied")
    for index, (frame, image) in enumerate(zip(decoded(path, "rgba"), source_images(clip), strict=True)):
        np.testing.assert_array_equal(frame[..., :3], image * union(true_masks, index)[..., None])


def test_vp9_carries_alpha_in_webm(make_project, true_masks, tmp_path) -> None:
    notes: list[str] = []
    [path] = write(make_project(), "vp9-alpha", tmp_path / "cut.webm", settings=HARD, quality=95, notes=notes)
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"
        assert container.streams.audio[0].codec.canonical_name == "opus"
    assert any("converted from aac to opus" in note for note in notes)
    frames = decoded(path, "rgba", "libvpx-vp9")
    assert len(frames) == 8
    for index, frame in enumerate(frames):
        truth = union(true_masks, index)
        assert np.abs(frame[..., 3].astype(int) - truth * 255).mean() < 4
        np.testing.assert_array_equal(frame[8:28, ..., 3] > 127, truth[8:28])


@pytest.mark.parametrize(("name", "codec"), [("h264-matte", "h264"), ("h265-matte", "hevc")])
def test_mattes_are_white_inside_and_black_outside(make_project, true_masks, tmp_path, name: str, codec: str) -> None:
    [path] = write(make_project(), name, tmp_path / "matte.mp4", settings=HARD)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec.name == codec
        assert not container.streams.audio
    with open_media(path) as reader:
        assert len(reader) == 8
        for index, frame in enumerate(reader):
            truth = union(true_masks, index)
            # The codec blurs outlines; on average no pixel is off by more than 2 %.
            assert np.abs(frame.image_hwc.mean(axis=2) - truth * 255).mean() < 5
            assert ((frame.image_hwc[..., 0] > 127) != truth).mean() < 0.01


def test_one_object_or_one_file_per_object(make_project, true_masks, tmp_path) -> None:
    project = make_project()
    [path] = write(project, "ffv1-alpha", tmp_path / "rock.mkv", settings=HARD, objects=["rock"])
    for index, frame in enumerate(decoded(path, "rgba")):
        np.testing.assert_array_equal(frame[..., 3] == 255, true_masks[2](index))
    paths = write(project, "ffv1-alpha", tmp_path / "each", settings=HARD, split=True)
    assert [path.name for path in paths] == ["bunny cut_bunny.mkv", "bunny cut_rock.mkv"]
    for number, path in zip((1, 2), paths, strict=True):
        for index, frame in enumerate(decoded(path, "rgba")):
            np.testing.assert_array_equal(frame[..., 3] == 255, true_masks[number](index))


def test_a_range_keeps_its_own_sound(make_project, true_masks, tmp_path) -> None:
    [path] = write(make_project(), "ffv1-alpha", tmp_path / "part.mkv", settings=HARD, start=2, end=5)
    frames = decoded(path, "rgba")
    assert len(frames) == 4 and times(path)[0] == 0
    for index, frame in enumerate(frames, start=2):
        np.testing.assert_array_equal(frame[..., 3] == 255, union(true_masks, index))
    assert sound_seconds(path) == pytest.approx(4 / 25, abs=0.06)


def uneven_project(path: Path, source: Path, masks: Masks) -> Project:
    from masklet.masks import rle

    project = Project.create(path, source)
    project.add_object(1, "bunny")
    project.put_masks([ObjectMask(1, frame, rle.encode(masks[1](frame))) for frame in range(8)])
    return project


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prores4444", "a.mov"),
        ("ffv1-alpha", "a.mkv"),
        ("vp9-alpha", "a.webm"),
        ("h264-matte", "a.mp4"),
        ("overlay", "a.mp4"),
    ],
)
def test_uneven_time_stamps_survive(uneven_clip, true_masks, tmp_path, name: str, file: str) -> None:
    source, stamps = uneven_clip
    with uneven_project(tmp_path / "u.masklet", source, true_masks) as project:
        [path] = write(project, name, tmp_path / file)
        assert times(path) == stamps
        [part] = write(project, name, tmp_path / f"part{Path(file).suffix}", start=3)
        assert times(part) == [stamp - stamps[3] for stamp in stamps[3:]]


def tagged_clip(path: Path, images: np.ndarray, **tagging: Any) -> Path:
    """H.264 with colour tags, or turned on its side, or with oblong pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        stream.options = {"crf": "10", "preset": "ultrafast"}
        context = stream.codec_context
        context.color_range = tagging.get("range", 1)
        context.colorspace = context.color_primaries = context.color_trc = tagging.get("matrix", 1)
        context.sample_aspect_ratio = tagging.get("aspect", Fraction(1))
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=1 if context.colorspace == 1 else 5,
                dst_color_range=int(context.color_range),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["overlay", "screen", "prores4444", "vp9-alpha"])
def test_colour_tags_survive_and_colours_with_them(demo_images, true_masks, tmp_path, name: str) -> None:
    source = tagged_clip(tmp_path / "full601.mp4", demo_images, range=2, matrix=6)
    suffix = {"prores4444": ".mov", "vp9-alpha": ".webm"}.get(name, ".mp4")
    with uneven_project(tmp_path / "t.masklet", source, true_masks) as project:
        options = {"strength": 0, "outline": False, "names": False} if name == "overlay" else {}
        [path] = write(project, name, tmp_path / f"out{suffix}", settings=HARD, quality=95, **options)
    matrix, span, primaries, transfer = tags(path)
    assert (matrix, primaries, transfer) == (6, 6, 6)
    if name != "prores4444":  # ProRes has no flag for the range, and is limited by definition
        assert span == 2
    inside = cv2.erode(true_masks[1](4).view(np.uint8), np.ones((5, 5))).astype(bool)
    with open_media(path) as reader, open_media(source) as original:
        shown, wanted = reader.read(4).image_hwc[inside].astype(int), original.read(4).image_hwc[inside]
        assert np.abs(shown - wanted).mean() < 8
        assert np.abs(shown.mean(axis=0) - wanted.mean(axis=0)).max() < 3


def test_oblong_pixels_and_rotation_survive(demo_images, true_masks, tmp_path, clip_writer) -> None:
    source = tagged_clip(tmp_path / "oblong.mp4", demo_images, aspect=Fraction(4, 3))
    with uneven_project(tmp_path / "o.masklet", source, true_masks) as project:
        [path] = write(project, "overlay", tmp_path / "oblong out.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)

    lying = clip_writer(tmp_path / "lying.mp4", demo_images)
    turned = tmp_path / "turned.mp4"
    _turn(lying, turned)
    with open_media(turned) as reader:
        assert (reader.info.width, reader.info.height) == (72, 128)
        upright = reader.read(0).image_hwc
    from masklet.masks import rle

    with Project.create(tmp_path / "r.masklet", turned) as project:
        project.add_object(1)
        project.put_masks([ObjectMask(1, frame, rle.encode(true_masks[1](frame).T)) for frame in range(8)])
        [path] = write(project, "ffv1-alpha", tmp_path / "turned out.mkv", settings=HARD)
    frames = decoded(path, "rgba")
    assert frames[0].shape == (128, 72, 4)
    np.testing.assert_array_equal(frames[0][..., :3], upright)
    np.testing.assert_array_equal(frames[5][..., 3] == 255, true_masks[1](5).T)


def _turn(source: Path, target: Path) -> None:
    """The same packets with a display matrix that turns the picture, written into the file's track header."""
    data = bytearray(source.read_bytes())
    at = data.find(b"tkhd")
    # Version 0: four bytes of name, then 40 up to the matrix: a quarter turn clockwise about the origin.
    one = (1 << 16).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero, last = bytes(4), (1 << 30).to_bytes(4, "big")
    matrix = [zero, one, zero, minus, zero, zero, (72 << 16).to_bytes(4, "big"), zero, last]
    data[at + 44 : at + 80] = b"".join(matrix)
    target.write_bytes(data)


@pytest.mark.parametrize("size", [(127, 71), (33, 72)])
def test_odd_sizes_stay_as_they_are(demo_images, true_masks, tmp_path, clip_writer, size: tuple[int, int]) -> None:
    from masklet.masks import rle

    width, height = size
    source = clip_writer(tmp_path / "odd.mkv", np.ascontiguousarray(demo_images[:3, :height, :width]))
    with Project.create(tmp_path / "odd.masklet", source) as project:
        project.add_object(1)
        project.put_masks([ObjectMask(1, f, rle.encode(true_masks[1](f)[:height, :width])) for f in range(3)])
        for name, suffix in (
            ("prores4444", ".mov"),
            ("vp9-alpha", ".webm"),
            ("h264-matte", ".mp4"),
            ("ffv1-alpha", ".mkv"),
        ):
            [path] = write(project, name, tmp_path / f"odd out{suffix}", settings=HARD)
            with open_media(path) as reader:
                assert (reader.info.width, reader.info.height, len(reader)) == (width, height, 3)


def test_screens_and_backgrounds(make_project, true_masks, clip: Path, demo_images, tmp_path) -> None:
    project = make_project()
    exact = {"codec": "ffv1", "settings": HARD}
    images = source_images(clip)

    def shown(name: str, **options: Any) -> list[np.ndarray]:
        [path] = write(project, name, tmp_path / "video.mkv", overwrite=True, **exact, **options)
        return decoded(path, "rgb24")

    for color, rgb in (("green", (0, 177, 64)), ("blue", (0, 71, 187)), ("#102030", (16, 32, 48))):
        for index, frame in enumerate(shown("screen", color=color)):
            truth = union(true_masks, index)
            assert (frame[~truth] == rgb).all()
            np.testing.assert_array_equal(frame[truth], images[index][truth])
    for index, frame in enumerate(shown("blur", radius=8)):
        truth = union(true_masks, index)
        np.testing.assert_array_equal(frame[truth], images[index][truth])
        assert (
            np.abs(np.diff(frame[:, :20].astype(int), axis=0)).mean()
            < np.abs(np.diff(images[index][:, :20].astype(int), axis=0)).mean()
        )
    for index, frame in enumerate(shown("grey-out")):
        truth = union(true_masks, index)
        np.testing.assert_array_equal(frame[truth], images[index][truth])
        assert (np.ptp(frame[~truth], axis=1) == 0).all()

    from PIL import Image

    Image.fromarray(demo_images[7][:, ::-1]).save(tmp_path / "back.png")
    for index, frame in enumerate(shown("background", file=tmp_path / "back.png")):
        truth = union(true_masks, index)
        np.testing.assert_array_equal(frame[~truth], demo_images[7][:, ::-1][~truth])
        np.testing.assert_array_equal(frame[truth], images[index][truth])


def test_a_short_background_video_starts_again(make_project, true_masks, demo_images, clip_writer, tmp_path) -> None:
    short = clip_writer(tmp_path / "short.mkv", demo_images[:3])
    [path] = write(make_project(), "background", tmp_path / "b.mkv", codec="ffv1", settings=HARD, file=short)
    for index, frame in enumerate(decoded(path, "rgb24")):
        outside = ~union(true_masks, index)
        np.testing.assert_array_equal(frame[outside], demo_images[index % 3][outside])


def test_overlay_colours_what_is_inside(make_project, true_masks, clip: Path, tmp_path) -> None:
    project = make_project()
    project.update_object(1, color=(255, 0, 0))
    [path] = write(project, "overlay", tmp_path / "o.mkv", codec="ffv1", names=False, outline=False, strength=1)
    for index, frame in enumerate(decoded(path, "rgb24")):
        sure = true_masks[1](index) & ~true_masks[2](index)
        inner = sure & np.roll(sure, 2, 0) & np.roll(sure, -2, 0) & np.roll(sure, 2, 1) & np.roll(sure, -2, 1)
        assert inner.sum() > 200 and (frame[inner] == (255, 0, 0)).all()
    [named] = write(project, "overlay", tmp_path / "named.mp4")
    assert sound_seconds(named) == pytest.approx(8 / 25, abs=0.05)
    [silent] = write(project, "overlay", tmp_path / "silent.mp4", audio=False)
    with av.open(str(silent)) as container:
        assert not container.streams.audio


def test_what_can_not_be_written_is_said(make_project, tmp_path) -> None:
    project = make_project()
    with pytest.raises(ExportError, match="wrong suffix"):
        write(project, "prores4444", tmp_path / "a.mp4")
    with pytest.raises(MediaError, match=r"prores422 can't be put into \.mp4"):
        write(project, "overlay", tmp_path / "a.mp4", codec="prores422")
    with pytest.raises(ExportError, match="a colour is green"):
        write(project, "screen", tmp_path / "a.mp4", color="reddish")
    with pytest.raises(ExportError, match="Field required"):
        write(project, "background", tmp_path / "a.mp4")
    with pytest.raises(ExportError, match="There is no background"):
        write(project, "background", tmp_path / "a.mp4", file="nothing.png")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".mp4" or path.name.startswith(".a")] == []
