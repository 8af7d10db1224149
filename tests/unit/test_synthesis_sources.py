"""Packs, folders of pictures, and what the fetching tool takes and leaves."""

from __future__ import annotations

import importlib
import json
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from masklet.errors import ExportError, InputError, MediaError
from masklet.training.synthesis import Pictures
from masklet.training.synthesis.packs import About, Pack
from masklet.training.synthesis.sources import crop_to_alpha, shrink

ROOT = Path(__file__).resolve().parents[2]
ABOUT = About("test", "CC0-1.0", "nobody")


def tool(name: str):
    """A script of tools/ as a module."""
    if str(ROOT / "tools") not in sys.path:
        sys.path.append(str(ROOT / "tools"))
    return importlib.import_module(name)


PackItem, write_pack = tool("pack_writer").PackItem, tool("pack_writer").write_pack


def disk(side: int = 60, shade: int = 120) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    picture = np.zeros((side, side, 4), np.uint8)
    picture[..., :3] = shade
    picture[..., 3] = (np.hypot(x - side / 2, y - side / 2) < side / 3) * 255
    return picture


def test_a_pack_gives_back_what_went_in(tmp_path):
    walk = [PackItem(f"walk{i}", np.roll(disk(), 4 * i, axis=1), strip="walk") for i in range(3)]
    items = [PackItem("alone", disk()), *walk, PackItem("next", disk(shade=30)), PackItem("last", disk()[:, :40])]
    assert write_pack(tmp_path / "cutouts-test.npz", items, ABOUT) == (4, 6)
    pack = Pack(tmp_path / "cutouts-test.npz")
    assert [pack.views(i) for i in range(len(pack))] == [1, 3, 1, 1]
    assert [pack.name(i) for i in range(len(pack))] == ["alone", "walk0", "next", "last"]
    assert pack.about == ABOUT and not pack.cyclic
    for view, item in enumerate(walk):
        image = pack.read(1, view)
        assert np.array_equal(image[..., 3], item.image[..., 3])
        inside = item.image[..., 3] > 0
        assert np.abs(image[inside][:, :3].astype(int) - item.image[inside][:, :3]).mean() < 4
    # views keep their common frame; single cut-outs are cropped to what is opaque
    pictures = Pictures([tmp_path], "cutouts")
    assert pictures.read(1, 2).shape == (60, 60, 4)
    assert pictures.read(0).shape == (39, 39, 4)
    assert not pictures.read(0).flags.writeable
    with pytest.raises(InputError, match="no photos"):
        Pictures([tmp_path], "photos")
    with pytest.raises(InputError, match="cutouts, photos, textures"):
        Pictures([tmp_path], "paintings")


