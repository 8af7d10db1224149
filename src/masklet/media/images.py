"""Reading and writing single pictures."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from masklet.atomic import atomic_path
from masklet.errors import InputError, MediaError
from masklet.media.color import over_black
from masklet.media.exr import read_exr, write_exr
from masklet.media.hdr import light_to_bytes
from masklet.media.types import ImageArray

# Cineon film density (Kodak; 10-bit code values): black, white, density per code, gamma of the negative.
_CINEON_BLACK, _CINEON_WHITE, _CINEON_STEP, _CINEON_GAMMA = 95, 685, 0.002, 0.6
_TIFF_BITS_PER_SAMPLE = 258
_EXR, _DPX = b"\x76\x2f\x31\x01", (b"SDPX", b"XPDS")
_DPX_TRANSFER_OFFSET = 801
_DPX_LOGARITHMIC = {1, 3}


# What a pixel may be in each format.
_HELD = {
    **dict.fromkeys(("jpg", "webp", "bmp"), ("uint8",)),
    **{"png": ("uint8", "uint16"), "tif": ("uint8", "uint16", "float32"), "exr": ("float32", "float16")},
}

#: Pixels of one picture: larger ones are refused before anything is decoded (16384 × 16384).
PIXEL_LIMIT = 1 << 28
_PILLOWS_LIMIT = threading.Lock()


def open_picture(path: Path) -> Any:
    """A picture as Pillow has it, not decoded yet.

    Raises:
        MediaError: it has more pixels than `PIXEL_LIMIT`. What Pillow raises for files that are none.
    """
    from PIL import Image

    with _PILLOWS_LIMIT:  # a number of the whole process, too low for scans and posters
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = usual
    if image.width * image.height > PIXEL_LIMIT:
        image.close()
        raise MediaError(f"{path} is too large: {image.width}×{image.height} pixels, more than 16384×16384 in all.")
    return image


def read_image(path: str | os.PathLike[str]) -> ImageArray:
    """A picture as uint8 RGB, height × width × 3, upright.

    Grey becomes three equal channels, 16 bits are rounded to 8, float pictures (EXR, TIFF) are taken as scene-linear
    and brought to sRGB, film-density DPX to sRGB, palettes and CMYK are resolved, EXIF rotation is applied, colour
    profiles other than sRGB are converted, and what is transparent is put on black. Of an animation it is the first
    frame.

    Raises:
        MediaError: the file is missing, damaged or not a picture.
    """
    file = Path(path)
    head = _head(file)
    if head.startswith(_EXR):
        return light_to_bytes(read_exr(file)[..., :3])  # its alpha is premultiplied, so black is behind it
    array = _read_plain(file, head)
    return over_black(array) if array.shape[2] == 4 else array


def read_rgba(path: str | os.PathLike[str]) -> ImageArray:
    """A picture as uint8 RGBA with straight alpha (255 where the file has none); otherwise as `read_image`.

    Raises:
        MediaError: the file is missing, damaged or not a picture.
    """
    file = Path(path)
    head = _head(file)
    if head.startswith(_EXR):
        linear = read_exr(file)
        alpha = np.clip(np.nan_to_num(linear[..., 3:]), 0, 1) if linear.shape[2] == 4 else np.ones_like(linear[..., :1])
        straight = np.concatenate([linear[..., :3] / np.maximum(alpha, 1e-6), alpha], axis=-1)
        return np.dstack([light_to_bytes(straight[..., :3]), np.rint(alpha[..., 0] * 255).astype(np.uint8)])
    array = _read_plain(file, head)
    if array.shape[2] == 4:
        return array
    return np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])


def read_mask(path: str | os.PathLike[str]) -> npt.NDArray[np.bool_]:
    """A picture as a mask: bool, height × width.

    Of a palette picture (DAVIS, YouTube-VOS) every index but 0 is in; of one with an alpha channel that is used, what
    is at least half opaque; of every other one, what is at least half bright in any channel. A grey picture that holds
    nothing but 0 and one small number, as label maps do, counts by "not 0".

    Raises:
        MediaError: the file is missing, damaged or not a picture.
    """
    file = Path(path)
    _head(file)
    try:
        with open_picture(file) as image:
            if image.mode == "P":
                return np.asarray(image) != 0
            if image.mode == "1":
                return np.array(image, np.bool_)
    except Exception:  # Pillow raises whatever its parsers stumble over
        pass  # decided below
    rgba = read_rgba(file)
    if rgba[..., 3].min() < 255:
        return rgba[..., 3] > 127
    brightest = rgba[..., :3].max(axis=-1)
    levels = np.unique(brightest)
    if len(levels) <= 2 and levels[0] == 0 and levels[-1] <= 127:
        return brightest > 0
    return brightest > 127


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) of the upright picture, from its header where that is possible.

    Raises:
        MediaError: the file is missing, damaged or not a picture.
    """
    from PIL import ExifTags

    file = Path(path)
    head = _head(file)
    if not head.startswith((_EXR, *_DPX)):
        try:
            with open_picture(file) as image:
                width, height = image.size
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                return (height, width) if turned else (width, height)
        except MediaError:
            raise
        except Exception:  # Pillow raises whatever its parsers stumble over
            pass
    height, width = read_image(file).shape[:2]
    return width, height


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except FileNotFoundError:
        raise MediaError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise MediaError(f"{path} is a folder, not a picture.") from None
    except OSError as error:
        raise MediaError(f"{path} can't be read: {error.strerror or error}.") from error
    if not head:
        raise MediaError(f"{path} is empty (0 bytes).")
    return head


