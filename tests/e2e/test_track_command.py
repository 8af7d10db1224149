"""`masklet track` as a user runs it: on the packaged clip, with the packaged model."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from masklet.cli import main
from masklet.masks import rle
from masklet.media import open_media

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MASK = ROOT / "src" / "masklet" / "data" / "bunny_frame48.png"

# Outlines of the bunny, drawn by hand.
OUTLINES = {
    24: "518,108 508,115 506,142 498,152 510,216 500,224 351,234 309,248 264,282 217,272 184,256 162,267 178,279 "
    "179,291 218,295 226,303 226,328 210,341 212,347 262,339 275,351 306,353 278,393 278,470 314,519 367,561 471,599 "
    "512,597 520,587 517,571 539,542 557,433 575,405 615,371 639,385 659,385 656,413 622,448 631,457 662,457 687,382 "
    "687,351 669,319 632,288 577,264 569,254 569,233 634,189 643,160 621,158 597,168 551,217 537,218 539,137",
    72: "163,166 168,185 162,194 174,205 176,219 202,217 304,241 348,279 350,350 332,385 346,554 366,575 399,593 "
    "411,593 436,571 487,627 531,623 539,599 577,564 591,538 615,436 607,327 585,239 563,188 563,169 585,140 577,125 "
    "558,110 539,110 507,136 462,90 436,76 407,76 392,91 392,138 381,160 347,160 314,174 227,174 210,160",
}


def said_by(*arguments: str | Path, folder: Path) -> str:
    """What the command prints when it does its work in this process, in a folder."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.chdir(folder)
        patch.setenv("MASKLET_OFFLINE", "1")
        assert call(*arguments) == 0
    return printed.getvalue()


def command(*arguments: str | Path) -> list[str]:
    """The same for a process of its own."""
    return [sys.executable, "-m", "masklet", *map(str, arguments)]


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "MASKLET_OFFLINE": "1"}


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "masklets.json").read_text(encoding="utf-8"))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def outline(frame: int) -> np.ndarray:
    drawn = np.zeros((720, 1280), np.uint8)
    corners = [[int(side) for side in corner.split(",")] for corner in OUTLINES[frame].split()]
    return cv2.fillPoly(drawn, [np.array(corners)], 1).astype(bool)


def changed(frame_hwc: np.ndarray, source_hwc: np.ndarray) -> np.ndarray:
    """Pixels that an overlay has another colour at than the source, compression aside."""
    return np.abs(frame_hwc.astype(int) - source_hwc).max(axis=-1) > 40


