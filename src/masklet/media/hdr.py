"""High dynamic range and wide gamut, brought to sRGB: curves, matrices, and the tone map as a 3-D table.

PQ and HLG follow ITU-R BT.2100, the roll-off of highlights BT.2390 (5.4.1), diffuse white is 203 cd/m² (BT.2408).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

WHITE_NITS = 203.0  # what becomes white in the 8-bit picture
SOURCE_PEAK_NITS = 1000.0  # brighter than this is clipped

_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_SYSTEM_GAMMA = 1.2
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])
_BT1886_GAMMA = 2.4

# Linear light of other primaries (white D65) to that of BT.709 (BT.2087; SMPTE EG 432-1).
_TO_BT709 = {
    "bt2020": np.array(
        [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
    ),
    "smpte432": np.array([[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]]),
}


def pq_to_nits(signal: FloatArray) -> FloatArray:
    """PQ signal 0–1 to cd/m² (0–10000)."""
    power = np.clip(signal, 0, 1) ** (1 / _PQ_M2)
    return 10000 * (np.maximum(power - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * power)) ** (1 / _PQ_M1)


def nits_to_pq(nits: FloatArray) -> FloatArray:
    """cd/m² (0–10000) to PQ signal 0–1."""
    power = np.clip(nits / 10000, 0, 1) ** _PQ_M1
    return ((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)) ** _PQ_M2


def hlg_to_nits(signal_rgb: FloatArray) -> FloatArray:
    """HLG signal 0–1 (last axis RGB) to cd/m² on a display of 1000 cd/m²."""
    signal = np.clip(signal_rgb, 0, 1)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)
    luma = np.maximum(scene @ _BT2020_LUMA, 1e-12)
    return SOURCE_PEAK_NITS * luma[..., None] ** (_HLG_SYSTEM_GAMMA - 1) * scene


def linear_to_srgb(linear: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Linear light (clipped to 0–1) to the sRGB curve, 0–1."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)


def light_to_bytes(linear: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Scene-linear light to uint8 sRGB: clipped to 0–1, NaN is black."""
    return np.rint(linear_to_srgb(np.nan_to_num(linear)) * 255).astype(np.uint8)


def tone_map(nits_rgb: FloatArray) -> FloatArray:
    """cd/m² (last axis RGB) to linear light in which 1 is white; hues stay, highlights roll off."""
    brightest = nits_rgb.max(axis=-1, keepdims=True)
    peak = nits_to_pq(np.array(SOURCE_PEAK_NITS))
    target = nits_to_pq(np.array(WHITE_NITS)) / peak
    knee = 1.5 * target - 0.5
    e = np.clip(nits_to_pq(brightest) / peak, 0, 1)
    t = np.clip((e - knee) / (1 - knee), 0, 1)
    rolled = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * target
    mapped = pq_to_nits(np.where(e < knee, e, rolled) * peak)
    return nits_rgb * (mapped / np.maximum(brightest, 1e-9)) / WHITE_NITS


def needs_mapping(transfer: str | None, primaries: str | None) -> bool:
    """Whether such a video looks wrong when its numbers are taken for sRGB."""
    return transfer in {"smpte2084", "arib-std-b67"} or primaries in _TO_BT709


def to_srgb(signal_rgb: FloatArray, transfer: str | None, primaries: str | None) -> FloatArray:
    """Non-linear R'G'B' 0–1 of such a video (last axis RGB) to sRGB. Colours outside of it go below 0 and above 1:
    between the entries of a table they must keep their slope.
    """
    hdr = transfer in {"smpte2084", "arib-std-b67"}
    if transfer == "smpte2084":
        linear = tone_map(pq_to_nits(signal_rgb))
    elif transfer == "arib-std-b67":
        linear = tone_map(hlg_to_nits(signal_rgb))
    else:
        linear = np.clip(signal_rgb, 0, 1) ** _BT1886_GAMMA
    if hdr and primaries is None:
        primaries = "bt2020"
    if primaries in _TO_BT709:
        linear = linear @ _TO_BT709[primaries].T
    size = np.abs(linear)
    if hdr:
        curve = np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
    else:
        curve = size ** (1 / _BT1886_GAMMA)  # greys stay what they are
    return np.asarray(np.copysign(curve, linear), np.float64)


@lru_cache(maxsize=4)
def cube_text(transfer: str | None, primaries: str | None, size: int = 33) -> str:
    """`to_srgb` as the text of a .cube file, the form in which FFmpeg's `lut3d` filter takes a table."""
    axis = np.linspace(0, 1, size)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red changes fastest
    table = to_srgb(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer, primaries)
    rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in table.tolist())
    return f"LUT_3D_SIZE {size}\n{rows}\n"
