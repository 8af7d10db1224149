"""Synthetic clips: repeatable, labelled exactly, with what the recipe promises in them."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from masklet.errors import InputError, MediaError
from masklet.training.synthesis import (
    ClipGenerator,
    ClipSettings,
    Pictures,
    Wardrobe,
    contact_sheet,
)
from masklet.training.synthesis.actors import cast, look_alike
from masklet.training.synthesis.compositor import Canvas, project, smeared, streak
from masklet.training.synthesis.geometry import corners, move, rotation, scaling, tilt, translation
from masklet.training.synthesis.parts import flat_actor, random_bend
from masklet.training.synthesis.paths import drift, through, wobble
from masklet.training.synthesis.puppets import puppet
from masklet.training.synthesis.shapes import random_shape
from masklet.training.synthesis.staging import camera, cover_actor, hiding_occluder, stage

SMALL = ClipSettings(frames=4, height=96, width=128)


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory, bunny_clip) -> Wardrobe:
    """Cut-outs and photographs as anybody has them: PNGs with alpha, and frames of a real video."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    (root / "cut").mkdir()
    for i in range(6):
        shape = random_shape(rng, 120, Wardrobe())
        cv2.imwrite(
            str(root / f"cut/{i}.png"), cv2.cvtColor(np.pad(shape, ((9, 4), (0, 7), (0, 0))), cv2.COLOR_RGBA2BGRA)
        )
    (root / "photo").mkdir()
    video = cv2.VideoCapture(str(bunny_clip))
    for i in range(4):
        ok, frame = video.read()
        assert ok
        cv2.imwrite(str(root / f"photo/{i}.jpg"), frame)
    return Wardrobe(Pictures([root / "cut"], "cutouts"), Pictures([root / "photo"], "photos"))


def same(first, second) -> bool:
    return (
        np.array_equal(first.frames_thwc, second.frames_thwc)
        and np.array_equal(first.labels_thw, second.labels_thw)
        and first.objects == second.objects
    )


def test_a_clip_depends_on_its_seed_and_number_alone(wardrobe):
    first, second = ClipGenerator(wardrobe, SMALL, seed=7), ClipGenerator(wardrobe, SMALL, seed=7)
    wanted = {number: first.clip(number) for number in (0, 1, 2, 9)}
    for number in (9, 2, 1, 0):  # asked for in another order
        assert same(wanted[number], second.clip(number))
    assert [same(wanted[n], clip) for n, clip in enumerate(itertools.islice(second, 3))] == [True] * 3
    assert not same(wanted[0], wanted[1])
    assert not same(wanted[0], ClipGenerator(wardrobe, SMALL, seed=8).clip(0))


def test_labels_name_the_objects_that_are_seen(wardrobe):
    settings = ClipSettings(frames=4, height=96, width=128, objects=(1, 5))
    least = int(settings.least_area * 96 * 128)
    hidden = 0
    for clip in itertools.islice(ClipGenerator(wardrobe, settings, seed=1), 40):
        assert clip.frames_thwc.shape == (4, 96, 128, 3) and clip.frames_thwc.dtype == np.uint8
        assert clip.labels_thw.shape == (4, 96, 128) and clip.labels_thw.dtype == np.uint8
        assert list(clip.objects) == list(range(1, len(clip.objects) + 1)) and len(clip.objects) <= 5
        assert set(np.unique(clip.labels_thw).tolist()) - {0} == set(clip.objects)
        assert (clip.labels_thw[0] == 1).any()
        for area in clip.areas.values():
            assert all(pixels == 0 or pixels >= least for pixels in area)
            hidden += bool((area[1:] == 0).any())
    assert hidden > 8  # things do leave and do get hidden