def _read_plain(path: Path, head: bytes) -> ImageArray:
    """uint8, height × width × 3 or 4 (straight alpha): Pillow, then OpenCV, then FFmpeg."""
    from PIL import UnidentifiedImageError

    if head.startswith(_DPX):
        return _read_dpx(path, head)
    # Pillow would cut the low byte off instead of rounding.
    is_deep_png = head.startswith(b"\x89PNG") and len(head) > 25 and head[24] == 16 and head[25] in {2, 6}
    try:
        with open_picture(path) as image:
            if is_deep_png or _is_deep_tiff(image):
                raise UnidentifiedImageError
            return _from_pillow(image)
    except MediaError:
        raise
    except MemoryError:
        raise MediaError(f"{path} doesn't fit into memory.") from None
    except (UnidentifiedImageError, NotImplementedError):
        pass
    except Exception as error:  # Pillow raises whatever its parsers stumble over
        # A kind of TIFF that Pillow doesn't know is no damage.
        if path.suffix.lower() not in {".tif", ".tiff"}:
            raise MediaError(f"{path} is damaged: {error}.") from error
    array = _from_opencv(path)
    if array is None:
        array = _from_ffmpeg(path)
    if array is None:
        raise MediaError(f"{path} is not a picture that can be read, or it is damaged.")
    return array


def _is_deep_tiff(image: Any) -> bool:
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, ())
    return len(bits) > 1 and max(bits) > 8


def _from_pillow(image: Any) -> ImageArray:
    from PIL import ExifTags, ImageOps

    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode in {"I", "F"} or mode.startswith("I;16"):
        return _grey_to_rgb(_to_8_bit(np.asarray(image), 65535 if mode != "F" else None))
    has_alpha = "A" in mode or "a" in mode or "transparency" in image.info
    if mode in {"LAB", "HSV", "YCbCr"} or not has_alpha:
        target = "RGB"
    else:
        target = "RGBA"
    return np.array(_to_srgb_profile(image, target))


def _to_srgb_profile(image: Any, mode: str) -> Any:
    """Convert an embedded colour profile to sRGB; as it is if there is none or it can't be used."""
    profile = image.info.get("icc_profile")
    if not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile or image.mode not in {"RGB", "RGBA", "CMYK"}:
        return image if image.mode == mode else image.convert(mode)
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        alpha = image.getchannel("A") if mode == "RGBA" else None
        opaque = image.convert("RGB") if image.mode == "RGBA" else image
        converted = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        if alpha is not None and converted is not None:
            converted.putalpha(alpha)
        return converted
    except (ImageCms.PyCMSError, OSError):
        return image.convert(mode)


