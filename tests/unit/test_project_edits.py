"""Edits over many frames: what they make, that one undo takes each back, and that tracking leaves them alone."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.unit.test_project_cli import run
from tests.unit.test_project_store import contents

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.export import write
from masklet.masks import rle
from masklet.masks.between import in_between
from masklet.media import write_image
from masklet.project import Project, TrackSettings
from masklet.project.edits import parse_edit
from masklet.results import ObjectMask
from masklet.runs.actions import track

BUNNY, ROCK = 1, 2


def edit(project: Project, kind: str, object_id: int = BUNNY, **fields: Any) -> Any:
    return parse_edit({"kind": kind, "object": object_id, **fields}).apply(project)


def masks(project: Project, object_id: int) -> list[np.ndarray | None]:
    found = {record.frame: record.mask for record in project.masks([object_id])}
    return [found.get(frame) for frame in range(project.source.frame_count)]


def same(found: Any, expected: Any) -> bool:
    return len(found) == len(expected) and all(
        (a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in zip(found, expected, strict=True)
    )


def hand_made(project: Project, object_id: int) -> list[int]:
    return [row["frame"] for row in project.scores(object_id) if row["painted"]]


def prompted(project: Project, object_id: int) -> list[int]:
    return sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})


def track_over(project: Project) -> None:
    """What a run would write: another mask for every object on every frame."""
    step = project.begin_step("Track")
    for frame in range(project.source.frame_count):
        found = [ObjectMask(known.id, frame, rle.encode(np.ones((72, 128), bool))) for known in project.objects()]
        project.record_masks(step, "Track", found)
    project.end_step(step)


def test_copied_masks_are_painted_and_their_ends_are_prompts(make_project) -> None:
    project = make_project()
    before = masks(project, BUNNY)
    done = edit(project, "copy", frame=1, start=3, end=6)
    assert (done.frames, done.label) == (4, "Copy mask of bunny, frames 3 to 6")
    assert same(masks(project, BUNNY), [*before[:3], *[before[1]] * 4, before[7]])
    assert hand_made(project, BUNNY) == [3, 4, 5, 6] and prompted(project, BUNNY) == [0, 3, 6]
    edit(project, "copy", frame=2, onto=ROCK, start=2, end=2)
    assert np.array_equal(project.mask(2, ROCK).mask, before[2]) and prompted(project, ROCK) == [0, 2]


def test_interpolation_goes_from_key_frame_to_key_frame(make_project) -> None:
    project = make_project()
    painted = np.zeros((72, 128), bool)
    painted[20:40, 60:90] = True
    project.add_prompt(5, BUNNY, mask=painted)
    project.put_masks([ObjectMask(BUNNY, 5, rle.encode(painted), is_prompt=True, painted=True)])
    before = masks(project, BUNNY)
    edit(project, "interpolate", start=0, end=7)
    now = masks(project, BUNNY)
    assert same(now[1:5], list(in_between(before[0], painted, 4)))
    assert same(now[6:7], list(in_between(painted, before[7], 1)))
    assert same([now[0], now[5], now[7]], [before[0], painted, before[7]])
    # The clicks on the first frame are still clicks; the last one was tracked, and holds now.
    assert hand_made(project, BUNNY) == [1, 2, 3, 4, 5, 6, 7] and prompted(project, BUNNY) == [0, 5, 7]
    assert project.prompts(0, BUNNY)[0].prompt.points == ((30, 50),)
    with pytest.raises(InputError, match="rock has no mask on frame 3"):
        edit(project, "interpolate", ROCK, start=3, end=6)
    with pytest.raises(InputError, match="nothing between"):
        edit(project, "interpolate", ROCK, start=0, end=1)


def test_not_here_ends_where_somebody_says_that_it_is(make_project) -> None:
    project = make_project()
    project.add_prompt(6, ROCK, box=(80, 50, 110, 72))
    assert edit(project, "absent", ROCK, start=2).frames == 4
    assert [project.mask(frame, ROCK).lost for frame in range(8)] == [False, False, *[True] * 4, False, False]
    assert project.mask(2, ROCK).area == 0 and prompted(project, ROCK) == [0, 2, 6]
    edit(project, "absent", start=4)
    assert [frame for frame in range(8) if project.mask(frame, BUNNY).lost] == [4, 5, 6, 7]


def test_tracks_that_were_mixed_up_are_put_right(make_project) -> None:
    project = make_project()
    bunny, rock = masks(project, BUNNY), masks(project, ROCK)
    edit(project, "swap", other=ROCK, start=4)
    assert same(masks(project, BUNNY), bunny[:4] + rock[4:]) and same(masks(project, ROCK), rock[:4] + bunny[4:])
    assert hand_made(project, BUNNY) == hand_made(project, ROCK) == [4, 5, 6, 7]
    assert prompted(project, BUNNY) == [0, 4, 7]


def test_a_track_becomes_another_object(make_project) -> None:
    project = make_project()
    bunny, rock = masks(project, BUNNY), masks(project, ROCK)
    done = edit(project, "reassign", start=5)
    assert done.objects == [BUNNY, 3] and [known.id for known in project.objects()] == [1, 2, 3]
    assert same(masks(project, BUNNY), bunny[:5] + [None] * 3) and same(masks(project, 3), [None] * 5 + bunny[5:])
    edit(project, "reassign", 3, other=ROCK, start=6, end=6)
    assert same(masks(project, ROCK), [*rock[:6], bunny[6], rock[7]]) and project.mask(6, 3) is None


def test_merging_takes_both_masks_and_one_object(make_project) -> None:
    project = make_project()
    bunny, rock = masks(project, BUNNY), masks(project, ROCK)
    project.clear_masks(BUNNY, 7)
    edit(project, "merge", other=ROCK)
    assert [known.name for known in project.objects()] == ["bunny"]
    assert same(masks(project, BUNNY), [*(a | b for a, b in zip(bunny[:7], rock, strict=False)), rock[7]])
    # On frames 3 and 4 the rock was not seen, so nothing changed there.
    assert hand_made(project, BUNNY) == [0, 1, 2, 5, 6, 7] and prompted(project, BUNNY) == [0, 2, 5, 7]


def test_a_region_becomes_an_object_of_its_own(make_project) -> None:
    project = make_project()
    before = masks(project, BUNNY)
    region = np.zeros((72, 128), bool)
    region[:, :60] = True
    done = edit(project, "split", start=4, end=4, region=dict(rle.encode(region)))
    assert same(masks(project, BUNNY), [*before[:4], before[4] & ~region, *before[5:]])
    assert same(masks(project, done.objects[-1]), [*[None] * 4, before[4] & region, *[None] * 3])
    with pytest.raises(InputError, match="leave a part"):
        edit(project, "split", start=5, end=5, region=dict(rle.encode(np.ones((72, 128), bool))))
    with pytest.raises(PromptError, match="frame is 128x72"):
        edit(project, "split", region=dict(rle.encode(np.ones((48, 64), bool))))


EDITS = [
    ("delete", {"start": 2, "end": 4}),
    ("copy", {"frame": 1, "start": 3}),
    ("interpolate", {"start": 1, "end": 6}),
    ("absent", {"start": 3}),
    ("merge", {"other": ROCK}),
    ("swap", {"other": ROCK, "start": 4}),
    ("reassign", {"start": 4}),
    ("split", {"region": dict(rle.encode(np.tri(72, 128, 20, dtype=bool)))}),
]


@pytest.mark.parametrize(("kind", "fields"), EDITS, ids=[kind for kind, _ in EDITS])
def test_each_is_one_step_of_undo_and_a_persons_work(make_project, kind: str, fields: dict[str, Any]) -> None:
    project = make_project()
    before = contents(project)
    done = edit(project, kind, **fields)
    after = contents(project)
    assert project.history()[-1].label == done.label and after != before
    assert project.undo() == done.label and contents(project) == before
    project.redo()
    assert contents(project) == after
    with Project.open(project.path, read_only=True) as stored:
        assert contents(stored) == after
    made = {(record.object_id, record.frame): record for record in project.masks() if record.painted}
    assert bool(made) is (kind != "delete")
    track_over(project)
    assert {place: project.mask(place[1], place[0]) for place in made} == made


def test_edits_that_make_no_sense_change_nothing(make_project) -> None:
    project = make_project()
    before, steps = contents(project), project.history()
    for kind, fields, why in [
        ("delete", {"start": 5, "end": 3}, "no frames 5 to 3"),
        ("copy", {"frame": 3, "onto": ROCK, "end": 99}, "no frames 0 to 99"),
        ("swap", {"other": BUNNY}, "named twice"),
        ("merge", {}, "merge needs other"),
        ("copy", {}, "copy needs frame"),
        ("delete", {"frame": 2}, "delete takes no frame"),
        ("absent", {"start": -1}, "start"),
        ("paint", {}, "no edit 'paint'; choose one of: delete, copy"),
    ]:
        with pytest.raises(InputError, match=why):
            edit(project, kind, **fields)
    with pytest.raises(UnknownObjectError):
        edit(project, "merge", other=9)
    assert contents(project) == before and project.history() == steps
    project.update_object(ROCK, locked=True)
    for kind, fields in (("swap", {"other": ROCK}), ("copy", {"frame": 0, "onto": ROCK})):
        with pytest.raises(InputError, match="rock is locked"):
            edit(project, kind, **fields)


def test_from_the_command_line(make_project, tmp_path) -> None:
    project = make_project()
    bunny, rock = masks(project, BUNNY), masks(project, ROCK)
    project.close()
    said = run("edit", project.path, "swap", "--object", "bunny", "--other", 2, "--start", "0.16s").stdout
    assert said == "Swap bunny and rock, frames 4 to 7: 4 frames were changed.\n"
    region = tmp_path / "left.png"
    write_image(region, (np.arange(128) < 40) & np.ones((72, 1), bool))
    run("edit", project.path, "split", "--object", "bunny", "--region", region, "--start", 1, "--end", 1)
    assert "swap needs other" in run("edit", project.path, "swap", "--object", 1, code=2).stderr
    assert "say which object" in run("edit", project.path, "absent", code=2).stderr
    with Project.open(project.path) as found:
        assert same(masks(found, ROCK), rock[:4] + bunny[4:])
        assert found.mask(1, 3).area + found.mask(1, BUNNY).area == bunny[1].sum()


@pytest.fixture
def classed(make_project) -> Project:
    project = make_project()
    project.add_object(3, "pebble")
    project.put_masks([ObjectMask(3, frame, project.mask(0, ROCK).rle) for frame in range(8)])
    project.update_object(BUNNY, category="animal", attributes={"fluffy": True, "legs": 4})
    project.update_object(ROCK, category="stone", attributes={"colour": "grey"})
    project.update_object(3, category="stone")
    return project


def test_classes_and_attributes_reach_coco_and_yolo(classed: Project, tmp_path) -> None:
    write(classed, "coco", tmp_path / "coco", images="none")
    found = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert found["categories"] == [{"id": 1, "name": "animal"}, {"id": 2, "name": "stone"}]
    of = {annotation["name"]: annotation for annotation in found["annotations"]}
    assert {name: annotation["category_id"] for name, annotation in of.items()} == {"bunny": 1, "rock": 2, "pebble": 2}
    assert of["bunny"]["attributes"] == {"lost": False, "painted": False, "fluffy": True, "legs": 4}
    write(classed, "yolo-seg", tmp_path / "yolo", images="none")
    assert '0: "animal"\n  1: "stone"' in (tmp_path / "yolo" / "data.yaml").read_text()
    [first, *_] = sorted((tmp_path / "yolo" / "labels" / "train").iterdir())
    assert [line.split()[0] for line in first.read_text().splitlines()] == ["0", "1", "1"]


@pytest.mark.parametrize("kind", ["masks", "polygons", "boxes"])
def test_classes_and_attributes_reach_cvat(classed: Project, tmp_path, kind: str) -> None:
    write(classed, "cvat", tmp_path / "cvat", images="none", kind=kind)
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    labels = {label.findtext("name"): label for label in root.iter("label")}
    assert list(labels) == ["animal", "stone"]
    said = [(entry.findtext("name"), entry.findtext("values")) for entry in labels["animal"].iter("attribute")]
    assert said == [("fluffy", "true"), ("legs", "4")]
    assert [entry.findtext("values") for entry in labels["stone"].iter("attribute")] == ["\ngrey"]
    shapes = list(root.iter({"masks": "mask", "polygons": "polygon", "boxes": "box"}[kind]))
    given = [{entry.get("name"): entry.text for entry in shape.iter("attribute")} for shape in shapes]
    assert {"fluffy": "true", "legs": "4"} in given and {"colour": "grey"} in given and {} in given


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_classes_and_attributes_reach_label_studio(classed: Project, tmp_path, kind: str) -> None:
    write(classed, "label-studio", tmp_path / "out", images="none", kind=kind)
    setup = ElementTree.parse(tmp_path / "out" / "config.xml").getroot()
    assert [label.get("value") for label in setup.iter("Label")] == ["animal", "stone"]
    choices = {entry.get("name"): [choice.get("value") for choice in entry] for entry in setup.iter("Choices")}
    assert choices == {"fluffy": ["true"], "legs": ["4"], "colour": ["grey"]}
    [task, *_] = json.loads((tmp_path / "out" / "tasks.json").read_text())
    results = task["predictions"][0]["result"]
    regions = {result["id"] for result in results if result["type"] != "choices"}
    said = [result for result in results if result["type"] == "choices"]
    assert len(said) == 3 and all(result["id"] in regions for result in said)
    assert [result["value"]["choices"] for result in said if result["from_name"] == "legs"] == [["4"]]


def test_attributes_that_no_data_set_could_hold_are_refused(make_project) -> None:
    project = make_project()
    for wrong in ({"category": " "}, {"attributes": {"": 1}}, {"attributes": {"a": [1]}}, {"attributes": {"a": 1e999}}):
        with pytest.raises(InputError):
            project.update_object(BUNNY, **wrong)


def test_tracking_again_keeps_what_was_edited(make_project) -> None:
    project = make_project(settings=TrackSettings(resolution=128, dtype="float32"))
    edit(project, "absent", start=2, end=3)
    edit(project, "copy", frame=0, start=5, end=6)
    edit(project, "swap", other=ROCK, start=7)
    made = {(record.object_id, record.frame): record for record in project.masks() if record.painted}
    before = project.mask(1, BUNNY)
    track(project, device="cpu")
    assert {place: project.mask(place[1], place[0]) for place in made} == made
    assert project.mask(1, BUNNY) != before and project.mask(4, BUNNY).scores.object_score is not None
    # Deleted, they are tracked like the others.
    edit(project, "delete", start=5, end=7)
    track(project, device="cpu", start=4)
    assert not {5, 6, 7} & set(hand_made(project, BUNNY))


def test_an_object_that_is_only_said_to_be_away_stops_no_other(make_project) -> None:
    project = make_project(settings=TrackSettings(resolution=128, dtype="float32"))
    edit(project, "delete", ROCK)
    edit(project, "absent", ROCK, start=2, end=4)
    report = track(project, device="cpu", end=2)
    assert report.complete and list(report.objects) == [BUNNY]
    assert any("rock has no point, box or mask that shows it" in note for note in report.notes)
