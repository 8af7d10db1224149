"""A table to fill in: a line for every video of a folder, and a page of pictures to read places from."""

from __future__ import annotations

import base64
import csv
import html
from pathlib import Path

import cv2

from masklet.atomic import atomic_path, refuse_existing
from masklet.errors import BatchError, InputError, MediaError
from masklet.jobs.table import COLUMNS
from masklet.media import open_media
from masklet.naming import sanitize

_SHARE = (0.0, 0.5, 1.0)  # of a video: the frames that are shown
_WIDTH = 640
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Videos of {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; }}
h2 {{ font-size: 1.05rem; }} .strip {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }}
figure {{ margin: 0; position: relative; }} img {{ width: 100%; display: block; cursor: crosshair; }}
svg {{ position: absolute; top: 0; left: 0; width: 100%; pointer-events: none; }}
path {{ stroke: #fff7; fill: none; vector-effect: non-scaling-stroke; }}
text {{ fill: #fff; stroke: #000b; stroke-width: .2em; paint-order: stroke; }}
figcaption {{ font-size: 13px; color: #888; }} output {{ font-variant-numeric: tabular-nums; color: #c60; }}
</style>
<p>The grid shows pixels. Move the mouse over a picture to read them exactly; click to copy them. Write them into
{table}: a point on the object under <b>points</b>, or left, top, right, bottom of a box around it under <b>box</b>.</p>
{videos}
<script>
for (const image of document.images) {{
  const shown = image.parentElement.querySelector("output");
  const place = (event) => {{
    const box = image.getBoundingClientRect();
    const [w, h] = [image.dataset.width, image.dataset.height];
    const [x, y] = [(event.clientX - box.left) / box.width * w, (event.clientY - box.top) / box.height * h];
    return `${{Math.floor(x)}},${{Math.floor(y)}}`;
  }};
  image.addEventListener("mousemove", (event) => (shown.value = place(event)));
  image.addEventListener("click", (event) => navigator.clipboard?.writeText(place(event)));
}}
</script></html>
"""


def write_blank(folder: Path, table: Path, *, overwrite: bool = False) -> list[Path]:
    """Writes the table and, beside it, a page of the same name, and returns both.

    Raises InputError: there is no video in the folder; BatchError: a table is there already, or can't be written.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    page = table.with_suffix(".html")
    for path in (table, page):
        refuse_existing(path, overwrite, BatchError)
    rows, sections = [], []
    for path in sorted(folder.iterdir(), key=lambda found: found.name.casefold()):
        if path.name.startswith(".") or path in (table, page):
            continue
        try:
            reader = open_media(path)
        except MediaError:
            continue  # something else that lies in the folder
        with reader:
            rows.append({"video": path.name, "name": sanitize(path.stem), "object": "object", "frame": "0"})
            pictures = []
            for index in sorted({round(share * (len(reader) - 1)) for share in _SHARE}):
                frame = reader.read(index).image_hwc
                height, width = frame.shape[:2]
                scale = min(1.0, _WIDTH / width)
                small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
                source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
                pictures.append(
                    f"<figure><img src='{source}' data-width='{width}' data-height='{height}' alt='Frame {index}'>"
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
    return [table, page]


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
