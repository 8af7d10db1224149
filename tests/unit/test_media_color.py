"""Colours: matrix, range, bit depth, high dynamic range, alpha."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.media import ColorInfo, open_media
from masklet.media.color import RgbConverter, assumed_matrix, over_black
from masklet.media.hdr import hlg_to_nits, light_to_bytes, linear_to_srgb, nits_to_pq, pq_to_nits, to_srgb

LUMA = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}


def flat_frame(y: int, u: int, v: int, width: int, height: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pixel_format)
    deep = "10" in pixel_format
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        row = np.full(plane.buffer_size // (2 if deep else 1), value, np.uint16 if deep else np.uint8)
        plane.update(row.tobytes())
    return frame


def by_formula(y: float, u: float, v: float, matrix: str, full: bool) -> np.ndarray:
    """H.273: R'G'B' 0–255 of an 8-bit Y'CbCr value."""
    kr, kb = LUMA[matrix]
    if full:
        luma, cb, cr = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.array([red, green, blue]) * 255, 0, 255)


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("span", ["limited", "full"])
@pytest.mark.parametrize(("exact", "tolerance"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_yuv_becomes_rgb_by_the_standard(matrix, span, exact, tolerance, size):
    convert = RgbConverter(*size, ColorInfo(None, None, matrix, span), "h264", exact)
    random = np.random.default_rng(1)
    for _ in range(12):
        y, u, v = random.integers(16, 236), *random.integers(64, 192, 2)
        image = convert(flat_frame(y, u, v, *size))
        assert image.shape == (size[1], size[0], 3)
        assert np.abs(image[20, 20] - by_formula(y, u, v, matrix, span == "full")).max() <= tolerance


@pytest.mark.parametrize("exact", [True, False])
def test_black_and_white_reach_both_ends(exact):
    convert = RgbConverter(64, 48, ColorInfo(matrix="bt709", range="limited"), "h264", exact)
    assert convert(flat_frame(16, 128, 128, 64, 48)).max() == 0
    assert convert(flat_frame(235, 128, 128, 64, 48)).min() == 255


def test_ten_bit_values_are_those_of_eight_bits():
    convert = RgbConverter(64, 48, ColorInfo(matrix="bt709", range="limited"), "hevc", True)
    for y, u, v in ((400, 512, 512), (700, 400, 600), (64, 512, 512), (940, 512, 512)):
        image = convert(flat_frame(y, u, v, 64, 48, "yuv420p10le"))
        assert np.abs(image[9, 9] - by_formula(y / 4, u / 4, v / 4, "bt709", False)).max() <= 1


def test_untagged_video_is_taken_as_players_do():
    assert assumed_matrix(ColorInfo(), 1280, 720) == "bt709"
    assert assumed_matrix(ColorInfo(), 720, 576) == "smpte170m"
    assert assumed_matrix(ColorInfo(), 320, 240) == "smpte170m"
    assert assumed_matrix(ColorInfo(primaries="bt2020"), 3840, 2160) == "bt2020nc"
    assert assumed_matrix(ColorInfo(matrix="bt709"), 320, 240) == "bt709"


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_tags_of_a_file_are_used(matrix, make_video):
    code = {"bt709": 1, "smpte170m": 6}[matrix]
    path = make_video.make(
        "tagged.mp4",
        count=2,
        planes=lambda n: flat_frame(120, 90, 170, 96, 64),
        options={"crf": "1"},
        context={"colorspace": code, "color_primaries": code, "color_trc": code, "color_range": 1},
    )
    with open_media(path, exact_color=True) as reader:
        assert reader.info.color == ColorInfo(matrix, matrix, matrix, "limited")
        assert np.abs(reader.read(1).image_hwc[30, 30] - by_formula(120, 90, 170, matrix, False)).max() <= 3


# High dynamic range


def test_pq_curve_has_the_published_values():
    # BT.2100 / BT.2408: 100 cd/m² is 50.8 %, 203 is 58.1 %, 1000 is 75.2 %, 10000 is 100 %.
    for nits, signal in ((0, 0.0), (100, 0.508), (203, 0.581), (1000, 0.752), (10000, 1.0)):
        assert float(nits_to_pq(np.array(float(nits)))) == pytest.approx(signal, abs=6e-4)
    nits = np.geomspace(0.01, 10000, 50)
    assert np.allclose(pq_to_nits(nits_to_pq(nits)), nits, rtol=1e-6)


def test_hlg_curve_has_the_published_values():
    # BT.2408: 75 % is diffuse white, 203 cd/m² on a display of 1000; 100 % is its peak.
    assert hlg_to_nits(np.full(3, 0.75)) == pytest.approx(np.full(3, 203), rel=0.01)
    assert hlg_to_nits(np.full(3, 1.0)) == pytest.approx(np.full(3, 1000), rel=1e-3)
    assert hlg_to_nits(np.zeros(3)).max() == 0


@given(st.sampled_from(["smpte2084", "arib-std-b67"]), st.floats(0, 1), st.floats(0, 1))
def test_tone_mapping_keeps_order_and_greys(transfer, first, other):
    low, high = sorted((first, other))
    dark, bright = to_srgb(np.array([[low] * 3, [high] * 3]), transfer, "bt2020")
    assert np.all(dark <= bright + 1e-9)
    assert np.ptp(dark) < 2e-3 and np.ptp(bright) < 2e-3
    assert np.all((bright > -2e-3) & (bright < 1 + 2e-3))


@pytest.mark.parametrize(
    ("transfer", "code", "white"), [("smpte2084", 16, 0.581), ("arib-std-b67", 18, 0.75)], ids=["PQ", "HLG"]
)
def test_hdr_video_is_tone_mapped(transfer, code, white, make_video):
    """The table inside FFmpeg gives what the formulas say, for greys and for colours."""
    colors = [(white, 512, 512), (0.4, 512, 512), (0.05, 512, 512), (0.9, 512, 512), (0.5, 420, 600), (0.45, 560, 430)]
    path = make_video.make(
        "hdr.mkv",
        "libx265",
        count=len(colors),
        pixel_format="yuv420p10le",
        planes=lambda n: flat_frame(round(64 + 876 * colors[n][0]), *colors[n][1:], 96, 64, "yuv420p10le"),
        options={"x265-params": "log-level=none:cutree=0:lossless=1"},
        context={"colorspace": 9, "color_primaries": 9, "color_trc": code, "color_range": 1},
    )
    with open_media(path) as reader:
        assert reader.info.color.is_hdr and reader.info.color.transfer == transfer
        assert any("tone-mapped" in note for note in reader.info.notes)
        for frame, (level, u, v) in zip(reader.frames(), colors, strict=True):
            luma = round(64 + 876 * level)
            signal = by_formula(luma / 4, u / 4, v / 4, "bt2020nc", False) / 255
            expected = to_srgb(signal[None], transfer, "bt2020")[0].clip(0, 1) * 255
            assert np.abs(frame.image_hwc[30, 40] - expected).max() <= 4, (level, u, v)
        diffuse_white = reader.read(0).image_hwc[30, 40]
        assert diffuse_white.min() > 200 and diffuse_white.max() < 245  # bright, with room for highlights


def test_wide_gamut_without_hdr_keeps_greys_and_deepens_colours(make_video):
    colors = [(500, 512, 512), (500, 460, 600)]
    path = make_video.make(
        "wide.mkv",
        "libx265",
        count=2,
        pixel_format="yuv420p10le",
        planes=lambda n: flat_frame(*colors[n], 96, 64, "yuv420p10le"),
        options={"x265-params": "log-level=none:cutree=0:lossless=1"},
        context={"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1},
    )
    with open_media(path) as reader:
        grey, color = (f.image_hwc[30, 40].astype(int) for f in reader.frames())
    assert np.abs(grey - by_formula(125, 128, 128, "bt2020nc", False)).max() <= 2
    naive = by_formula(125, 115, 150, "bt2020nc", False)
    assert np.ptp(color) > np.ptp(naive) + 5


def test_linear_light_ends_and_middle():
    assert linear_to_srgb(np.array([0.0, 1.0, -1.0, 7.0])) == pytest.approx([0, 1, 0, 1])
    assert float(linear_to_srgb(np.array(0.18))) == pytest.approx(0.4614, abs=1e-3)
    picture = np.array([[[np.nan, np.inf, -np.inf]]], np.float32)
    assert light_to_bytes(picture).tolist() == [[[0, 255, 0]]]


# Alpha


def test_over_black_is_exact():
    alpha = np.arange(256, dtype=np.uint8)
    rgba = np.dstack([np.full((1, 256), 200, np.uint8)] * 3 + [alpha[None]])
    assert over_black(rgba)[0, :, 0].tolist() == [round(200 * a / 255) for a in range(256)]


def test_video_with_alpha_is_put_on_black(make_video):
    image = np.full((64, 96, 4), 180, np.uint8)
    image[:, :48, 3] = 0
    image[:, 48:, 3] = 255

    def frame(_):
        return av.VideoFrame.from_ndarray(image, format="rgba").reformat(format="bgra")

    path = make_video.make("alpha.mkv", "ffv1", count=2, pixel_format="bgra", planes=frame)
    with open_media(path) as reader:
        shown = reader.read(1).image_hwc
        assert shown[:, :48].max() == 0 and shown[:, 48:].min() == 180
        assert any("alpha" in note for note in reader.info.notes)
