"""Clips out of videos: repeatable, aligned with their labels whatever is done to them, honest about what they know."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from masklet.errors import InputError, MaskletWarning
from masklet.masks import rle
from masklet.project import Project
from masklet.results import ObjectMask, Scores
from masklet.training.footage import Footage, FootageClip, FootageSettings
from masklet.training.footage.augment import FILL, draw_colours, draw_views, squash
from masklet.training.footage.footage import _every_frame, _walk
from masklet.training.footage.handles import close_all, kept_open
from masklet.training.footage.videos import label_map
from masklet.training.synthesis import contact_sheet

SMALL = FootageSettings(frames=4, height=64, width=80, least_area=0.001)
STEP = 60  # grey per label, in pictures that show their labels


def same(first: FootageClip, second: FootageClip) -> bool:
    return (
        np.array_equal(first.frames_thwc, second.frames_thwc)
        and np.array_equal(first.labels_thw, second.labels_thw)
        and np.array_equal(first.annotated_t, second.annotated_t)
        and (first.objects, first.video, first.indices) == (second.objects, second.video, second.indices)
    )


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos in DAVIS's layout whose pictures show their labels: grey 60 where the label is 1, 120 where 2.

    A disk goes right, a bar goes down and is away on frames 3 and 4.
    """
    root = tmp_path_factory.mktemp("encoded")
    for name, (height, width) in {"wide": (90, 160), "tall": (121, 75)}.items():
        (root / "JPEGImages" / name).mkdir(parents=True)
        (root / "Annotations" / name).mkdir(parents=True)
        for frame in range(9):
            labels = np.zeros((height, width), np.uint8)
            cv2.circle(labels, (width // 4 + 4 * frame, height // 2), height // 5, 1, -1)
            if frame not in (3, 4):
                top = 4 + 3 * frame
                labels[top : top + height // 4, width * 3 // 5 : width * 9 // 10] = 2
            Image.fromarray(np.repeat(labels[..., None] * STEP, 3, axis=2)).save(
                root / "JPEGImages" / name / f"{frame:05d}.png"
            )
            picture = Image.fromarray(labels)
            picture.save(root / "Annotations" / name / f"{frame:05d}.png")
    return root


@pytest.fixture(scope="module")
def bunny_project(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> Path:
    """The packaged clip at its full size, one object tracked on every second of its first 40 frames."""
    folder = tmp_path_factory.mktemp("projects")
    with Project.create(folder / "bunny.masklet", bunny_clip) as project:
        size = project.source.size
        project.add_object(1, "bunny")
        records = []
        for frame in range(0, 40, 2):
            mask = np.zeros(size, bool)
            mask[200:600, 300 + 5 * frame : 700 + 5 * frame] = True
            records.append(ObjectMask(1, frame, rle.encode(mask), scores=Scores(object_score=4.0, predicted_iou=0.9)))
        project.put_masks(records)
    return folder


# ---------------------------------------------------------------------------------------------- determinism


@settings(max_examples=12)
@given(seed=st.integers(-5, 2**40), numbers=st.lists(st.integers(0, 10**6), min_size=2, max_size=4))
def test_a_clip_depends_on_its_seed_and_number_alone(encoded: Path, seed: int, numbers: list[int]) -> None:
    footage = Footage(encoded, SMALL, seed)
    clips = [footage.clip(number) for number in numbers]
    other = pickle.loads(pickle.dumps(Footage([str(encoded)], SMALL, seed)))
    for number, clip in reversed(list(zip(numbers, clips, strict=True))):
        assert same(clip, other.clip(number))
        assert clip.number == number


def test_clips_differ(encoded: Path) -> None:
    footage = Footage(encoded, SMALL, seed=1)
    clips = [footage.clip(number) for number in range(20)]
    assert {clip.video for clip in clips} == {"wide", "tall"}
    assert len({clip.indices for clip in clips}) > 8
    directions = {np.sign(clip.indices[1] - clip.indices[0]) for clip in clips}
    assert directions == {-1, 1}
    assert {len(clip.objects) for clip in clips} == {1, 2}
    assert not same(clips[0], Footage(encoded, SMALL, seed=2).clip(0))


class Thing:
    """Something that can be open."""

    closed = 0

    def close(self) -> None:
        Thing.closed += 1


def test_threads_and_copies_open_files_of_their_own(bunny_project: Path) -> None:
    footage = Footage(bunny_project, SMALL.changed(frames=2), seed=4)
    expected = [footage.clip(number) for number in range(3)]
    assert same(pickle.loads(pickle.dumps(footage)).clip(1), expected[1])  # with files open
    found: dict[int, FootageClip] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: footage.clip(n)})) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[number], expected[number]) for number in range(3))


