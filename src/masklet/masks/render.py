"""Pictures made of a frame and its masks: overlays for looking, cut-outs and mattes for the next tool.

All of it stays in whole numbers and inside the box of each mask, so that one object on a 1280x720 frame costs
a few milliseconds. Pictures are uint8 RGB (h, w, 3), masks (h, w): boolean, or opacity as uint8 0..255 or
float 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks import palette
from masklet.masks._arrays import ByteArray, as_alpha, as_image, same_size
from masklet.masks.boxes import mask_slices

RGB = tuple[int, int, int]


def overlay(
    image_hwc: Any,
    masks: Mapping[int, Any],
    colors: Mapping[int, RGB] | None = None,
    names: Mapping[int, str] | None = None,
    alpha: float = 0.5,
    outline: bool = True,
) -> ByteArray:
    """A copy of the frame with each object tinted in its colour, outlined, and named.

    `masks` maps object ids to masks of the frame's size; later ones lie on top. `colors` replaces the
    palette's colour of the ids it has. Only objects in `names` get a name tag. `alpha` is the share of
    colour inside, 0 (outline only) to 1. Raises InputError for sizes that differ.
    """
    picture = as_image(image_hwc).copy()
    if not 0.0 <= alpha <= 1.0:
        raise InputError(f"The strength of the overlay must be between 0 and 1, not {alpha}.")
    tags = []
    for object_id, mask in masks.items():
        opacity = as_alpha(mask, f"mask of object {object_id}")
        same_size(picture, opacity, f"mask of object {object_id}")
        where = mask_slices(opacity)
        if where is None:
            continue
        rgb = _rgb((colors or {}).get(object_id, palette.color(object_id)))
        if alpha > 0:
            _tint(picture[where], opacity[where], rgb, alpha)
        if outline:
            _outline(picture, opacity, where, rgb)
        if names and names.get(object_id):
            tags.append((names[object_id], rgb, where))
    for name, rgb, where in tags:  # last, so that no other object covers a name
        _name(picture, name, rgb, where)
    return picture


def cutout(image_hwc: Any, mask_or_alpha: Any, premultiplied: bool = False, clear_outside: bool = False) -> ByteArray:
    """The object as RGBA uint8 (h, w, 4), opaque inside the mask and clear outside.

    Straight (the default): colours are the picture's own, everywhere, so that soft edges stay clean when the
    result is scaled; with `clear_outside`, black where nothing can be seen. Premultiplied: colours multiplied
    by opacity, as compositing tools and EXR want it. Raises InputError for sizes that differ.
    """
    image, opacity = _pair(image_hwc, mask_or_alpha)
    colours = image
    if premultiplied:
        colours = _over(np.zeros_like(image), image, opacity)
    elif clear_outside:
        colours = cv2.copyTo(image, opacity)
    return np.dstack((colours, opacity))


def matte(mask_or_alpha: Any, channels: int = 1) -> ByteArray:
    """White inside, black outside, uint8 (h, w); or (h, w, 3) for video codecs, with `channels` 3."""
    opacity = as_alpha(mask_or_alpha)
    return opacity if channels == 1 else cv2.cvtColor(opacity, cv2.COLOR_GRAY2RGB)


def composite(front_hwc: Any, back_hwc: Any, mask_or_alpha: Any) -> ByteArray:
    """`front` where the mask is, `back` elsewhere, mixed where the edge is soft; each pixel rounded once."""
    return _over(as_image(back_hwc, "background").copy(), front_hwc, mask_or_alpha)


def screen(image_hwc: Any, mask_or_alpha: Any, color: RGB = (0, 177, 64)) -> ByteArray:
    """The object before one colour; the default is the green of a green screen."""
    image = as_image(image_hwc)
    return _over(np.full(image.shape, _rgb(color), np.uint8), image, mask_or_alpha)


def blur_background(image_hwc: Any, mask_or_alpha: Any, radius: float = 12.0) -> ByteArray:
    """The object sharp before its own blurred surroundings. `radius` is the Gaussian's sigma in pixels.

    The object itself is kept out of the blur, so that its colours don't glow around it.
    """
    image, opacity = _pair(image_hwc, mask_or_alpha)
    if radius <= 0:
        return image.copy()
    # A blur this wide needs no detail: a smaller picture gives the same result many times faster.
    shrink = max(1, int(radius / 4))
    height, width = opacity.shape
    small = (max(1, -(-width // shrink)), max(1, -(-height // shrink)))
    # Inside a large object there is nothing else to take a colour from: its own counts a little.
    weight = cv2.resize(255 - opacity, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = weight / np.float32(255) + np.float32(1e-3)
    scene = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    sigma = radius / shrink
    spread = cv2.GaussianBlur(weight, (0, 0), sigma)
    scene = cv2.GaussianBlur(scene * weight[..., None], (0, 0), sigma) / spread[..., None]
    back = cv2.resize(_to_bytes(scene), (width, height), interpolation=cv2.INTER_LINEAR)
    return _over(back, image, opacity)


def replace_background(image_hwc: Any, mask_or_alpha: Any, background_hwc: Any) -> ByteArray:
    """The object before another picture, which is scaled to cover the frame and cut at the longer sides."""
    image = as_image(image_hwc)
    return _over(cover(background_hwc, image.shape[0], image.shape[1]), image, mask_or_alpha)


def grey_out(image_hwc: Any, mask_or_alpha: Any, dim: float = 0.6) -> ByteArray:
    """The object in colour, the rest grey and `dim` times as bright."""
    image = as_image(image_hwc)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    back = cv2.cvtColor(cv2.LUT(grey, _to_bytes(np.arange(256) * dim)), cv2.COLOR_GRAY2RGB)
    return _over(back, image, mask_or_alpha)


def checkerboard(height: int, width: int, cell: int = 16, light: int = 204, dark: int = 153) -> ByteArray:
    """The grey squares that stand for "clear" in picture editors: uint8 (height, width, 3)."""
    if height < 1 or width < 1 or cell < 1:
        raise InputError(f"A checkerboard of {width}x{height} pixels in squares of {cell} can't be made.")
    odd = (np.arange(height)[:, None] // cell + np.arange(width)[None, :] // cell) & 1
    return cv2.cvtColor(np.where(odd, dark, light).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def cover(image_hwc: Any, height: int, width: int) -> ByteArray:
    """A picture scaled until it covers (height, width), its middle kept."""
    image = as_image(image_hwc, "background")
    scale = max(height / image.shape[0], width / image.shape[1])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width].copy()


def _over(back_hwc: ByteArray, front_hwc: Any, mask_or_alpha: Any) -> ByteArray:
    """`composite` that writes into the background it is given."""
    front, opacity = _pair(front_hwc, mask_or_alpha)
    same_size(back_hwc, opacity)
    where = mask_slices(opacity)
    if where is not None:
        _paste(back_hwc[where], front[where], opacity[where])
    return back_hwc


def _tint(region_hwc: ByteArray, opacity: ByteArray, rgb: RGB, alpha: float) -> None:
    """Mixes one colour into a region, in place. One colour and one strength make the mixture a table."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = _to_bytes(levels * (1 - alpha) + np.array(rgb, np.float32) * alpha).reshape(1, 256, 3)
    _paste(region_hwc, cv2.LUT(region_hwc, table), opacity)


