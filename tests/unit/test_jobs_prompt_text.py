"""Prompts as they are typed, and the objects that they make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError, PromptError
from masklet.media import open_media
from masklet.prompts import Prompt
from masklet.runs.objects import TrackedObject, collect_objects
from masklet.runs.prompt_text import PromptText, parse_box, parse_mask, parse_point

numbers = st.floats(-9999, 9999).map(lambda value: round(value, 3))
names = st.text(st.characters(exclude_characters="@:,/\\", exclude_categories=("C", "Z")), min_size=1, max_size=20)
places = st.one_of(
    st.integers(0, 10**6).map(str),
    st.sampled_from(["4.8s", "1:02.5", "00:00:04:20", "01:00:04;20", "last", ".5"]),
)


@given(st.none() | names, st.none() | places, numbers, numbers)
def test_points_come_back_as_written(name: str | None, place: str | None, x: float, y: float) -> None:
    whom = f"{name or ''}{'' if place is None else '@' + place}"
    text = f"{whom}:{x},{y}" if whom else f"{x},{y}"
    assert parse_point(text) == PromptText(name, place, point=(x, y))
    assert not parse_point(text, positive=False).positive


@given(st.none() | names, st.none() | places, st.tuples(numbers, numbers, numbers, numbers))
def test_boxes_come_back_as_written(
    name: str | None, place: str | None, box: tuple[float, float, float, float]
) -> None:
    whom = f"{name or ''}{'' if place is None else '@' + place}"
    text = f"{whom}:{','.join(map(str, box))}" if whom else ", ".join(map(str, box))
    assert parse_box(text) == PromptText(name, place, box=box)


@pytest.mark.parametrize(
    "text",
    ["", "640", "640 300", "640,300,2", "a,b", "nan,1", "inf,1", ":1,2", "@:1,2", "a@:1,2", "x@1@2:3,4", "1e3,1"],
)
def test_what_is_no_point_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PromptError, match=r"640,300|colon"):
        parse_point(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "bunny:1,2,3", "1,2,3,x"])
def test_what_is_no_box_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PromptError, match="153,219,571,558"):
        parse_box(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first.png", PromptText(None, None, mask=Path("first.png"))),
        ("bunny:first.png", PromptText("bunny", None, mask=Path("first.png"))),
        ("bunny@120:a/first.png", PromptText("bunny", "120", mask=Path("a/first.png"))),
        ("@00:00:04:20:first.png", PromptText(None, "00:00:04:20", mask=Path("first.png"))),
        ("2@4.8s:C:\\masks\\first.png", PromptText("2", "4.8s", mask=Path("C:\\masks\\first.png"))),
        ("C:\\masks\\first.png", PromptText(None, None, mask=Path("C:\\masks\\first.png"))),
        ("C:/masks/first.png", PromptText(None, None, mask=Path("C:/masks/first.png"))),
        ("/a/b:c.png", PromptText(None, None, mask=Path("/a/b:c.png"))),
    ],
)
def test_masks(text: str, expected: PromptText) -> None:
    assert parse_mask(text) == expected


def test_a_file_with_a_colon_in_its_name_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take:2.png").touch()
    assert parse_mask("take:2.png") == PromptText(None, None, mask=Path("take:2.png"))


def collect(
    *texts: PromptText, frame: int | None = 0, known: tuple[TrackedObject, ...] = ()
) -> dict[int, TrackedObject]:
    with open_media(np.zeros((10, 60, 80, 3), np.uint8)) as reader:
        return {thing.id: thing for thing in collect_objects(texts, reader, frame, known)}


def test_numbers_are_ids_and_names_take_what_is_free() -> None:
    found = collect(parse_point("bunny:1,1"), parse_point("2:2,2"), parse_point("1,3"), parse_point("rock:4,4"))
    assert {thing.name: number for number, thing in found.items()} == {
        "object 1": 1,
        "object 2": 2,
        "bunny": 3,
        "rock": 4,
    }
    assert collect(parse_point("1,1"), parse_point("object 1:2,2"), parse_point("1:3,3"))[1].prompts[0][0].points == (
        (1, 1),
        (2, 2),
        (3, 3),
    )


def test_prompts_of_one_frame_come_together_and_frames_in_order() -> None:
    found = collect(
        parse_point("a@7:1,1"), parse_point("a:2,2"), parse_point("a:3,3", positive=False), parse_box("a@7:0,0,9,9")
    )[1]
    assert list(found.prompts) == [0, 7]
    assert found.prompts[0] == (Prompt(((2, 2), (3, 3)), (1, 0)),)
    assert found.prompts[7] == (Prompt(((1, 1),), (1,), (0, 0, 9, 9)),)


def test_known_objects_are_added_to() -> None:
    known = TrackedObject(5, "bunny", {0: (Prompt(((1, 1),), (1,)),)})
    found = collect(parse_point("bunny@3:2,2"), parse_point("rock@3:4,4"), known=(known,), frame=None)
    assert list(found[5].prompts) == [0, 3]
    assert found[1].name == "rock"
    with pytest.raises(InputError, match="which frame"):
        collect(parse_point("bunny:2,2"), known=(known,), frame=None)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([parse_point("0:1,1")], "numbered from 1"),
        ([parse_point("80.5,1")], "object 1, frame 0: .*outside"),
        ([parse_point("a:1,1", positive=False)], "not on it"),
        ([parse_box("a:1,1,5,5"), parse_box("a:2,2,6,6")], "two boxes"),
        ([parse_point("@10:1,1")], "0 to 9"),
    ],
)
def test_what_does_not_fit_the_video_is_refused(texts: list[PromptText], said: str) -> None:
    with pytest.raises(InputError, match=said):
        collect(*texts)