def test_an_object_looks_different_from_what_it_covers(wardrobe):
    """Labels sit where the picture changes: colours inside and just outside of a mask differ more than in the open."""
    settings = ClipSettings(frames=1, height=128, width=128, objects=(1, 1))
    across, along = [], []
    for clip in itertools.islice(ClipGenerator(wardrobe, settings, seed=3), 40):
        mask, image = clip.mask(1)[0].astype(np.uint8), clip.frames_thwc[0].astype(np.float32)
        image = cv2.blur(image, (3, 3))
        inner = mask - cv2.erode(mask, np.ones((7, 7)))
        outer = cv2.dilate(mask, np.ones((7, 7))) - mask
        if inner.sum() < 60 or outer.sum() < 60:
            continue
        shift = np.roll(image, 6, axis=1)
        across.append(np.abs(image[inner > 0].mean(axis=0) - image[outer > 0].mean(axis=0)).mean())
        along.append(np.abs(image - shift)[(mask == 0)][::7].mean())
    assert np.mean(across) > 1.3 * np.mean(along)


def test_clips_without_any_pictures_and_of_any_size():
    clip = ClipGenerator(settings=ClipSettings(frames=7, height=64, width=200, objects=(2, 2)), seed=2).clip(0)
    assert clip.frames_thwc.shape == (7, 64, 200, 3)
    for bad in ({"frames": 0}, {"height": 8}, {"objects": (0, 2)}, {"objects": (3, 2)}):
        with pytest.raises(InputError):
            ClipSettings(**bad)


def test_unusable_files_among_the_cut_outs_are_passed_over(tmp_path, wardrobe):
    good = wardrobe.cutouts.read(0)
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"good{i}.png"), cv2.cvtColor(good, cv2.COLOR_RGBA2BGRA))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    cv2.imwrite(str(tmp_path / "opaque.jpg"), np.full((40, 40, 3), 90, np.uint8))
    generator = ClipGenerator(Wardrobe(Pictures([tmp_path], "cutouts")), SMALL)
    assert len([generator.clip(i) for i in range(8)]) == 8
    only_bad = tmp_path / "bad"
    only_bad.mkdir()
    cv2.imwrite(str(only_bad / "opaque.jpg"), np.full((40, 40, 3), 90, np.uint8))
    with pytest.raises(MediaError, match="alpha"):
        for i in range(20):
            ClipGenerator(Wardrobe(Pictures([only_bad], "cutouts")), SMALL).clip(i)


# ------------------------------------------------------------------------------------------ composition


def square(side: int = 40, shade: int = 200):
    picture = np.full((side, side, 4), 255, np.uint8)
    picture[..., :3] = shade
    return flat_actor([picture], np.zeros(1, int), "square")


def painted(*layers: tuple[np.ndarray, int], size: tuple[int, int] = (80, 100)) -> Canvas:
    canvas = Canvas(np.zeros((*size, 3), np.uint8))
    for pose, label in layers:
        layer = project(square().parts[0], 0, pose, size)
        if layer is not None:
            canvas.paint(layer, label)
    return canvas


def test_owner_is_the_quadrilateral_of_the_pose():
    pose = translation(52, 37) @ scaling(50) @ rotation(0.4) @ tilt(0.7, -0.3, 1.6)
    canvas = painted((pose, 3))
    outline = move(pose, corners(1, 1) - 0.5)
    expected = np.zeros((80 * 8, 100 * 8), np.uint8)
    cv2.fillPoly(expected, [np.round(outline * 8 - 0.5).astype(np.int32)], 1)
    expected = cv2.resize(expected.astype(np.float32), (100, 80), interpolation=cv2.INTER_AREA) > 0.5
    mask = canvas.owner == 3
    # half a pixel at the rim may fall either way
    assert (mask & expected).sum() / (mask | expected).sum() > 0.95
    assert np.allclose(canvas.image[cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) > 0], 200, atol=1)


def test_what_is_in_front_hides_and_scenery_has_no_label():
    left, right = translation(40, 40) @ scaling(40), translation(60, 40) @ scaling(40)
    assert set(np.unique(painted((left, 1), (right, 2)).owner)) == {0, 1, 2}
    both = painted((left, 1), (right, 2)).owner
    assert (both == 2).sum() == pytest.approx(1600, abs=90) and (both == 1).sum() == pytest.approx(800, abs=60)
    assert (painted((left, 1), (left, 0)).owner == 0).all()


