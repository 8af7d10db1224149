"""What every export does alike: names, places, progress, stopping, mask settings, and errors that say why."""

from __future__ import annotations

import shlex
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from masklet.errors import CancelledError, ExportError, InputError, MaskletError, ProjectError, UnknownObjectError
from masklet.export import formats, get, write
from masklet.masks import rle
from masklet.masks.finish import finish_frame
from masklet.masks.settings import MaskSettings
from masklet.masks.temporal import smooth
from masklet.media import open_media
from masklet.naming import FIELDS, NameTemplate, sanitize, unique_names
from masklet.project import Project
from masklet.results import ObjectMask, Scores

Masks = dict[int, Callable[[int], np.ndarray]]
HARD = {"feather": 0}


def left_behind(folder: Path) -> list[str]:
    """Everything below a folder, projects and lock files aside."""
    return sorted(p.name for p in folder.rglob("*") if "masklet" not in p.name)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# Which formats there are


def test_every_format_describes_itself() -> None:
    listed = formats()
    assert [exporter.name for exporter in listed] == [*dict.fromkeys(exporter.name for exporter in listed)]
    for exporter in listed:
        assert get(exporter.name).title and exporter.description
        schema = exporter.model_json_schema()
        for option in schema.get("properties", {}).values():
            assert option["description"]


def test_unknown_formats_and_options_are_named(make_project, tmp_path: Path) -> None:
    project = make_project()
    with pytest.raises(ExportError, match=r"no export format 'prores'\. Did you mean prores4444"):
        write(project, "prores", tmp_path / "a.mov")
    with pytest.raises(ExportError, match=r"There are: prores4444, vp9-alpha"):
        write(project, "xyzzy", tmp_path / "a.mov")
    with pytest.raises(ExportError, match=r"coco has no option 'tolerence'; it has: every, images, .*tolerance"):
        write(project, "coco", tmp_path / "a", tolerence=1)
    with pytest.raises(ExportError, match="Option 'every' of the format coco"):
        write(project, "coco", tmp_path / "a", every=0)
    assert left_behind(tmp_path) == []


# Nothing to export