def decode(path: Path) -> tuple[list[np.ndarray], list[Fraction]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [f.pts * f.time_base for f in frames]


@pytest.fixture(scope="module")
def bunny(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> tuple[Path, str]:
    """Frames 24 to 72 from a mask on frame 48, both ways, and what the command said."""
    folder = tmp_path_factory.mktemp("bunny")
    said = said_by(
        *("track", bunny_clip, "--mask", f"bunny:{MASK}", "--frame", "48", "--direction", "both"),
        *("--start", "24", "--end", "00:00:02:22", "-o", "out"),
        folder=folder,
    )
    return folder / "out", said


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> tuple[Path, str]:
    """Two objects forwards over eight frames; the second one is prompted later, and with what does not belong to it."""
    folder = tmp_path_factory.mktemp("two")
    said = said_by(
        *("track", bunny_clip, "--box", "big bunny:153,219,571,558", "--point", "rock@0.08s:1000,380"),
        *("--negative", "rock@2:640,430", "--end", "7", "--policy", "recency", "-o", "out"),
        folder=folder,
    )
    return folder / "out", said


def test_the_mask_follows_the_bunny(bunny: tuple[Path, str]) -> None:
    frames = {entry["frame"]: entry["objects"][0] for entry in read(bunny[0])["frames"]}
    for frame in OUTLINES:
        assert iou(rle.decode(frames[frame]["rle"]), outline(frame)) > 0.6
    # It stands up meanwhile, so a mask that stays where it is would not do.
    assert iou(outline(24), outline(72)) < 0.6
    assert iou(rle.decode(frames[48]["rle"]), np.array(Image.open(MASK)).astype(bool)) > 0.95


def test_files_hold_every_frame_and_agree(bunny: tuple[Path, str]) -> None:
    folder, _ = bunny
    content = read(folder)
    assert content["complete"]
    assert [entry["frame"] for entry in content["frames"]] == list(range(24, 73))
    pictures = sorted((folder / "masks" / "bunny").iterdir())
    assert [path.name for path in pictures] == [f"{frame:05d}.png" for frame in range(24, 73)]
    for entry, path in zip(content["frames"], pictures, strict=True):
        [found] = entry["objects"]
        picture = np.array(Image.open(path))
        assert picture.dtype == np.uint8 and set(np.unique(picture)) <= {0, 255}
        mask = rle.decode(found["rle"])
        np.testing.assert_array_equal(picture > 0, mask)
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        assert found["box_xyxy"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert found["area"] == mask.sum()
        assert found["prompt"] == (entry["frame"] == 48)
        assert entry["time"] == entry["frame"] / 25
    assert [path.name for path in folder.rglob("*") if path.name.startswith(".")] == [".masklet"]


def test_overlay_keeps_size_rate_times_and_sound(bunny: tuple[Path, str], bunny_clip: Path) -> None:
    path = bunny[0] / "overlay.mp4"
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (1280, 720, 25)
        # Sound of the same moments: from frame 24 on, as long as the pictures.
        assert abs(float(sound.duration * sound.time_base) - 49 / 25) < 0.1
    pictures, times = decode(path)
    assert times == [Fraction(n, 25) for n in range(49)]
    with open_media(bunny_clip) as source:
        plain = source.read(48).image_hwc
    mask = np.array(Image.open(MASK)).astype(bool)
    there = changed(pictures[24], plain)
    assert there[mask].mean() > 0.6
    assert there[~cv2.dilate(mask.astype(np.uint8), np.ones((120, 120))).astype(bool)].mean() < 0.01


def test_says_where_the_files_are_and_how_to_get_sharper_masks(bunny: tuple[Path, str]) -> None:
    said = bunny[1]
    for name in ("masks/bunny", "overlay.mp4", "masklets.json"):
        assert f"out/{name}" in said
    again = shlex.split(next(line for line in said.splitlines() if "--model tiny" in line))
    assert again[-3:] == ["--model", "tiny", "--overwrite"]
    assert ["--mask", f"bunny:{MASK}"] == again[again.index("--mask") : again.index("--mask") + 2]


def test_objects_have_names_colours_and_their_own_frames(two: tuple[Path, str]) -> None:
    folder, said = two
    content = read(folder)
    names = {thing["id"]: thing["name"] for thing in content["objects"]}
    assert sorted(names.values()) == ["big bunny", "rock"]
    assert len({thing["color"] for thing in content["objects"]}) == 2
    seen = {entry["frame"]: {names[found["id"]] for found in entry["objects"]} for entry in content["frames"]}
    assert seen == {frame: {"big bunny"} if frame < 2 else {"big bunny", "rock"} for frame in range(8)}
    assert len(list((folder / "masks" / "big_bunny").glob("*.png"))) == 8
    assert len(list((folder / "masks" / "rock").glob("*.png"))) == 6
    prompts = {thing["name"]: thing["prompts"] for thing in content["objects"]}
    assert prompts["rock"] == [{"frame": 2, "points": [[1000, 380], [640, 430]], "labels": [1, 0]}]
    assert content["settings"]["policy"] == "recency"
    assert "2 objects" in said


def test_tracks_on_objects_that_follow_from_python(two: tuple[Path, str], bunny_clip: Path) -> None:
    """The files hold what the same session gives in Python."""
    from masklet import Session

    content = read(two[0])
    ids = {thing["name"]: thing["id"] for thing in content["objects"]}
    with Session(bunny_clip, "nano", policy="recency") as session:
        session.add_prompt(0, ids["big bunny"], box=(153, 219, 571, 558))
        found = {masks.index: masks[ids["big bunny"]] for masks in session.propagate(stop=1)}
    for frame in (0, 1):
        kept = next(o for o in content["frames"][frame]["objects"] if o["id"] == ids["big bunny"])
        assert iou(rle.decode(kept["rle"]), found[frame].mask) > 0.999
        assert kept["object_score"] == pytest.approx(found[frame].scores.object_score, abs=0.05)


def test_ctrl_c_keeps_what_is_done_and_the_printed_command_goes_on_to_the_same_masks(
    tmp_path: Path, bunny_clip: Path, bunny: tuple[Path, str]
) -> None:
    process = subprocess.Popen(
        command("track", bunny_clip, "--mask", f"bunny:{MASK}", "--frame", "48", "--start", "48", "-o", "out"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    masks = tmp_path / "out" / "masks" / "bunny"
    while process.poll() is None and not (masks / "00051.png").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 130, complained
    assert "Traceback" not in complained

    content = read(tmp_path / "out")
    done = [entry["frame"] for entry in content["frames"]]
    assert not content["complete"]
    assert done == list(range(48, 48 + len(done))) and 4 <= len(done) < 52
    for frame in done:
        assert np.array(Image.open(masks / f"{frame:05d}.png")).shape == (720, 1280)
    assert len(list(masks.iterdir())) == len(done)
    assert len(decode(tmp_path / "out" / "overlay.mp4")[0]) == len(done)
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")] == [".masklet"]

    again = shlex.split(said.split("Go on from there:")[1].strip().splitlines()[0])
    assert again[-3:] == ["--output", "out", "--resume"]
    said_by(*again[again.index("track") :], "--end", str(done[-1] + 3), folder=tmp_path)
    content = read(tmp_path / "out")
    assert content["complete"]
    assert [entry["frame"] for entry in content["frames"]] == [*done, *range(done[-1] + 1, done[-1] + 4)]
    assert len(decode(tmp_path / "out" / "overlay.mp4")[0]) == len(done) + 3
    assert len(content["objects"][0]["prompts"]) == 1
    whole = {entry["frame"]: entry for entry in read(bunny[0])["frames"]}
    for entry in content["frames"][: len(whole)]:
        assert entry == whole[entry["frame"]]
        name = f"masks/bunny/{entry['frame']:05d}.png"
        assert (tmp_path / "out" / name).read_bytes() == (bunny[0] / name).read_bytes()


def test_pictures_of_odd_size_without_sound(tmp_path: Path, bunny_clip: Path) -> None:
    with open_media(bunny_clip) as source:
        for frame in source.frames(48, 52):
            small = cv2.resize(frame.image_hwc, (321, 181), interpolation=cv2.INTER_AREA)
            Image.fromarray(small).save(tmp_path / f"shot.{frame.index:04d}.png")
    box = [str(round(side / 4)) for side in (176, 54, 612, 620)]
    assert (
        call("track", tmp_path / "shot.####.png", "--box", ",".join(box), "--rate", "12.5", "-o", tmp_path / "out") == 0
    )
    pictures, times = decode(tmp_path / "out" / "overlay.mp4")
    assert [picture.shape for picture in pictures] == [(181, 321, 3)] * 4
    assert times == [Fraction(2 * n, 25) for n in range(4)]
    assert read(tmp_path / "out")["source"]["rate"] == "25/2"
    assert len(list((tmp_path / "out" / "masks" / "object_1").glob("*.png"))) == 4


def test_uneven_time_stamps_stay(tmp_path: Path, make_video: Any) -> None:
    path, times = make_video.variable_rate()
    assert (
        call("track", path, "--box", "2:0,8,16,24", "--no-masks", "--start", "3", "--end", "8", "-o", tmp_path / "out")
        == 0
    )
    assert decode(tmp_path / "out" / "overlay.mp4")[1] == [moment - times[3] for moment in times[3:9]]
    content = read(tmp_path / "out")
    assert [thing["id"] for thing in content["objects"]] == [2]
    assert [entry["time"] for entry in content["frames"]] == [round(float(moment), 6) for moment in times[3:9]]
    assert not (tmp_path / "out" / "masks").exists()


def call(*arguments: str | Path) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


Bad = Callable[[Path], list[str | Path]]

BAD: dict[str, tuple[Bad, str]] = {
    "no such file": (lambda clip: [clip.with_name("nothing.mp4"), "--point", "1,1"], "There is no file"),
    "text named .mp4": (lambda clip: ["text.mp4", "--point", "1,1"], "text.mp4"),
    "empty file": (lambda clip: ["empty.mp4", "--point", "1,1"], "is empty"),
    "cut off": (lambda clip: ["cut.mp4", "--point", "1,1"], "cut.mp4"),
    "nothing to track": (lambda clip: [clip], "say what to track"),
    "outside of the frame": (lambda clip: [clip, "--point", "1280.5,300"], "lies outside the frame"),
    "no number": (lambda clip: [clip, "--point", "nan,300"], "is not a point"),
    "three numbers": (lambda clip: [clip, "--box", "1,2,3"], "is not a box"),
    "box inside out": (lambda clip: [clip, "--box", "300,300,200,400"], "has no area"),
    "only what it is not": (lambda clip: [clip, "--negative", "640,300"], "only points that are not on it"),
    "empty mask": (lambda clip: [clip, "--mask", "black.png"], "is empty"),
    "mask of another size": (lambda clip: [clip, "--mask", "bunny:small.png"], "bunny, frame 0"),
    "no mask file": (lambda clip: [clip, "--mask", "nothing.png"], "There is no file nothing.png"),
    "no such frame": (lambda clip: [clip, "--point", "1,1", "--frame", "100"], "0 to 99"),
    "no time": (lambda clip: [clip, "--point", "1,1", "--start", "soon"], "'soon'"),
    "ends before it starts": (lambda clip: [clip, "--point", "1,1", "--start", "9", "--end", "5"], "lies before"),
    "prompt after the end": (lambda clip: [clip, "--point", "@50:1,1", "--end", "20"], "prompted on frame 50"),
    "two boxes": (lambda clip: [clip, "--box", "1,1,9,9", "--box", "20,20,40,40"], "two boxes"),
    "no such direction": (lambda clip: [clip, "--point", "1,1", "--direction", "up"], "no direction 'up'"),
    "no such model": (lambda clip: [clip, "--point", "1,1", "--model", "huge"], "no model called 'huge'"),
    "no such policy": (lambda clip: [clip, "--point", "1,1", "--policy", "luck"], "no policy called 'luck'"),
    "a setting of another policy": (
        lambda clip: [clip, "--point", "1,1", "--policy", "recency", "--kf-score-weight", "0.3"],
        "no recency setting 'kf_score_weight'",
    ),
    "no such policy setting": (
        lambda clip: [clip, "--point", "1,1", "--policy-option", "luck=1"],
        "no samurai setting 'luck'",
    ),
    "no pair": (lambda clip: [clip, "--point", "1,1", "--policy-option", "luck"], "--policy-option takes NAME=VALUE"),
    "not a weight": (lambda clip: [clip, "--point", "1,1", "--kf-score-weight", "nan"], "kf_score_weight"),
    "odd resolution": (lambda clip: [clip, "--point", "1,1", "--resolution", "250"], "multiple of 32"),
    "no such device": (lambda clip: [clip, "--point", "1,1", "--device", "abacus"], "abacus"),
    "no such format": (lambda clip: [clip, "--point", "1,1", "--dtype", "float8"], "float8"),
    "damaged weights": (lambda clip: [clip, "--point", "1,1", "--checkpoint", "text.mp4"], "text.mp4"),
    "nothing to go on with": (lambda clip: [clip, "--resume"], "nothing to go on with"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_input_is_said_in_one_line_and_leaves_nothing(
    case: str, bunny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    Path("text.mp4").write_text("not a video\n")
    Path("empty.mp4").touch()
    Path("cut.mp4").write_bytes(bunny_clip.read_bytes()[:3000])
    Image.new("L", (1280, 720)).save("black.png")
    Image.new("L", (64, 36), 255).save("small.png")
    before = sorted(tmp_path.rglob("*"))
    arguments, expected = BAD[case]
    assert call("track", *arguments(bunny_clip), "-o", "deep/out") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and expected in said.err
    assert "Traceback" not in said.err and not said.out
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_input_ends_a_process_with_exit_code_2(tmp_path: Path, bunny_clip: Path) -> None:
    wrong = command("track", bunny_clip, "--point", "5000,3", "-o", "out")
    done = subprocess.run(wrong, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "lies outside the frame" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["absolute", "../elsewhere", "masks/../../elsewhere", "elsewhere", "masks"])
def test_a_made_up_masklets_json_leads_nowhere(
    place: str, two: tuple[Path, str], bunny_clip: Path, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for outside in (elsewhere, folder / "elsewhere", folder / "masks"):
        outside.mkdir(parents=True, exist_ok=True)
        (outside / "00000.png").write_text("precious")
    content = read(two[0])
    content["objects"][0]["folder"] = str(elsewhere) if place == "absolute" else place
    (folder / "masklets.json").write_text(json.dumps(content))
    arguments = ["track", bunny_clip, "--point", "1000,380", "--end", "0", "-o", folder, "--overwrite"]
    assert call(*arguments, "--no-overlay") == 0
    for outside in (elsewhere, folder / "elsewhere", folder / "masks"):
        assert (outside / "00000.png").read_text() == "precious"


def test_earlier_results_stay_unless_they_may_be_replaced(
    two: tuple[Path, str], bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(two[0], folder)
    (folder / "mine.txt").write_text("keep")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    arguments = ["track", bunny_clip, "--point", "1000,380", "--end", "1", "-o", folder]
    assert call(*arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert call(*arguments, "--overwrite", "--no-overlay") == 0
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    pictures = ["masks/object_1/00000.png", "masks/object_1/00001.png"]
    assert left == [".masklet/run.masklet", "masklets.json", *pictures, "mine.txt"]


def test_a_full_disk_leaves_whole_files_only(
    bunny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    write = Path.write_bytes

    def fail_on_the_third(path: Path, data: bytes) -> int:
        if path.name.startswith(".00002"):
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_on_the_third)
    folder = tmp_path / "out"
    assert call("track", bunny_clip, "--point", "1000,380", "--end", "5", "-o", folder) == 2
    assert "No space left on device" in capsys.readouterr().err
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    pictures = ["masks/object_1/00000.png", "masks/object_1/00001.png"]
    assert left == [".masklet/run.masklet", "masklets.json", *pictures]
    monkeypatch.undo()  # the disk has room again
    assert call("track", bunny_clip, "-o", folder, "--resume") == 0
    assert len(list((folder / "masks" / "object_1").iterdir())) == 6
    assert read(folder)["complete"] and len(decode(folder / "overlay.mp4")[0]) == 6


def test_a_project_instead_of_a_folder(
    bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from masklet.project import Project

    monkeypatch.chdir(tmp_path)
    arguments = ["track", bunny_clip, "--box", "bunny:153,219,571,558", "--end", "3", "--project", "clip.masklet"]
    assert call(*arguments, "-o", "out") == 2
    assert "not both" in capsys.readouterr().err
    assert call(*arguments) == 0
    assert "export clip.masklet" in capsys.readouterr().out
    with Project.open("clip.masklet", read_only=True) as project:
        [thing] = project.objects()
        assert (thing.name, project.tracked_frames(thing.id)) == ("bunny", [0, 1, 2, 3])
    assert call(*arguments) == 2


def test_results_go_beside_the_clip_where_no_place_is_said(
    bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = tmp_path / "shots" / "clip.mp4"
    clip.parent.mkdir()
    shutil.copy(bunny_clip, clip)
    arguments = ["track", "shots/clip.mp4", "--point", "1000,380", "--end", "1", "--no-overlay"]
    assert call(*arguments) == 0
    assert "shots/clip_masklets/masks/object_1/" in capsys.readouterr().out
    assert call(*arguments) == 0
    assert "shots/clip_masklets_2/masks/object_1/" in capsys.readouterr().out
    assert call(*arguments, "--overwrite") == 0
    assert sorted(path.name for path in clip.parent.iterdir()) == ["clip.mp4", "clip_masklets", "clip_masklets_2"]


def pictures_of(folder: Path) -> dict[str, np.ndarray]:
    """The PNGs of a run."""
    paths = sorted((folder / "masks").rglob("*.png"))
    return {path.relative_to(folder).as_posix(): np.array(Image.open(path)).astype(int) for path in paths}


TRACK = ("--box", "bunny:153,219,571,558", "--point", "rock@4:1000,380", "--end", "9", "--feather", "3", "--grow", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> Path:
    """A run that nobody stops, with soft, grown masks."""
    folder = tmp_path_factory.mktemp("whole")
    said_by("track", bunny_clip, *TRACK, "-o", "out", folder=folder)
    return folder / "out"


def test_mask_settings_finish_the_files(whole: Path, two: tuple[Path, str]) -> None:
    soft = np.array(Image.open(whole / "masks" / "bunny" / "00003.png"))
    assert len(np.unique(soft)) > 20
    plain = np.array(Image.open(two[0] / "masks" / "big_bunny" / "00003.png"))
    assert (soft > 127).sum() > (plain > 127).sum()
    [kept] = read(whole)["frames"][3]["objects"]
    assert iou(rle.decode(kept["rle"]), soft > 127) > 0.99


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> Path:
    """That run, killed in the middle."""
    folder = tmp_path_factory.mktemp("killed")
    process = subprocess.Popen(
        command("track", bunny_clip, *TRACK, "-o", "out"), cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not (folder / "out" / "masks" / "bunny" / "00005.png").exists():
        time.sleep(0.02)
    process.kill()
    process.wait(600)
    return folder / "out"


def test_resuming_after_a_crash_gives_the_same_masks_to_the_bit(
    whole: Path, killed: Path, bunny_clip: Path, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path / "out")
    said_by("track", bunny_clip, "-o", "out", "--resume", folder=tmp_path)
    content, wanted = read(tmp_path / "out"), read(whole)
    for part in ("frames", "objects", "settings", "complete"):
        assert content[part] == wanted[part], part
    found, expected = pictures_of(tmp_path / "out"), pictures_of(whole)
    assert found.keys() == expected.keys()
    for name, picture in found.items():  # soft edges are rounded as the processor likes
        assert np.abs(picture - expected[name]).max() <= 1
    assert len(decode(tmp_path / "out" / "overlay.mp4")[0]) == 10
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")}
    assert left == {".masklet"}


def test_overwriting_after_a_crash_leaves_nothing_of_it(killed: Path, bunny_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(killed, folder)
    for name in ("masks/bunny/.00006.png.abcd.part", ".overlay.mp4.abcd.part", ".masklets.json.abcd.part"):
        (folder / name).write_bytes(b"half")
    assert call("track", bunny_clip, "--point", "rock:1000,380", "--end", "1", "-o", folder) == 2
    assert (folder / "masks" / "bunny" / "00005.png").exists()
    assert call("track", bunny_clip, "--point", "rock:1000,380", "--end", "1", "-o", folder, "--overwrite") == 0
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    pictures = ["masks/rock/00000.png", "masks/rock/00001.png"]
    assert left == [".masklet/run.masklet", "masklets.json", *pictures, "overlay.mp4"]


def test_tracks_again_from_a_frame_or_from_what_is_new(
    bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert call("track", bunny_clip, "--box", "bunny:153,219,571,558", "--end", "7", "-o", folder, "--no-overlay") == 0
    before = read(folder)
    arguments = ["track", bunny_clip, "-o", folder, "--no-overlay", "--resume"]
    assert call(*arguments, "--point", "rock@3:1000,380", "--negative", "bunny@5:150,460") == 0
    content = read(folder)
    assert content["complete"] and content["settings"] == before["settings"]
    names = {known["id"]: known["name"] for known in content["objects"]}
    seen = {entry["frame"]: {names[found["id"]] for found in entry["objects"]} for entry in content["frames"]}
    assert seen == {frame: {"bunny"} if frame < 3 else {"bunny", "rock"} for frame in range(8)}
    # A correction takes away from the mask that was there.
    there, clicks = [prompt for prompt in content["objects"][0]["prompts"] if prompt["frame"] == 5]
    assert there["origin"] == "tracked" and there["rle"] == before["frames"][5]["objects"][0]["rle"]
    assert clicks["points"] == [[150, 460]] and clicks["labels"] == [0]
    assert [entry["objects"][0] for entry in content["frames"][:5]] == [f["objects"][0] for f in before["frames"][:5]]

    assert call(*arguments, "--start", "6", "--end", "6") == 0
    assert [entry["frame"] for entry in read(folder)["frames"]] == list(range(7))
    assert len(list((folder / "masks" / "bunny").iterdir())) == 7
    assert call(*arguments, "--policy", "recency", "--start", "0") == 0
    assert read(folder)["settings"]["policy"] == "recency"
    assert call(*arguments, "--start", "20") == 2
    assert "keeps frames 0 to 6" in capsys.readouterr().err


def test_a_sequence_keeps_its_rate_when_it_is_gone_on_with(
    bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_media(bunny_clip) as source:
        for frame in source.frames(48, 52):
            small = cv2.resize(frame.image_hwc, (320, 180), interpolation=cv2.INTER_AREA)
            Image.fromarray(small).save(tmp_path / f"shot.{frame.index:04d}.png")
    shot, folder = tmp_path / "shot.####.png", tmp_path / "out"
    assert call("track", shot, "--box", "44,14,153,155", "--rate", "12.5", "--end", "1", "-o", folder) == 0
    assert call("track", shot, "--rate", "12", "-o", folder, "--resume", "--end", "3") == 2
    assert "12.5 frames per second" in capsys.readouterr().err
    assert call("track", shot, "-o", folder, "--resume", "--end", "3") == 0
    assert [entry["time"] for entry in read(folder)["frames"]] == [0, 0.08, 0.16, 0.24]
    assert decode(folder / "overlay.mp4")[1] == [Fraction(2 * n, 25) for n in range(4)]


def test_what_an_earlier_version_wrote_can_be_replaced_but_not_gone_on_with(
    two: tuple[Path, str], bunny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(two[0], folder)
    shutil.rmtree(folder / ".masklet")
    assert call("track", bunny_clip, "-o", folder, "--resume") == 2
    assert "earlier version of masklet" in capsys.readouterr().err
    assert call("track", bunny_clip, "--point", "1000,380", "--end", "0", "-o", folder, "--overwrite") == 0
    assert [path.name for path in (folder / "masks").rglob("*.png")] == ["00000.png"]
