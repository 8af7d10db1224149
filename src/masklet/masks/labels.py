"""Names written on pictures, in whatever script they are in.

Pillow brings one font for Latin letters. Other scripts need the fonts of this computer: a name is drawn with
the first font of the list below that has all of it, else each character with the first that has it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Looked up by Pillow in the system's font folders; those that this computer lacks are skipped.
_FONT_FILES = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Nirmala.ttf",
    "leelawui.ttf",
    "FreeSans.ttf",
    "unifont.otf",
    "seguisym.ttf",
    "Symbola.ttf",
)
_NOWHERE = "\U0010fffd"  # a private character that no font draws: what it shows is "I don't have this"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=256)
def label(text: str, size: int, ink: tuple[int, int, int], paper: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A name tag as RGBA uint8 (h, w, 4): `text` in `ink` on a rounded tag of the colour `paper`.

    `size` is the height of the letters in pixels. Line breaks and control characters become spaces. The array
    is shared by all callers with the same arguments, so it is read-only.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    runs = _runs(clean, size)
    pad_x, pad_y = max(2, round(size * 0.45)), max(1, round(size * 0.22))
    widths = [font.getlength(part) for part, font in runs]
    width, height = round(sum(widths)) + 2 * pad_x, round(size * 1.25) + 2 * pad_y
    # Four times finer and scaled down: Pillow's rounded corners have no antialiasing of their own.
    shape = Image.new("L", (width * 4, height * 4), 0)
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, width * 4 - 1, height * 4 - 1), radius=round(size * 1.2), fill=235)
    tag = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(tag)
    x = float(pad_x)
    for (part, font), part_width in zip(runs, widths, strict=True):
        if isinstance(font, ImageFont.FreeTypeFont):
            draw.text((x, pad_y + size), part, fill=ink, font=font, anchor="ls")
        else:
            draw.text((x, pad_y), part, fill=ink, font=font)
        x += part_width
    tag.putalpha(shape.resize((width, height), Image.Resampling.BOX))
    pixels = np.asarray(tag)
    pixels.setflags(write=False)
    return pixels


def _runs(text: str, size: int) -> list[tuple[str, _Font]]:
    """The text in pieces, each with the font that has its characters."""
    for font in _fonts(size):
        if all(_has(font, character) for character in text):
            return [(text, font)]
    runs: list[tuple[str, _Font]] = []
    for character in text:
        fonts = [runs[-1][1], *_fonts(size)] if runs else _fonts(size)
        font = next((font for font in fonts if _has(font, character)), fonts[0])
        if runs and runs[-1][1] is font:
            runs[-1] = (runs[-1][0] + character, font)
        else:
            runs.append((character, font))
    return runs


@lru_cache(maxsize=16)
def _fonts(size: int) -> list[_Font]:
    found: list[_Font] = [ImageFont.load_default(size)]
    for name in _FONT_FILES:
        try:
            found.append(ImageFont.truetype(name, size))
        except (OSError, ImportError):  # not on this computer, or Pillow without FreeType
            continue
    return found


@lru_cache(maxsize=4096)
def _has(font: _Font, character: str) -> bool:
    if character.isspace():
        return True
    if not isinstance(font, ImageFont.FreeTypeFont):
        return character.isascii()
    return bytes(font.getmask(character)) != bytes(font.getmask(_NOWHERE))