def _from_opencv(path: Path) -> ImageArray | None:
    import cv2

    try:
        # IMREAD_UNCHANGED keeps 16 bits, floats and alpha.
        array = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError):
        return None
    if array is None or array.size == 0:
        return None
    eight = _to_8_bit(array, None)
    if eight.ndim == 2:
        return _grey_to_rgb(eight)
    if eight.shape[2] == 4:
        return cv2.cvtColor(eight, cv2.COLOR_BGRA2RGBA)  # type: ignore[return-value]
    return cv2.cvtColor(eight, cv2.COLOR_BGR2RGB) if eight.shape[2] == 3 else None  # type: ignore[return-value]


def _from_ffmpeg(path: Path) -> ImageArray | None:
    from masklet.media.video import VideoReader

    try:
        with VideoReader(path, exact_color=True) as reader:
            return reader.read(0).image_hwc
    except MediaError:
        return None


def _to_8_bit(array: npt.NDArray[Any], white: int | None) -> ImageArray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating):
        return light_to_bytes(array)
    top = white or np.iinfo(array.dtype).max
    return np.rint(np.clip(array.astype(np.float64), 0, top) * (255 / top)).astype(np.uint8)


def _grey_to_rgb(grey_hw: ImageArray) -> ImageArray:
    return np.repeat(grey_hw[..., None], 3, axis=2)


def _read_dpx(path: Path, head: bytes) -> ImageArray:
    import av
    import av.error

    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            frame = next(container.decode(video=0))
            signal = frame.to_ndarray(format="rgb48le")
    except (av.error.FFmpegError, OSError, StopIteration, IndexError, ValueError) as error:
        raise MediaError(f"{path} is a DPX file that can't be read: {error}.") from error
    logarithmic = len(head) > _DPX_TRANSFER_OFFSET and head[_DPX_TRANSFER_OFFSET] in _DPX_LOGARITHMIC
    return _cineon_table()[signal] if logarithmic else _to_8_bit(signal, 65535)


@lru_cache(maxsize=1)
def _cineon_table() -> ImageArray:
    code = np.arange(65536) * (1023 / 65535)
    exposure = 10.0 ** ((code - _CINEON_WHITE) * _CINEON_STEP / _CINEON_GAMMA)
    black = 10.0 ** ((_CINEON_BLACK - _CINEON_WHITE) * _CINEON_STEP / _CINEON_GAMMA)
    return light_to_bytes((exposure - black) / (1 - black))


