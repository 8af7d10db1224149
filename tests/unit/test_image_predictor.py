"""Prompts on single pictures: what may be given, what comes back, and that batches change nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from masklet import ImagePredictor, load_model, open_media
from masklet.batching import in_batches
from masklet.errors import DeviceMemoryError, InputError, MediaError, PromptError
from masklet.models.sam2 import SAM2
from masklet.predictors import ImageMasks
from masklet.predictors.pictures import as_rgb

# Where the bunny is on the clip's first frame, see src/masklet/data/README.md.
BOX = (153, 219, 571, 558)
BODY, GRASS = (345, 420), (800, 480)


@pytest.fixture(scope="module")
def model() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def photo(bunny_clip: Path) -> np.ndarray:
    with open_media(bunny_clip) as clip:
        return clip.read(0).image_hwc


@pytest.fixture(scope="module")
def later_photo(bunny_clip: Path) -> np.ndarray:
    """Another picture, of another size."""
    with open_media(bunny_clip) as clip:
        return np.ascontiguousarray(clip.read(45).image_hwc[31:, :-57])


@pytest.fixture(scope="module")
def predictor(model: SAM2, photo: np.ndarray) -> ImagePredictor:
    return ImagePredictor(model).set_image(photo)


def assert_same(ours: ImageMasks, other: ImageMasks) -> None:
    assert torch.allclose(ours.decoder_logits_nhw, other.decoder_logits_nhw, atol=2e-3)
    assert np.allclose(ours.predicted_iou_n, other.predicted_iou_n, atol=1e-4)
    assert ours.object_score == pytest.approx(other.object_score, abs=2e-3)
    assert (ours.width, ours.height) == (other.width, other.height)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_box_finds_the_bunny(predictor: ImagePredictor) -> None:
    answer = predictor.predict(box=BOX)
    x1, y1, x2, y2 = BOX
    inside = answer.mask[y1:y2, x1:x2].sum()
    assert inside / answer.mask.sum() > 0.8
    assert inside / ((x2 - x1) * (y2 - y1)) > 0.3
    assert answer.mask[BODY[1], BODY[0]]
    assert not answer.mask[GRASS[1], GRASS[0]]
    assert answer.object_score > 0


def test_a_negative_click_takes_away(predictor: ImagePredictor) -> None:
    first = predictor.predict(box=BOX)
    rows, columns = np.nonzero(first.mask[:, :240])  # the rock at the left
    wrong = (int(np.median(columns)), int(np.median(rows)))
    without = predictor.predict(points=[wrong], labels=[0], box=BOX)
    x, y = wrong
    around = np.s_[y - 10 : y + 11, x - 10 : x + 11]
    assert without.logits_nhw[0][around].mean() < first.logits_nhw[0][around].mean()


def test_what_an_answer_holds(predictor: ImagePredictor, photo: np.ndarray) -> None:
    height, width = photo.shape[:2]
    answer = predictor.predict(points=BODY)
    assert len(answer) == 3
    assert answer.masks_nhw.shape == (3, height, width)
    assert answer.masks_nhw.dtype == np.bool_
    assert answer.logits_nhw.dtype == np.float32
    assert np.array_equal(answer.masks_nhw, answer.logits_nhw > 0)
    assert answer.low_res_logits_nhw.shape == (3, 80, 80)
    assert answer.low_res_logits_nhw.abs().max() <= 32
    assert answer.best == answer.predicted_iou_n.argmax()
    assert answer.predicted_iou == answer.predicted_iou_n.max()
    assert np.array_equal(answer.mask, answer.masks_nhw[answer.best])
    rows, columns = answer.mask.any(1).nonzero()[0], answer.mask.any(0).nonzero()[0]
    assert answer.box_xyxy is not None
    assert answer.box_xyxy.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    for i, candidate in enumerate(answer):
        assert len(candidate) == 1
        assert np.array_equal(candidate.mask, answer.masks_nhw[i])
    assert answer[-1].predicted_iou == answer.predicted_iou_n[2]
    with pytest.raises(IndexError):
        answer[3]


def test_one_mask_or_three(predictor: ImagePredictor) -> None:
    assert len(predictor.predict(points=[BODY])) == 3
    assert len(predictor.predict(points=[BODY, GRASS], labels=[1, 0])) == 1
    assert len(predictor.predict(box=BOX)) == 1
    assert len(predictor.predict(points=[BODY], multimask=False)) == 1
    assert len(predictor.predict(box=BOX, multimask=True)) == 3


def test_refining_takes_the_mask_in_every_form(predictor: ImagePredictor) -> None:
    first = predictor.predict(points=[BODY])
    clicks: dict[str, Any] = {"points": [BODY, GRASS], "labels": [1, 0]}
    refined = predictor.predict(**clicks, mask=first)
    plain = predictor.predict(**clicks)
    assert not torch.allclose(refined.decoder_logits_nhw, plain.decoder_logits_nhw, atol=0.1)
    low_res = first.low_res_logits_nhw[first.best]
    for mask in (low_res, low_res.numpy(), low_res[None], first[first.best]):
        assert_same(predictor.predict(**clicks, mask=mask), refined)
    full = predictor.predict(**clicks, mask=first.logits_nhw[first.best])
    assert (full.mask ^ refined.mask).mean() < 0.02


def test_a_painted_mask_brings_its_box(predictor: ImagePredictor, photo: np.ndarray) -> None:
    x1, y1, x2, y2 = BOX
    painted = np.zeros(photo.shape[:2], bool)
    painted[y1:y2, x1:x2] = True
    answer = predictor.predict(mask=painted)
    assert answer.mask[BODY[1], BODY[0]]
    assert not answer.mask[GRASS[1], GRASS[0]]
    assert_same(answer, predictor.predict(mask=painted, box=BOX))
    for same in (painted.astype(np.uint8) * 255, painted.astype(np.float32), painted[None], torch.from_numpy(painted)):
        assert_same(predictor.predict(mask=same), answer)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_boxes_together_are_boxes_alone(predictor: ImagePredictor) -> None:
    boxes = np.array([BOX, (790, 270, 1220, 435), (0, 0, 1280, 720)], np.float32)
    together = predictor.predict_boxes(boxes)
    assert len(together) == 3
    for box, answer in zip(boxes, together, strict=True):
        assert_same(answer, predictor.predict(box=box, closer=False))
    assert predictor.predict_boxes([]) == []


def test_prompts_of_all_kinds_together(predictor: ImagePredictor) -> None:
    first = predictor.predict(box=BOX)
    prompts: list[dict[str, Any]] = [
        {"points": [BODY]},
        {"box": BOX},
        {"points": [BODY, GRASS], "labels": [1, 0], "mask": first},
        {"points": [GRASS]},
        {"mask": first},
        {"points": [BODY], "box": BOX},
    ]
    for prompt, answer in zip(prompts, predictor.predict_batch(prompts), strict=True):
        assert_same(answer, predictor.predict(**prompt, closer=False))


def test_pictures_together_are_pictures_alone(model: SAM2, photo: np.ndarray, later_photo: np.ndarray) -> None:
    pictures = [photo, later_photo, photo[:200, :300], later_photo, photo]  # more than one batch
    several = ImagePredictor(model).set_images(pictures)
    assert several.sizes == [(picture.shape[1], picture.shape[0]) for picture in pictures]
    answers = several.predict_batch([{"points": [(100 + i, 110)]} for i in range(5)])
    for i, (picture, answer) in enumerate(zip(pictures, answers, strict=True)):
        alone = ImagePredictor(model).set_image(picture).predict(points=[(100 + i, 110)], closer=False)
        assert_same(answer, alone)
        assert answer.mask.shape == picture.shape[:2]
    assert_same(several.predict(points=[(102, 110)], image=2, closer=False), answers[2])
    swapped = several.predict_batch([{"points": [(102, 110)], "image": 2}, {"points": [(100, 110)], "image": 0}])
    assert_same(swapped[0], answers[2])
    assert_same(swapped[1], answers[0])


def test_a_failing_picture_keeps_what_was_set(model: SAM2, photo: np.ndarray, tmp_path: Path) -> None:
    predictor = ImagePredictor(model).set_image(photo)
    with pytest.raises(MediaError, match="nothing"):
        predictor.set_images([photo[:100], tmp_path / "nothing.png"])
    assert predictor.sizes == [(1280, 720)]
    predictor.predict(box=BOX)
    predictor.reset()
    with pytest.raises(InputError, match="set_image"):
        predictor.predict(box=BOX)


# --- pictures of all kinds -------------------------------------------------------------------------------------------


def test_a_picture_in_every_form(photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    deep = photo.astype(np.uint16) * 257
    opaque = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    for form in (path, str(path), Image.open(path), deep, opaque, Image.fromarray(opaque)):
        assert np.array_equal(as_rgb(form), photo)
    grey = Image.fromarray(photo).convert("L")
    grey_hw = np.asarray(grey)
    expected = np.repeat(grey_hw[..., None], 3, axis=2)
    deep_grey = grey_hw.astype(np.uint16) * 257
    wide_grey = Image.fromarray(deep_grey.astype(np.int32))
    assert wide_grey.mode == "I"
    for form in (
        grey,
        grey_hw,
        grey_hw[..., None],
        Image.fromarray(deep_grey),
        deep_grey,
        grey.convert("LA"),
        wide_grey,
    ):
        assert np.array_equal(as_rgb(form), expected)
    assert np.array_equal(as_rgb(np.eye(3, dtype=bool))[..., 0], np.eye(3, dtype=np.uint8) * 255)
    assert np.array_equal(as_rgb(photo[:, ::-1]), photo[:, ::-1])


def test_transparent_is_black_and_exif_turns() -> None:
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[..., :3] = 200
    clear[:2, :, 3] = 255
    for form in (clear, Image.fromarray(clear)):
        assert (as_rgb(form)[:2] == 200).all()
        assert (as_rgb(form)[2:] == 0).all()
    picture = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
    picture.getexif()[0x0112] = 6  # to be turned a quarter clockwise
    assert np.array_equal(as_rgb(picture), np.rot90(np.asarray(picture), -1))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "transpose"),
        (np.zeros((20, 30, 2), np.uint8), "channels"),
        (np.zeros((20, 30, 3), np.float32), "float32"),
        (np.zeros((20, 30, 3), np.int64), "int64"),
        (np.zeros((0, 30, 3), np.uint8), "no pixels"),
        (np.zeros((2, 20, 30, 3), np.uint8), "height x width"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (Image.new("F", (4, 4)), "float"),
        (None, "shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_picture(form: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_rgb(form)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (333, 1), (255, 257)])
def test_sizes(model: SAM2, photo: np.ndarray, size: tuple[int, int]) -> None:
    width, height = size
    predictor = ImagePredictor(model).set_image(photo[219 : 219 + height, 153 : 153 + width])
    for answer in (predictor.predict(points=[(width / 2, height / 2)]), predictor.predict(box=(0, 0, width, height))):
        assert answer.masks_nhw.shape[1:] == (height, width)
        assert np.isfinite(answer.logits_nhw).all()


def test_8k(model: SAM2, photo: np.ndarray, predictor: ImagePredictor) -> None:
    large = Image.fromarray(photo).resize((7680, 4320), Image.Resampling.NEAREST)
    answer = ImagePredictor(model).set_image(large).predict(box=[6 * side for side in BOX])
    assert answer.mask.shape == (4320, 7680)
    small = predictor.predict(box=BOX).mask
    again = answer.mask[3::6, 3::6]
    assert (again & small).sum() / (again | small).sum() > 0.95


def test_other_resolutions(model: SAM2, photo: np.ndarray) -> None:
    predictor = ImagePredictor(model, resolution=320).set_image(photo)
    assert predictor.predict(box=BOX).low_res_logits_nhw.shape == (1, 80, 80)
    assert predictor.predict(box=BOX).mask[BODY[1], BODY[0]]
    with pytest.raises(InputError, match="multiple of 32"):
        ImagePredictor(model, resolution=300)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "empty prompt"),
        ({"points": []}, "empty prompt"),
        ({"labels": [1], "box": BOX}, "labels need points"),
        ({"points": [(1280.5, 4)]}, "outside"),
        ({"points": [(float("nan"), 4)]}, "finite"),
        ({"points": [(4, 4)], "labels": [1, 0]}, "labels"),
        ({"points": [(4, 4)], "labels": [2]}, "labels"),
        ({"points": [(4, 4, 4)]}, "pairs"),
        ({"box": (50, 40, 50, 90)}, "no area"),
        ({"box": (50, 40, 90)}, "x1, y1, x2, y2"),
        ({"box": (2000, 40, 3000, 90)}, "outside"),
        ({"mask": np.zeros((720, 1280), bool)}, "empty"),
        ({"mask": np.ones((719, 1280), bool)}, "720 rows"),
        ({"mask": np.full((720, 1280), np.nan)}, "finite"),
        ({"mask": np.full((80, 80), np.inf)}, "finite"),
        ({"mask": np.full((81, 80), -3.0)}, "low resolution"),
        ({"mask": np.full((3, 80, 80), -3.0)}, "several candidates"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_prompts_that_cannot_be_used(predictor: ImagePredictor, prompt: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        predictor.predict(**prompt)


def test_what_else_cannot_be_used(predictor: ImagePredictor, photo: np.ndarray) -> None:
    with pytest.raises(PromptError, match=r"prompt 1 of 2: .*outside"):
        predictor.predict_boxes([BOX, (2000, 2000, 3000, 3000)])
    with pytest.raises(PromptError, match="'boxes'"):
        predictor.predict_batch([{"boxes": BOX}])
    with pytest.raises(InputError, match="no picture 1"):
        predictor.predict(box=BOX, image=1)
    with pytest.raises(InputError, match="no picture -1"):
        predictor.predict(box=BOX, image=-1)
    with pytest.raises(InputError, match="empty"):
        predictor.set_images([])
    with pytest.raises(InputError, match="list of pictures"):
        predictor.set_images("photo.jpg")  # type: ignore[arg-type]


# --- memory of the device --------------------------------------------------------------------------------------------


def test_prompts_that_do_not_fit_together(model: SAM2, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = copy.copy(model)
    predictor = ImagePredictor(narrow).set_image(photo)
    boxes = [(100 + 10 * i, 100, 400, 400) for i in range(7)]
    expected = predictor.predict_boxes(boxes)
    sizes = []

    def decode(features: Any, embedding: Any, points: torch.Tensor, *rest: Any, **more: Any) -> Any:
        sizes.append(len(points))
        if len(points) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model.decode_masks(features, embedding, points, *rest, **more)

    monkeypatch.setattr(narrow, "decode_masks", decode)
    for ours, theirs in zip(predictor.predict_boxes(boxes), expected, strict=True):
        assert_same(ours, theirs)
    assert sizes[0] == 7
    assert max(sizes[sizes.index(next(n for n in sizes if n <= 2)) :]) <= 2

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(narrow, "decode_masks", fail)
    with pytest.raises(DeviceMemoryError, match="--resolution 160"):
        predictor.predict_boxes(boxes)
    monkeypatch.setattr(narrow, "encode_image", fail)
    with pytest.raises(DeviceMemoryError, match="nano at 320x320"):
        predictor.set_image(photo)


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_batches_cover_everything_once(count: int, at_once: int, fits: int) -> None:
    def run(part: slice) -> list[int]:
        if part.stop - part.start > fits:
            raise MemoryError
        return list(range(count))[part]

    with patch("gc.collect"):  # it would look through all that the other tests left, at every example
        done = in_batches(run, count, at_once, torch.device("cpu"), lambda: DeviceMemoryError("too small"))
    assert [i for part in done for i in part] == list(range(count))


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def run(part: slice) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(run, 3, 2, torch.device("cpu"), lambda: DeviceMemoryError("too small"))
