"""Single pictures: every layout in, exact arrays back, nothing half-written."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masklet.errors import InputError, MediaError
from masklet.media import exr as exr_module
from masklet.media import (
    image_size,
    open_media,
    read_image,
    read_mask,
    read_rgba,
    resize_longest_image_size,
    write_exr,
    write_image,
)
from masklet.media.hdr import linear_to_srgb


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


# Reading


def test_layouts_become_rgb(picture, tmp_path):
    grey = picture[..., 0]
    cases = {
        "rgb.png": (Image.fromarray(picture), picture),
        "grey.png": (Image.fromarray(grey), np.dstack([grey] * 3)),
        "one_bit.png": (Image.fromarray(grey > 127), np.dstack([(grey > 127) * np.uint8(255)] * 3)),
        "rgb.bmp": (Image.fromarray(picture), picture),
        "rgb.tif": (Image.fromarray(picture), picture),
        "rgb.webp": (Image.fromarray(picture), picture),
        "rgb.ppm": (Image.fromarray(picture), picture),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        got = read_image(tmp_path / name)
        assert got.dtype == np.uint8 and got.flags.c_contiguous, name
        assert np.array_equal(got, expected), name
        assert image_size(tmp_path / name) == (53, 37)


def test_palettes_cmyk_and_grey_with_alpha(picture, tmp_path):
    indexed = Image.fromarray(picture).quantize(16)
    indexed.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.array(indexed.convert("RGB")))
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red = read_image(tmp_path / "print.jpg")[4, 4].astype(int)
    assert red[0] > 200 and red[1:].max() < 60
    la = np.dstack([np.full((4, 4), 200, np.uint8), np.full((4, 4), 51, np.uint8)])
    Image.fromarray(la, "LA").save(tmp_path / "la.png")
    assert np.all(read_image(tmp_path / "la.png") == 40)


def test_transparent_parts_are_black_and_alpha_can_be_had(picture, tmp_path):
    alpha = np.zeros((37, 53), np.uint8)
    alpha[:, 20:] = 255
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "cut.png")
    shown = read_image(tmp_path / "cut.png")
    assert not shown[:, :20].any() and np.array_equal(shown[:, 20:], picture[:, 20:])
    assert np.array_equal(read_rgba(tmp_path / "cut.png"), np.dstack([picture, alpha]))
    Image.fromarray(picture).save(tmp_path / "solid.png")
    assert read_rgba(tmp_path / "solid.png")[..., 3].min() == 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded(suffix, channels, tmp_path):
    import cv2

    deep = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    swapped = deep[..., [2, 1, 0, 3][:channels]] if channels > 1 else deep
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), swapped)
    expected = np.rint(deep[..., :3] / 257).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / f"deep.{suffix}"), np.broadcast_to(expected, (9, 11, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation, tmp_path, numbered):
    from PIL import ImageOps

    image = Image.fromarray(numbered(3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")).convert("RGB"))
    got = read_image(tmp_path / "turned.png")
    assert np.array_equal(got, expected)
    assert got.shape == ((96, 64, 3) if orientation >= 5 else (64, 96, 3))
    assert image_size(tmp_path / "turned.png") == (got.shape[1], got.shape[0])


def test_colour_profiles_are_converted(tmp_path):
    from PIL import ImageCms

    wide = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Swap the red and green colorants: a profile in which (255, 0, 0) is green.
    tags = {}
    for i in range(int.from_bytes(wide[128:132], "big")):
        tags[bytes(wide[132 + 12 * i : 136 + 12 * i])] = 132 + 12 * i
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    wide[red + 4 : red + 12], wide[green + 4 : green + 12] = wide[green + 4 : green + 12], wide[red + 4 : red + 12]
    profile = bytes(wide).replace(b"sRGB", b"xRGB").replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "swapped.png", icc_profile=profile)
    assert read_image(tmp_path / "swapped.png")[2, 2].tolist() == pytest.approx([0, 255, 0], abs=3)
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (4, 4), (255, 30, 7)).save(tmp_path / "plain.png", icc_profile=plain)
    assert read_image(tmp_path / "plain.png")[2, 2].tolist() == [255, 30, 7]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4320, 7680)])
def test_extreme_sizes(shape, tmp_path):
    image = np.zeros(shape, np.uint8)
    image[-1, -1] = 77
    Image.fromarray(image).save(tmp_path / "size.bmp")
    got = read_image(tmp_path / "size.bmp")
    assert got.shape == (*shape, 3) and got[-1, -1].tolist() == [77, 77, 77] and np.count_nonzero(got) == 3


# Masks


def test_masks_from_every_kind_of_picture(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[5:15, 8:22] = True
    Image.fromarray(mask).save(tmp_path / "bits.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "grey.png")
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "labels.png")
    Image.fromarray(np.dstack([mask.astype(np.uint8) * 255] * 3)).save(tmp_path / "rgb.bmp")
    Image.fromarray(np.dstack([np.full((20, 30, 3), 9, np.uint8), mask * np.uint8(255)])).save(tmp_path / "alpha.png")
    write_image(
        tmp_path / "palette.png", mask.astype(np.uint8) * 3, palette=[(0, 0, 0), (9, 9, 9), (1, 2, 3), (0, 0, 1)]
    )
    write_image(tmp_path / "deep.png", mask.astype(np.uint16) * 65535)
    for path in sorted(tmp_path.iterdir()):
        got = read_mask(path)
        assert got.dtype == bool and np.array_equal(got, mask), path.name
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "none.png")
    assert not read_mask(tmp_path / "none.png").any()


# Writing


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_pictures_come_back(suffix, picture, tmp_path):
    path = tmp_path / f"out.{suffix}"
    write_image(path, picture, quality=100)
    assert np.array_equal(np.array(Image.open(path).convert("RGB")), picture)
    assert np.array_equal(read_image(path), picture)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depths_and_channels_come_back_through_opencv(suffix, dtype, channels, tmp_path):
    import cv2

    shape = (7, 9) if channels == 1 else (7, 9, channels)
    array = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape, dtype)
    write_image(tmp_path / f"out.{suffix}", array)
    got = cv2.imread(str(tmp_path / f"out.{suffix}"), cv2.IMREAD_UNCHANGED)
    if (suffix, dtype, channels) == ("tif", np.uint8, 4):  # OpenCV multiplies by alpha here
        got = np.array(Image.open(tmp_path / "out.tif"))
    elif channels > 1:
        got = got[..., [2, 1, 0, 3][:channels]]
    assert got.dtype == dtype and np.array_equal(got, array)


def test_float_tiff_masks_and_jpeg(picture, tmp_path):
    import cv2

    soft = np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9)
    write_image(tmp_path / "soft.tif", soft)
    assert np.array_equal(cv2.imread(str(tmp_path / "soft.tif"), cv2.IMREAD_UNCHANGED), soft)
    write_image(tmp_path / "mask.png", soft > 0.5)
    assert np.array_equal(np.array(Image.open(tmp_path / "mask.png")), (soft > 0.5) * np.uint8(255))
    smooth = np.dstack([np.linspace(0, 255, 53)[None].repeat(37, 0)] * 3).astype(np.uint8)
    write_image(tmp_path / "out.jpg", smooth)
    assert np.abs(read_image(tmp_path / "out.jpg").astype(int) - smooth).max() <= 4


def test_palette_pictures_keep_their_indices(tmp_path):
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = [(i, 2 * i, 3 * i) for i in range(12)]
    write_image(tmp_path / "davis.png", indices, palette=palette)
    with Image.open(tmp_path / "davis.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), indices)
        assert image.convert("RGB").getpixel((3, 2)) == (11, 22, 33)


@pytest.mark.parametrize(
    ("name", "array", "error", "match"),
    [
        ("a.png", np.zeros((3, 3), np.float32), InputError, "uint8, uint16"),
        ("a.jpg", np.zeros((3, 3, 4), np.uint8), InputError, "alpha"),
        ("a.jpg", np.zeros((3, 3, 3), np.uint16), InputError, "uint8"),
        ("a.png", np.zeros((3, 3, 2), np.uint8), InputError, "× 3"),
        ("a.png", np.zeros((0, 3), np.uint8), InputError, "height"),
        ("a.xyz", np.zeros((3, 3), np.uint8), MediaError, "xyz"),
        ("a", np.zeros((3, 3), np.uint8), MediaError, "without suffix"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(name, array, error, match, tmp_path):
    with pytest.raises(error, match=match):
        write_image(tmp_path / name, array)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("I am no folder")
    with pytest.raises(MediaError, match="folder"):
        write_image(tmp_path / "file" / "a.png", np.zeros((3, 3), np.uint8))
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        write_image(tmp_path / "taken.png", np.zeros((3, 3), np.uint8))
    write_image(tmp_path / "new" / "deep" / "a.png", np.zeros((3, 3), np.uint8))  # folders are made
    assert (tmp_path / "new" / "deep" / "a.png").exists()


def test_existing_files_stay_unless_told(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(MediaError, match="exists already"):
        write_image(tmp_path / "a.png", np.ones((3, 3), np.uint8), overwrite=False)
    assert (tmp_path / "a.png").read_bytes() == before
    write_image(tmp_path / "a.png", np.full((3, 3), 9, np.uint8))
    assert read_image(tmp_path / "a.png").max() == 9
    write_image(tmp_path / "b.png", np.zeros((3, 3), np.uint8), overwrite=False)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.png", tmp_path / "b.png"]


# OpenEXR and DPX


def test_exr_comes_back_exactly(tmp_path):
    rgb = np.random.default_rng(3).uniform(-1, 8, (11, 13, 3)).astype(np.float32)
    write_image(tmp_path / "out.exr", rgb)
    assert np.array_equal(exr_module.read_exr(tmp_path / "out.exr"), rgb)
    layers = {"bunny.A": rgb[..., 0], "rock.A": rgb[..., 1]}
    write_exr(tmp_path / "layers.exr", layers, rate=Fraction(24), pixel_aspect=2.0, metadata={"owner": "masklet"})
    with OpenEXR.File(str(tmp_path / "layers.exr"), separate_channels=True) as file:
        assert {n: c.pixels.tolist() for n, c in file.channels().items()} == {n: a.tolist() for n, a in layers.items()}
        header = file.header()
        assert header["pixelAspectRatio"] == 2.0 and header["owner"] == "masklet"
        assert header["framesPerSecond"] == 24
    with pytest.raises(InputError, match="one size"):
        write_exr(tmp_path / "bad.exr", {"a": rgb[..., 0], "b": rgb[:5, :, 0]})


def test_exr_is_read_as_srgb(tmp_path):
    linear = np.zeros((64, 64, 3), np.float32)
    linear[:, :32] = (0.18, 0.5, 1.0)
    linear[:, 32:] = (0.0, 4.0, -1.0)
    write_image(tmp_path / "scene.exr", linear)
    expected_left = [round(255 * (1.055 * v ** (1 / 2.4) - 0.055)) for v in (0.18, 0.5, 1.0)]
    seen = read_image(tmp_path / "scene.exr")
    assert seen[5, 5].tolist() == expected_left
    assert seen[5, 40].tolist() == [0, 255, 0]
    assert open_media(tmp_path / "scene.exr").info.bit_depth == 32


def test_exr_layers_and_data_windows(tmp_path):
    plane = np.full((4, 6), 1.0, np.float32)
    write_exr(
        tmp_path / "layer.exr", {"beauty.R": plane, "beauty.G": plane * 0, "beauty.B": plane, "depth.Z": plane * 9}
    )
    assert read_image(tmp_path / "layer.exr")[1, 1].tolist() == [255, 0, 255]
    write_exr(tmp_path / "grey.exr", {"Y": plane})
    assert read_image(tmp_path / "grey.exr")[1, 1].tolist() == [255, 255, 255]
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": (np.array([3, 2], np.int32), np.array([8, 5], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([15, 9], np.int32)),
    }
    with OpenEXR.File(header, dict.fromkeys("RGB", plane)) as file:
        file.write(str(tmp_path / "window.exr"))
    image = read_image(tmp_path / "window.exr")
    assert image.shape == (10, 16, 3)
    expected = np.zeros((10, 16, 3), np.uint8)
    expected[2:6, 3:9] = 255
    assert np.array_equal(image, expected)


def test_dpx_sequences(make_video, read_number, numbered, tmp_path):
    import av

    for number in range(1, 4):
        with av.open(str(tmp_path / f"scan.{number:04d}.dpx"), "w", format="image2", options={"update": "1"}) as output:
            stream = output.add_stream("dpx", rate=24)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "gbrp10le"
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
    with open_media(tmp_path / "scan.####.dpx") as reader:
        assert [read_number(f.image_hwc) for f in reader.frames()] == [1, 2, 3]
        assert np.abs(reader.read(1).image_hwc.astype(int) - numbered(2)).max() <= 1
    film = tmp_path / "scan.0001.dpx"
    data = bytearray(film.read_bytes())
    data[801] = 3  # transfer: logarithmic
    film.write_bytes(data)
    shown = read_image(film).astype(int)
    # Film density: code 95 of 1023 is black, 685 white. The bars of 20/255 lie below, those of 235/255 above.
    assert shown[60, 90].max() == 0 and shown[60, 5].min() == 255
    code = numbered(1)[5, 10] / 255 * 1023
    black = 10 ** ((95 - 685) * 0.002 / 0.6)
    linear = np.clip((10 ** ((code - 685) * 0.002 / 0.6) - black) / (1 - black), 0, 1)
    assert np.abs(shown[5, 10] - 255 * linear_to_srgb(linear)).max() <= 2
    assert read_image(tmp_path / "scan.0002.dpx")[60, 20].mean() > 200


# Sizes


def test_longest_side_examples():
    assert resize_longest_image_size(np.zeros((720, 1280, 3)), 1024) == (576, 1024)
    assert resize_longest_image_size(np.zeros((480, 854, 3)), 1024) == (575, 1024)
    assert resize_longest_image_size(np.zeros((1280, 720)), 256) == (256, 144)
    assert resize_longest_image_size(np.zeros((49, 10, 3)), 1024) == (1024, 208)
    assert resize_longest_image_size(np.zeros((1, 5000, 3)), 100) == (1, 100)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_longest_side_is_the_target_and_the_aspect_stays(height, width, target):
    got_height, got_width = resize_longest_image_size(np.broadcast_to(np.uint8(0), (height, width, 3)), target)
    assert max(got_height, got_width) == target
    scale = Fraction(target, max(height, width))
    for got, side in ((got_height, height), (got_width, width)):
        assert got == max(1, int(side * scale))


@pytest.mark.parametrize(("shape", "target"), [((0, 4, 3), 10), ((4,), 10), ((4, 4, 3), 0)])
def test_sizes_that_make_no_sense(shape, target):
    with pytest.raises(InputError):
        resize_longest_image_size(np.zeros(shape), target)