def small_jpeg(image_hwc: ImageArray, width: int, quality: int = 80) -> bytes:
    """A picture (uint8 RGB) as JPEG, shrunk where it is wider than `width`. Raises MediaError: JPEG can't hold it."""
    import cv2

    if width < image_hwc.shape[1]:
        height = max(1, round(image_hwc.shape[0] * width / image_hwc.shape[1]))
        image_hwc = cv2.resize(image_hwc, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, data = cv2.imencode(".jpg", image_hwc[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise MediaError(f"A picture of {image_hwc.shape[1]}×{image_hwc.shape[0]} can't be made a JPEG.")
    return data.tobytes()


def resize_longest_image_size(image_hwc: npt.NDArray[Any], target_length: int) -> tuple[int, int]:
    """The size (height, width) of a picture whose longest side is made `target_length`, keeping its aspect ratio.

    With s = target_length / longest side it is (int(h·s), int(w·s)), computed without rounding errors: the longest
    side is exactly `target_length`. No side becomes less than 1.

    Args:
        image_hwc: the picture, height × width (× channels).

    Raises:
        InputError: an empty picture, or a target below 1.
    """
    shape = np.shape(image_hwc)
    if len(shape) < 2 or shape[0] < 1 or shape[1] < 1:
        raise InputError(f"A picture is an array of height × width (× channels), not of shape {shape}.")
    if target_length < 1:
        raise InputError(f"target_length must be at least 1, not {target_length}.")
    scale = Fraction(target_length) / max(shape[:2])
    return max(1, int(shape[0] * scale)), max(1, int(shape[1] * scale))


def write_image(
    path: str | os.PathLike[str],
    array: npt.NDArray[Any],
    *,
    quality: int = 95,
    overwrite: bool = True,
    palette: Sequence[Sequence[int]] | None = None,
    format: Literal["png", "jpg", "tif", "webp", "bmp", "exr"] | None = None,
) -> None:
    """Write a picture; the file is complete or not there at all.

    Args:
        path: its suffix says what to write, unless `format` does: PNG and TIFF take uint8 and uint16, TIFF and EXR
            float32; JPEG, WebP and BMP uint8.
        array: height × width, or × 3 (RGB) or × 4 (RGBA, straight alpha; not for JPEG). bool becomes 0 and 255.
        quality: 1–100, for JPEG and WebP (100 is lossless WebP).
        overwrite: whether a file of this name may be replaced.
        palette: colours of a uint8 height × width array of indices (PNG only), up to 256.

    Raises:
        MediaError: an unknown suffix, or the file can't be written.
        InputError: an array that the format can't hold.
    """
    kind = (format or Path(path).suffix.lstrip(".")).lower()
    kind = {"jpeg": "jpg", "tiff": "tif"}.get(kind, kind)
    array = np.asarray(array)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in {2, 3} or channels not in {1, 3, 4} or 0 in array.shape:
        raise InputError(f"A picture is height × width, or × 3 or × 4, not {array.shape}.")
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]
    if kind not in _HELD:
        raise MediaError(f"{path}: can't write {kind or 'a file without suffix'}; use png, jpg, tif, webp, bmp or exr.")
    if array.dtype.name not in _HELD[kind]:
        raise InputError(f"{kind} holds {', '.join(_HELD[kind])}, not {array.dtype}.")
    if kind == "jpg" and channels == 4:
        raise InputError("JPEG has no alpha channel; use png, or drop it.")
    if kind == "exr":
        names = "Y" if array.ndim == 2 else "RGBA"[:channels]
        planes: dict[str, Any] = {name: array if array.ndim == 2 else array[..., i] for i, name in enumerate(names)}
        write_exr(path, planes, half=array.dtype == np.float16, overwrite=overwrite)
        return
    data = _encode(kind, array, quality, palette)
    with atomic_path(path, overwrite) as temporary:
        temporary.write_bytes(data)


def _encode(kind: str, array: npt.NDArray[Any], quality: int, palette: Sequence[Sequence[int]] | None) -> bytes:
    from PIL import Image

    if palette is not None:
        if kind != "png" or array.ndim != 2 or array.dtype != np.uint8:
            raise InputError("A palette goes with a PNG of uint8 height × width indices.")
        indexed = Image.fromarray(array).convert("L")
        indexed.putpalette([value for color in palette[:256] for value in color])
        return _pillow_bytes(indexed, "PNG")
    if array.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(array))
        if kind == "jpg":
            return _pillow_bytes(image, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
        if kind == "webp":
            return _pillow_bytes(image, "WEBP", quality=quality, lossless=quality >= 100, exact=True)
        if kind == "tif":
            return _pillow_bytes(image, "TIFF", compression="tiff_adobe_deflate")
        return _pillow_bytes(image, "BMP") if kind == "bmp" else _pillow_bytes(image, "PNG", compress_level=3)
    import cv2

    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(f".{kind}", array)
    if not done:
        raise MediaError(f"This picture ({array.shape}, {array.dtype}) can't be encoded as {kind}.")
    return data.tobytes()


def _pillow_bytes(image: Any, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which shot2 comes before shot10, and case doesn't matter."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in _DIGITS.split(name) if part
    ]
