"""What the user brought is never written over: by no writer, and by no path that leads to it."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import masklet
from masklet import cli
from masklet.atomic import atomic_path
from masklet.errors import MediaError, SourceError
from masklet.export import write
from masklet.export.output import Output
from masklet.media import VideoWriter, open_media, write_image
from masklet.project import Project
from masklet.sources import Sources, refuse_source
from masklet.weights.checkpoints import convert

PACKAGE = Path(masklet.__file__).parent
NANO = PACKAGE / "data" / "nano.safetensors"


def symlink(path: Path) -> Path:
    link = path.with_name(f"link{path.suffix}")
    link.symlink_to(path)
    return link


def hard_link(path: Path) -> Path:
    link = path.with_name(f"second name{path.suffix}")
    os.link(path, link)
    return link


def linked_folder(path: Path) -> Path:
    folder = path.parent.with_name("linked folder")
    folder.symlink_to(path.parent)
    return folder / path.name


def detour(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


WAYS: list[Callable[[Path], Path]] = [lambda path: path, symlink, hard_link, linked_folder, detour]


@pytest.fixture
def own_clip(clip: Path, tmp_path: Path) -> Path:
    """A video of the user's, in a folder of its own."""
    path = tmp_path / "mine" / "dog.mp4"
    path.parent.mkdir()
    path.write_bytes(clip.read_bytes())
    return path


@pytest.fixture
def frames(demo_images: np.ndarray, tmp_path: Path) -> Path:
    """A folder of pictures: shot.0001.png …"""
    folder = tmp_path / "shot"
    folder.mkdir()
    for number, image in enumerate(demo_images, start=1):
        Image.fromarray(image).save(folder / f"shot.{number:04d}.png")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*words: object, code: int = 0) -> Any:
    result = CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def write_video(path: Path, images: np.ndarray, **options: Any) -> None:
    with VideoWriter(path, images.shape[2], images.shape[1], 25, **options) as writer:
        for image in images:
            writer.write(image)


# Exports of an open project


@pytest.mark.parametrize("way", WAYS)
def test_no_export_takes_the_place_of_its_source(way: Callable[[Path], Path], make_project, own_clip: Path) -> None:
    before = own_clip.read_bytes()
    project = make_project(own_clip, name="elsewhere.masklet")
    target = way(own_clip)
    with pytest.raises(SourceError, match="is a source"):
        write(project, "h264-matte", target, overwrite=True)
    assert own_clip.read_bytes() == target.read_bytes() == before
    assert not [name for name in names(own_clip.parent) if name.endswith(".part")]
    assert len(project.open_source()) == 8


def test_other_open_projects_keep_their_sources_too(make_project, clip: Path, own_clip: Path) -> None:
    make_project(own_clip, name="first.masklet")
    second = make_project(clip, name="second.masklet")
    before = own_clip.read_bytes()
    with pytest.raises(SourceError):
        write(second, "overlay", own_clip, overwrite=True)
    assert own_clip.read_bytes() == before