def test_damaged_packs_and_full_disks(tmp_path):
    path = tmp_path / "cutouts-x.npz"
    path.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(MediaError, match="not a pack"):
        Pack(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(MediaError, match="not a pack"):
        Pack(path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ExportError):
        write_pack(blocked / "cutouts-y.npz", [PackItem("a", disk())], ABOUT)

    def stops():
        yield PackItem("a", disk())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pack(tmp_path / "cutouts-z.npz", stops(), ABOUT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cutouts-x.npz", "file"]


def test_folders_of_pictures_and_small_packs_next_to_large_ones(tmp_path):
    (tmp_path / "pics/deep").mkdir(parents=True)
    Image.new("RGB", (1600, 900), (10, 200, 30)).save(tmp_path / "pics/a.jpg")
    Image.new("L", (50, 40), 99).save(tmp_path / "pics/deep/b.png")
    (tmp_path / "pics/notes.txt").write_text("no picture")
    photos = Pictures([tmp_path / "pics"], "photos")
    assert [photos.read(i).shape for i in range(len(photos))] == [(432, 768, 3), (40, 50, 3)]
    write_pack(tmp_path / "photos-many.npz", [PackItem(str(i), disk()[..., :3]) for i in range(100)], ABOUT)
    mixed = Pictures([tmp_path / "photos-many.npz", tmp_path / "pics"], "photos")
    assert len(mixed) == 102
    rng = np.random.default_rng(0)
    from_small = sum(mixed.choose(rng) >= 100 for _ in range(2000)) / 2000
    assert from_small == pytest.approx(np.sqrt(2) / (np.sqrt(2) + 10), abs=0.03)
    with pytest.raises(InputError, match="no folder or pack"):
        Pictures([tmp_path / "nowhere"], "photos")


def test_shrinking_does_not_bleed_hidden_colours():
    picture = disk(200, shade=250)
    picture[picture[..., 3] == 0] = (0, 0, 0, 0)
    small = shrink(picture, 50)
    assert small.shape == (50, 50, 4)
    assert small[small[..., 3] > 20][:, :3].min() > 240
    assert crop_to_alpha(np.zeros((5, 5, 4), np.uint8)) is None


# ------------------------------------------------------------------------------------------ the tool


def test_only_free_wallpapers_are_taken(tmp_path):
    fetch = tool("fetch_training_sources")
    backgrounds = tmp_path / "usr/share/backgrounds"
    backgrounds.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    stanzas = ["Format: x"]
    for name, licence in (("a", "CC0-1.0"), ("b", "CC-BY-SA-4.0"), ("c", "CC-BY-4.0"), ("d", "GPL-3")):
        Image.fromarray(noise).save(backgrounds / f"{name}.jpg")
        stanzas.append(f"Files: 16.04/{name}.jpg\nCopyright: Painter {name}, 2018\nLicense: {licence}")
    document = tmp_path / "usr/share/doc/lomiri-wallpapers-16.04"
    document.mkdir(parents=True)
    (document / "copyright").write_text("\n\n".join(stanzas) + "\n\nLicense: CC-BY-SA-4.0\n text\n")
    credits = fetch.Credits()
    names = {item.name.partition("-")[0] for item in fetch.lomiri_wallpapers(tmp_path, credits)}
    assert names == {"a.jpg", "c.jpg"}
    assert credits.names["lomiri-wallpapers"] == {
        "a.jpg: Painter a, 2018, CC0-1.0",
        "c.jpg: Painter c, 2018, CC-BY-4.0",
    }


def test_furniture_under_other_licences_is_left_out(tmp_path):
    fetch = tool("fetch_training_sources")
    folder = tmp_path / "usr/share/sweethome3d/furniture"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "Some.sh3f", "w") as archive:
        lines = ["id=x"]
        for number, (name, licence) in enumerate(
            (("chair", "Creative Commons Attribution 3.0"), ("lamp", "Attribution-ShareAlike 3.0"), ("bed", None)), 1
        ):
            lines += [f"icon#{number}=/{name}.png", f"model#{number}=/{name}/{name}.obj", f"creator#{number}=Ann"]
            lines += [f"width#{number}=80", f"height#{number}=210.5", f"depth#{number}=40"]
            archive.writestr(f"{name}.png", b"")
            archive.writestr(f"{name}/{name}.obj", b"")
            if licence:
                archive.writestr(f"{name}/LICENSE.txt", licence)
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))
    credits = fetch.Credits()
    pieces = list(fetch.furniture(tmp_path, credits, "sweethome3d"))
    assert [piece.icon for piece in pieces] == ["chair.png", "bed.png"]
    assert pieces[0].metres == pytest.approx(2.105)
    assert "Ann" in credits.names["sweethome3d"]


def test_the_folder_says_what_is_in_it_and_whom_to_thank(tmp_path):
    fetch = tool("fetch_training_sources")
    walk = [PackItem(f"walk{i}", disk(), strip="walk") for i in range(3)]
    write_pack(tmp_path / "cutouts-test.npz", [PackItem("alone", disk()), *walk], ABOUT)
    credits = fetch.Credits()
    credits.add("test", "Ann")
    fetch._describe(tmp_path, credits)
    told = json.loads((tmp_path / "SOURCES.json").read_text())
    [pack] = told["packs"]
    assert (pack["file"], pack["things"], pack["pictures"]) == ("cutouts-test.npz", 2, 4)
    assert told["credits"] == {"test": ["Ann"]}
    assert (tmp_path / "CREDITS.md").read_text() == "# Credits\n\n## test\n\n- Ann\n"


