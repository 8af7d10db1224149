"""The official image predictor's and mask generator's interface: shapes, types, and numbers as masklet's own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from masklet.compat.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from masklet.compat.sam2.build_sam import build_sam2
from masklet.compat.sam2.modeling.sam2_base import SAM2Base
from masklet.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
from masklet.errors import InputError, MaskletError, PromptError
from masklet.predictors import ImagePredictor

POINT = np.array([[110, 130]])
ONE = np.array([1])
BOXES = np.array([[60, 70, 170, 190], [10, 90, 45, 150], [150, 10, 250, 90]])


@pytest.fixture(scope="module")
def model() -> SAM2Base:
    return build_sam2("nano", device="cpu")


@pytest.fixture(scope="module")
def image(clip_256_frames: list[np.ndarray]) -> np.ndarray:
    """A wide picture, 200 rows by 256 columns."""
    return clip_256_frames[0][:200].copy()


@pytest.fixture
def predictor(model: SAM2Base, image: np.ndarray) -> SAM2ImagePredictor:
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image)
    return predictor


def shapes(answer: Any) -> list[tuple[int, ...]]:
    assert all(isinstance(part, np.ndarray) and part.dtype == np.float32 for part in answer)
    return [part.shape for part in answer]


def test_the_notebook_script(model: SAM2Base, image: np.ndarray) -> None:
    predictor = SAM2ImagePredictor(model)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        predictor.set_image(Image.fromarray(image))
        masks, scores, logits = predictor.predict(point_coords=POINT, point_labels=ONE, multimask_output=True)
        sorted_ind = np.argsort(scores)[::-1]
        masks, scores, logits = masks[sorted_ind], scores[sorted_ind], logits[sorted_ind]
        assert shapes((masks, scores, logits)) == [(3, 200, 256), (3,), (3, 80, 80)]
        assert set(np.unique(masks)) <= {0.0, 1.0}
        assert (np.diff(scores) <= 0).all()

        refined = predictor.predict(
            point_coords=np.array([[110, 130], [24, 120]]),
            point_labels=np.array([1, 0]),
            mask_input=logits[np.argmax(scores), :, :][None, :, :],
            multimask_output=False,
        )
        assert shapes(refined) == [(1, 200, 256), (1,), (1, 80, 80)]

        boxed = predictor.predict(point_coords=None, point_labels=None, box=BOXES[0][None, :], multimask_output=False)
        assert shapes(boxed) == [(1, 200, 256), (1,), (1, 80, 80)]
        batch = predictor.predict(point_coords=None, point_labels=None, box=BOXES, multimask_output=False)
        assert shapes(batch) == [(3, 1, 200, 256), (3, 1), (3, 1, 80, 80)]


def test_shapes_of_every_kind_of_prompt(predictor: SAM2ImagePredictor) -> None:
    points_b1 = np.array([[[110, 130]], [[24, 120]]])
    labels_b1 = np.array([[1], [1]])
    full, low = (200, 256), (80, 80)
    single, many = predictor.predict(POINT, ONE)[2][:1], predictor.predict(points_b1, labels_b1, None, None, False)[2]
    cases: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        ({"point_coords": POINT, "point_labels": ONE}, (3,)),
        ({"point_coords": POINT, "point_labels": ONE, "multimask_output": False}, (1,)),
        ({"point_coords": POINT[None], "point_labels": ONE[None]}, (3,)),
        ({"point_coords": points_b1, "point_labels": labels_b1}, (2, 3)),
        ({"point_coords": points_b1, "point_labels": labels_b1, "multimask_output": False}, (2, 1)),
        ({"box": BOXES[0]}, (3,)),
        ({"box": BOXES[:2], "point_coords": points_b1, "point_labels": labels_b1}, (2, 3)),
        ({"box": BOXES[0], "point_coords": POINT, "point_labels": ONE, "multimask_output": False}, (1,)),
        ({"mask_input": single, "multimask_output": False}, (1,)),
        ({"mask_input": many, "point_coords": points_b1, "point_labels": labels_b1}, (2, 3)),
        ({"point_coords": POINT.tolist(), "point_labels": [1]}, (3,)),
        ({"point_coords": torch.from_numpy(POINT), "point_labels": torch.tensor([1])}, (3,)),
    ]
    for given, lead in cases:
        assert shapes(predictor.predict(**given)) == [(*lead, *full), lead, (*lead, *low)], given


def test_the_same_numbers_as_masklets_own(predictor: SAM2ImagePredictor, model: SAM2Base, image: np.ndarray) -> None:
    own = ImagePredictor(model.network).set_image(image)
    for ours, given in (
        (own.predict(points=POINT, multimask=True, closer=False), {"point_coords": POINT, "point_labels": ONE}),
        (own.predict(box=BOXES[0], multimask=False, closer=False), {"box": BOXES[0], "multimask_output": False}),
        (
            own.predict(points=[(110, 130), (24, 120)], labels=[1, 0], box=BOXES[0], multimask=False, closer=False),
            {
                "point_coords": np.array([(110, 130), (24, 120)]),
                "point_labels": np.array([1, 0]),
                "box": BOXES[0],
                "multimask_output": False,
            },
        ),
    ):
        masks, ious, low = predictor.predict(**given)
        np.testing.assert_allclose(low, ours.low_res_logits_nhw.numpy(), atol=1e-4)
        np.testing.assert_allclose(ious, ours.predicted_iou_n, atol=1e-5)
        assert (masks.astype(bool) != ours.masks_nhw).mean() < 1e-4
        logits, _, _ = predictor.predict(**given, return_logits=True)
        np.testing.assert_array_equal(masks > 0, logits > 0)
        assert np.abs(low).max() <= 32


def test_coordinates_from_0_to_1(predictor: SAM2ImagePredictor) -> None:
    pixels = predictor.predict(POINT, ONE, BOXES[0])
    scale = np.array([256, 200])
    shares = predictor.predict(POINT / scale, ONE, BOXES[0] / np.tile(scale, 2), normalize_coords=False)
    np.testing.assert_allclose(shares[2], pixels[2], atol=1e-3)


def test_batches_of_boxes_equal_each_alone(predictor: SAM2ImagePredictor) -> None:
    together = predictor.predict(box=BOXES, multimask_output=False)
    for i, box in enumerate(BOXES):
        alone = predictor.predict(box=box, multimask_output=False)
        np.testing.assert_allclose(together[2][i], alone[2], atol=1e-3)


def test_padding_is_no_point(predictor: SAM2ImagePredictor) -> None:
    """Padded points have their token, as in the official package: near, but not the same as without them."""
    padded = predictor.predict(np.array([[110, 130], [0, 0]]), np.array([1, -1]), multimask_output=False)
    plain = predictor.predict(POINT, ONE, multimask_output=False)
    assert (padded[0] != plain[0]).mean() < 0.02


def test_batches_of_images(model: SAM2Base, clip_256_frames: list[np.ndarray]) -> None:
    images = [clip_256_frames[0], clip_256_frames[20][:200], clip_256_frames[40][:, :100]]
    predictor = SAM2ImagePredictor(model)
    predictor.set_image_batch(images)
    points = [np.array([[110, 130]]), np.array([[[110, 130]], [[24, 120]]]), np.array([[50, 60]])]
    labels = [np.array([1]), np.array([[1], [1]]), np.array([1])]
    masks, scores, logits = predictor.predict_batch(points, labels, multimask_output=True)
    assert [part.shape for part in masks] == [(3, 256, 256), (2, 3, 200, 256), (3, 256, 100)]
    assert [part.shape for part in scores] == [(3,), (2, 3), (3,)]
    assert [part.shape for part in logits] == [(3, 80, 80), (2, 3, 80, 80), (3, 80, 80)]
    for i, image in enumerate(images):
        alone = SAM2ImagePredictor(model)
        alone.set_image(image)
        np.testing.assert_allclose(alone.predict(points[i], labels[i])[2], logits[i], atol=1e-3)
    boxes, _, _ = predictor.predict_batch(
        box_batch=[BOXES, BOXES[:1], None],
        point_coords_batch=[None, None, points[2]],
        point_labels_batch=[None, None, labels[2]],
        multimask_output=False,
    )
    assert [part.shape for part in boxes] == [(3, 1, 256, 256), (1, 200, 256), (1, 256, 100)]
    assert predictor.get_image_embedding().shape == (3, 128, 20, 20)
    with pytest.raises(PromptError, match="3 images, but prompts for 2"):
        predictor.predict_batch(points[:2], labels[:2])


def test_embedding(predictor: SAM2ImagePredictor, model: SAM2Base, image: np.ndarray) -> None:
    embedding = predictor.get_image_embedding()
    assert embedding.shape == (1, 128, 20, 20)
    features = ImagePredictor(model.network).set_image(image).features()
    torch.testing.assert_close(embedding, model.network.without_memory(features.embedding_bchw))
    assert predictor.device == torch.device("cpu")


def test_thresholds_and_cleaning(model: SAM2Base, image: np.ndarray) -> None:
    given = {"point_coords": POINT, "point_labels": ONE, "return_logits": True}
    plain = SAM2ImagePredictor(model)
    plain.set_image(image)
    logits = plain.predict(**given)[0]
    higher = SAM2ImagePredictor(model, mask_threshold=2.0)
    higher.set_image(image)
    np.testing.assert_array_equal(higher.predict(POINT, ONE)[0] > 0, logits > 2)
    tidy = SAM2ImagePredictor(model, max_hole_area=64.0 * 64, max_sprinkle_area=64.0 * 64)
    tidy.set_image(image)

    def pieces(mask: np.ndarray) -> int:
        """Separate pieces of the mask and of its background, at the resolution that is cleaned."""
        low = cv2.resize(mask.astype(np.uint8), (80, 80), interpolation=cv2.INTER_NEAREST)
        return sum(cv2.connectedComponents(part, connectivity=8)[0] - 1 for part in (low, 1 - low))

    before = [pieces(mask > 0) for mask in logits]
    after = [pieces(mask > 0) for mask in tidy.predict(POINT, ONE)[0]]
    assert all(a <= b for a, b in zip(after, before, strict=True))
    assert sum(after) < sum(before)


def test_a_pillow_image_is_taken_as_stored(model: SAM2Base, image: np.ndarray) -> None:
    """The official package ignores the orientation in EXIF data, so coordinates are those of the stored pixels."""
    picture = Image.fromarray(image)
    picture.getexif()[0x0112] = 6
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(picture)
    assert predictor.predict(POINT, ONE)[0].shape == (3, 200, 256)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda p: p.predict(), PromptError, "empty prompt"),
        (lambda p: p.predict(POINT), PromptError, "point_labels"),
        (lambda p: p.predict(point_labels=ONE), PromptError, "point_coords"),
        (lambda p: p.predict(POINT, np.array([1, 0])), PromptError, r"\[1, 2\] with \[2\]|\[1, 1, 2\] with \[1, 2\]"),
        (lambda p: p.predict(np.array([[np.nan, 3]]), ONE), PromptError, "finite"),
        (lambda p: p.predict(np.array([["a", "b"]]), ONE), PromptError, "numbers"),
        (lambda p: p.predict(box=np.array([1, 2, 3])), PromptError, "x1, y1, x2, y2"),
        (lambda p: p.predict(box=np.array([9, 2, 3, 8])), PromptError, "no area"),
        (
            lambda p: p.predict(box=BOXES, point_coords=np.zeros((2, 1, 2)), point_labels=np.ones((2, 1))),
            PromptError,
            "3 boxes",
        ),
        (lambda p: p.predict(mask_input=np.ones((1, 256, 256))), PromptError, r"\[1, 80, 80\]"),
        (lambda p: p.predict(box=BOXES, mask_input=np.ones((2, 1, 80, 80))), PromptError, "2 mask inputs"),
        (lambda p: p.predict_batch([POINT], [ONE]), RuntimeError, "set_image_batch"),
        (lambda p: p.set_image("photo.jpg"), MaskletError, "photo.jpg"),
        (lambda p: p.set_image(np.zeros((10, 10, 7), np.uint8)), InputError, "channels"),
        (lambda p: p.set_image_batch(np.zeros((2, 10, 10, 3), np.uint8)), InputError, "list of images"),
        (lambda p: p.set_image_batch([]), InputError, "empty"),
    ],
)
def test_refusals(predictor: SAM2ImagePredictor, call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as raised:
        call(predictor)
    assert isinstance(raised.value, MaskletError)


def test_without_an_image(predictor: SAM2ImagePredictor) -> None:
    predictor.reset_predictor()
    for call in (lambda: predictor.predict(POINT, ONE), predictor.get_image_embedding):
        with pytest.raises(RuntimeError, match="call set_image first"):
            call()


def test_a_moved_network_is_used_for_the_next_image(image: np.ndarray) -> None:
    model = build_sam2("nano", device="cpu")
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(image)
    before = predictor.predict(POINT, ONE)[2]
    model.bfloat16()
    predictor.set_image(image)
    assert predictor.get_image_embedding().dtype == torch.bfloat16
    after = predictor.predict(POINT, ONE)[2]
    assert after.dtype == np.float32
    assert not np.array_equal(before, after)


# --- everything ----------------------------------------------------------------------------------------------------


def test_everything(model: SAM2Base, image: np.ndarray) -> None:
    modes = {}
    for mode in ("binary_mask", "uncompressed_rle", "coco_rle"):
        generator = SAM2AutomaticMaskGenerator(model, points_per_side=6, output_mode=mode)
        modes[mode] = generator.generate(image)
    assert modes["binary_mask"]
    for plain, runs, coco in zip(*modes.values(), strict=True):
        keys = {"segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}
        assert plain.keys() == keys
        mask = plain["segmentation"]
        assert mask.shape == (200, 256)
        assert mask.dtype == bool
        assert plain["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        x, y, width, height = plain["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert plain["crop_box"] == [0, 0, 256, 200]
        assert len(plain["point_coords"]) == 1
        assert len(plain["point_coords"][0]) == 2
        assert isinstance(plain["predicted_iou"], float)
        assert isinstance(plain["stability_score"], float)

        counts = runs["segmentation"]["counts"]
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(256, 200).T
        np.testing.assert_array_equal(flat, mask)
        assert coco["segmentation"]["size"] == runs["segmentation"]["size"] == [200, 256]
        from pycocotools import mask as coco_masks

        np.testing.assert_array_equal(coco_masks.decode(coco["segmentation"]).astype(bool), mask)


def test_arguments_of_the_generator(model: SAM2Base, image: np.ndarray) -> None:
    grid = [np.array([[0.4, 0.6], [0.1, 0.5]])]
    generator = SAM2AutomaticMaskGenerator(
        model,
        points_per_side=None,
        point_grids=grid,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        multimask_output=False,
        box_nms_thresh=1.0,
    )
    found = generator.generate(image)
    assert sorted(annotation["point_coords"][0] for annotation in found) == [[25.6, 100.0], [102.4, 120.0]]
    assert SAM2AutomaticMaskGenerator(model, pred_iou_thresh=1.0, points_per_side=2).generate(image) == []
    for given, says in (
        ({"points_per_side": None}, "either points_per_side or point_grids"),
        ({"point_grids": grid}, "either points_per_side or point_grids"),
        ({"output_mode": "png"}, "binary_mask, uncompressed_rle, coco_rle"),
    ):
        with pytest.raises(InputError, match=says):
            SAM2AutomaticMaskGenerator(model, **given)  # type: ignore[arg-type]


def test_pictures_in_their_own_shape(predictor: SAM2ImagePredictor, image: np.ndarray) -> None:
    wide = SAM2ImagePredictor(build_sam2("nano", device="cpu", hydra_overrides_extra=["++model.shape=fit"]))
    wide.set_image(image)
    masks, _, logits = wide.predict(box=BOXES[:1], multimask_output=False)
    assert masks.shape == (1, 200, 256) and logits.shape == (1, 62, 80)
    again, _, _ = wide.predict(POINT, ONE, mask_input=logits, multimask_output=False)
    square, _, _ = predictor.predict(box=BOXES[:1], multimask_output=False)
    assert again.shape == masks.shape
    both, either = ((masks > 0) & (square > 0)).sum(), ((masks > 0) | (square > 0)).sum()
    assert both / either > 0.6
    with pytest.raises(InputError, match="round"):
        build_sam2("nano", device="cpu", hydra_overrides_extra=["++model.shape=round"])
