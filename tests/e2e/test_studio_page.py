"""The studio's page in a real browser: point, track, correct, undo, export, be killed, go on."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from masklet.masks import rle
from masklet.project import Project, TrackSettings

sync_api = pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (  # noqa: E402
    PATIENCE,
    Held,
    Placement,
    Studio,
    StudioProcess,
    Watched,
    find_chromium,
    overlap,
    picture,
    studio_over,
    told,
    until,
    wait_for,
    wait_for_frame,
    wait_for_mask,
    wait_until,
    wait_until_gone,
)
from tests.e2e.studio_client import running  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]

DATA = Path(__file__).parents[2] / "src" / "masklet" / "data"
PAINTED = 48


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "footage"
    root.mkdir()
    shutil.copy(DATA / "bunny.mp4", root)
    return root


@pytest.fixture
def studio(root: Path) -> Iterator[Studio]:
    with running(root, settings=TrackSettings(resolution=256)) as client:
        yield Studio(root, client)


@pytest.fixture
def studio_process(root: Path) -> Iterator[StudioProcess]:
    with studio_over(root) as studio:
        yield studio


@pytest.fixture(scope="module")
def bunny_hw() -> np.ndarray:
    """The bunny on frame 48, boolean (720, 1280)."""
    return np.array(Image.open(DATA / "bunny_frame48.png").convert("L")) > 127


def open_clip(page) -> None:
    page.click(".file:has-text('bunny.mp4')")
    wait_for_frame(page, 0)


def undo(page, studio: Studio) -> None:
    before = studio.project()["history"]["step"]
    page.keyboard.press("Control+z")
    until(lambda: studio.project()["history"]["step"] < before)


def clicks(studio: Studio) -> list[tuple[float, float, int]]:
    """x, y and label of every click that the server knows, in the order they were made."""
    return [
        (*point, label)
        for prompt in studio.project()["prompts"]
        for point, label in zip(prompt["points"], prompt["labels"], strict=True)
    ]


def frames_with_mask(studio: Studio) -> int:
    return sum(last - first + 1 for lane in studio.project()["lanes"] for first, last in lane["spans"])


def frames_written(studio: Studio) -> int:
    """Masks that are in the project's file already; what is tracked gets there within half a second."""
    with contextlib.closing(sqlite3.connect(f"file:{studio.root / 'bunny.masklet'}?mode=ro", uri=True)) as project:
        return project.execute("SELECT count(*) FROM mask").fetchone()[0]


def go_to(page, frame: int) -> None:
    page.fill(".frame-number", str(frame))
    page.press(".frame-number", "Enter")
    wait_for_frame(page, frame)


def mark_range(page, first: int, last: int) -> None:
    go_to(page, first)
    page.keyboard.press("i")
    go_to(page, last)
    page.keyboard.press("o")


def paint_by_script(page, studio: Studio, bunny_hw: np.ndarray) -> None:
    """What a script beside the page does: the open page learns of it through its socket."""
    project = studio.project()["id"]
    made = studio.ask("POST", f"/projects/{project}/objects", name="bunny")
    studio.ask("POST", f"/projects/{project}/prompts", frame=PAINTED, object=made["id"], mask=rle.encode(bunny_hw))
    wait_for(page, ".lane-name:has-text('bunny')")
    wait_for(page, "#track:enabled")


def finish_tracking(page, studio: Studio, count: int = 1) -> None:
    """Until so many runs were begun, and the last is done. (A short one may be over before the page could show it.)"""
    until(lambda: len(studio.tracks()) == count and studio.tracks()[-1]["state"] not in ("waiting", "running"))
    assert studio.tracks()[-1]["state"] == "done"
    wait_for(page, "#track")


