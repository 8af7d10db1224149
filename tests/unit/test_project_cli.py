"""`masklet status`, `resume`, `correct`, `export` and `formats` as a person types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from masklet import cli
from masklet.errors import InputError, MaskletError, ProjectError, PromptError
from masklet.masks import rle
from masklet.models.specs import get_spec
from masklet.project import Project
from masklet.project.finishing import network_cells
from masklet.results import ObjectMask
from masklet.runs.actions import begin
from masklet.runs.prompt_text import parse_box, parse_point
from masklet.runs.request import TrackProgress, TrackRequest


def run(*words: object, code: int = 0) -> Any:
    result = CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def test_formats_are_listed_and_explained() -> None:
    listed = run("formats").stdout
    for name in ("prores4444", "exr", "coco", "webp"):
        assert name in listed
    explained = run("formats", "coco").stdout
    assert "tolerance" in explained and "1.0" in explained and "rle polygons" in explained
    assert "required" in run("formats", "background").stdout
    rows = json.loads(run("formats", "--json").stdout)
    assert [row["name"] for row in rows][:2] == ["prores4444", "vp9-alpha"]
    assert json.loads(run("formats", "svg", "--json").stdout)["options"]["tolerance"]["default"] == 0.5
    assert "Did you mean" in run("formats", "coca", code=2).stderr


def test_export_writes_what_was_asked_for(make_project, true_masks, tmp_path: Path) -> None:
    project = make_project()
    project.close()
    out = tmp_path / "masks"
    said = run(
        *("export", project.path, "-f", "png-mask", "-o", out, "--object", "rock", "--start", "0.04s", "--end", "2"),
        *("--feather", "0", "-O", "every=1", "--template", "{object}-{frame}"),
    )
    assert said.stdout.strip() == f"2 files in {out}"
    with Image.open(out / "rock-1.png") as image:
        np.testing.assert_array_equal(np.asarray(image) == 255, true_masks[2](1))
    assert (
        "exists already"
        in run("export", project.path, "-f", "png-mask", "-o", out, "--template", "{object}-{frame}", code=2).stderr
    )
    beside = run("export", project.path, "-f", "cutout", "-O", "crop=false").stdout.strip()
    assert beside == str(project.path.with_name("clip_cutout.png"))
    with Image.open(beside) as image:
        assert image.size == (128, 72)
    notes = run("export", project.path, "-f", "vp9-alpha").stdout
    assert "note: The sound was converted from aac to opus." in notes
    mot = tmp_path / "mot"
    run("export", project.path, "-f", "mots", "-o", mot, "-O", 'classes={"bunny": 9}', "-O", "images=none")
    assert (mot / "gt" / "gt.txt").read_text().split()[2] == "9"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-f", "coco", "-O", "every"), "takes NAME=VALUE"),
        (("-f", "coco", "-O", "every=x"), "Option 'every'"),
        (("-f", "mot", "-O", "classes={"), "is not JSON"),
        (("-f", "csv", "--grow", "9999"), "must be a number"),
        (("-f", "csv", "--start", "99"), "not all in the source"),
        (("-f", "csv", "--object", "cat"), "no object 'cat'"),
        (("-f", "csv", "--source", "other.mp4"), "can't be read"),
        (("-f", "csv", "--template", "../{clip}", "-o", "./"), "leaves the folder"),
    ],
)
def test_bad_exports_are_one_line_and_exit_code_2(make_project, words: tuple[str, ...], message: str) -> None:
    project = make_project()
    project.close()
    result = run("export", project.path, *words, code=2)
    assert message in result.stderr and "Traceback" not in result.output


def test_status_shows_what_is_there(make_project) -> None:
    project = make_project()
    project.update_object(2, locked=True)
    project.put_masks([ObjectMask(1, 5, rle.encode(np.ones((72, 128), bool)), painted=True)])
    said = run("status", project.path).stdout  # while this process has it open for writing
    assert "128×72, 8 frames, 25 frames/s" in said and "nano, samurai" in said
    rock = next(line for line in said.splitlines() if "rock" in line)
    assert "0–7" in rock and "3–4" in rock and "locked" in rock
    assert "1 painted" in said
    data = json.loads(run("status", project.path, "--json").stdout)
    assert data["objects"][1]["lost"] == [3, 4] and data["objects"][0]["prompted"] == [0] and data["run"] is None
    assert "no project" in run("status", project.path.with_name("none.masklet"), code=2).stderr


@pytest.fixture(scope="module")
def ball_clip(tmp_path_factory: pytest.TempPathFactory, clip_writer) -> Path:
    """A red ball that goes right over the demo clip, ten frames of 128x72."""
    demo = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"
    images = []
    with av.open(str(demo)) as container:
        for frame in container.decode(video=0):
            images.append(frame.reformat(128, 72, format="rgb24").to_ndarray())
            if len(images) == 10:
                break
    y, x = np.mgrid[:72, :128]
    for index, image in enumerate(images):
        image[((x - 20 - 4 * index) ** 2 + (y - 40) ** 2) < 121] = (250, 40, 30)
    return clip_writer(tmp_path_factory.mktemp("ball") / "ball.mkv", np.stack(images))


def request(clip: Path, *prompts: Any, **more: Any) -> TrackRequest:
    return TrackRequest(str(clip), prompts, resolution=128, device="cpu", dtype="float32", **more)


def test_a_project_is_begun_stopped_resumed_and_corrected(ball_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "ball.masklet"
    seen: list[int] = []
    wanted = request(ball_clip, parse_point("ball:20,40"), parse_box("hill@2:60,5,110,35"))
    report = begin(path, wanted, progress=lambda s: seen.append(s.done), stopped=lambda: seen[-1] >= 5)
    assert not report.complete
    said = run("status", path).stdout
    assert "An unfinished run stands at frame 5; 5 are left" in said and f"masklet resume {path}" in said
    said = run("resume", path, "--device", "cpu").stdout
    assert said.startswith("5 frames tracked with nano")
    with Project.open(path) as project:
        assert project.tracked_frames(1) == list(range(10)) and project.tracked_frames(2) == list(range(2, 10))
        before = list(project.masks())
    assert "nothing to go on with" in run("resume", path, code=2).stderr

    said = run(
        "correct",
        path,
        "--frame",
        "0.24s",
        "--object",
        "ball",
        "--point",
        "44,40",
        "--negative",
        "90,20",
        "--device",
        "cpu",
    ).stdout
    assert said.startswith("9 frames tracked with nano")  # to both sides
    with Project.open(path) as project:
        there, prompt = project.said(1)[6, 1]
        assert there.origin == "tracked"
        assert prompt.points == ((44.0, 40.0), (90.0, 20.0)) and prompt.labels == (1, 0)
        assert [r for r in project.masks() if r.frame == 0 or r.object_id == 2] == [
            r for r in before if r.frame == 0 or r.object_id == 2
        ]
    hand = tmp_path / "hand.png"
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((30, 22), (40, 68)))).save(hand)
    run("correct", path, "--frame", "7", "--object", "1", "--mask", hand, "--device", "cpu")
    with Project.open(path) as project:
        assert project.mask(7, 1).is_prompt and abs(project.mask(7, 1).area - 400) < 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frame", "3", "--object", "1"), "say what is right"),
        (("--frame", "3", "--point", "1,1"), "say which object: --object 1 (bunny), --object 2 (rock)"),
        (("--frame", "3", "--object", "cat", "--point", "1,1"), "no object 'cat'"),
        (("--frame", "99", "--object", "1", "--point", "1,1"), "frame"),
        (("--frame", "3", "--object", "1", "--point", "rock:1,1"), "--object and --frame"),
        (("--frame", "3", "--object", "1", "--box", "5,5,1,1"), "no area"),
        (("--frame", "3", "--object", "1", "--mask", "none.png"), "none.png"),
    ],
)
def test_bad_corrections_change_nothing(make_project, words: tuple[str, ...], message: str) -> None:
    project = make_project()
    before = list(project.masks()), project.prompts(), project.history()
    project.close()
    result = run("correct", project.path, *words, "--device", "cpu", code=2)
    assert message in result.stderr
    with Project.open(project.path) as again:
        assert (list(again.masks()), again.prompts(), again.history()) == before


def test_a_project_that_can_not_begin_leaves_nothing(ball_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "ball.masklet"
    with pytest.raises(PromptError, match="outside the frame"):
        begin(path, request(ball_clip, parse_point("500,40")))
    with pytest.raises(InputError, match="say what to track"):
        begin(path, request(ball_clip))
    with pytest.raises(InputError, match="no direction"):
        begin(path, request(ball_clip, parse_point("20,40"), direction="up"))
    with pytest.raises(Exception, match="policy"):
        begin(path, request(ball_clip, parse_point("20,40"), policy="best"))
    assert list(tmp_path.iterdir()) == []
    begin(path, request(ball_clip, parse_point("20,40"), end="1"))
    kept = path.read_bytes()
    with pytest.raises(ProjectError, match="exists already"):
        begin(path, request(ball_clip, parse_point("20,40")))
    with pytest.raises(PromptError):
        begin(path, request(ball_clip, parse_point("500,40"), overwrite=True))

    def fail(state: TrackProgress) -> None:
        raise OSError("before the first mask")

    with pytest.raises(OSError, match="before the first mask"):
        begin(path, request(ball_clip, parse_point("20,40"), overwrite=True), progress=fail)
    assert path.read_bytes() == kept and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolution": 100},
        {"model": "tiny", "resolution": None},  # has to be downloaded
        {"checkpoint": Path("nothing.pt")},
        {"device": "toaster"},
        {"dtype": "int8"},
    ],
    ids=str,
)
def test_the_project_to_overwrite_stays_where_the_network_can_not_be_used(
    ball_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    path = tmp_path / "ball.masklet"
    Project.create(path, ball_clip).close()
    kept = path.read_bytes()
    with pytest.raises(MaskletError):
        begin(path, replace(request(ball_clip, parse_point("20,40"), overwrite=True), **wrong))
    assert path.read_bytes() == kept and [*tmp_path.iterdir()] == [path]


def test_a_checkpoint_is_kept_as_the_model_that_it_is(ball_clip: Path, tmp_path: Path) -> None:
    """How far masks are refined and how choices are explained depends on the model."""
    older = Path(__file__).parents[1] / "parity" / "goldens" / "nano_v0.safetensors"
    path = tmp_path / "ball.masklet"
    wanted = request(ball_clip, parse_point("20,40"), checkpoint=older, end="0")
    begin(path, replace(wanted, resolution=None))
    with Project.open(path) as project:
        assert project.track_settings.model == "nano1"
        assert network_cells(project) == get_spec("nano1").image_size // 4
