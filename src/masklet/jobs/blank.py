"""A table to fill in: a line for every video of a folder, and a page of pictures to read places from."""

from __future__ import annotations

import base64
import csv
import html
from pathlib import Path
from typing import NamedTuple

from masklet.atomic import atomic_path, refuse_existing
from masklet.errors import BatchError, InputError, MediaError
from masklet.jobs.table import COLUMNS, NO_VIDEO
from masklet.media import open_media
from masklet.media.images import small_jpeg
from masklet.naming import sanitize

_SHARE = (0.0, 0.5, 1.0)  # of a video: the frames that are shown
_WIDTH = 640
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Videos of {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; }}
h2 {{ font-size: 1.05rem; }} .strip {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }}
figure {{ margin: 0; position: relative; }}
img {{ width: 100%; display: block; cursor: crosshair; user-select: none; touch-action: none; }}
svg {{ position: absolute; top: 0; left: 0; width: 100%; pointer-events: none; }}
path {{ stroke: #fff7; fill: none; vector-effect: non-scaling-stroke; }}
text {{ fill: #fff; stroke: #000b; stroke-width: .2em; paint-order: stroke; }}
figcaption {{ font-size: 13px; color: #888; }} output {{ font-variant-numeric: tabular-nums; color: #c60; }}
</style>
<p>The grid shows pixels. Move the mouse over a picture to read them exactly. Click to copy a point on the object, or
drag to copy a box around it, and put it into {table} under <b>points</b> or <b>box</b>, with the frame under
<b>frame</b>.</p>
{videos}
<script>
for (const image of document.images) {{
  const shown = image.parentElement.querySelector("output");
  const place = (event) => {{
    const box = image.getBoundingClientRect();
    const [w, h] = [image.dataset.width, image.dataset.height];
    const [x, y] = [(event.clientX - box.left) / box.width * w, (event.clientY - box.top) / box.height * h];
    return [Math.min(Math.max(Math.floor(x), 0), w - 1), Math.min(Math.max(Math.floor(y), 0), h - 1)];
  }};
  let first = null;
  const text = ([x, y]) => {{
    const [left, top] = first ?? [x, y];
    if (Math.abs(x - left) < 4 && Math.abs(y - top) < 4) return `${{x}},${{y}}`;
    return `${{Math.min(x, left)}},${{Math.min(y, top)}},${{Math.max(x, left)}},${{Math.max(y, top)}}`;
  }};
  image.addEventListener("pointerdown", (event) => {{
    first = place(event);
    image.setPointerCapture(event.pointerId);
  }});
  image.addEventListener("pointermove", (event) => (shown.value = text(place(event))));
  image.addEventListener("pointerup", (event) => {{
    navigator.clipboard?.writeText(text(place(event)));
    shown.value = `${{text(place(event))}} copied`;
    first = null;
  }});
}}
</script></html>
"""


class Blank(NamedTuple):
    """What was written, and why other files of the folder are not in it."""

    written: list[Path]
    left_out: list[str]


def write_blank(folder: Path, table: Path, *, overwrite: bool = False) -> Blank:
    """Writes the table and, beside it, a page of the same name.

    Raises InputError: there is no video in the folder; BatchError: a table is there already, or can't be written.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    page = table.with_suffix(".html")
    for path in (table, page):
        refuse_existing(path, overwrite, BatchError)
    rows, sections, left_out = [], [], []
    for path in sorted(folder.iterdir(), key=lambda found: found.name.casefold()):
        if path.name.startswith(".") or path in (table, page):
            continue
        try:
            reader = open_media(path)
        except MediaError as problem:
            if path.suffix.lower() not in NO_VIDEO:
                left_out.append(str(problem))
            continue
        with reader:
            rows.append({"video": path.name, "name": sanitize(path.stem), "object": "object", "frame": "0"})
            pictures = []
            for index in sorted({round(share * (len(reader) - 1)) for share in _SHARE}):
                frame = reader.read(index).image_hwc
                height, width = frame.shape[:2]
                source = f"data:image/jpeg;base64,{base64.b64encode(small_jpeg(frame, _WIDTH)).decode()}"
                pictures.append(
                    f"<figure><img src='{source}' data-width='{width}' data-height='{height}' "
                    f"draggable='false' alt='Frame {index}'>"
                    f"{_grid(width, height)}"
                    f"<figcaption>frame {index} <output></output></figcaption></figure>"
                )
            words = f"{html.escape(path.name)}: {width}×{height}, {len(reader)} frames"
            sections.append(f"<h2>{words}</h2><div class='strip'>{''.join(pictures)}</div>")
    if not rows:
        raise InputError(f"There is no video in {folder}.")
    with atomic_path(table, overwrite, BatchError) as new, new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with atomic_path(page, overwrite, BatchError) as new:
        text = _PAGE.format(title=html.escape(str(folder)), table=html.escape(table.name), videos="\n".join(sections))
        new.write_text(text, encoding="utf-8")
    return Blank([table, page], left_out)


def _grid(width: int, height: int) -> str:
    """Lines over a picture of this size with the pixels they stand at: eight to twenty along the longer side."""
    long = max(width, height)
    step = max(size * 10**power for power in range(6) for size in (1, 2, 5) if size * 10**power <= max(1, long / 8))
    columns, rows = range(step, width, step), range(step, height, step)
    size = long / 45
    lines = "".join([*(f"M{x} 0V{height}" for x in columns), *(f"M0 {y}H{width}" for y in rows)])
    words = [f"<text x='{x + size / 5:.1f}' y='{size}'>{x}</text>" for x in columns]
    words += [f"<text x='{size / 5:.1f}' y='{y - size / 5:.1f}'>{y}</text>" for y in rows]
    return f"<svg viewBox='0 0 {width} {height}' font-size='{size:.1f}'><path d='{lines}'/>{''.join(words)}</svg>"