def test_an_answer_that_comes_late_takes_no_newer_news_back(studio, context, bunny_hw) -> None:
    page = studio.let_in(context, holds=True)
    open_clip(page)
    state = "**/projects/*?lanes=false"
    held = Held(page, state)
    page.evaluate("async () => { window.asked = [(await import('/sync.js')).refreshProject()]; }")
    # The answer is of now, and reaches the page when the test lets it.
    route = held.next()
    answer = route.fetch()

    paint_by_script(page, studio, bunny_hw)
    route.fulfill(response=answer)
    page.evaluate("() => Promise.all(window.asked)")
    assert page.is_enabled("#track")
    assert page.is_visible(".lane-name:has-text('bunny')")

    # Neither is a click lost that is made while something is taken back: it is for what is there then, a new object.
    held.let_go()
    for _ in range(2):
        undo(page, studio)
    wait_until_gone(page, ".object")
    studio.ask("POST", f"/projects/{studio.project()['id']}/objects", name="fox")
    wait_for(page, ".object.current:has-text('fox')")
    held = Held(page, state)
    page.keyboard.press("Control+z")
    page.mouse.click(*Placement(page).on_page(345, 420))
    held.next().continue_()
    held.let_go()
    until(lambda: bool(clicks(studio)))
    assert [entry["name"] for entry in studio.project()["objects"]] == ["object 3"]


def test_point_track_correct_undo_export(studio, context, bunny_hw, tmp_path) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    open_clip(page)

    # A click gives a mask that holds the clicked pixel, at once and on the picture.
    place = Placement(page)
    page.mouse.click(*place.on_page(345, 420))
    wait_for(page, ".candidates, .object .score, .lane-name")
    wait_until(page, "document.querySelector('.candidates')")
    assert studio.mask(0) is not None
    wait_for_mask(page, studio.mask(0), 0.85)
    # The candidates of one click can be flipped through.
    before = studio.mask(0)
    page.keyboard.press("c")
    until(lambda: overlap(studio.mask(0), before) < 1)

    # Ctrl+Z takes all of it back, step by step.
    for _ in range(3):
        undo(page, studio)
    assert studio.project()["objects"] == []
    wait_until(page, "document.querySelectorAll('.object').length === 0")

    # A script paints the bunny on another frame; the page shows it where the bunny is.
    paint_by_script(page, studio, bunny_hw)
    go_to(page, PAINTED)
    wait_for_mask(page, bunny_hw, 0.95)
    picture(page, "painted")

    # Tracking a range: masks stream in while the page goes on to answer.
    mark_range(page, 42, 58)
    page.keyboard.press("g")
    finish_tracking(page, studio)
    lane = studio.project()["lanes"][0]
    assert lane["spans"] == [[42, 58]]
    for frame in (44, 54):
        go_to(page, frame)
        wait_for_mask(page, studio.mask(frame), 0.9)
        # The bunny moves little in six frames.
        assert overlap(studio.mask(frame), bunny_hw) > 0.5
    picture(page, "tracked")

    # Clicks on a later frame correct it alone, until Enter re-tracks from there.
    go_to(page, 53)
    tracked = {frame: studio.mask(frame) for frame in (50, 53, 57)}
    rows, columns = np.nonzero(tracked[53])
    corner = int(np.argmin(rows + columns))
    page.mouse.click(*place.on_page(int(columns[corner]), int(rows[corner])), button="right")
    wait_for(page, "#retrack:has-text('Re-track from frame 53')")
    page.mouse.click(*place.on_page(900, 100), button="right")
    until(lambda: len(clicks(studio)) == 2)
    picture(page, "correct")
    for frame in (50, 57):
        np.testing.assert_array_equal(studio.mask(frame), tracked[frame])
    assert len(studio.tracks()) == 1
    page.keyboard.press("Enter")
    finish_tracking(page, studio, count=2)
    project = studio.project()
    assert 53 in {prompt["frame"] for prompt in project["prompts"]}
    assert project["lanes"][0]["spans"] == [[42, 58]]
    np.testing.assert_array_equal(studio.mask(PAINTED), bunny_hw)  # painted frames are never touched
    wait_for(page, "[aria-label=Correction]:has-text('10 frames re-tracked')")
    wait_for_frame(page, 53)
    page.keyboard.press("w")
    wait_for(page, ".candidate-card, .memory")
    go_to(page, 56)
    wait_for(page, ".memory")
    assert page.locator(".memory").count() >= 2
    picture(page, "why")
    page.keyboard.press("w")

    # Before and after can be compared, and the re-track taken back: the clicks are there to go on with.
    go_to(page, 57)
    after = studio.mask(57)
    assert overlap(after, tracked[57]) < 1
    page.keyboard.press("7")
    wait_for_mask(page, tracked[57], 0.9)
    assert page.get_attribute("[aria-label=Correction] button:has-text('Before')", "aria-pressed") == "true"
    picture(page, "retracked")
    page.click("[aria-label='Take back the re-track']")
    wait_for(page, "#retrack")
    assert len(clicks(studio)) == 2

    # Undo brings back what was there before the correction, frame by frame.
    while any(prompt["frame"] == 53 for prompt in studio.project()["prompts"]):
        undo(page, studio)
    for frame, mask in tracked.items():
        np.testing.assert_array_equal(studio.mask(frame), mask)
    go_to(page, 57)
    wait_for_mask(page, tracked[57], 0.9)

    # Mask settings show what they do and destroy nothing.
    page.keyboard.press("\\")
    page.keyboard.press("m")
    page.fill("input[aria-label='Grow or shrink']", "-8")
    page.press("input[aria-label='Grow or shrink']", "Enter")
    wait_until(page, "document.querySelector('.slider .link')")
    until(lambda: studio.mask(57).sum() < tracked[57].sum())
    assert (studio.mask(57) <= tracked[57]).all() and studio.mask(57).sum() < tracked[57].sum()
    page.keyboard.press("4")
    picture(page, "cutout")
    page.keyboard.press("1")
    undo(page, studio)
    np.testing.assert_array_equal(studio.mask(57), tracked[57])

    # Export: a WebM with alpha, and COCO.
    page.click("#export")
    page.click("[data-format='vp9-alpha']")
    wait_for(page, "#export-start:enabled")
    page.click("summary:has-text('File, frames and objects')")
    page.check("label:has-text('Only the marked range') input")
    page.click("#export-start")
    wait_for(page, ".job[data-state=done]")
    with page.expect_download() as download:
        page.click(".job[data-state=done] >> text=Download")
    webm = tmp_path / "cut.webm"
    download.value.save_as(webm)
    check_webm(webm, tracked[50], 50 - 42)
    page.click("[data-format='coco']")
    page.click("#export-start")
    page.wait_for_function("() => document.querySelectorAll('.job[data-state=done]').length === 2")
    with page.expect_download() as download:
        page.click(".job[data-state=done] >> nth=0 >> text=Download")
    download.value.save_as(tmp_path / "coco.zip")
    check_coco(tmp_path / "coco.zip", tmp_path / "coco", tracked[50], bunny_hw)
    page.keyboard.press("Escape")

    # Back at the list, the project is there with its picture.
    page.click(".brand")
    wait_for(page, ".card img")
    page.wait_for_function("() => document.querySelector('.card img').naturalWidth > 0")
    assert watched.problems == []