def test_clip_art_becomes_cut_outs():
    fetch = tool("fetch_training_sources")
    assert fetch.clean_cutout(Image.new("RGB", (200, 200))) is None  # nothing is transparent
    assert fetch.clean_cutout(Image.new("RGBA", (200, 200))) is None  # everything is
    assert fetch.clean_cutout(Image.fromarray(disk(20))) is None  # too small
    outline = np.zeros((200, 200, 4), np.uint8)
    cv2.circle(outline, (100, 100), 80, (20, 20, 20, 255), 4)
    filled = fetch.clean_cutout(Image.fromarray(outline))
    assert filled is not None
    assert (filled[..., 3] > 128).mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert filled[filled.shape[0] // 2, filled.shape[1] // 2].tolist() == [255, 255, 255, 255]


def doom_picture(rows: int, columns: int, index: int) -> bytes:
    """A picture in Doom's format: one post per column, the first row left out."""
    head = np.array([columns, rows, 1, rows], "<i2").tobytes()
    post = bytes([1, rows - 1, 0]) + bytes([index]) * (rows - 1) + bytes([0, 255])
    starts = 8 + 4 * columns + np.arange(columns) * len(post)
    return head + starts.astype("<i4").tobytes() + post * columns


def test_doom_pictures_are_read(tmp_path):
    doom = tool("doom_pictures")
    palette = bytes(v for i in range(256) for v in (i, 255 - i, 7))
    lumps = [("PLAYPAL", palette), ("S_START", b""), ("TROOA1", doom_picture(9, 5, 40)), ("S_END", b"")]
    body, table = b"", b""
    for name, data in lumps:
        table += np.array([12 + len(body), len(data)], "<i4").tobytes() + name.encode().ljust(8, b"\0")
        body += data
    path = tmp_path / "x.wad"
    path.write_bytes(b"IWAD" + np.array([len(lumps), 12 + len(body)], "<i4").tobytes() + body + table)
    wad = doom.Wad(path)
    image, left, top = wad.picture(wad.between("S_START", "S_END")["TROOA1"])
    assert (left, top) == (1, 9)
    assert image[0, :, 3].tolist() == [0] * 5
    assert image[1:, :, 3].min() == 255
    assert image[4, 2].tolist() == [40, 215, 7, 255]


def test_views_in_panoramas_bear_suns_and_bad_pixels():
    fetch = tool("fetch_training_sources")
    radiance = np.full((64, 128, 3), 0.5, np.float32)
    radiance[30:34, 62:66] = 3000  # the sun, straight ahead
    radiance[20, 60], radiance[40, 70], radiance[32, 90] = -2, np.inf, np.nan
    view = fetch._look(radiance, 0.0, 0.0, side=120)
    assert view.shape == (90, 120, 3)
    assert view[45, 60].min() == 255
    open_sky = int(np.median(view))
    assert 60 < open_sky < 250
    assert (view < 0.6 * open_sky).mean() < 0.02  # no dark ring around the sun, only the bad pixels
    other = fetch._look(radiance, np.pi, 0.0, side=120)
    assert (other < 250).all()  # the sun is behind the camera


CUBE = """mtllib cube.mtl
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
usemtl front
f 1 2 3 4
usemtl rest
f 6 5 8 7
f 5 1 4 8
f 2 6 7 3
f 4 3 7 8
f 5 6 2 -8
"""


@pytest.mark.skipif(not hasattr(cv2, "triangleRasterize"), reason="this OpenCV has no rasteriser")
def test_models_of_several_materials_are_rendered(tmp_path):
    renderer = tool("render_furniture")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("a/cube.obj", CUBE)
        archive.writestr("a/cube.mtl", "newmtl front\nKd 1 0 0\nnewmtl rest\nKd 0 0 1\n")
    archive = zipfile.ZipFile(tmp_path / "m.zip")
    mesh = renderer.load_obj(archive, "a/cube.obj")
    assert mesh is not None and len(mesh.points) == 36
    assert np.abs(mesh.points).max() == pytest.approx(0.5)
    light = np.array([0.0, 0, 1])
    front, _ = renderer.render(mesh, renderer.look(np.array([0, 0, 3.0]), np.zeros(3)), 0.6, (64, 64), light, 0.5)
    back, _ = renderer.render(mesh, renderer.look(np.array([0, 0, -3.0]), np.zeros(3)), 0.6, (64, 64), light, 0.5)
    assert front[32, 32].tolist() == [255, 0, 0, 255]
    assert back[32, 32].tolist() == [0, 0, 255, 255]
    # a side of 1, seen from 2.5 away through a field of 0.6 radians
    side = 64 * 1 / (2 * 2.5 * np.tan(0.3))
    assert (front[..., 3] > 128).sum() == pytest.approx(side**2, rel=0.1)
    views = list(renderer.turning_views(mesh, np.random.default_rng(0), 3, 48))
    assert [view.shape for view in views] == [(48, 48, 4)] * 3
    assert not np.array_equal(views[0], views[1])