def test_the_same_videos_as_other_clips(encoded: Path) -> None:
    footage = Footage(encoded, SMALL, seed=1)
    longer = footage.changed(frames=6, height=40, seed=2)
    assert same(longer.clip(3), Footage(encoded, SMALL.changed(frames=6, height=40), seed=2).clip(3))
    assert footage.clip(3).frames_thwc.shape == (4, 64, 80, 3) and footage.seed == 1
    assert same(footage.changed().clip(3), footage.clip(3))


def _look_in_child(inherited: Thing, pipe) -> None:
    shared = kept_open("of this process", Thing) is inherited
    for number in range(12):
        kept_open(("others", number), Thing)
    pipe.send((shared, Thing.closed))
    pipe.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system can't fork")
def test_a_forked_process_leaves_its_parents_files_alone() -> None:
    close_all()
    own = kept_open("of this process", Thing)
    Thing.closed = 0
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_look_in_child, args=(own, send))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
        child.start()
    assert receive.poll(60)
    assert receive.recv() == (False, 5)  # 13 of its own, of which 8 stay open
    child.join(30)
    assert child.exitcode == 0
    assert kept_open("of this process", Thing) is own


def test_few_files_stay_open() -> None:
    close_all()
    Thing.closed = 0
    made = [kept_open(("thing", number), Thing) for number in range(12)]
    assert kept_open(("thing", 11), Thing) is made[11]
    assert Thing.closed == 4
    assert kept_open(("thing", 0), Thing) is not made[0]
    close_all()
    assert Thing.closed == 13


# ---------------------------------------------------------------------------------------------- alignment