def check_webm(path: Path, mask_hw: np.ndarray, frame: int) -> None:
    """The file says that it has alpha, and its alpha is the mask."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.metadata.get("alpha_mode") == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        decoder.extradata = stream.codec_context.extradata
        frames = [image for packet in container.demux(stream) for image in decoder.decode(packet)]
    assert len(frames) == 17
    alpha = frames[frame].to_ndarray(format="rgba")[..., 3]
    assert overlap(alpha > 127, mask_hw) > 0.98


def check_coco(archive: Path, folder: Path, mask_hw: np.ndarray, bunny_hw: np.ndarray) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    [path] = folder.rglob("*.json")
    coco = COCO(str(path))
    assert len(coco.anns) == 17
    assert [category["name"] for category in coco.cats.values()] == ["bunny"]
    names = {image["id"]: image["file_name"] for image in coco.imgs.values()}
    best = max(coco.anns.values(), key=lambda annotation: overlap(coco.annToMask(annotation) > 0, bunny_hw))
    assert overlap(coco.annToMask(best) > 0, bunny_hw) > 0.99
    assert any(overlap(coco.annToMask(annotation) > 0, mask_hw) > 0.99 for annotation in coco.anns.values())
    assert all(any(folder.rglob(Path(name).name)) for name in names.values())
    assert json.loads(path.read_text())["images"][0]["width"] == 1280


def test_killed_while_tracking_and_started_again(studio_process, context, bunny_hw) -> None:
    studio = studio_process
    page = studio.let_in(context)
    watched = Watched(page)
    open_clip(page)
    paint_by_script(page, studio, bunny_hw)
    mark_range(page, 30, 74)
    page.keyboard.press("g")
    wait_for(page, "#track-progress")
    until(lambda: studio.tracks()[0]["done"] >= 6)
    page.keyboard.press("Shift+Space")
    wait_for(page, "button[aria-label='Go on tracking']")
    assert [track["state"] for track in studio.tracks()] == ["paused"]
    until(lambda: frames_written(studio) >= 6)
    page.keyboard.press("Shift+Space")
    until(lambda: studio.tracks()[0]["state"] == "running")
    studio.kill()
    wait_for(page, ".away")
    with Project.open(studio.root / "bunny.masklet") as project:
        project.update_object(1, name="rabbit")
    studio.start()
    wait_until_gone(page, ".away")  # by itself: the session outlives the server
    assert not page.is_visible("text=Open the address that it printed")
    wait_for(page, ".object:has-text('rabbit')")  # it shows what is there now, not what it knew

    # Nothing of what was written is lost, and the run goes on where it stopped.
    wait_for(page, "button:has-text('Go on')")
    assert frames_with_mask(studio) >= 6
    picture(page, "again")
    page.click("button:has-text('Go on')")
    finish_tracking(page, studio)
    assert studio.project()["lanes"][0]["spans"] == [[30, 74]]
    assert studio.project()["run"] is None
    go_to(page, 62)
    wait_for_mask(page, studio.mask(62), 0.9)
    # The page itself is let in again too, with its icon.
    page.reload()
    wait_for_frame(page, PAINTED)
    assert page.evaluate("fetch('favicon.svg').then((answer) => answer.status)") == 200
    assert watched.problems == []


def test_a_moved_video_is_chosen_anew(root: Path, studio, context) -> None:
    (root / "archive").mkdir()
    with Project.create(root / "dog.masklet", root / "bunny.mp4") as project:
        project.add_object(1, "bunny")
    (root / "archive" / "other.mp4").write_bytes((root / "bunny.mp4").read_bytes() + b"\0\0\0\x08free")
    (root / "bunny.mp4").rename(root / "archive" / "7.mp4")
    page = studio.let_in(context)
    page.click(".file:has-text('dog.masklet')")
    wait_for(page, "dialog[aria-label='Where is the video?']")
    dialog = page.locator("dialog")
    assert "bunny.mp4 is not there" in dialog.locator("[role=alert]").inner_text()
    assert dialog.locator(".file:has-text('dog.masklet')").count() == 0
    dialog.locator(".file:has-text('archive')").click()
    dialog.locator(".file:has-text('other.mp4')").click()
    wait_for(page, "dialog [role=alert]:has-text('is not the source of dog.masklet')")
    picture(page, "relink")
    dialog.locator(".file:has-text('7.mp4')").click()
    wait_for_frame(page, 0)
    wait_for(page, ".object:has-text('bunny')")
    assert dialog.count() == 0
    assert studio.project()["media"]["path"] == "archive/7.mp4"


def test_by_keyboard_alone(studio, context) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    wait_for(page, ".file")

    def focused() -> str:
        return page.evaluate("() => document.activeElement.innerText || document.activeElement.id")

    for _ in range(30):
        page.keyboard.press("Tab")
        if "bunny.mp4" in focused():
            break
    assert "bunny.mp4" in focused()
    page.keyboard.press("Enter")
    wait_for_frame(page, 0)

    # Every control can be reached, has a name, and shows that it has the focus.
    seen, unnamed = set(), []
    for _ in range(80):
        page.keyboard.press("Tab")
        name, visible, tag = page.evaluate(
            "() => { const element = document.activeElement; const style = getComputedStyle(element);"
            " const label = element.labels?.[0]?.textContent;"
            " return [element.getAttribute('aria-label') || label || element.textContent.trim(),"
            " style.outlineStyle !== 'none' || element.type === 'color', element.tagName]; }"
        )
        if tag == "BODY":
            break
        if not name or not visible:
            unnamed.append((name, tag))
        seen.add(name)
    assert unnamed == []
    assert {"Timeline", "Export", "Play", "Settings", "Brush: paint the mask"} <= seen

    # The crosshair: arrows move it, Enter adds, Backspace removes.
    page.keyboard.press("x")
    here = [640.0, 360.0]
    for key, (dx, dy), times in (("ArrowLeft", (-1, 0), 18), ("ArrowDown", (0, 1), 3)):
        for _ in range(times):
            page.keyboard.press(key)
        step = round(12 / Placement(page).zoom)
        here = [here[0] + dx * times * step, here[1] + dy * times * step]
    page.keyboard.press("Shift+ArrowRight")
    here[0] += 1
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelectorAll('.object').length === 1 && document.querySelector('.candidates')")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Backspace")
    page.wait_for_function("() => document.querySelector('.tab-body').innerText.includes('2 clicks')")
    until(lambda: len(clicks(studio)) == 2)
    points = clicks(studio)
    assert points[0] == (*here, 1)
    assert points[1][2] == 0 and points[1][1] < here[1]
    assert studio.mask(0) is not None
    page.keyboard.press("Escape")

    # A second object, painted with the crosshair on another frame.
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, 1)
    page.keyboard.press("a")
    page.wait_for_function("() => document.querySelectorAll('.object').length === 2")
    page.keyboard.press("p")
    page.keyboard.press("x")
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('.tab-body').innerText.includes('a painted mask')")
    until(lambda: studio.mask(1, 2) is not None)
    dab = studio.mask(1, 2)
    assert 300 < dab.sum() < 700  # a brush of 24 pixels
    page.keyboard.press("Escape")
    page.keyboard.press("v")

    # Views, range, sheet, undo.
    page.keyboard.press("3")
    assert page.locator("button[aria-label=Matte]").get_attribute("aria-pressed") == "true"
    page.keyboard.press("1")
    page.keyboard.press("?")
    wait_for(page, "dialog:has-text('Keyboard')")
    picture(page, "keys")
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    with told(page, "Undone"):
        page.keyboard.press("Control+z")
    page.wait_for_function("() => !document.querySelector('.tab-body').innerText.includes('a painted mask')")
    until(lambda: studio.mask(1, 2) is None)
    assert watched.problems == []


SIZES = (("small", 800, 600, "light"), ("light", 1280, 720, "light"), ("large", 3840, 2160, "dark"))


def test_nothing_overflows_in_any_window(browser, studio, bunny_hw) -> None:
    for name, width, height, scheme in SIZES:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        page = studio.let_in(context)
        if name == "small":
            open_clip(page)
            paint_by_script(page, studio, bunny_hw)
        else:
            page.click(".card")
            wait_for_frame(page)
        go_to(page, PAINTED)
        wait_for_mask(page, bunny_hw, 0.95)
        background = page.evaluate("() => getComputedStyle(document.querySelector('.topbar')).backgroundColor")
        assert (sum(int(part) for part in background[4:-1].split(",")) > 384) == (scheme == "light")
        outside = page.evaluate(
            "() => [...document.querySelectorAll('button, input, canvas')].filter(e => e.offsetParent).map(e =>"
            " [e.ariaLabel || e.id || e.textContent, e.getBoundingClientRect()]).filter(([, b]) =>"
            " b.right > innerWidth + 1 || b.left < -1 || b.top < -1).map(([n]) => n)"
        )
        assert outside == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        # What matters most is there at every size.
        for selector in ("#track", "#export", "#picture", "#timeline", "button[aria-label^='Undo: ']"):
            assert page.locator(selector).is_visible(), selector
        picture(page, name)
        context.close()


def test_upload_box_brush_eraser_and_play(studio, context) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    page.set_input_files("input[type=file]", DATA / "bunny.mp4")
    wait_for_frame(page, 0)
    assert studio.project()["path"].startswith("uploads/")
    place = Placement(page)

    # A dragged box.
    page.mouse.move(*place.on_page(153, 219))
    page.mouse.down()
    page.mouse.move(*place.on_page(400, 400), steps=3)
    page.mouse.move(*place.on_page(571, 558), steps=3)
    page.mouse.up()
    wait_until(page, "document.querySelector('.tab-body').innerText.includes('a box')")
    until(lambda: studio.project()["prompts"])
    [prompt] = studio.project()["prompts"]
    np.testing.assert_allclose(prompt["box"], [153, 219, 571, 558], atol=1.5)
    boxed = studio.mask(0)
    assert boxed[219:558, 153:571].sum() > 0.8 * boxed.sum() > 0

    # The brush adds to the mask that is there, the eraser takes away.
    page.keyboard.press("p")
    page.mouse.move(*place.on_page(900, 100))
    page.mouse.down()
    page.mouse.move(*place.on_page(1000, 100), steps=5)
    page.mouse.up()
    wait_until(page, "document.querySelector('.tab-body').innerText.includes('a painted mask')")
    until(lambda: studio.mask(0)[100, 950])
    painted = studio.mask(0)
    stroke = painted & ~boxed
    assert stroke[95:105, 900:1000].all()
    assert 100 * 20 < stroke.sum() < 130 * 30
    assert (painted >= boxed).all()
    wait_for_mask(page, painted, 0.85)  # a ragged mask, and its outline has a width
    page.keyboard.press("e")
    page.mouse.move(*place.on_page(950, 60))
    page.mouse.down()
    page.mouse.move(*place.on_page(950, 140), steps=5)
    page.mouse.up()
    until(lambda: not studio.mask(0)[100, 950])
    erased = studio.mask(0)
    assert not erased[95:105, 945:955].any()
    assert erased[95:105, 900:930].all()
    page.keyboard.press("v")

    # The timeline seeks, playing goes on from there, zooming keeps the place under the pointer.
    box = page.locator("#timeline").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.305, box["y"] + 30)
    wait_for_frame(page, 30)
    page.keyboard.press("Space")
    page.wait_for_function("() => Number(document.querySelector('#picture').dataset.frame) > 36")
    page.keyboard.press("Space")
    wait_for(page, "button[aria-label=Play]")
    stopped = page.get_attribute("#timeline", "aria-valuenow")
    page.wait_for_timeout(200)
    assert page.get_attribute("#timeline", "aria-valuenow") == stopped
    page.mouse.move(*place.on_page(345, 420))
    page.mouse.wheel(0, -1200)
    page.wait_for_function("() => parseInt(document.querySelector('.percent').textContent) > 200")
    page.mouse.click(*place.on_page(345, 420))
    wait_until(page, "document.querySelector('.tab-body').innerText.includes('1 click')")
    until(lambda: clicks(studio))
    np.testing.assert_allclose(clicks(studio)[-1][:2], [345, 420], atol=1)

    # Hovering shows what a click would give, and keeps nothing.
    before = studio.project()["history"]
    page.click("nav [aria-label='Show what a click would give']")
    with page.expect_response(lambda answer: answer.url.endswith("/hover") and answer.ok) as answer:
        page.mouse.move(*place.on_page(430, 370))
    assert rle.decode(answer.value.json()["rle"]).shape == (720, 1280)
    assert studio.project()["history"] == before
    assert watched.problems == []


def test_news_leave_what_is_being_typed(studio, context) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    open_clip(page)
    project = studio.project()["id"]
    names = (f"news {number}" for number in itertools.count())

    def news() -> None:
        """Something changes in the project, and the page is drawn anew."""
        name = next(names)
        studio.ask("POST", f"/projects/{project}/objects", name=name)
        wait_for(page, f".lane-name:has-text('{name}')")

    def say(field: str, text: str) -> None:
        page.focus(field)
        page.keyboard.press("Control+a")
        for letter in text:
            page.keyboard.type(letter)
            news()
        page.keyboard.press("Enter")

    say(".frame-number", "36")
    wait_for_frame(page, 36)
    # What is taken back is not said, and the keys are the page's again.
    page.focus(".frame-number")
    page.keyboard.type("7")
    page.keyboard.press("Escape")
    assert page.input_value(".frame-number") == "36"
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, 37)
    assert page.input_value(".frame-number") == "37"

    page.click(".object .name >> nth=0")
    page.keyboard.press("F2")
    say("input[aria-label='Name of the object']", "fox")
    wait_for(page, ".object:has-text('fox')")
    color = page.locator("input[aria-label='Colour of fox']")
    color.evaluate("field => { field.focus(); field.value = '#123456'; field.dispatchEvent(new Event('input')); }")
    news()
    color.evaluate("field => field.dispatchEvent(new Event('change'))")
    page.keyboard.press("m")
    say("input[aria-label='Grow or shrink']", "-8")
    wait_for(page, ".slider:has-text('Grow or shrink') .link")

    def fox() -> dict[str, Any]:
        return next((entry for entry in studio.project()["objects"] if entry["name"] == "fox"), {})

    until(lambda: (fox().get("color"), fox().get("mask_settings")) == ("#123456", {"grow": -8}))

    page.keyboard.press("Shift+S")
    page.click("summary:has-text('SAMURAI')")
    say("dialog input[type=number] >> nth=1", "0.75")
    until(lambda: 0.75 in studio.project()["settings"]["track"]["policy_options"].values())
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    page.keyboard.press("Shift+E")
    page.click("[data-format='vp9-alpha']")
    number = "dialog .export-options input[type=number] >> nth=0"
    say(number, "12")
    assert page.input_value(number) == "12"
    assert watched.problems == []


def test_settings_of_a_policy(studio, context) -> None:
    """Their form is made from what the policy declares; an emptied field means the policy's own value again."""
    page = studio.let_in(context)
    open_clip(page)

    def chosen() -> dict:
        return studio.project()["settings"]["track"]["policy_options"]

    page.keyboard.press("Shift+S")
    page.click("summary:has-text('SAMURAI')")
    weight = page.get_by_label("Weight of motion", exact=True)
    assert weight.input_value() == "0.25" and weight.get_attribute("max") == "1"
    picture(page, "policy")
    weight.fill("0.4")
    weight.press("Tab")
    until(lambda: chosen() == {"kf_score_weight": 0.4})
    page.get_by_label("Prompt frames").fill("4")
    page.get_by_label("Prompt frames").press("Tab")
    until(lambda: chosen() == {"kf_score_weight": 0.4, "max_prompt_frames": 4})
    weight.fill("")
    weight.press("Tab")
    until(lambda: chosen() == {"max_prompt_frames": 4})
    page.select_option("#set-policy", "recency")
    until(lambda: studio.project()["settings"]["track"]["policy"] == "recency" and chosen() == {})
    wait_for(page, "summary:has-text('latest frames')")


