"""What became of a batch, to be looked at: report.html with a strip of frames a video, and report.csv."""

from __future__ import annotations

import base64
import csv
import html
import io
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from masklet.atomic import atomic_path
from masklet.errors import BatchError, MaskletError
from masklet.jobs.job import VideoJob
from masklet.jobs.overview import ObjectSummary, summarise_objects
from masklet.jobs.queue import JobRow
from masklet.jobs.work import project_path
from masklet.masks import render
from masklet.media.images import small_jpeg
from masklet.naming import sanitize
from masklet.project import Project
from masklet.project.review import Stretch

#: Frames of a strip, and their height in pixels.
_FRAMES, _HEIGHT = 8, 108
_COLUMNS = (
    *("video", "state", "tries", "frames", "seconds", "object"),
    *("mean predicted IoU", "lost", "doubtful", "expected wrong", "error"),
)
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --bad: #c33; --good: #2a7; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 0; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin: .6rem 0; }
@media (max-width: 700px) { .strip { grid-template-columns: repeat(2, 1fr); } }
figure { margin: 0; } figcaption { font-size: 12px; color: var(--dim); text-align: center; }
.doubtful figcaption { color: var(--bad); font-weight: 600; }
img { width: 100%; display: block; border-radius: 3px; } .doubtful img { outline: 3px solid var(--bad); }
i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .1rem 1rem .1rem 0; font-weight: normal; }
th { color: var(--dim); } a { color: inherit; } .failed h2::after { content: " failed"; color: var(--bad); }
.error { color: var(--bad); } .dim { color: var(--dim); }
"""


#: What is seen in a project: its objects, and pictures of it: (frame, is it doubtful, JPEG).
Seen = tuple[list[ObjectSummary], list[tuple[int, bool, bytes]]]
_SEEN: TypeAdapter[Seen] = TypeAdapter(Seen, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


@dataclass(frozen=True)
class VideoSummary:
    """One video: what the queue knows, what its project says, and pictures of it: (frame, is it doubtful, JPEG)."""

    row: JobRow
    objects: list[ObjectSummary]
    strip: list[tuple[int, bool, bytes]]
    trouble: str | None = None


def summary_path(folder: Path, job: VideoJob) -> Path:
    """Where a worker leaves what it saw of a job, if whoever writes the report can't see the project or the video."""
    return folder / "summaries" / f"{sanitize(job.name)}.json"


def write_summary(project: Path, to: Path) -> None:
    """Keeps what the report says of a project. Raises MaskletError."""
    with atomic_path(to, error=BatchError) as new:
        new.write_bytes(_SEEN.dump_json(_look(project)))


def summarise(folder: Path, row: JobRow) -> VideoSummary:
    """Looks into the project of a job. What can't be read is said in `trouble`."""
    path, kept = project_path(folder, row.job), summary_path(folder, row.job)
    if not path.is_file() and not kept.is_file():
        return VideoSummary(row, [], [], row.reason)
    try:
        objects, strip = _SEEN.validate_json(kept.read_bytes()) if kept.is_file() else _look(path)
    except (MaskletError, ValidationError) as problem:
        return VideoSummary(row, [], [], row.reason or str(problem))
    return VideoSummary(row, objects, strip, row.reason)


def _look(path: Path) -> Seen:
    with Project.open(path, read_only=True) as project:
        found = summarise_objects(project)
        return found, _strip(project, [stretch for known in found for stretch in known.doubtful])


def _strip(project: Project, doubtful: Sequence[Stretch]) -> list[tuple[int, bool, bytes]]:
    """Frames with masks, spread evenly; the worst doubtful ones in place of their neighbours."""
    tracked = sorted({frame for known in project.objects() for frame in project.tracked_frames(known.id)})
    if not tracked:
        return []
    chosen = {tracked[round(i)] for i in np.linspace(0, len(tracked) - 1, min(_FRAMES, len(tracked)))}
    worst = [stretch.worst for stretch in sorted(doubtful, key=lambda stretch: -stretch.expected)][: _FRAMES // 2]
    for frame in worst:
        middle = sorted(chosen)[1:-1]
        if frame not in chosen and middle:
            chosen.discard(min(middle, key=lambda near: abs(near - frame)))
        chosen.add(frame)
    bad = {frame for stretch in doubtful for frame in range(stretch.first, stretch.last + 1)}
    colors = {known.id: known.color for known in project.objects()}
    made = []
    reader = project.open_source()
    for frame in sorted(chosen):
        masks = {known.id: project.mask(frame, known.id) for known in project.objects()}
        drawn = {number: mask.mask for number, mask in masks.items() if mask is not None and mask.area}
        picture = render.overlay(reader.read(frame).image_hwc, drawn, colors)
        width = max(1, round(picture.shape[1] * _HEIGHT * 2 / picture.shape[0]))
        made.append((frame, frame in bad, small_jpeg(picture, width, 82)))
    return made


def write_report(folder: Path, rows: Iterable[JobRow]) -> list[Path]:
    """Writes report.html and report.csv, video by video, and returns them. Raises BatchError: they can't be written."""
    page, table = folder / "report.html", folder / "report.csv"
    overview: list[tuple[str, str]] = []
    unprompted = 0
    with (
        atomic_path(page, error=BatchError) as new_page,
        atomic_path(table, error=BatchError) as new_table,
        new_page.open("w", encoding="utf-8") as pages,
        new_table.open("w", encoding="utf-8", newline="") as lines,
        # The overview comes first, but is known last.
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder) as sections,
    ):
        writer = csv.writer(lines)
        writer.writerow(_COLUMNS)
        for number, row in enumerate(rows):
            video = summarise(folder, row)
            sections.write(_section(video, number))
            writer.writerows(_lines(video))
            overview.append((row.state, _overview_line(video, number)))
            unprompted += len(row.job.unprompted)
        sections.seek(0)
        pages.write(f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(folder.name)}</title>")
        pages.write(f"<style>{_STYLE}</style><h1>{html.escape(folder.name)}</h1>")
        pages.write(_overview(overview, unprompted))
        shutil.copyfileobj(sections, pages)
    return [page, table]


