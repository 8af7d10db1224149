"""Sequences, stills and animations, read back with Pillow, OpenCV, OpenEXR, tifffile and an XML parser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image, ImageSequence

from masklet.errors import ExportError
from masklet.export import write
from masklet.masks import rle
from masklet.media import open_media
from masklet.project import Project
from masklet.results import ObjectMask

HARD = {"feather": 0}
SOFT = {"feather": 8}
Masks = dict[int, Callable[[int], np.ndarray]]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_png_masks_are_the_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    paths = write(make_project(), "png-mask", tmp_path / "masks", settings=HARD)
    assert names(paths)[:3] == ["bunny cut_bunny_00000.png", "bunny cut_rock_00000.png", "bunny cut_bunny_00001.png"]
    assert len(paths) == 16
    for position, path in enumerate(paths):
        image = pixels(path)
        assert image.dtype == np.uint8 and image.ndim == 2
        np.testing.assert_array_equal(image == 255, true_masks[position % 2 + 1](position // 2))
        assert set(np.unique(image)) <= {0, 255}


def test_merged_masks_and_every_second_frame(make_project, true_masks: Masks, tmp_path: Path) -> None:
    paths = write(make_project(), "png-mask", tmp_path / "m", settings=HARD, merge=True, every=2, start=1)
    assert names(paths) == [f"bunny cut_all_{frame:05d}.png" for frame in (1, 3, 5, 7)]
    for path, frame in zip(paths, (1, 3, 5, 7), strict=True):
        np.testing.assert_array_equal(pixels(path) == 255, true_masks[1](frame) | true_masks[2](frame))


def test_soft_edges_in_8_and_16_bits(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    [eight, *_] = write(project, "png-mask", tmp_path / "8", settings=SOFT, objects=[1])
    [sixteen, *_] = write(project, "png16", tmp_path / "16", settings=SOFT, objects=[1])
    low, high = pixels(eight), cv2.imread(str(sixteen), cv2.IMREAD_UNCHANGED)
    assert high.dtype == np.uint16
    np.testing.assert_array_equal(high, low.astype(np.uint16) * 257)
    assert len(np.unique(low)) > 50
    np.testing.assert_array_equal(low >= 128, true_masks[1](0))


def test_rgba_sequences_straight_and_premultiplied(make_project, true_masks: Masks, clip: Path, tmp_path: Path) -> None:
    project = make_project()
    with open_media(clip) as reader:
        images = [frame.image_hwc for frame in reader]
    straight = write(project, "png-rgba", tmp_path / "s", settings=SOFT)
    premultiplied = write(project, "png-rgba", tmp_path / "p", settings=SOFT, alpha="premultiplied")
    deep = write(project, "png-rgba", tmp_path / "d", settings=SOFT, alpha="premultiplied", bits=16)
    clear = write(project, "png-rgba", tmp_path / "c", settings=SOFT, clear_outside=True)
    assert len(straight) == len(premultiplied) == len(deep) == len(clear) == 8
    for index, image in enumerate(images):
        plain = pixels(straight[index])
        opacity = plain[..., 3:].astype(float) / 255
        np.testing.assert_array_equal(plain[..., :3], image)
        np.testing.assert_array_equal(plain[..., 3] >= 128, true_masks[1](index) | true_masks[2](index))
        np.testing.assert_allclose(pixels(premultiplied[index])[..., :3], image * opacity, atol=0.51)
        big = cv2.cvtColor(cv2.imread(str(deep[index]), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        assert big.dtype == np.uint16
        np.testing.assert_array_equal(big[..., 3], plain[..., 3].astype(np.uint16) * 257)
        np.testing.assert_allclose(big[..., :3], image * opacity * 257.0, atol=0.51)
        assert (pixels(clear[index])[..., :3][plain[..., 3] == 0] == 0).all()


def test_exr_has_a_float_layer_per_object(make_project, true_masks: Masks, clip: Path, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(2, name="2nd rock, wet")
    paths = write(project, "exr", tmp_path / "layers", settings=SOFT)
    assert names(paths) == [f"bunny cut_{frame:05d}.exr" for frame in range(8)]
    for index, path in enumerate(paths):
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels, header = file.channels(), file.header()
            assert sorted(channels) == ["bunny.A", "object_2nd_rock_wet.A"]
            for name, number in (("bunny.A", 1), ("object_2nd_rock_wet.A", 2)):
                layer = channels[name].pixels
                assert layer.dtype == np.float32 and layer.shape == (72, 128)
                assert layer.min() >= 0 and layer.max() <= 1
                np.testing.assert_array_equal(layer >= 0.5, true_masks[number](index))
            assert header["compression"] == OpenEXR.ZIP_COMPRESSION
            assert header["type"] == OpenEXR.scanlineimage
            assert Fraction(header["framesPerSecond"]).limit_denominator(1001) == 25
    [coloured, *_] = write(project, "exr", tmp_path / "rgb", settings=HARD, rgb=True, half=True, objects=[1])
    with OpenEXR.File(str(coloured), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    assert sorted(channels) == ["A", "B", "G", "R", "bunny.A"] and channels["R"].dtype == np.float16
    with open_media(clip) as reader:
        image = reader.read(0).image_hwc / 255
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    truth = true_masks[1](0)
    np.testing.assert_allclose(channels["G"], linear[..., 1] * truth, atol=1e-3)
    np.testing.assert_array_equal(channels["A"] == 1, truth)


def test_tiff_sequences(make_project, true_masks: Masks, clip: Path, tmp_path: Path) -> None:
    project = make_project()
    [mask, *_] = write(project, "tiff", tmp_path / "m", settings=HARD, objects=["bunny"])
    assert mask.name == "bunny cut_bunny_00000.tiff"
    with tifffile.TiffFile(mask) as file:
        assert file.pages[0].compression.name == "ADOBE_DEFLATE"
        np.testing.assert_array_equal(file.asarray() == 255, true_masks[1](0))
    [deep, *_] = write(project, "tiff", tmp_path / "d", settings=SOFT, objects=[1], content="mask16")
    array = cv2.imread(str(deep), cv2.IMREAD_UNCHANGED)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array >= 32768, true_masks[1](0))
    [cut, *_] = write(project, "tiff", tmp_path / "c", settings=HARD, objects=[1], content="cutout")
    array = tifffile.imread(cut)
    with open_media(clip) as reader:
        np.testing.assert_array_equal(array[..., :3], reader.read(0).image_hwc)
    np.testing.assert_array_equal(array[..., 3] == 255, true_masks[1](0))


def test_cutout_still_is_cut_to_the_object(make_project, true_masks: Masks, clip: Path, tmp_path: Path) -> None:
    project = make_project()
    [path] = write(project, "cutout", tmp_path / "rock.png", settings=HARD, objects=[2], frame=5)
    with open_media(clip) as reader:
        image = reader.read(5).image_hwc
    found = pixels(path)
    assert found.shape == (22, 30, 4)
    np.testing.assert_array_equal(found[..., :3], image[50:72, 80:110])
    assert (found[..., 3] == 255).all()
    [whole] = write(project, "cutout", tmp_path / "whole", settings=HARD, crop=False)
    assert whole.name == "whole.png"
    assert (pixels(whole)[..., 3] == 255).sum() == (true_masks[1](0) | true_masks[2](0)).sum()
    [margin] = write(project, "cutout", tmp_path / "margin.png", settings=HARD, objects=[2], margin=4)
    assert pixels(margin).shape == (26, 38, 4)
    with pytest.raises(ExportError, match="no object can be seen on frame 3"):
        write(project, "cutout", tmp_path / "none.png", objects=[2], frame=3)
    with pytest.raises(ExportError, match="Frame 9 is not among the frames"):
        write(project, "cutout", tmp_path / "none.png", frame=9)


def test_a_still_is_the_first_frame_that_shows_the_object(make_project, tmp_path: Path) -> None:
    project = make_project()
    [path] = write(project, "cutout", tmp_path / "later.png", objects=[2], start=3, settings=HARD)
    assert pixels(path).shape == (22, 30, 4)


def fill_svg(root: ElementTree.Element, number: int) -> np.ndarray:
    """The shape of an object, filled by OpenCV with the even-odd rule."""
    [shape] = [part for part in root if part.get("id") == f"object-{number}"]
    assert shape.get("fill-rule") == "evenodd"
    rings = [
        np.array([[float(v) for v in pair.split()] for pair in ring.split("L")])
        for ring in re.findall(r"M([^Z]+)Z", shape.get("d", ""))
    ]
    # Eight times larger, so that the outline's own pixels, which OpenCV always fills, don't matter.
    big = np.zeros((72 * 8, 128 * 8), np.uint8)
    cv2.fillPoly(big, [np.round(ring * 8).astype(np.int32) for ring in rings], 1)
    return big[4::8, 4::8].astype(bool)


def test_svg_outlines_enclose_the_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(2, name='<b> & "rock"')
    [path] = write(project, "svg", tmp_path / "a.svg", tolerance=0, frame=2)
    root = ElementTree.fromstring(path.read_text("utf-8"))
    assert root.get("viewBox") == "0 0 128 72"
    for number in (1, 2):
        np.testing.assert_array_equal(fill_svg(root, number), true_masks[number](2))
    assert root[1].get("data-name") == '<b> & "rock"' and root[1][0].text == '<b> & "rock"'
    [loose] = write(project, "svg", tmp_path / "b.svg", tolerance=1.5, frame=2, fill=True)
    assert loose.stat().st_size < path.stat().st_size
    rough = fill_svg(ElementTree.fromstring(loose.read_text("utf-8")), 1)
    assert (rough ^ true_masks[1](2)).sum() < 0.1 * true_masks[1](2).sum()


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_animations_have_the_source_s_timing_and_transparency(
    uneven_clip, true_masks: Masks, tmp_path: Path, name: str
) -> None:
    source, stamps = uneven_clip
    with Project.create(tmp_path / "u.masklet", source) as project:
        project.add_object(1, "bunny")
        project.put_masks([ObjectMask(1, frame, rle.encode(true_masks[1](frame))) for frame in range(8)])
        options: dict[str, Any] = {"lossless": True} if name == "webp" else {}
        [path] = write(project, name, tmp_path / f"a.{name}", settings=HARD, **options)
        average = 1000 / project.source.rate
    with Image.open(path) as image:
        assert image.n_frames == 8 and image.info.get("loop") == 0
        frames, shown = [], []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            shown.append(frame.info["duration"])
            frames.append(np.asarray(frame.convert("RGBA")))
    wanted = [float(later - sooner) * 1000 for sooner, later in itertools.pairwise(stamps)]
    assert shown[:-1] == wanted and shown[-1] == pytest.approx(average, abs=10)
    with open_media(source) as reader:
        for index, frame in enumerate(frames):
            truth = true_masks[1](index)
            np.testing.assert_array_equal(frame[..., 3] > 127, truth)
            error = np.abs(frame[..., :3].astype(int) - reader.read(index).image_hwc)[truth]
            assert error.max() == 0 if name == "webp" else error.mean() < 6


def test_animations_are_scaled_down(make_project, tmp_path: Path) -> None:
    project = make_project()
    [small] = write(project, "webp", tmp_path / "a.webp", longest=64, every=2, objects=[1])
    with Image.open(small) as image:
        assert image.size == (64, 36) and image.n_frames == 4
        image.seek(3)
        image.load()
        assert image.info["duration"] == 80
    [picture] = write(project, "webp", tmp_path / "b.webp", content="picture", objects=[1])
    with Image.open(picture) as image:
        assert image.size == (128, 72) and (np.asarray(image.convert("RGBA"))[..., 3] == 255).all()


def test_no_file_where_an_object_was_not_tracked(make_project, tmp_path: Path) -> None:
    project = make_project()
    project.clear_masks(2, 0, 5)
    every = write(project, "png-mask", tmp_path / "all", settings=HARD)
    some = write(project, "png-mask", tmp_path / "some", settings=HARD, blank=False)
    assert len(every) == 16
    assert {path.name for path in every} - {path.name for path in some} == {
        f"bunny cut_rock_{frame:05d}.png" for frame in range(5)
    }
