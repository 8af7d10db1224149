"""The studio under the hand, in a real browser: clicking, stepping, jumping and playing on a 720p clip with sound."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "src" / "masklet" / "data"
FRAMES, RATE = 4500, 25  # three minutes
KEY_FRAMES = 250  # frames from one to the next, as x264 does it unless told otherwise
OBJECTS, SEEN = 8, 3
PLAYED = 6  # seconds
# Where the bunny is, and places around; frames are visited in this order, none of them near another.
PLACES = [(345, 420), (400, 380), (300, 450)]
FAR = [4230, 990, 2120, 3610]
CLICKED = [180, 430]


def measure_studio(trees: dict[str, Path], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The studios of checkouts, in turn: what was done → milliseconds each time, and how playing went; by name."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip)
        results: dict[str, dict[str, list[float]]] = {name: {} for name in trees}
        for i in range(rounds):
            for name, tree in trees.items():
                place = Path(folder) / f"{name}{i}"
                place.mkdir()
                for what, values in _measure(place, tree, clip).items():
                    results[name].setdefault(what, []).extend(round(value, 1) for value in values)
    return results


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """The results as a table in Markdown."""
    names = list(results)
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    titles = {
        "click": "click to mask",
        "click, tracked": "click to mask, tracked project",
        "fetched": "… and what the page asks for after such a click, in kB",
        "click, saving": "… that a script edits and saves ten times a second",
        "click, tracking": "… while another object is tracked, and saved as it goes",
        "step": "one frame on, masks included",
        "preview": "distant frame: preview",
        "exact": "distant frame: exact picture",
        "seconds": f"{PLAYED} s of video played, in seconds",
        "pictures": "pictures a second while playing (25 in the clip)",
        "bare": "pictures without their masks while playing, of a hundred",
    }
    for what, title in titles.items():
        unit = " ms" if what not in ("fetched", "seconds", "pictures", "bare") else ""
        cells = [_cell(results[name].get(what, []), unit) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float], unit: str) -> str:
    if not values:
        return "–"
    if unit:
        return f"{statistics.median(values):.0f}{unit}, worst {max(values):.0f}{unit}"
    return f"{statistics.median(values):.1f}"


def make_clip(path: Path) -> None:
    """Ten seconds of the packaged clip, there and back again, over and over as H.264, and with a tone."""
    with av.open(str(DATA / "bunny.mp4")) as container:
        pictures = [frame.reformat(format="yuv420p") for frame in container.decode(video=0)]
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    options = {"preset": "veryfast", "bf": "3", "sc_threshold": "0", "keyint_min": str(KEY_FRAMES)}
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt, video.gop_size = 1280, 720, "yuv420p", KEY_FRAMES
        sound: Any = output.add_stream("aac", rate=48000, layout="mono")
        packets = []
        for i in range(KEY_FRAMES):
            picture = pictures[order[i % len(order)]]
            picture.pts, picture.time_base, picture.pict_type = i, Fraction(1, RATE), 0  # type: ignore[assignment]
            packets += video.encode(picture)
        packets += video.encode(None)
        kept = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
        for start in range(0, FRAMES, KEY_FRAMES):
            for data, pts, dts, is_key in kept:
                packet = av.Packet(data)
                packet.stream, packet.time_base = video, packets[0].time_base
                shift = round(start / RATE / packets[0].time_base)
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, is_key
                output.mux(packet)
        wave = 0.1 * np.sin(2 * np.pi * 440 / 48000 * np.arange(FRAMES * 48000 // RATE, dtype=np.float32))
        for start in range(0, len(wave) - 1024, 1024):
            tone = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
            tone.sample_rate, tone.pts, tone.time_base = 48000, start, Fraction(1, 48000)
            output.mux(sound.encode(tone))
        output.mux(sound.encode(None))


def fill_project(clip: str) -> None:
    """Give a clip a project with objects that have a mask on every frame. Runs under the code that is measured."""
    from PIL import Image

    from masklet.masks import rle
    from masklet.media import open_media
    from masklet.project import Project
    from masklet.results import ObjectMask, Scores

    bunny = np.array(Image.open(DATA / "bunny_frame48.png").convert("L")) > 127
    with open_media(clip) as reader, Project.create(Path(clip).with_suffix(".masklet"), reader) as project:
        for number in range(1, OBJECTS + 1):
            project.add_object(number, f"bunny {number}")
            project.update_object(number, visible=number > OBJECTS - SEEN)
            shifted = [rle.encode(np.roll(bunny, 60 * number + 4 * (i % 25), axis=1)) for i in range(25)]
            scores = Scores(object_score=8.0, predicted_iou=0.9, motion_score=0.8)
            masks = [ObjectMask(number, i, shifted[i % 25], scores=scores) for i in range(FRAMES)]
            project.put_masks(masks)


@contextmanager
def _page_of(folder: Path, tree: Path) -> Iterator[tuple[Any, Page]]:
    from playwright.sync_api import sync_playwright
    from tests.e2e.studio_browser import launch, studio_over, wait_for_frame

    with studio_over(folder, (), tree / "src") as studio, sync_playwright() as playwright:
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        context.set_default_timeout(60_000)
        # Pages of older checkouts track again by themselves after a click, which would be measured too.
        off = "".join(f"localStorage.setItem('masklet.{name}', 'false');" for name in ("loop", "auto-correct"))
        context.add_init_script(off + (HERE / "studio_probe.js").read_text())
        page = studio.let_in(context)
        page.click(".file:has-text('clip.mp4')")
        wait_for_frame(page, 0)
        page.evaluate("() => probe.watch()")
        page.wait_for_timeout(1000)  # thumbnails
        yield studio, page
        browser.close()


def _measure(folder: Path, tree: Path, clip: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for part in ("fresh", "tracked"):
        root = folder / part
        root.mkdir()
        (root / "clip.mp4").hardlink_to(clip)
        if part == "tracked":
            program = "import sys; from benchmarks.studio import fill_project; fill_project(sys.argv[1])"
            environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}:{HERE.parent}"}
            subprocess.run([sys.executable, "-c", program, str(root / "clip.mp4")], check=True, env=environment)
        with _page_of(root, tree) as (studio, page):
            _go(page, 600)  # the network is loaded
            _click(page, PLACES[0])
            if part == "fresh":
                found["click"] = _clicks(page)
                continue
            found["step"] = _steps(page)
            found |= _jumps(page)
            found |= _play(page)
            page.evaluate("() => probe.count()")
            found["click, tracked"] = _clicks(page)
            page.wait_for_timeout(1500)
            found["fetched"] = [page.evaluate("() => probe.fetched()") / len(found["click, tracked"])]
            with _editing(studio):
                found["click, saving"] = _clicks(page)
            with _tracking(studio):
                found["click, tracking"] = _clicks(page)
    return found


def _clicks(page: Page) -> list[float]:
    """Every place once on frames that the network has seen; milliseconds until the mask was drawn."""
    found = []
    for frame in CLICKED:
        _go(page, frame)
        page.wait_for_timeout(900)  # the network looks at the frame
        for spot in PLACES:
            found.append(_click(page, spot))
            page.wait_for_timeout(150)
    return found


def _click(page: Page, spot: tuple[int, int]) -> float:
    from tests.e2e.studio_browser import Placement

    page.evaluate("() => probe.clear()")
    page.mouse.click(*Placement(page).on_page(*spot))
    page.wait_for_function("() => probe.click() !== null")
    return page.evaluate("() => probe.click()")


def _steps(page: Page) -> list[float]:
    found = []
    for start, key, step in ((60, "ArrowRight", 1), (420, "ArrowRight", 1), (200, "ArrowLeft", -1)):
        _go(page, start)
        page.wait_for_timeout(500)
        page.focus("#picture")
        for i in range(1, 7):
            page.evaluate("() => probe.clear()")
            page.keyboard.press(key)
            page.wait_for_function("frame => probe.shown(frame, probe.input) !== null", arg=start + step * i)
            found.append(page.evaluate("frame => probe.shown(frame, probe.input)", start + step * i))
            page.wait_for_timeout(50)
    return found


def _jumps(page: Page) -> dict[str, list[float]]:
    previews, exact = [], []
    for frame in FAR:
        _go(page, frame)
        page.wait_for_timeout(700)
        exact.append(page.evaluate("frame => probe.first((draw) => draw.frame === frame)", frame))
        preview = page.evaluate("() => probe.first((draw) => draw.preview >= 0)")
        if preview is not None:
            previews.append(preview)
    return {"preview": previews, "exact": exact}


def _play(page: Page) -> dict[str, list[float]]:
    first = 100
    last = first + PLAYED * RATE
    _go(page, first)
    page.evaluate(
        "([first, last]) => { probe.state.markIn.value = first; probe.state.markOut.value = last; probe.clear(); }",
        [first, last],
    )
    page.focus("#picture")
    page.keyboard.press("Space")
    page.wait_for_function("() => probe.state.playing.value")
    page.wait_for_function(
        "most => !probe.state.playing.value || performance.now() - probe.began > most", arg=1500 * PLAYED
    )
    page.evaluate("() => { probe.state.playing.value = false; }")
    draws, seconds = page.evaluate("() => [probe.draws, (probe.ended - probe.began) / 1000]")
    shown = {draw["frame"]: draw["complete"] for draw in reversed(draws) if draw["frame"] >= first}
    bare = sum(not complete for complete in shown.values())
    if max(shown) < last:  # it was not waited for: as long as all of it would have taken
        seconds *= (last - first) / max(1, max(shown) - first)
    return {"seconds": [seconds], "pictures": [len(shown) / seconds], "bare": [100 * bare / len(shown)]}


def _go(page: Page, frame: int) -> None:
    page.evaluate(
        "frame => { probe.clear(); probe.since = performance.now(); probe.state.frame.value = frame; }", frame
    )
    page.wait_for_function("frame => probe.shown(frame, probe.since) !== null", arg=frame)


@contextmanager
def _tracking(studio: Any) -> Iterator[None]:
    """Another object is tracked from a box that a script draws."""
    project = f"/projects/{studio.project()['id']}"
    made = studio.ask("POST", f"{project}/objects", name="other")["id"]
    studio.ask("POST", f"{project}/prompts", frame=1000, object=made, box=[153, 219, 571, 558])
    job = studio.ask("POST", f"{project}/track", objects=[made], start=1000)
    try:
        yield
    finally:
        studio.ask("POST", f"/jobs/{job['id']}/cancel")


@contextmanager
def _editing(studio: Any) -> Iterator[None]:
    """A script that changes an object, which is saved at once, ten times a second."""
    project = studio.project()
    address = f"/projects/{project['id']}/objects/{project['objects'][-1]['id']}"
    done = threading.Event()

    def edit() -> None:
        colors = ["#ff8000", "#0080ff"]
        while not done.wait(0.1):
            colors.reverse()
            studio.ask("PATCH", address, color=colors[0])

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