def test_nothing_is_retracked_by_itself(studio, context, bunny_hw) -> None:
    page = studio.let_in(context, holds=True)
    watched = Watched(page)
    open_clip(page)
    project = studio.project()["id"]
    bunny = studio.ask("POST", f"/projects/{project}/objects", name="bunny")["id"]
    for frame in (47, 49):
        studio.ask("POST", f"/projects/{project}/prompts", frame=frame, object=bunny, mask=rle.encode(bunny_hw))
    wait_for(page, ".object.current:has-text('bunny')")
    wait_for(page, "#track:enabled")
    go_to(page, 48)
    place = Placement(page).on_page(430, 370)
    offer = "[aria-label=Correction]"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    # Undo while the click is being answered: it is the click that is taken back, and nothing is left to track.
    held = Held(page, "**/prompts")
    page.mouse.click(*place)
    route = held.next()
    page.keyboard.press("Control+z")
    with told(page, "Undone: Click"):
        route.continue_()
    wait_until_gone(page, ".notice:has-text('Undone: Click')")
    assert not clicks(studio) and not page.is_visible(offer)
    assert not any(url.endswith("/correct") for url in asked)
    held.let_go()

    # An offer stays an offer, on every frame, until its prompts are removed.
    page.mouse.click(*place)
    wait_for(page, offer)
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, 49)
    wait_for(page, offer)
    page.keyboard.press("ArrowLeft")
    wait_for_frame(page, 48)
    page.keyboard.press("Delete")
    wait_until_gone(page, offer)
    assert not studio.tracks()
    assert watched.problems == []