def _overview(videos: Sequence[tuple[str, str]], unprompted: int) -> str:
    """How many videos are in which state, and a line for each, given as (state, line); those that failed first.

    `unprompted` is the number of shots that have no prompt.
    """
    states = Counter(state for state, _ in videos)
    words = ", ".join(f"{count} {state}" for state, count in states.most_common())
    lines = "".join(line for _, line in sorted(videos, key=lambda video: video[0] != "failed"))
    heads = "<tr><th>video<th>frames<th>frames lost<th>stretches to look at</tr>"
    if unprompted:
        words += f". {unprompted} {'shot has' if unprompted == 1 else 'shots have'} no prompt"
    return f"<p>{len(videos)} videos: {words}.</p><table>{heads}{lines}</table><br>"


def _overview_line(video: VideoSummary, number: int) -> str:
    row = video.row
    name = f"<a href='#v{number}'>{html.escape(row.job.name)}</a>"
    if row.state != "done" or row.result is None:
        kind = "error" if row.state == "failed" else "dim"
        line = f"<tr><td>{name}<td colspan='3' class='{kind}'>{row.state}</tr>"
    else:
        lost = sum(known.lost for known in video.objects)
        look = sum(len(known.doubtful) for known in video.objects)
        line = f"<tr><td>{name}<td>{row.result.frames}<td>{lost}<td>{look}</tr>"
    for shot, (first, last) in row.job.unprompted.items():
        words = f"no prompt on frames {first} to {last}"
        line += f"<tr><td>{html.escape(shot)}<td colspan='3' class='dim'>{words}</tr>"
    return line


def _lines(video: VideoSummary) -> list[list[str]]:
    row, result = video.row, video.row.result
    head = [row.job.name, row.state, str(row.attempts)]
    head += [str(result.frames), f"{result.seconds:.1f}"] if result else ["", ""]
    lines = [
        [
            *head,
            known.name,
            "" if known.iou is None else f"{known.iou:.3f}",
            str(known.lost),
            str(sum(stretch.last - stretch.first + 1 for stretch in known.doubtful)),
            f"{sum(stretch.expected for stretch in known.doubtful):.1f}",
            video.trouble or "",
        ]
        for known in video.objects
    ]
    lines = lines or [[*head, "", "", "", "", "", video.trouble or ""]]
    return lines + [[shot, "no prompt", *[""] * (len(_COLUMNS) - 2)] for shot in row.job.unprompted]


def _section(video: VideoSummary, number: int) -> str:
    row, out = video.row, io.StringIO()
    out.write(f"<section id='v{number}' class='{row.state}'><h2>{html.escape(row.job.name)}</h2>")
    tried = f", tried {row.attempts} times" if row.retried else ""
    if row.state == "done" and row.result is not None:
        speed = f", {row.result.frames / row.result.seconds:.1f} frames/s" if row.result.seconds else ""
        words = f"{row.result.frames} frames with {row.result.model} in {row.result.seconds:.1f} s{speed}{tried}"
        out.write(f"<div class='dim'>{html.escape(words)}</div>")
    elif row.state != "failed" or tried:
        out.write(f"<div class='dim'>{row.state}{tried}</div>")
    if video.trouble:
        out.write(f"<div class='error'>{html.escape(video.trouble)}</div>")
    out.write("<div class='strip'>")
    for frame, doubtful, data in video.strip:
        source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        words = f"{frame}: look here" if doubtful else str(frame)
        kind = "doubtful" if doubtful else ""
        out.write(
            f"<figure class='{kind}'><img src='{source}' alt='Frame {frame}'><figcaption>{words}</figcaption></figure>"
        )
    out.write("</div>")
    if video.objects:
        out.write("<table><tr><th>object<th>mean predicted IoU<th>frames lost<th>look at</tr>")
        for known in video.objects:
            iou = "–" if known.iou is None else f"{known.iou:.2f}"
            look = "; ".join(f"{stretch.span} ({stretch.words})" for stretch in known.doubtful[:6]) or "nothing"
            name = f"<i style='background: rgb{known.color}'></i>{html.escape(known.name)}"
            out.write(f"<tr><td>{name}<td>{iou}<td>{known.lost}<td>{html.escape(look)}</tr>")
        out.write("</table>")
    for note in row.result.notes if row.result else ():
        out.write(f"<div class='dim'>{html.escape(note)}</div>")
    out.write("</section>\n")
    return out.getvalue()