def test_out_of_sight_is_nothing():
    assert project(square().parts[0], 0, translation(400, 40) @ scaling(40), (80, 100)) is None
    behind = np.array([[1, 0, 0], [0, 1, 0], [-3, 0, 1.0]])  # turned so far that it reaches behind the viewer
    assert project(square().parts[0], 0, translation(50, 40) @ scaling(40) @ behind, (80, 100)) is None


def test_bending_moves_pixels_but_keeps_the_thing_together():
    rng = np.random.default_rng(0)
    actor = flat_actor([random_shape(rng, 90, Wardrobe())], np.zeros(3, int), "shape", random_bend(rng, 3, 0.05))
    pose = translation(64, 64) @ scaling(80)
    masks = []
    for t in range(3):
        layer = project(actor.parts[0], t, pose, (128, 128))
        assert layer is not None
        canvas = Canvas(np.zeros((128, 128, 3), np.uint8))
        canvas.paint(layer, 1)
        masks.append(canvas.owner == 1)
    overlap = (masks[0] & masks[2]).sum() / (masks[0] | masks[2]).sum()
    assert 0.5 < overlap < 0.999
    assert masks[2].sum() == pytest.approx(masks[0].sum(), rel=0.35)


@pytest.mark.parametrize("motion", [(9.0, 0.0), (0.0, -6.0), (7.3, 4.1), (-3.0, 12.5)])
def test_motion_blur_spreads_along_the_motion_and_keeps_the_middle(motion):
    kernel = streak(np.array(motion))
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]]
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel * x).sum() == pytest.approx((kernel.shape[1] - 1) / 2, abs=0.01)
    assert (kernel * y).sum() == pytest.approx((kernel.shape[0] - 1) / 2, abs=0.01)
    patch = np.zeros((30, 30, 4), np.uint8)
    patch[10:20, 10:20] = 255
    left, top, blurred = smeared((5, 7, patch), np.array(motion))
    rows, columns = np.nonzero(blurred[..., 3] > 127)
    assert left + columns.mean() == pytest.approx(5 + 14.5, abs=0.6)
    assert top + rows.mean() == pytest.approx(7 + 14.5, abs=0.6)
    assert float(blurred[..., 3].sum()) == pytest.approx(float(patch[..., 3].sum()), rel=0.03)


# ------------------------------------------------------------------------------------------ staging


def seen(staged, views, size) -> np.ndarray:
    """Visible pixels in each frame when nothing else is there."""
    areas = []
    for t in range(len(staged.poses)):
        canvas = Canvas(np.zeros((*size, 3), np.uint8))
        for part in staged.actor.parts:
            layer = project(part, t, views[t] @ staged.poses[t], size)
            if layer is not None:
                canvas.paint(layer, 1)
        areas.append(int((canvas.owner == 1).sum()))
    return np.asarray(areas)


def nine_frames(side: int = 40):
    picture = np.full((side, side, 4), 255, np.uint8)
    return flat_actor([picture], np.zeros(9, int), "square")


