"""The studio's page as an editor: masks over many frames, shapes, classes, other frames beside, small windows."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.masks import rle
from masklet.masks.between import in_between
from masklet.project import Project, TrackSettings
from masklet.results import ObjectMask, Scores

pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (
    Held,
    Placement,
    Studio,
    Watched,
    find_chromium,
    picture,
    told,
    until,
    wait_for,
    wait_for_frame,
    wait_until_gone,
)
from tests.e2e.studio_client import running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]

DATA = Path(__file__).parents[2] / "src" / "masklet" / "data"
BUNNY, ROCK = 1, 2
ROWS, COLUMNS = np.ogrid[:720, :1280]


@pytest.fixture(scope="module")
def bunny_hw() -> np.ndarray:
    return np.array(Image.open(DATA / "bunny_frame48.png").convert("L")) > 127


@pytest.fixture
def studio(tmp_path: Path, bunny_hw: np.ndarray) -> Iterator[Studio]:
    """Over a project with a bunny, painted on frames 40 and 44 and tracked to 59, and a rock on frames 50 to 59."""
    root = tmp_path / "footage"
    root.mkdir()
    shutil.copy(DATA / "bunny.mp4", root)
    with Project.create(root / "bunny.masklet", root / "bunny.mp4") as project, project.edit("Set up"):
        project.add_object(BUNNY, "bunny")
        project.add_object(ROCK, "rock.v2")
        moved = {frame: np.roll(bunny_hw, (frame - 40) * 3, 1) for frame in range(40, 60)}
        for frame in (40, 44):
            project.add_prompt(frame, BUNNY, mask=moved[frame])
        rock = rle.encode((ROWS > 500) & (ROWS < 600) & (COLUMNS > 900) & (COLUMNS < 1100))
        project.add_prompt(50, ROCK, mask=rle.decode(rock))
        scores = Scores(5.0, 0.9)
        project.put_masks(
            [
                ObjectMask(BUNNY, frame, rle.encode(mask), scores=scores, is_prompt=frame in (40, 44))
                for frame, mask in moved.items()
            ]
            + [ObjectMask(ROCK, frame, rock, scores=scores, is_prompt=frame == 50) for frame in range(50, 60)]
        )
    with running(root, settings=TrackSettings(resolution=256)) as client:
        yield Studio(root, client)


def opened(studio: Studio, context, holds: bool = False):
    page = studio.let_in(context, holds)
    page.click(".file:has-text('bunny.masklet')")
    wait_for_frame(page)
    page.click(".lane-name:has-text('bunny')")
    return page


@pytest.fixture
def page(studio: Studio, context):
    return opened(studio, context)


def go_to(page, frame: int) -> None:
    page.fill(".frame-number", str(frame))
    page.press(".frame-number", "Enter")
    wait_for_frame(page, frame)


def mask(studio: Studio, frame: int, object_id: int = BUNNY) -> np.ndarray:
    found = studio.mask(frame, object_id)
    return np.zeros((720, 1280), bool) if found is None else found


def undo_takes_back(page, studio: Studio, label: str) -> None:
    assert studio.project()["history"]["undo"] == label
    with told(page, f"Undone: {label}"):
        page.keyboard.press("Control+z")
    assert studio.project()["history"]["undo"] != label


def test_masks_of_many_frames_are_edited(studio: Studio, page, bunny_hw: np.ndarray) -> None:
    watched = Watched(page)
    tracked = {frame: mask(studio, frame) for frame in range(40, 60)}

    # Between two frames with prompts, the outline is led from one to the other.
    first, last = mask(studio, 40), mask(studio, 44)
    go_to(page, 42)
    page.keyboard.press("Shift+G")
    wait_for(page, ".notice:has-text('Interpolate bunny, frames 40 to 44: 3 frames.')")
    for frame, expected in zip((41, 42, 43), in_between(first, last, 3), strict=True):
        np.testing.assert_array_equal(mask(studio, frame), expected)
    undo_takes_back(page, studio, "Interpolate bunny, frames 40 to 44")
    np.testing.assert_array_equal(mask(studio, 42), tracked[42])

    # A copy from one frame to another; "not visible" then ends where the object was said to be.
    with told(page, "Mask of bunny on frame 42 copied."):
        page.keyboard.press("Control+c")
    go_to(page, 56)
    page.keyboard.press("Control+v")
    until(lambda: np.array_equal(mask(studio, 56), tracked[42]))
    go_to(page, 53)
    page.keyboard.press("Shift+H")
    until(lambda: not mask(studio, 53).any())
    assert [bool(mask(studio, frame).any()) for frame in (52, 53, 55, 56, 57)] == [True, False, False, True, True]
    undo_takes_back(page, studio, "bunny is not here, frames 53 to 55")

    # The two were mixed up from frame 54 on.
    go_to(page, 54)
    page.click("#tab-edit")
    page.click(".segments >> text=From here")
    picture(page, "edit")
    bunny, rock = mask(studio, 58), mask(studio, 58, ROCK)
    page.click("button:has-text('Swap masks')")
    until(lambda: np.array_equal(mask(studio, 58), rock))
    np.testing.assert_array_equal(mask(studio, 58, ROCK), bunny)
    np.testing.assert_array_equal(mask(studio, 53, ROCK), rock)

    # A range becomes a new object, which is selected then.
    go_to(page, 45)
    page.keyboard.press("i")
    go_to(page, 47)
    page.keyboard.press("o")
    page.click(".segments >> text=Range")
    page.click("button:has-text('Make masks a new object')")
    wait_for(page, ".lane-name.current:has-text('object 3')")
    np.testing.assert_array_equal(mask(studio, 46, 3), tracked[46])
    assert not mask(studio, 46).any() and mask(studio, 48).any()
    page.keyboard.press("Shift+Delete")
    until(lambda: not mask(studio, 46, 3).any())
    assert watched.problems == []


def drag_around(page, x: float, y: float, radius: float, button: str = "left") -> None:
    place = Placement(page)
    way = [place.on_page(x + radius * math.cos(a / 6), y + radius * math.sin(a / 6)) for a in range(38)]
    page.mouse.move(*way[0])
    page.mouse.down(button=button)
    for at in way[1:]:
        page.mouse.move(*at)
    page.mouse.up(button=button)


def test_lasso_and_polygon_draw_and_split_masks(studio: Studio, page) -> None:
    watched = Watched(page)
    page.keyboard.press("a")
    wait_for(page, ".lane-name.current:has-text('object 3')")
    go_to(page, 5)
    page.keyboard.press("q")
    drag_around(page, 600, 300, 200)
    circle = np.hypot(COLUMNS + 0.5 - 600, ROWS + 0.5 - 300) < 200
    until(lambda: (mask(studio, 5, 3) ^ circle).sum() < 0.02 * circle.sum())
    drag_around(page, 600, 300, 60, button="right")
    until(lambda: not mask(studio, 5, 3)[300, 600])

    # A polygon: clicks, a click on its first corner closes it; Backspace takes a corner back.
    page.keyboard.press("Shift+Q")
    place = Placement(page)
    for x, y in ((900, 100), (1200, 100), (1200, 400), (50, 700)):
        page.mouse.click(*place.on_page(x, y))
    page.keyboard.press("Backspace")
    page.mouse.click(*place.on_page(900, 400))
    page.mouse.click(*place.on_page(900, 100))
    until(lambda: mask(studio, 5, 3)[250, 1050])
    box = (ROWS >= 100) & (ROWS < 400) & (COLUMNS >= 900) & (COLUMNS < 1200)
    both = mask(studio, 5, 3)
    assert (both & box).sum() > 0.97 * box.sum() and not both[650, 300]

    # Split off: what the polygon drew becomes an object of its own. By keyboard: corners at the crosshair.
    page.click("button:has-text('Split off')")
    for x, y in ((800, 50), (1279, 50), (1279, 500), (800, 500)):
        page.mouse.click(*place.on_page(x, y))
    page.keyboard.press("Enter")
    wait_for(page, ".lane-name.current:has-text('object 4')")
    np.testing.assert_array_equal(mask(studio, 5, 4), both & (COLUMNS >= 800))
    np.testing.assert_array_equal(mask(studio, 5, 3), both & (COLUMNS < 800))
    undo_takes_back(page, studio, "Split object 3, frame 5")
    np.testing.assert_array_equal(mask(studio, 5, 3), both)
    assert watched.problems == []


def test_no_press_on_the_picture_comes_to_nothing(studio: Studio, context) -> None:
    page = opened(studio, context, holds=True)
    held = Held(page, "**/prompts")

    def said() -> dict:
        """What the page asks for next. It is refused, since the network would take a while."""
        route = held.next()
        route.fulfill(status=409, json={"error": {"kind": "busy", "message": "Not now."}})
        return route.request.post_data_json

    go_to(page, 50)
    x, y = Placement(page).on_page(345, 420)
    pressed = [pytest.approx([345, 420], abs=1)]
    page.mouse.move(x, y)

    # A hand that trembles sideways draws no box: it clicks where it pressed.
    page.mouse.down()
    page.mouse.move(x + 9, y)
    page.mouse.up()
    assert said().get("points") == pressed

    # So it does when the picture moves away under the pointer.
    page.mouse.move(x, y)
    page.mouse.down()
    width = page.evaluate("() => document.querySelector('#picture').width")
    page.keyboard.press("\\")
    page.wait_for_function("width => document.querySelector('#picture').width > width", arg=width)
    page.mouse.up()
    assert said().get("points") == pressed
    page.keyboard.press("\\")
    page.wait_for_function("width => document.querySelector('#picture').width === width", arg=width)

    # A box that was begun by keyboard is over when somebody clicks.
    for key in ("b", "x", "Enter", "ArrowRight", "ArrowDown", "v"):
        page.keyboard.press(key)
    page.mouse.click(x, y)
    assert said().get("points") == pressed

    # A box stays a box when everything on the page is selected: the browser would drag that.
    page.keyboard.press("Control+a")
    page.mouse.down()
    page.mouse.move(x + 50, y + 40, steps=5)
    page.mouse.up()
    assert said().get("box")

    # What follows on "add" is for the new object, also before the server has made it.
    before = {known["id"] for known in studio.project()["objects"]}
    adding = Held(page, "**/objects")
    page.keyboard.press("a")
    request = adding.next()
    page.mouse.click(x, y)
    request.continue_()
    adding.let_go()
    assert said()["object"] not in before
    page.click(".lane-name:has-text('bunny')")

    # What has to wait is for the frame and the object that it was said of.
    page.mouse.click(x, y)
    page.mouse.click(x, y, button="right")
    page.click(".lane-name:has-text('rock')")
    go_to(page, 51)
    assert said()["labels"] == [1]
    assert {"frame": 50, "object": BUNNY, "labels": [0]}.items() <= said().items()

    # While it plays, a press stops at the frame that is seen.
    page.keyboard.press("Space")
    page.wait_for_function("() => Number(document.querySelector('#picture').dataset.frame) > 51")
    page.mouse.move(x, y)
    page.mouse.down()
    wait_for(page, "button[aria-label=Play]")
    frame = int(page.get_attribute("#timeline", "aria-valuenow"))
    page.mouse.up()
    assert said()["frame"] == frame
    # After a refusal the page looks how things are; that must not come after what is done next.
    page.evaluate("async () => (await import('/actions.js')).promptsDone()")

    # What can't be done, or seen, is said.
    page.keyboard.press("d")
    wait_for(page, ".object.current.off")
    page.mouse.click(x, y)
    wait_for(page, ".notice:has-text('rock.v2 is hidden. Show it to see its mask.')")
    said()
    wait_for(page, ".notice:has-text('Not now.')")
    page.keyboard.press("q")
    page.mouse.click(x, y)
    wait_for(page, ".notice:has-text('Draw around an area.')")


def test_classes_and_attributes_reach_an_export(studio: Studio, page) -> None:
    page.click("summary:has-text('Class and attributes')")

    def say(field: str, text: str) -> None:
        page.fill(field, text)
        page.press(field, "Enter")

    def bunny() -> dict:
        return studio.project()["objects"][0]

    say(".labels input[placeholder='bunny']", "animal")
    until(lambda: bunny()["category"] == "animal")
    say(".labels input[placeholder='attribute=value']", "ears=2")
    until(lambda: bunny()["attributes"] == {"ears": 2})
    wait_for(page, ".labels label:has-text('ears')")
    say(".labels input[placeholder='attribute=value']", "fluffy=true")
    until(lambda: bunny()["attributes"] == {"ears": 2, "fluffy": True})

    # Chosen by where it goes; what has no mask is said before it begins.
    page.keyboard.press("Shift+E")
    page.click(".formats >> text=Training set")
    summary = page.locator(".summary")
    assert "bunny has no mask on 80 frames (0–39, 60–99)." in summary.inner_text()
    assert "rock.v2 has no mask on 90 frames (0–49, 60–99)." in summary.inner_text()
    page.check("label:has-text('COCO instances') input")
    picture(page, "export")
    page.click("#export-start")
    wait_for(page, ".job[data-state=done]")
    [path] = studio.root.glob("*coco*/annotations.json")
    found = json.loads(path.read_text())
    assert [category["name"] for category in found["categories"]] == ["animal", "rock.v2"]
    assert found["annotations"][0]["attributes"] == {"lost": False, "painted": False, "ears": 2, "fluffy": True}


def test_other_frames_are_seen_beside_this_one(studio: Studio, page) -> None:
    watched = Watched(page)

    def drawn(color: tuple[int, int, int]) -> int:
        return int((np.abs(Placement(page).seen(page) - np.array(color)).max(axis=-1) < 24).sum())

    go_to(page, 50)
    before, after = (255, 107, 94), (53, 208, 165)
    assert drawn(before) < 20 and drawn(after) < 20
    page.keyboard.press("Shift+O")
    until(lambda: drawn(before) > 100 and drawn(after) > 100)
    page.keyboard.press("Shift+O")
    page.keyboard.press("Shift+B")
    wait_for(page, "#beside[data-frame='50']")
    page.click("[aria-label='Second picture'] button[aria-pressed]")
    page.keyboard.press("Escape")
    go_to(page, 41)
    assert page.locator("#beside").get_attribute("data-frame") == "50"
    left, right = page.locator("#beside").bounding_box(), page.locator("#picture").bounding_box()
    assert left["x"] + left["width"] <= right["x"] + 1 and left["width"] == pytest.approx(right["width"], abs=2)
    # Clicks go where the picture is now.
    page.keyboard.press("q")
    page.wait_for_timeout(300)
    drag_around(page, 1150, 150, 80)
    until(lambda: mask(studio, 41)[150, 1150])
    assert watched.problems == []


def boxes(page, *selectors: str) -> list[dict]:
    return [page.locator(selector).bounding_box() for selector in selectors]


def apart(one: dict, other: dict) -> bool:
    return (
        one["x"] + one["width"] <= other["x"] + 1
        or other["x"] + other["width"] <= one["x"] + 1
        or one["y"] + one["height"] <= other["y"] + 1
        or other["y"] + other["height"] <= one["y"] + 1
    )


def test_nothing_is_covered_in_a_small_window(studio: Studio, page) -> None:
    wait_for(page, ".panel:not(.folded)")
    page.set_viewport_size({"width": 800, "height": 600})
    wait_for(page, ".panel.folded")
    for unfolded in (False, True):
        if unfolded:
            page.click(".panel.folded [aria-label=Objects]")
        page.keyboard.press("c")
        wait_for(page, ".notice:has-text('A single click has other candidates')")
        notice, *others = boxes(page, ".status", "#picture", ".lanes", ".panel")
        assert all(apart(notice, other) for other in others)
        assert apart(others[0], others[2])
        assert page.locator("text=A single click has other candidates").count() == 1
        page.click(".status [aria-label=Dismiss]")
        wait_until_gone(page, ".notice:has-text('A single click has other candidates')")
    page.set_viewport_size({"width": 1280, "height": 720})
    wait_for(page, ".panel:not(.folded)")

    # A message of a dialog stands in the dialog, and names keep their letters.
    page.keyboard.press("Shift+S")
    wait_for(page, ".model")
    models = page.locator(".model")
    assert "nano" in models.nth(0).inner_text() and "built in" in models.nth(0).inner_text()
    assert all("MB" in text for text in models.all_inner_texts() if "built in" not in text and "ready" not in text)
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    page.click(".lane-name:has-text('rock.v2')")
    go_to(page, 10)
    page.keyboard.press("Control+c")
    wait_for(page, ".notice:has-text('rock.v2 has no mask on this frame.')")