def inside(mask: np.ndarray, by: int) -> np.ndarray:
    """Where a mask goes on for `by` pixels in all directions; what is past the frame may be its edge."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1)), borderValue=0) > 0


def assert_aligned(frames_thwc: np.ndarray, labels_thw: np.ndarray, by: int) -> None:
    """Pictures of grey 60·label agree with their labels, except within `by` pixels of an edge, in both directions."""
    for image, labels in zip(frames_thwc, labels_thw, strict=True):
        for label in range(3):
            shown = (np.abs(image.astype(int) - label * STEP) <= 2).all(axis=-1)
            labelled = labels == label
            if label:  # no label is also where the view goes past the frame
                assert shown[inside(labelled, by)].all()
            assert labelled[inside(shown, by)].all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    degrees=st.sampled_from([0, 10, 60]),
    shear=st.sampled_from([0, 20, 45]),
    zoom=st.sampled_from([1.0, 1.3, 3.0]),
    mosaic=st.sampled_from([0.0, 1.0]),
    size=st.tuples(st.integers(32, 150), st.integers(32, 150)),
)
def test_labels_go_where_their_pixels_go(seed, degrees, shear, zoom, mosaic, size) -> None:
    rng = np.random.default_rng(seed)
    chosen = FootageSettings(
        frames=3,
        height=size[0],
        width=size[1],
        degrees=degrees,
        shear=shear,
        zoom=(1.0, zoom),
        mosaic=mosaic,
        shake=0.03,
    )
    height, width = int(rng.integers(40, 300)), int(rng.integers(40, 300))
    labels = np.zeros((height, width), np.uint8)
    labels[height // 5 : height // 2, width // 4 : width * 3 // 4] = 1
    labels[height // 2 : height * 4 // 5, width // 3 : width * 2 // 3] = 2
    image = np.repeat(labels[..., None] * STEP, 3, axis=2)
    views = draw_views(rng, chosen, (height, width), (width / 2, height / 2), 3)
    frames = np.stack([views.image(t, image) for t in range(3)])
    moved = np.stack([views.labels(t, labels) for t in range(3)])
    assert frames.shape == (3, *size, 3) and moved.shape == (3, *size)
    assert (moved[0] > 0).any()
    if mosaic:  # the pictures of the other three quarters have no labels
        top, left = -(-size[0] // 2), -(-size[1] // 2)
        rows, columns = (views.quarter // 2) * top, (views.quarter % 2) * left
        rows, columns = slice(rows, rows + top), slice(columns, columns + left)
        outside = moved.copy()
        outside[:, rows, columns] = 0
        assert not outside.any()
        frames, moved = frames[:, rows, columns], moved[:, rows, columns]
    # bilinear weights reach over one pixel of the source, or of the picture that was shrunk first
    matrix = views.matrices_t33[0] @ np.diag([1 / width, 1 / height, 1])
    assert_aligned(frames, moved, by=2 + int(np.ceil(np.abs(matrix[:2, :2]).sum(axis=1).max())))


@pytest.mark.parametrize("size", [(97, 129), (151, 100), (500, 430)])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_labels_and_pixels_have_one_middle(size: tuple[int, int], mosaic: float) -> None:
    """Shrunk, enlarged or turned: not even half a pixel lies between the two."""
    labels = np.zeros((180, 240), np.uint8)
    cv2.circle(labels, (130, 80), 40, 1, -1)
    image = np.full((180, 240, 3), FILL, np.uint8) + 100 * labels[..., None]
    chosen = FootageSettings(frames=6, height=size[0], width=size[1], degrees=40, zoom=(1, 1), mosaic=mosaic, flip=0.5)
    for seed in range(5):
        views = draw_views(np.random.default_rng(seed), chosen, labels.shape, (130, 80), 6)
        views.matrices_t33[0] = squash(views._tile_hw, 1).matrices_t33[0]
        for t in range(6):
            weight = views.image(t, image)[..., 0].astype(float) - FILL[0]
            moved = views.labels(t, labels)
            if mosaic:
                weight[moved == 0] *= cv2.dilate(moved, np.ones((7, 7)))[moved == 0]  # not the other three
            rows, columns = np.indices(moved.shape)
            for place, length in ((rows, size[0]), (columns, size[1])):
                middle = (place * weight).sum() / weight.sum()
                assert (place * moved).sum() / moved.sum() == pytest.approx(middle, abs=0.1 + length / 2000)


@settings(max_examples=15)
@given(number=st.integers(0, 10**6))
def test_clips_are_aligned(encoded: Path, number: int) -> None:
    """The whole way from files: the right frames, in the right order, with the labels of the same moment."""
    settings_ = FootageSettings(frames=4, height=96, width=96, mosaic=0, grayscale=0, objects=2).changed(
        **dict.fromkeys(
            ["brightness", "contrast", "saturation", "frame_brightness", "frame_contrast", "frame_saturation"], 0.0
        ),
    )
    clip = Footage(encoded, settings_, seed=0).clip(number)
    assert clip.annotated_t.all()
    assert (clip.labels_thw[0] > 0).any()
    assert [(clip.labels_thw[0] == label).sum() >= 4 for label in clip.objects] == [True] * len(clip.objects)
    # the clip's own numbers back to the video's; objects that weren't chosen have no label
    table = np.array([0, *clip.object_ids], np.uint8)
    labels = table[clip.labels_thw]
    for image, own in zip(clip.frames_thwc, labels, strict=True):
        for object_id in clip.object_ids:
            shown = (np.abs(image.astype(int) - object_id * STEP) <= 2).all(axis=-1)
            assert shown[inside(own == object_id, 5)].all()
            assert (own == object_id)[inside(shown, 5)].all()


def test_plain_clips_are_only_squashed(bunny_project: Path, bunny_clip: Path) -> None:
    chosen = FootageSettings(frames=3, height=96, width=96, between=0).plain()
    clip = Footage(bunny_project, chosen, seed=9).clip(2)
    assert [after - before for before, after in zip(clip.indices, clip.indices[1:], strict=False)] == [2, 2]
    video = cv2.VideoCapture(str(bunny_clip))
    pictures = []
    while len(pictures) <= clip.indices[-1]:
        ok, picture = video.read()
        assert ok
        pictures.append(picture[..., ::-1])
    for t, index in enumerate(clip.indices):
        small = cv2.resize(pictures[index], (96, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(clip.frames_thwc[t].astype(int) - small).mean() < 2.5
        columns = np.flatnonzero(clip.labels_thw[t].any(axis=0))
        assert columns[0] == pytest.approx((300 + 5 * index) * 96 / 1280, abs=1)
        assert (clip.labels_thw[t] == 1).mean() == pytest.approx(400 * 400 / (1280 * 720), abs=0.004)
    assert clip.objects == {1: "bunny"}
    assert contact_sheet([clip]).shape[2] == 3


def test_squash_is_opencvs_resize(demo_images: np.ndarray) -> None:
    found = squash((40, 50), 1).image(0, demo_images[0])
    expected = cv2.resize(demo_images[0], (50, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).max() <= 1


# ---------------------------------------------------------------------------------------------- colours


def test_colours(demo_images: np.ndarray) -> None:
    image = demo_images[0]
    rng = np.random.default_rng(0)
    none = dict.fromkeys(
        ["brightness", "contrast", "saturation", "frame_brightness", "frame_contrast", "frame_saturation"], 0.0
    )
    unchanged = draw_colours(rng, FootageSettings(grayscale=0, **none), 2)
    np.testing.assert_array_equal(unchanged.apply(1, image), image)
    grey = draw_colours(rng, FootageSettings(grayscale=1), 2).apply(0, image)
    assert (grey.max(axis=-1).astype(int) - grey.min(axis=-1) <= 1).all() and grey.std() > 10
    bright = replace(unchanged, factors_t3=np.array([[0.5, 1, 1], [1, 1, 1]])).apply(0, image)
    np.testing.assert_allclose(bright, image / 2, atol=0.51)
    flat = replace(unchanged, factors_t3=np.array([[1, 0, 1]])).apply(0, image)
    assert np.ptp(flat) == 0 and abs(flat[0, 0, 0] - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()) < 1
    pale = replace(unchanged, factors_t3=np.array([[1, 1, 0]])).apply(0, image)
    assert np.abs(pale[..., 0].astype(int) - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_frames_change_by_as_much_as_is_said(demo_images: np.ndarray) -> None:
    chosen = FootageSettings(grayscale=0)
    drawn = [draw_colours(np.random.default_rng(seed), chosen, 4) for seed in range(50)]
    shared = np.stack([looks.shared_3 for looks in drawn])
    own = np.concatenate([looks.factors_t3 for looks in drawn])
    for found, most in ((shared, (0.1, 0.03, 0.03)), (own, (0.1, 0.05, 0.05))):
        reach = np.abs(found - 1).max(axis=0)
        assert (reach <= most).all() and (reach > 0.9 * np.array(most)).all()


# ---------------------------------------------------------------------------------------------- sampling


def test_frames_between_annotated_ones_are_marked(bunny_project: Path) -> None:
    footage = Footage(bunny_project, SMALL.changed(frames=5, between=1.0), seed=0)
    for number in range(4):
        clip = footage.clip(number)
        annotated = [index < 40 and index % 2 == 0 for index in clip.indices]
        assert clip.annotated_t.tolist() == annotated
        assert annotated[0] and annotated[-1] and sum(annotated) < 5
        assert len(set(clip.indices)) == 5
        for labels, known in zip(clip.labels_thw, annotated, strict=True):
            assert known or not labels.any()
    only = Footage(bunny_project, SMALL.changed(frames=5, between=0.0), seed=0)
    assert all(only.clip(number).annotated_t.all() for number in range(4))


def test_training_batches_know_what_is_annotated(bunny_project: Path) -> None:
    from masklet.training.batches import ClipBatches

    footage = Footage(bunny_project, SMALL.changed(frames=5, between=0.5), seed=0)
    batches = ClipBatches(footage, clips=2, objects=2, seed=5)
    share = []
    for number in range(4):
        batch = batches[number]
        assert batch.frames_bthwc.shape == (2, 5, 64, 80, 3) and batch.owner_k.tolist() == [0, 0, 1, 1]
        assert batch.masks_kthw[:, 0].flatten(1).any(1).all() and batch.known_kt[:, 0].all()
        assert not batch.masks_kthw[~batch.known_kt].any()
        share.append(batch.known_kt.float().mean().item())
    assert 0.4 < np.mean(share) < 1


def test_doubtful_objects_leave_a_frame_unmarked(make_project, true_masks, tmp_path: Path) -> None:
    project = make_project()
    project.put_masks(
        [ObjectMask(2, f, rle.encode(true_masks[2](f)), scores=Scores(predicted_iou=0.9)) for f in (0, 1, 2, 5)]
    )
    project.close()
    footage = Footage(tmp_path, SMALL.changed(max_stride=1, objects=2, reverse=0, zoom=(1, 1)), seed=0)
    both = [clip for clip in map(footage.clip, range(25)) if len(clip.objects) == 2]
    alone = [clip for clip in map(footage.clip, range(25)) if list(clip.objects.values()) == ["bunny"]]
    assert both and alone
    for clip in both:  # lost on 3 and 4, doubtful on 6 and 7
        assert clip.annotated_t.tolist() == [index in (0, 1, 2, 5) for index in clip.indices]
    assert all(clip.annotated_t.all() for clip in alone)


@settings(max_examples=100)
@given(
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    data=st.data(),
    count=st.integers(2, 9),
    stride=st.sampled_from([-3, -2, -1, 1, 2, 3]),
)
def test_walks_stay_inside(gaps: list[int], data: st.DataObject, count: int, stride: int) -> None:
    annotated = np.cumsum(gaps).tolist()
    start = data.draw(st.integers(0, len(annotated) - 1))
    walk = _walk(start, stride, count, len(annotated))
    assert len(walk) == count and walk[0] == start
    assert all(0 <= place < len(annotated) for place in walk)
    between = _every_frame(annotated, start, stride, count)
    if between is not None:
        assert len(between) == count and len(set(between)) == count
        assert between[0] == annotated[start] and between[-1] in annotated
        assert (np.sign(np.diff(between)) == np.sign(stride)).all()


def test_short_videos_turn_round(encoded: Path, tmp_path: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "short").mkdir(parents=True)
        for frame in range(2):
            name = f"{frame:05d}.png"
            (tmp_path / kind / "short" / name).write_bytes((encoded / kind / "wide" / name).read_bytes())
    clip = Footage(tmp_path, SMALL.changed(frames=5), seed=0).clip(0)
    assert clip.indices in ((0, 1, 0, 1, 0), (1, 0, 1, 0, 1))
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "short" / "00001.png").unlink()
    still = Footage(tmp_path, SMALL, seed=0).clip(0)
    assert still.indices == (0, 0, 0, 0)
    assert not np.array_equal(still.frames_thwc[0], still.frames_thwc[1])  # shaken


def test_objects_must_be_large_enough(encoded: Path) -> None:
    large = Footage(encoded, SMALL.changed(least_area=0.09), seed=0)
    assert {object_id for n in range(10) for object_id in large.clip(n).object_ids} <= {1, 2}
    with pytest.raises(
        InputError, match=r"No clip was found in 60 tries.*covers 70.000% of the frame.*lower least_area"
    ):
        Footage(encoded, SMALL.changed(least_area=0.7)).clip(0)


def test_pictures_and_masks_of_a_video(encoded: Path, bunny_project: Path) -> None:
    video = Footage(encoded, SMALL).video("wide")
    pictures = video.read(range(9))
    assert sorted(pictures) == list(video.annotated) == list(range(9))
    for index, picture in pictures.items():
        masks = {object_id: mask for object_id, mask in video.masks(index).items() if mask.any()}
        np.testing.assert_array_equal(label_map(masks, picture.shape) * STEP, picture[..., 0])
        assert sorted(masks) == ([1] if index in (3, 4) else [1, 2])
    film = Footage(bunny_project, SMALL).videos[0]
    assert list(film.annotated)[:3] == [0, 2, 4] and film.read([4])[4].shape == (720, 1280, 3)
    mask = film.masks(4)[1]
    assert mask[300, 320:720].all() and mask.sum() == 160_000


# ---------------------------------------------------------------------------------------------- damage


def copied(source: Path, to: Path) -> Path:
    for path in source.rglob("*.png"):
        place = to / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return to


def test_clips_with_damaged_frames_are_left_out(encoded: Path, tmp_path: Path) -> None:
    root = copied(encoded, tmp_path)
    for frame in (2, 6):
        path = root / "JPEGImages" / "wide" / f"{frame:05d}.png"
        path.write_bytes(path.read_bytes()[:100])
    footage = Footage(root, SMALL, seed=0)
    with pytest.warns(MaskletWarning, match=r"Frame [26] of wide can't be decoded") as caught:
        clips = [footage.clip(number) for number in range(15)]
    assert len([warning for warning in caught if issubclass(warning.category, MaskletWarning)]) == 1
    assert footage.damaged.keys() == {"wide"} and footage.damaged["wide"] <= {2, 6}
    assert all(not {2, 6} & set(clip.indices) for clip in clips if clip.video == "wide")
    assert {clip.video for clip in clips} == {"wide", "tall"}
    again = Footage(root, SMALL, seed=0)
    with pytest.warns(MaskletWarning):
        assert all(same(again.clip(clip.number), clip) for clip in reversed(clips))
    with pytest.warns(MaskletWarning):
        for path in (root / "JPEGImages").rglob("*.png"):
            path.write_bytes(b"nothing")
        with pytest.raises(InputError, match=r"No clip was found in 60 tries .*\(\d+ frames could not be decoded\)"):
            Footage(root, SMALL).clip(0)


def test_a_video_that_is_shorter_than_its_annotations(make_video, tmp_path: Path) -> None:
    make_video.make("sav_7.mp4", count=9, size=(96, 64), rate=24)
    mask = rle.encode(np.ones((64, 96), bool))
    document = {"video_frame_count": 17.0, "video_height": 64.0, "video_width": 96.0, "masklet_id": [0]}
    (tmp_path / "sav_7_manual.json").write_text(json.dumps({**document, "masklet": [[mask]] * 5}))
    footage = Footage(tmp_path, SMALL.changed(frames=2, between=0), seed=0)
    with pytest.warns(MaskletWarning, match=r"Frame \d+ of sav_7 can't be decoded: the file has 9 frames only"):
        clips = [footage.clip(number) for number in range(8)]
    assert max(index for clip in clips for index in clip.indices) == 8


def test_sizes_must_fit(encoded: Path, tmp_path: Path) -> None:
    root = copied(encoded, tmp_path)
    for path in (root / "JPEGImages" / "wide").iterdir():
        Image.open(path).resize((80, 45)).save(path)
    footage = Footage(root, SMALL, seed=0)
    message = (
        r"frame \d of wide is 80x45 pixels, but its masks are 160x90. Pictures and annotations must be of one size"
    )
    with pytest.raises(InputError, match=message):
        footage.check()
    with pytest.raises(InputError, match=message):
        for number in range(10):
            footage.clip(number)


def test_no_mask_in_any_annotation(encoded: Path, tmp_path: Path) -> None:
    root = copied(encoded, tmp_path)
    for path in (root / "Annotations").rglob("*.png"):
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    footage = Footage(root, SMALL)
    with pytest.raises(InputError, match="None of the 2 videos looked at has a mask"):
        footage.check()
    with pytest.raises(InputError, match="look whether the annotations hold any"):
        footage.clip(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 0}, "frames must be a whole number, 1 or more"),
        ({"height": 16}, "height must be a whole number, 32 or more"),
        ({"objects": 0}, "objects must be a whole number from 1 to 200"),
        ({"max_stride": 0}, "max_stride"),
        ({"flip": 1.5}, "flip must be a number from 0 to 1"),
        ({"degrees": 90}, "degrees must be a number from 0 to below 80"),
        ({"shake": -0.1}, "shake must be a number from 0 to below 1"),
        ({"zoom": (0.5, 1)}, "zoom must be a pair of the least and the most, each a number from 1 to 20"),
        ({"zoom": (3, 2)}, "zoom must be a pair"),
        ({"least_area": 1}, "least_area"),
        ({"masklets": "some"}, "one of manual, auto, both"),
    ],
)
def test_settings_are_checked(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FootageSettings(**change)


def test_a_failing_opener_leaves_nothing_behind() -> None:
    def fail() -> Callable[[], None]:
        raise InputError("no")

    for _ in range(2):
        with pytest.raises(InputError, match="no"):
            kept_open("failing", fail)
    assert kept_open("failing", dict) == {}
    close_all()