@pytest.mark.parametrize("seed", range(8))
def test_behaviours_do_what_they_are_called(seed):
    rng, size, still = np.random.default_rng(seed), (96, 128), np.broadcast_to(np.eye(3), (9, 3, 3))

    def areas(behaviour):
        staged = stage(rng, nine_frames(), 9, size, label=1, size=0.35, behaviour=behaviour, tempo=0.02)
        return seen(staged, still, size)

    away = areas("leave and return")
    assert away[0] > 0 and away[-1] > 0 and (away == 0).any()
    gone = areas("exit")
    assert gone[0] > 0 and gone[-1] == 0
    come = areas("enter")
    assert come[0] == 0 and come[-1] > 0
    assert (areas("stay") > 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_hiding_thing_hides_its_target_for_a_while_and_passes(seed):
    rng, size = np.random.default_rng(seed), (96, 128)
    target = stage(rng, nine_frames(), 9, size, label=1, size=0.3, behaviour="stay", tempo=0.005)
    wall = hiding_occluder(rng, cover_actor(rng, np.full((50, 50, 3), 9, np.uint8), 9), target, 9, size)
    left = []
    for t in range(9):
        canvas = Canvas(np.zeros((*size, 3), np.uint8))
        for staged in (target, wall):
            layer = project(staged.actor.parts[0], t, staged.poses[t], size)
            if layer is not None:
                canvas.paint(layer, staged.label)
        left.append(int((canvas.owner == 1).sum()))
    alone = seen(target, np.broadcast_to(np.eye(3), (9, 3, 3)), size)
    assert min(left) < 0.1 * alone.max()
    assert left[0] > 0.5 * alone[0]


def test_paths_pass_their_points_and_have_no_jumps():
    points = np.array([[0.0, 0.0], [1.0, 0.5], [0.2, 0.9]])
    path = through(points, np.array([0.0, 10.0, 20.0]), 21)
    assert np.allclose(path[[0, 10, 20]], points)
    assert np.abs(np.diff(path, axis=0)).max() < 0.2
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert np.abs(wobble(rng, 30)).max() <= 1
        assert drift(rng, 30, 0.01)[0] == 0
        views = camera(rng, 5, (96, 128), 0.02)
        # the first view is the world as it is, but for the shake of a hand; then it goes on in small steps
        middle = np.concatenate([move(view, np.array([[64.0, 48.0]])) for view in views])
        assert np.abs(middle[0] - [64, 48]).max() < 3
        assert np.abs(np.diff(middle, axis=0)).max() < 0.15 * 128


def test_puppets_have_limbs_that_move_against_each_other():
    rng = np.random.default_rng(11)
    actor = puppet(rng, 6, Wardrobe())
    assert len(actor.parts) >= 8
    turns = [np.arctan2(part.matrices[:, 1, 0], part.matrices[:, 0, 0]) for part in actor.parts]
    relative = [np.ptp(np.unwrap(turn - turns[-1])) for turn in turns[:-1]]
    assert max(relative) > 0.05
    ends = np.concatenate(
        [move(m, corners(*part.views[0].shape[1::-1])) for part in actor.parts for m in part.matrices]
    )
    assert np.abs(ends).max() < 0.75  # it fits its unit square in every frame


def test_look_alikes_look_alike(wardrobe):
    rng = np.random.default_rng(6)
    for _ in range(6):
        actor = cast(rng, 4, wardrobe)
        other = look_alike(rng, actor, 4)
        for mine, theirs in zip(actor.parts, other.parts, strict=True):
            for a, b in zip(mine.views, theirs.views, strict=True):
                assert np.array_equal(a[..., 3], b[..., 3])
                assert np.abs(a[..., :3].astype(int) - b[..., :3]).mean() < 30


# ------------------------------------------------------------------------------------------ preview


def test_contact_sheet_and_its_command(tmp_path, wardrobe):
    from masklet.cli.train import app

    clips = list(itertools.islice(ClipGenerator(wardrobe, SMALL, seed=1), 5))
    sheet = contact_sheet(clips, columns=2)
    assert sheet.shape[0] == 3 * (96 + 3) and sheet.dtype == np.uint8
    assert not np.array_equal(sheet, contact_sheet(clips, masks=False, columns=2))

    target = tmp_path / "sheet.png"
    arguments = ["preview", "-o", str(target), "--clips", "2", "--frames", "3", "--size", "64", "--columns", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert cv2.imread(str(target)).shape[:2] == (2 * 67, 3 * 67 + 6)
    assert list(tmp_path.iterdir()) == [target]
    wrong = CliRunner().invoke(app, ["preview", "-o", str(tmp_path / "sheet.gif")])
    assert isinstance(wrong.exception, InputError)
    nowhere = CliRunner().invoke(app, [*arguments, "--sources", str(tmp_path / "nothing")])
    assert isinstance(nowhere.exception, InputError)