def test_empty_exports_say_why(make_project, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with Project.create(tmp_path / "new.masklet", clip) as fresh:
        with pytest.raises(ExportError, match="no objects yet"):
            write(fresh, "png-mask", target)
        fresh.add_object(1, "dog")
        with pytest.raises(ExportError, match=r"object 1 \(dog\) has no mask in frames 0 to 7\. Track it first"):
            write(fresh, "png-mask", target)
        fresh.put_masks([ObjectMask(1, 2, rle.encode(np.zeros((72, 128), bool)), lost=True)])
        with pytest.raises(ExportError, match=r"all 1 masks of object 1 \(dog\) in frames 0 to 7 are empty"):
            write(fresh, "prores4444", tmp_path / "out.mov")
        with pytest.raises(ExportError, match="Its masks are on frames 2 to 2"):
            write(fresh, "png-mask", target, start=3)
        fresh.update_object(1, visible=False)
        with pytest.raises(ExportError, match="are hidden"):
            write(fresh, "png-mask", target)
    project = make_project()
    with pytest.raises(ExportError, match="No object was chosen"):
        write(project, "csv", tmp_path / "a.csv", objects=[])
    with pytest.raises(UnknownObjectError, match=r"no object 'cat' .* 1 \(bunny\), 2 \(rock\)"):
        write(project, "csv", tmp_path / "a.csv", objects=["cat"])
    with pytest.raises(ExportError, match="not all in the source"):
        write(project, "csv", tmp_path / "a.csv", start=3, end=8)
    with pytest.raises(ExportError, match="comes before the first"):
        write(project, "csv", tmp_path / "a.csv", start=3, end=2)
    # Masks that the settings remove altogether.
    with pytest.raises(ExportError, match="Nothing to export"):
        write(project, "coco", target, settings={"grow": -60})
    assert left_behind(tmp_path) == []


def test_hidden_objects_stay_out_unless_asked_for(make_project, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(1, visible=False)
    assert len(write(project, "png-mask", tmp_path / "a")) == 8
    [*paths] = write(project, "png-mask", tmp_path / "b", objects=[1])
    assert paths[0].name == "bunny cut_bunny_00000.png"


# Places


def test_existing_files_are_not_touched_unless_told(make_project, tmp_path: Path) -> None:
    project = make_project()
    file = tmp_path / "a.csv"
    file.write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        write(project, "csv", file)
    assert file.read_text() == "mine"
    write(project, "csv", file, overwrite=True)
    assert file.read_text().startswith("frame,")
    folder = tmp_path / "masks"
    write(project, "png-mask", folder, end=2)
    (folder / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ExportError, match=r"bunny cut_bunny_00002.png exists already"):
        write(project, "png-mask", folder, start=2)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    write(project, "png-mask", folder, start=3)  # beside what is there
    write(project, "png-mask", folder, start=2, overwrite=True)
    assert len(list(folder.iterdir())) == 17 and (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(ExportError, match="is a file; this format writes a folder"):
        write(project, "png-mask", file)


def test_a_folder_names_a_single_file(make_project, tmp_path: Path) -> None:
    project = make_project()
    (tmp_path / "exports").mkdir()
    assert write(project, "csv", tmp_path / "exports") == [tmp_path / "exports" / "bunny cut.csv"]
    [path] = write(project, "csv", f"{tmp_path}/new/deep/", template="{clip} {format}")
    assert path == tmp_path / "new" / "deep" / "bunny cut csv.csv"


def test_a_project_file_can_be_exported_while_another_process_tracks(make_project, tmp_path: Path) -> None:
    project = make_project()
    [path] = write(project.path, "csv", tmp_path / "a.csv")
    assert len(path.read_text().splitlines()) == 17
    with pytest.raises(ProjectError):
        write(tmp_path / "no.masklet", "csv", tmp_path / "b.csv")


@pytest.mark.parametrize("name", ["csv", "npz", "prores4444", "vp9-alpha", "png-mask", "coco", "webp", "gif", "davis"])
def test_stopping_leaves_nothing(make_project, tmp_path: Path, name: str) -> None:
    project = make_project()
    event = threading.Event()
    suffix = (get(name).extensions or ("",))[0]
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            event.set()

    with pytest.raises(CancelledError):
        write(project, name, tmp_path / f"out{suffix}", progress=progress, cancel=event)
    assert seen == [(1, 8), (2, 8), (3, 8)]
    assert left_behind(tmp_path) == []
    with pytest.raises(CancelledError):
        write(project, name, tmp_path / f"out{suffix}", cancel=lambda: True)
    assert left_behind(tmp_path) == []


def test_a_failure_in_the_middle_leaves_what_was_there(make_project, tmp_path: Path) -> None:
    project = make_project()
    file = tmp_path / "a.mkv"
    file.write_text("mine")

    def progress(done: int, total: int) -> None:
        if done == 4:
            raise RuntimeError("power cut")

    for name, target in (("ffv1-alpha", file), ("png-mask", tmp_path / "m")):
        with pytest.raises(RuntimeError, match="power cut"):
            write(project, name, target, overwrite=True, progress=progress)
    assert file.read_text() == "mine"
    assert left_behind(tmp_path) == ["a.mkv"]


def test_a_full_disk_is_an_error_and_leaves_nothing(make_project, tmp_path: Path) -> None:
    import subprocess
    import sys

    project = make_project()
    project.close()
    code = (
        "import resource, signal, sys\nfrom masklet.export import write\nfrom masklet.errors import MaskletError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
        "for name, file in (('ffv1-alpha', 'a.mkv'), ('png-rgba', 'b'), ('npz', 'c.npz'), ('webp', 'd.webp'),\n"
        "                   ('coco', 'e'), ('label-studio', 'f')):\n"
        "    try: write(sys.argv[1], name, sys.argv[2] + '/' + file)\n"
        "    except MaskletError as problem: print(name, type(problem).__name__, problem)\n"
        "    else: print(name, 'SUCCESS')\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    said = subprocess.run(
        [sys.executable, "-B", "-c", code, str(project.path), str(out)], capture_output=True, text=True, check=False
    )
    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == 6 and "SUCCESS" not in said.stdout
    assert ".part" not in said.stdout
    assert list(out.iterdir()) == []


# Names


def test_templates_name_files(make_project, tmp_path: Path) -> None:
    project = make_project()
    paths = write(project, "png-mask", tmp_path / "t", template="{object}/{id}-{number:03d}.{frame}.png", start=6)
    assert [path.relative_to(tmp_path / "t").as_posix() for path in paths] == [
        "bunny/1-000.6.png",
        "rock/2-000.6.png",
        "bunny/1-001.7.png",
        "rock/2-001.7.png",
    ]
    with pytest.raises(ExportError, match=r"Put \{frame\}"):
        write(project, "png-mask", tmp_path / "u", template="{clip}_{object}")
    with pytest.raises(ExportError, match="several objects"):
        write(project, "png-mask", tmp_path / "u", template="{clip}_{frame}")
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize(
    "template",
    [
        *("{clip.__class__}", "{frame[0]}", "{clip!r}", "{nothing}", "{frame:>10}", "{frame:{id}}", "{clip:5}", "{}"),
        *(
            "{",
            "{0}",
            "/etc/{clip}",
            "../{clip}",
            "a/../../{clip}",
            "..",
            "C:{clip}",
            "C:/{clip}",
            "",
            "{frame:999999d}",
        ),
        *("\\\\host\\{clip}", "a\\..\\..\\b", "{clip}\x00"),
    ],
)
def test_templates_that_reach_too_far_are_refused(template: str) -> None:
    with pytest.raises(InputError):
        NameTemplate(template)


@given(st.text(max_size=300))
def test_any_object_name_makes_a_safe_file_name(name: str) -> None:
    clean = sanitize(name)
    path = Path("folder") / clean
    assert clean and path.name == clean and path.parent == Path("folder")
    assert not set(clean) & set('<>:"/\\|?*\0\n\r\t') and clean.rstrip(". ") == clean and len(clean) <= 110
    assert clean.split(".")[0].lower() not in ("con", "nul", "aux", "prn", "com1", "lpt9")
    filled = NameTemplate("{clip}/{object}_{frame:05d}.png").fill({"clip": name, "object": name, "frame": 7})
    assert len(filled.parts) == 2 and ".." not in filled.parts and not filled.is_absolute()


@given(st.text(alphabet=st.sampled_from("{}:!.[]05dclipframe/\\ "), max_size=20))
def test_a_template_is_refused_or_stays_inside(template: str) -> None:
    try:
        parsed = NameTemplate(template)
        path = parsed.fill({field: 3 if field in ("id", "frame", "number") else "../x" for field in FIELDS})
    except InputError:
        return
    assert not path.is_absolute() and ".." not in path.parts and path.name


@given(
    st.lists(st.text() | st.sampled_from(["a_b", "a b", "a_b_3", "A_B_1", "é", "e\u0301", "ﬁ", "fi", "-rf", "$(ls)"]))
)
@example([".-"])
def test_any_objects_get_names_of_their_own(names: list[str]) -> None:
    """Distinct for file systems that know neither case nor accents' spelling, and harmless on a command line."""
    safe = unique_names(dict(enumerate(names, 1)))
    assert [*safe] == [*range(1, len(names) + 1)]
    seen = [unicodedata.normalize("NFKC", name).casefold() for name in safe.values()]
    assert len(set(seen)) == len(names)
    for name in safe.values():
        assert sanitize(name) == name and len(name.encode()) <= 255 and shlex.split(name) == [name]
        assert not set(name) & set("$`&;()!#*~{}[]=,% ") and not name.startswith("-")


def test_objects_of_one_name_get_names_of_their_own(make_project, tmp_path: Path) -> None:
    assert unique_names(dict(enumerate(["Dog", "dog", "../dog", "cat", "object 5", "größe"], 1))) == {
        **{1: "Dog_1", 2: "dog_2", 3: "_dog"},
        **{4: "cat", 5: "object_5", 6: "größe"},
    }
    assert unique_names({1: "a_b_3", 2: "a b", 3: "a_b"}) == {1: "a_b_3_1", 2: "a_b_2", 3: "a_b_3_3"}
    project = make_project()
    project.update_object(2, name="bunny")
    paths = write(project, "png-mask", tmp_path / "m", end=0)
    assert [path.name for path in paths] == ["bunny cut_bunny_1_00000.png", "bunny cut_bunny_2_00000.png"]


# Mask settings


def test_settings_of_the_project_and_of_each_object_apply(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.set_mask_settings({"feather": 0.0, "fill_holes": 200})
    project.update_object(2, mask_settings={"grow": 3.0})
    stored = list(project.masks())
    bunny, rock = (pixels(path) for path in write(project, "png-mask", tmp_path / "a", start=2, end=2))
    assert bunny[30, 44] == 255 and not true_masks[1](2)[30, 44]  # the hole is filled
    grown = cv2.dilate(true_masks[2](2).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    assert rock[48, 90] == 255 and not true_masks[2](2)[48, 90]
    assert ((rock == 255) ^ (grown > 0)).sum() <= 12  # only corners depend on how distance is measured
    # The same as what a preview computes, and the stored masks stay as they are.
    wanted = finish_frame(
        {number: true_masks[number](2) for number in (1, 2)},
        {number: project.settings_of(number) for number in (1, 2)},
    )
    np.testing.assert_array_equal(bunny, wanted[1].alpha_hw)
    np.testing.assert_array_equal(rock, wanted[2].alpha_hw)
    assert list(project.masks()) == stored
    # Settings given for one export replace those of the project.
    plain = write(project, "png-mask", tmp_path / "b", start=2, end=2, settings=MaskSettings(feather=0))
    np.testing.assert_array_equal(pixels(plain[0]) == 255, true_masks[1](2))
    with pytest.raises(InputError, match="no mask setting 'soft'"):
        write(project, "png-mask", tmp_path / "c", settings={"soft": 1})


def test_data_sets_take_hard_masks_with_the_other_settings(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.set_mask_settings({"feather": 12.0, "remove_specks": 50})
    [path] = write(project, "npz", tmp_path / "a.npz", objects=[1])
    with np.load(path) as data:
        without_speck = true_masks[1](0)
        without_speck[60:64, 4:9] = False
        np.testing.assert_array_equal(data["masks"][0, 0], without_speck)


def test_refinement_sees_the_picture(make_project, clip: Path, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    settings = MaskSettings(refine=1.0, refine_radius=6.0)
    paths = write(project, "png-mask", tmp_path / "a", objects=[1], settings=settings, start=1, end=3)
    with open_media(clip) as reader:
        for path, frame in zip(paths, (1, 2, 3), strict=True):
            wanted = finish_frame({1: true_masks[1](frame)}, {1: settings}, reader.read(frame).image_hwc)
            np.testing.assert_array_equal(pixels(path), wanted[1].alpha_hw)
            assert ((pixels(path) > 127) ^ true_masks[1](frame)).any()


def test_smoothing_in_time_is_that_of_the_whole_clip(make_project, clip: Path, tmp_path: Path) -> None:
    project = make_project()
    base = np.zeros((72, 128), bool)
    base[20:50, 40:80] = True
    flicker = base.copy()
    flicker[20:50, 60:80] = False
    masks = [flicker if frame == 4 else base for frame in range(8)]
    project.put_masks([ObjectMask(1, frame, rle.encode(mask)) for frame, mask in enumerate(masks)])
    settings = MaskSettings(smooth_frames=2, feather=0)
    with open_media(clip) as reader:
        wanted = smooth(masks, [frame.image_hwc for frame in reader], radius=2)
    assert wanted[4].sum() > flicker.sum() + 100
    every = write(project, "png-mask", tmp_path / "a", objects=[1], settings=settings)
    for path, mask in zip(every, wanted, strict=True):
        np.testing.assert_array_equal(pixels(path) == 255, mask)
    # The same masks when only some frames are written: the neighbours are looked at all the same.
    some = write(project, "png-mask", tmp_path / "b", objects=[1], settings=settings, start=4, end=6, every=2)
    np.testing.assert_array_equal(pixels(some[0]) == 255, wanted[4])
    np.testing.assert_array_equal(pixels(some[1]) == 255, wanted[6])


def test_objects_give_way_also_to_those_that_are_not_exported(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    front = np.zeros((72, 128), bool)
    front[:, 30:60] = True
    project.put_masks([ObjectMask(2, frame, rle.encode(front), scores=Scores(object_score=9.0)) for frame in range(8)])
    settings = {"exclusive": True, "feather": 0}
    paths = write(project, "png-mask", tmp_path / "a", objects=[1], settings=settings)
    for frame, path in enumerate(paths):
        np.testing.assert_array_equal(pixels(path) == 255, true_masks[1](frame) & ~front)


def test_exports_without_pictures_do_without_the_source(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.close()
    import sqlite3

    connection = sqlite3.connect(project.path)
    connection.execute("UPDATE source SET path = '/nowhere/gone.mp4', relative_path = NULL, fingerprint = 'x'")
    connection.commit()
    connection.close()
    for name, target, options in (
        ("csv", "a.csv", {}),
        ("npz", "a.npz", {}),
        ("png-mask", "a", {}),
        ("svg", "a.svg", {}),
        ("coco", "b", {"images": "none"}),
    ):
        assert write(project.path, name, tmp_path / target, **options)
    with pytest.raises(MaskletError, match="--source"):
        write(project.path, "overlay", tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_pictures_and_sequences_are_sources_too(tmp_path: Path, demo_images: np.ndarray, true_masks: Masks) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for number, image in enumerate(demo_images[:4]):
        Image.fromarray(image).save(shots / f"take.{number + 10:04d}.png")
    with Project.create(tmp_path / "s.masklet", open_media(shots / "take.####.png", rate=30)) as project:
        project.add_object(1, "bunny")
        project.put_masks([ObjectMask(1, frame, rle.encode(true_masks[1](frame))) for frame in range(4)])
    [video] = write(tmp_path / "s.masklet", "ffv1-alpha", tmp_path / "s.mkv", settings=HARD)
    with open_media(video) as reader:
        assert (len(reader), reader.info.rate, reader.info.has_audio) == (4, 30, False)
    [still, *_] = write(tmp_path / "s.masklet", "png-rgba", tmp_path / "rgba", settings=HARD, start=2)
    np.testing.assert_array_equal(pixels(still)[..., :3], demo_images[2])

    photo = tmp_path / "photo.png"
    Image.fromarray(demo_images[5]).save(photo)
    with Project.create(tmp_path / "p.masklet", photo) as project:
        project.add_object(1, "bunny")
        project.put_masks([ObjectMask(1, 0, rle.encode(true_masks[1](5)))])
        for name, target in (("cutout", "c.png"), ("coco", "coco"), ("h264-matte", "m.mp4"), ("gif", "a.gif")):
            assert write(project, name, tmp_path / target)
    with Image.open(tmp_path / "c.png") as image:
        assert image.mode == "RGBA"