def _paste(out_hwc: ByteArray, front_hwc: ByteArray, opacity: ByteArray) -> None:
    """`front` over `out`, in place: a plain copy where it is opaque, arithmetic only on the soft edge."""
    solid = cv2.inRange(opacity, 255, 255)
    soft = cv2.inRange(opacity, 1, 254)
    if cv2.countNonZero(soft):
        rows, columns = np.nonzero(soft)
        share = opacity[rows, columns, None].astype(np.int32)
        mixed = front_hwc[rows, columns] * share + out_hwc[rows, columns] * (255 - share)
        out_hwc[rows, columns] = (mixed + 127) // 255
    # OpenCV writes in place only into an array that it can take as it is, which a crop of a frame is.
    cv2.copyTo(front_hwc, solid, out_hwc)


def _outline(picture: ByteArray, opacity: ByteArray, where: tuple[slice, slice], rgb: RGB) -> None:
    height, width = opacity.shape
    thickness = max(1, round(min(height, width) / 400))
    rows, columns = where
    inside = cv2.inRange(opacity[where], 128, 255)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1, offset=(columns.start, rows.start))
    # A tint hides a line of its own colour; towards white it stands out on light and dark pictures alike.
    bright = tuple(round(value + (255 - value) * 0.35) for value in rgb)
    cv2.drawContours(picture, contours, -1, bright, thickness, cv2.LINE_AA)


def _name(picture: ByteArray, name: str, rgb: RGB, where: tuple[slice, slice]) -> None:
    from masklet.masks.labels import label

    height, width = picture.shape[:2]
    tag = label(name, max(9, round(min(height, width) / 36)), palette.text_color(rgb), rgb)
    rows, columns = where
    left = (columns.start + columns.stop - tag.shape[1]) // 2
    left = max(0, min(left, width - tag.shape[1]))
    top = max(0, rows.start - tag.shape[0] - 2)
    tag = tag[: height - top, : width - left]
    region = picture[top : top + tag.shape[0], left : left + tag.shape[1]]
    _paste(region, np.ascontiguousarray(tag[..., :3]), np.ascontiguousarray(tag[..., 3]))


def _pair(image_hwc: Any, mask_or_alpha: Any) -> tuple[ByteArray, ByteArray]:
    image, opacity = as_image(image_hwc), as_alpha(mask_or_alpha)
    same_size(image, opacity)
    return image, opacity


def _rgb(color: Any) -> RGB:
    values = [int(value) for value in color]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise InputError(f"A colour must be three numbers from 0 to 255 (red, green, blue), not {color!r}.")
    return values[0], values[1], values[2]


def _to_bytes(values: NDArray[Any]) -> ByteArray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