def test_a_project_of_another_program_keeps_its_source(own_clip: Path, demo_images: np.ndarray) -> None:
    code = (
        "import sys\nfrom masklet.project import Project\n"
        "project = Project.create(sys.argv[1], sys.argv[2])\nprint('open', flush=True)\nsys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(own_clip.with_name("dog.masklet")), str(own_clip)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        before = own_clip.read_bytes()
        with pytest.raises(SourceError, match=r"the project dog\.masklet is about it"):
            write_video(own_clip, demo_images)
        assert own_clip.read_bytes() == before
        other.communicate("")


def test_members_of_a_sequence_are_sources(make_project, frames: Path, tmp_path: Path) -> None:
    project = make_project(frames)
    before = {path.name: path.read_bytes() for path in frames.iterdir()}
    with pytest.raises(SourceError, match="among the pictures"):
        write(project, "png-mask", frames, template="shot.{number:04d}", overwrite=True)
    with pytest.raises(SourceError, match="among the pictures"):  # it would become a frame of its own source
        write(project, "png-mask", frames, template="mask.{number:04d}")
    assert {path.name: path.read_bytes() for path in frames.iterdir()} == before
    linked = tmp_path / "copy"
    linked.mkdir()
    os.link(frames / "shot.0001.png", linked / "shot.0000.png")
    with pytest.raises(SourceError, match="same file as"):
        write(project, "png-mask", linked, template="shot.{number:04d}", overwrite=True)
    assert (linked / "shot.0000.png").read_bytes() == before["shot.0001.png"]
    project.close()
    assert len(write(Project.open(project.path, read_only=True), "png-mask", tmp_path / "masks")) == 16


def test_a_pattern_is_a_source_and_what_lies_beside_it_is_not(make_project, frames: Path, tmp_path: Path) -> None:
    project = make_project(frames / "shot.####.png")
    project.close()
    with Project.open(project.path, read_only=True) as opened:  # the source itself is never opened here
        with pytest.raises(SourceError):
            write(opened, "png-mask", frames, objects=[1], template="shot.000{number}", overwrite=True)
        written = write(opened, "png-mask", frames, objects=[1], template="mask.{number}")
    assert len(written) == 8


def test_a_file_that_an_option_names_is_a_source(make_project, own_clip: Path) -> None:
    before = own_clip.read_bytes()
    with pytest.raises(SourceError):
        write(make_project(), "background", own_clip, file=own_clip, overwrite=True)
    assert own_clip.read_bytes() == before


def test_an_open_project_is_not_written_over(make_project, tmp_path: Path) -> None:
    project = make_project()
    with pytest.raises(SourceError), atomic_path(project.path):
        pass
    assert project.objects()


# Python


def test_what_is_being_read_is_not_written_over(own_clip: Path, demo_images: np.ndarray) -> None:
    before = own_clip.read_bytes()
    with open_media(own_clip) as reader:
        with pytest.raises(SourceError, match="is a source"):
            write_video(own_clip, reader.read(0).image_hwc[None])
        assert own_clip.read_bytes() == before
    write_video(own_clip, demo_images)  # closed: the caller's own business
    assert own_clip.read_bytes() != before


def test_a_source_opened_while_its_replacement_is_written_stays(own_clip: Path, demo_images: np.ndarray) -> None:
    before = own_clip.read_bytes()
    writer = VideoWriter(own_clip, 128, 72, 25)
    writer.write(demo_images[0])
    with open_media(own_clip), pytest.raises(SourceError):
        writer.commit()
    assert own_clip.read_bytes() == before
    assert names(own_clip.parent) == ["dog.mp4"]


def test_the_file_that_sound_is_taken_from_stays(own_clip: Path, demo_images: np.ndarray) -> None:
    before = own_clip.read_bytes()
    with pytest.raises(SourceError):
        write_video(own_clip, demo_images, audio_from=own_clip)
    assert own_clip.read_bytes() == before


def test_pictures_of_an_open_sequence_stay(frames: Path, demo_images: np.ndarray) -> None:
    with open_media([frames / "shot.0002.png", frames / "shot.0001.png"]):
        with pytest.raises(SourceError):
            write_image(frames / "shot.0002.png", demo_images[0], overwrite=True)
        write_image(frames / "shot.0003.png", demo_images[0], overwrite=True)


def test_sources_end_with_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    kept = Sources(path)  # as a reader has it that nobody closed
    with pytest.raises(SourceError):
        refuse_source(path)
    del kept
    gc.collect()
    refuse_source(path)
    with Sources(path), pytest.raises(SourceError):
        refuse_source(path)
    refuse_source(path)


def test_weights_are_not_converted_onto_themselves(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(NANO.read_bytes())
    before = path.read_bytes()
    said = run("models", "convert", path, hard_link(path), "--half", "--force", code=2)
    assert "is a source" in said.stderr
    assert path.read_bytes() == before
    convert(path, tmp_path / "half.safetensors", half=True)


# The command line


def test_track_leaves_its_video_alone(own_clip: Path) -> None:
    before = own_clip.read_bytes()
    out = own_clip.parent / "out"
    out.mkdir()
    own = own_clip.rename(out / "overlay.mp4")
    said = run("track", own, "--point", "30,50", "-o", out, "--overwrite", code=2).stderr
    assert "overlay.mp4 can't be written over: it is a source" in said
    assert own.read_bytes() == before
    said = run("track", own, "--point", "30,50", "--project", own, "--overwrite", code=2).stderr
    assert "is a source" in said
    assert own.read_bytes() == before
    assert names(out) == ["overlay.mp4"]


def test_track_leaves_a_mask_alone(own_clip: Path) -> None:
    mask = own_clip.parent / "masks" / "object_1" / "00000.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.full((72, 128), 255, np.uint8)).save(mask)
    before = mask.read_bytes()
    said = run("track", own_clip, "--mask", mask, "-o", own_clip.parent, "--overwrite", code=2).stderr
    assert "00000.png can't be written over: it is a source" in said
    assert mask.read_bytes() == before


def test_segment_leaves_pictures_and_masks_alone(frames: Path) -> None:
    photo, mask = frames / "shot.0001.png", frames / "shot.0001_mask.png"
    Image.fromarray(np.full((72, 128), 255, np.uint8)).save(mask)
    before = mask.read_bytes()
    for words in ((photo, "--mask", mask), (photo, mask, "--point", "30,50")):
        assert "is a source" in run("segment", *words, "--overwrite", code=2).stderr
        assert mask.read_bytes() == before


def test_export_leaves_every_video_of_a_project_beside_it_alone(make_project, clip: Path, own_clip: Path) -> None:
    project = make_project(clip)
    Project.create(own_clip.with_name("dog.masklet"), own_clip).close()
    before = own_clip.read_bytes()
    said = run("export", project.path, "-f", "h264-matte", "-o", own_clip, "--overwrite", code=2).stderr
    assert "the project dog.masklet is about it" in said
    assert own_clip.read_bytes() == before


def test_a_contact_sheet_leaves_the_photos_alone(frames: Path) -> None:
    before = (frames / "shot.0001.png").read_bytes()
    words = ("train", "preview", "--photos", frames, "--clips", "1", "--frames", "1", "--size", "32")
    assert "is a source" in run(*words, "-o", frames / "shot.0001.png", code=2).stderr
    assert (frames / "shot.0001.png").read_bytes() == before


# What is replaced stays until its replacement is complete


def test_a_video_that_was_not_written_well_replaces_nothing(
    tmp_path: Path, demo_images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mkv"
    write_video(path, demo_images[:2], codec="ffv1")
    before = path.read_bytes()
    writer = VideoWriter(path, 128, 72, 25, codec="ffv1")
    for image in demo_images:
        writer.write(image)
    [part] = [file for file in tmp_path.iterdir() if file != path]

    class Cut:
        """A disk that loses the end of what was written."""

        def __init__(self, container: Any) -> None:
            self.container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self.container, name)

        def close(self) -> None:
            self.container.close()
            os.truncate(part, part.stat().st_size // 2)

    monkeypatch.setattr(writer, "_container", Cut(writer._container))
    with pytest.raises(MediaError, match=r"out\.mkv can't be written .*read back to its end"):
        writer.commit()
    assert path.read_bytes() == before
    assert names(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize("name", ["masks.npz", "dog.gif"])
def test_an_export_that_was_not_written_well_replaces_nothing(name: str, tmp_path: Path, make_project) -> None:
    path = tmp_path / name
    [path] = write(make_project(), path.suffix[1:], path)
    before = path.read_bytes()
    output = Output(path, folder=False, overwrite=True)
    output.file().write_bytes(before[: len(before) // 2])
    with pytest.raises(MediaError, match="can't be read back"):
        output.commit()
    assert path.read_bytes() == before


# It can't be forgotten

#: Modules that give files their names without asking, and why they may.
OWN_FILES = {
    "masklet/weights/download.py": "masklet's own folder of weights",
    "masklet/project/database.py": "copies into a folder of its own",
    "masklet/studio/routes/exports.py": "packs into a temporary folder of its own",
    "masklet/jobs/places.py": "copies between a batch's place and masklet's own folders",
    "masklet/jobs/ray_cluster.py": "scratch folders of its own; what else is called replace there makes records",
    "masklet/jobs/batch.py": "removes hidden .part files of its own writers from a batch's folder",
}


def test_every_module_that_replaces_files_asks_first() -> None:
    forgetful = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name, given = node.func.attr, len(node.args) + len(node.keywords)
            renames = (name in ("replace", "rename") and given == 1) or name in ("rmtree", "copyfile", "move")
            if renames and not any(keyword.arg is None for keyword in node.keywords):
                forgetful.add((path, "refuse_source(" in text))
    bad = {str(path.relative_to(PACKAGE.parent)) for path, asks in forgetful if not asks}
    assert bad == set(OWN_FILES)
