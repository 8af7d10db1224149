"""One colour for every object: in overlays, in the studio and in indexed PNG files.

The first twelve were searched for (the smallest OKLab distance between any two as large as possible) with
ordinary sight and with each of the three kinds of colour blindness simulated after Machado et al. 2009;
black, white, greys and dark tones are left out because they vanish on a picture. The rest follow by the same
rule, each as far as possible from all before it. They are a table and not a formula, so that an object keeps
its colour wherever and with whichever version it is shown.
"""

from __future__ import annotations

RGB = tuple[int, int, int]

_HEX = """
    0090ff ff9000 a81818 d0ffc0 3018ff f01890 9000a8 60ff18 ffd0ff 00d090 a87800 a8a8e0 007860 ff00ff
    a860c0 c0d060 ff6060 784878 3060d0 ffa8a8 ff78c0 00f0e0 00a860 ffd090 48d0ff c04860 c00090 60c000
    e060e0 309090 d090ff 60a8c0 ffa8ff 1878a8 6018e0 ff1800 d0a860 7848f0 c0ff78 7890e0 60f090 607830
    d01800 78d0c0 90e000 904848 d078a8 d07848 c000c0 00c0c0 ffe000 c09000 90f0c0 e030c0 a8fff0 e04848
    e09078 c048e0 c00060 6078f0 c048a8 78f0ff 7848a8 ff4890 fff0a8 e090a8 a86078 78a8f0 609030 f0a878
    ffc000 d07878 a84800 3078d0 a818e0 904890 a81878 f0ff30 e090d0 a84878 9078d0 7800d0 ff9090 e0d078
    a878a8 e0a8e0 609060 ff78f0 e0e060 c0e0a8 c090e0 a878f0 e0f090 e078d0 d06078 a86030 f07848 a8c048
    a8d090 9060d0 9048c0 60e0e0 18e0a8 18d0e0 ffa8d0 d060c0 1878ff 60c090 f0a848 48ffe0 d04890 d0c000
    9018ff 307800 fff060 a848a8 a84848 c078d0 78c060 00f078 909018 90e0c0 a8c078 e06060 f060c0 e000ff
    d00048 c0f0a8 a8ffd0 60e060 48d0a8 00e0d0 90f060 78d060 18a8e0 90e0f0 9018c0 d0a818 e03078 c0f078
    c09060 e0d048 e0ff90 c03060 f09048 e0c048 6030f0 d000d0 ffc0f0 f060ff e000e0 a80060 c0a8ff a890d0
    48c0f0 60ffc0 784890 f00060 ff6030 7860f0 7890ff 00f0a8 c03078 ff4848 a860f0 ff90d0 c0f048 ff0048
    ff90ff c030a8 4818f0 a800a8 d060a8 a87848 30ff78 a80090 f078a8 90ff90 306090 f07878 4890c0 4890f0
    a8f0d0 307848 30a890 e06030 f06078 ff6090 78a860 ff90a8 e00030 4878e0 00ffff c0ffa8 c0c060 0060f0
    c00030 c0c0ff 4848ff d0a8f0 a83030 e03030 187878 00e0f0 7830d0 d0e048 e04800 a8e060 f018d0 90a848
    00d078 18e000 309000 c0a848 c0e090 787818 c078f0 c0ff48 a8d048 d048a8 ff3090 d060ff c018e0 a8d078
    60f0d0 f06030 00c060 f03060 f0a890 60c048 007830 ff7830 90f0f0 a8c018 48d0d0 90ffff a878d0 18a830
    00c0e0 606018 f00030 4860c0 ff1878 60fff0 d04848 d0f060 f0a800 ffd078 a890ff c0e030 f078c0 c0f0c0
    9018e0 ff7890
"""

COLORS: tuple[RGB, ...] = tuple((int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)) for text in _HEX.split())


def color(object_id: int) -> RGB:
    """The colour of an object, red, green and blue from 0 to 255; objects 254 apart share one.

    Object 1 has the first colour of the table.
    """
    return COLORS[(int(object_id) - 1) % len(COLORS)]


def hex_color(rgb: RGB) -> str:
    """A colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def text_color(background: RGB) -> RGB:
    """Black or white, whichever reads better on a colour (WCAG relative luminance)."""

    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(value) for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def davis_palette_bytes() -> bytes:
    """768 bytes: the colour table that DAVIS, YouTube-VOS and PASCAL VOC annotations carry.

    Tools of those datasets go by the index and not by the colour; this table is for the few that do compare
    colours. Bits 0, 1 and 2 of the index are the top bits of red, green and blue, the next three those below.
    """
    table = bytearray()
    for index in range(256):
        for channel in range(3):
            value = 0
            for level in range(8):
                value |= ((index >> (3 * level + channel)) & 1) << (7 - level)
            table.append(value)
    return bytes(table)
