"""The official video predictor's interface: scripts as users write them, with shapes and types as they expect them."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from masklet.compat.sam2.build_sam import build_sam2_video_predictor
from masklet.compat.sam2.sam2_video_predictor import SAM2VideoPredictor
from masklet.errors import InputError, MaskletError, MaskletWarning, MediaError, PromptError, UnknownObjectError
from masklet.tracking.policies import POLICIES
from masklet.tracking.session import Session

pytestmark = pytest.mark.slow

BOX = np.array([60, 70, 170, 215], dtype=np.float32)
P, Q = (110, 130), (24, 120)


#: For what doesn't depend on how much the network sees.
SMALL = {"hydra_overrides_extra": ["++model.image_size=128"]}


@pytest.fixture(scope="module")
def full_size() -> SAM2VideoPredictor:
    return build_sam2_video_predictor("nano", device="cpu")


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    return build_sam2_video_predictor("nano", device="cpu", **SMALL)


@pytest.fixture(scope="module")
def video_dir(tmp_path_factory: pytest.TempPathFactory, clip_256_frames: list[np.ndarray]) -> Path:
    """Twelve frames as JPEG files by their number, as the official package wants them."""
    folder = tmp_path_factory.mktemp("frames")
    for i, frame in enumerate(clip_256_frames[:12]):
        Image.fromarray(frame).save(folder / f"{i}.jpg", quality=95)
    return folder


@pytest.fixture
def state(predictor: SAM2VideoPredictor, video_dir: Path) -> Any:
    return predictor.init_state(video_path=str(video_dir))


def test_the_notebook_script(full_size: SAM2VideoPredictor, video_dir: Path) -> None:
    """The flow of the official notebook: click, refine, add an object, propagate, collect, refine, propagate again."""
    predictor = full_size
    inference_state = predictor.init_state(video_path=str(video_dir))
    predictor.reset_state(inference_state)

    ann_frame_idx, ann_obj_id = 0, 1
    points = np.array([[110, 130]], dtype=np.float32)
    labels = np.array([1], np.int32)
    _, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
        inference_state=inference_state, frame_idx=ann_frame_idx, obj_id=ann_obj_id, points=points, labels=labels
    )
    assert out_obj_ids == [1]
    assert out_mask_logits.shape == (1, 1, 256, 256)
    assert out_mask_logits.dtype == torch.float32
    assert (out_mask_logits[0] > 0.0).cpu().numpy().any()

    points = np.array([[110, 130], [24, 120]], dtype=np.float32)
    labels = np.array([1, 0], np.int32)
    predictor.add_new_points_or_box(inference_state, ann_frame_idx, ann_obj_id, points=points, labels=labels)
    _, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
        inference_state, 0, 4, box=np.array([10, 90, 45, 150], dtype=np.float32)
    )
    assert out_obj_ids == [1, 4]
    assert out_mask_logits.shape == (2, 1, 256, 256)

    video_segments = {}
    for out_frame_idx, out_obj_ids, out_mask_logits in predictor.propagate_in_video(inference_state):
        video_segments[out_frame_idx] = {
            out_obj_id: (out_mask_logits[i] > 0.0).cpu().numpy() for i, out_obj_id in enumerate(out_obj_ids)
        }
    assert list(video_segments) == list(range(12))
    assert all(list(segments) == [1, 4] for segments in video_segments.values())
    assert all(mask.shape == (1, 256, 256) and mask.dtype == bool for mask in video_segments[3].values())

    predictor.add_new_points_or_box(
        inference_state,
        frame_idx=6,
        obj_id=1,
        points=np.array([[150, 200]], np.float32),
        labels=np.array([0], np.int32),
    )
    again = [frame for frame, _, _ in predictor.propagate_in_video(inference_state)]
    assert again == list(range(12))


def test_the_samurai_demo_script(full_size: SAM2VideoPredictor, video_dir: Path) -> None:
    predictor = full_size
    bbox = (28, 78, 120, 208)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there is no CUDA to cast on
        with torch.autocast("cuda", dtype=torch.float16):
            state = predictor.init_state(str(video_dir), offload_video_to_cpu=True)
            _, _, masks = predictor.add_new_points_or_box(state, box=bbox, frame_idx=0, obj_id=0)
            boxes = []
            for _, object_ids, masks in predictor.propagate_in_video(state):
                assert object_ids == [0]
                for mask in masks:
                    where = np.argwhere(mask[0].cpu().numpy() > 0.0)
                    y_min, x_min = where.min(axis=0).tolist()
                    y_max, x_max = where.max(axis=0).tolist()
                    boxes.append([x_min, y_min, x_max - x_min, y_max - y_min])
    assert len(boxes) == 12
    centres = np.array([[x + w / 2, y + h / 2] for x, y, w, h in boxes])
    assert np.abs(np.diff(centres, axis=0)).max() < 30


@pytest.mark.parametrize("policy", POLICIES)
def test_equals_a_session(policy: str, video_dir: Path) -> None:
    """Nothing is computed here: the same calls on a session give the same numbers.

    But for the last bits: a session enlarges masks with OpenCV, the official functions with PyTorch.
    """
    predictor = build_sam2_video_predictor("nano", policy=policy, device="cpu", **SMALL)
    state = predictor.init_state(video_path=str(video_dir))
    whole = copy.copy(predictor.network)
    whole.spec = replace(whole.spec, closer_look=None)  # the official functions look at whole frames
    session = Session(video_dir, whole, resolution=128, policy=policy, short_clip_pointers=True)
    predictor.add_new_points_or_box(state, 0, 3, box=BOX)
    session.add_prompt(0, 3, box=BOX)
    ours = predictor.propagate_in_video(state, max_frame_num_to_track=8)
    for (frame, ids, logits), masks in zip(ours, session.propagate(stop=8), strict=True):
        assert (frame, ids) == (masks.index, [3])
        torch.testing.assert_close(logits, masks.logits_bnhw, rtol=1e-5, atol=1e-4)
    # A click on a tracked frame is decoded on top of what memory says there.
    corrected = predictor.add_new_points_or_box(state, 6, 3, points=[P], labels=[1])[2]
    assert corrected.shape == (1, 1, 256, 256) and (corrected > 0).any()


def test_under_autocast(full_size: SAM2VideoPredictor, video_dir: Path) -> None:
    """As the official package's users run it, here on the CPU: float32 answers that are nearly those without."""
    predictor, state = full_size, full_size.init_state(video_dir)

    def masks() -> list[torch.Tensor]:
        predictor.reset_state(state)
        answers = [
            predictor.add_new_points_or_box(state, 0, 1, points=[P], labels=[1])[2],
            *(logits for _, _, logits in predictor.propagate_in_video(state, max_frame_num_to_track=4)),
        ]
        assert all(logits.dtype == torch.float32 for logits in answers)
        return [logits > 0 for logits in answers]

    expected = masks()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = masks()
    for a, b in zip(found, expected, strict=True):
        assert (a & b).sum() > 0.9 * (a | b).sum()


# --- prompts -------------------------------------------------------------------------------------------------------


def test_objects_without_a_mask_on_the_frame_are_blank(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 1, box=BOX)
    frame, ids, logits = predictor.add_new_points_or_box(state, 5, 2, points=[Q], labels=[1])
    assert (frame, ids, logits.shape) == (5, [1, 2], (2, 1, 256, 256))
    assert (logits[0] == -1024).all()
    assert (logits[1] > 0).any()


@pytest.mark.parametrize("wrap", [list, np.array, torch.tensor])
def test_points_in_the_forms_that_users_have(predictor: SAM2VideoPredictor, state: Any, wrap: Any) -> None:
    answers = [
        predictor.add_new_points_or_box(state, 0, 1, points=wrap([P, Q]), labels=wrap([1, 0]))[2],
        predictor.add_new_points_or_box(state, 0, 2, points=wrap([[P, Q]]), labels=wrap([[1, 0]]))[2][1:],
        predictor.add_new_points_or_box(
            state,
            0,
            3,
            points=wrap([[P[0] / 256, P[1] / 256], [Q[0] / 256, Q[1] / 256]]),
            labels=wrap([1, 0]),
            normalize_coords=False,
        )[2][2:],
        predictor.add_new_points(state, 0, 4, wrap([P, Q, P]), wrap([1, 0, -1]))[2][3:],
    ]
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], atol=1e-3, rtol=0)


def test_a_box_as_two_labelled_points(predictor: SAM2VideoPredictor, state: Any) -> None:
    boxed = predictor.add_new_points_or_box(state, 0, 1, box=BOX, points=[P], labels=[1])[2]
    corners = predictor.add_new_points_or_box(
        state, 0, 2, points=[BOX[:2], BOX[2:], np.array(P)], labels=np.array([2, 3, 1])
    )[2]
    assert torch.equal(corners[1], boxed[0])


def test_old_points_go_or_stay(predictor: SAM2VideoPredictor, state: Any) -> None:
    def clicks() -> list[tuple[float, float]]:
        return [point for prompt in state.session.prompts(0, 1) for point in prompt.points]

    predictor.add_new_points_or_box(state, 0, 1, points=[P], labels=[1])
    predictor.add_new_points_or_box(state, 0, 1, points=[Q], labels=[0], clear_old_points=False)
    assert clicks() == [tuple(P), tuple(Q)]
    predictor.add_new_points_or_box(state, 0, 1, points=[Q], labels=[0])
    assert clicks() == [tuple(Q)]
    # The mask so far is fed back in either case.
    first = predictor.add_new_points_or_box(state, 1, 2, points=[P], labels=[1])[2][1]
    second = predictor.add_new_points_or_box(state, 1, 2, points=[P], labels=[1])[2][1]
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="clear_old_points"):
        predictor.add_new_points_or_box(state, 0, 1, box=BOX, clear_old_points=False)


@pytest.mark.parametrize("size", [(256, 256), (128, 128), (100, 60), (512, 300)])
def test_masks_of_any_size(predictor: SAM2VideoPredictor, state: Any, size: tuple[int, int]) -> None:
    full = np.zeros((256, 256), np.uint8)
    full[60:200, 50:180] = 1
    mask = cv2.resize(full, size, interpolation=cv2.INTER_NEAREST)
    for form in (mask, mask.astype(bool), torch.from_numpy(mask) > 0):
        frame, ids, logits = predictor.add_new_mask(state, frame_idx=0, obj_id=1, mask=form)
        assert (frame, ids, logits.shape) == (0, [1], (1, 1, 256, 256))
        shown = (logits[0, 0] > 0).numpy()
        assert (shown & (full > 0)).sum() > 0.93 * (shown | (full > 0)).sum()


def test_clear_prompts(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 1, box=BOX)
    predictor.add_new_points_or_box(state, 0, 2, points=[Q], labels=[1])
    cleared = predictor.clear_all_prompts_in_frame(state, 0, 2)
    assert cleared is not None
    frame, ids, logits = cleared
    assert (frame, ids) == (0, [1, 2])
    assert (logits[1] == -1024).all()
    assert (logits[0] > 0).any()
    assert predictor.clear_all_prompts_in_frame(state, 0, 1, need_output=False) is None
    with pytest.raises(RuntimeError, match="object 1 has no points"):
        next(predictor.propagate_in_video(state))


def test_remove_object(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 1, box=BOX)
    predictor.add_new_points_or_box(state, 3, 2, points=[Q], labels=[1])
    predictor.add_new_points_or_box(state, 5, 2, points=[Q], labels=[1])
    ids, updated = predictor.remove_object(state, 2)
    assert ids == [1]
    assert [(frame, logits.shape) for frame, logits in updated] == [(3, (1, 1, 256, 256)), (5, (1, 1, 256, 256))]
    assert predictor.remove_object(state, 2) == ([1], [])
    with pytest.raises(RuntimeError, match="the objects are"):
        predictor.remove_object(state, 2, strict=True)
    assert predictor.remove_object(state, 1) == ([], [])
    with pytest.raises(RuntimeError, match="no object was prompted"):
        predictor.propagate_in_video_preflight(state)


# --- propagation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, range(4, 12)),
        ({"start_frame_idx": 6}, range(6, 12)),
        ({"start_frame_idx": 0, "max_frame_num_to_track": 3}, range(4)),
        ({"max_frame_num_to_track": 0}, [4]),
        ({"max_frame_num_to_track": -1}, []),
        ({"max_frame_num_to_track": 100}, range(4, 12)),
        ({"reverse": True}, range(4, -1, -1)),
        ({"reverse": True, "start_frame_idx": 11, "max_frame_num_to_track": 2}, [11, 10, 9]),
        ({"reverse": True, "start_frame_idx": 2, "max_frame_num_to_track": 9}, [2, 1, 0]),
        ({"reverse": True, "start_frame_idx": 0}, []),
    ],
)
def test_which_frames(predictor: SAM2VideoPredictor, state: Any, given: dict[str, Any], expected: Any) -> None:
    predictor.add_new_points_or_box(state, 4, 1, box=BOX)
    predictor.add_new_points_or_box(state, 8, 2, points=[Q], labels=[1])
    assert [frame for frame, _, _ in predictor.propagate_in_video(state, **given)] == list(expected)


def test_objects_may_come_after_tracking_began(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 1, box=BOX)
    ids_seen = []
    for frame, ids, _ in predictor.propagate_in_video(state):
        ids_seen.append(ids)
        if frame == 3:
            predictor.add_new_points_or_box(state, 3, 7, points=[Q], labels=[1])
    assert ids_seen == [[1]] * 4 + [[1, 7]] * 8
    assert state["obj_ids"] == [1, 7]


def test_corrected_frames_keep_their_correction(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 1, points=[P], labels=[1])
    for _ in predictor.propagate_in_video(state):
        pass
    corrected = predictor.add_new_points_or_box(state, 6, 1, points=[Q], labels=[0])[2]
    assert torch.equal({frame: logits for frame, _, logits in predictor.propagate_in_video(state)}[6], corrected)


def test_objects_that_may_not_overlap(video_dir: Path) -> None:
    predictor = build_sam2_video_predictor(
        "nano", device="cpu", hydra_overrides_extra=["++model.non_overlap_masks=true"]
    )
    state = predictor.init_state(video_dir)
    everything = np.ones((256, 256), bool)
    predictor.add_new_mask(state, 0, 1, everything)
    _, _, logits = predictor.add_new_mask(state, 0, 2, everything)
    for _, _, tracked in predictor.propagate_in_video(state, max_frame_num_to_track=2):
        assert ((logits > 0).sum(0) <= 1).all()
        assert ((tracked > 0).sum(0) <= 1).all()
    assert (logits > 0).any()


# --- videos and states ---------------------------------------------------------------------------------------------


def test_videos_and_folders_of_any_naming(
    predictor: SAM2VideoPredictor, tmp_path: Path, clip_256_frames: list[np.ndarray], make_video: Any
) -> None:
    names = ["shot b 2.png", "shot b 10.png", "shot b 1.png"]
    for name, frame in zip(names, (clip_256_frames[1], clip_256_frames[2], clip_256_frames[0]), strict=True):
        Image.fromarray(frame).save(tmp_path / name)
    state = predictor.init_state(str(tmp_path), async_loading_frames=True, offload_state_to_cpu=True)
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (3, 256, 256)
    for i in range(3):
        np.testing.assert_array_equal(state["images"].read(i).image_hwc, clip_256_frames[i])

    video = make_video.make("clip.mp4", count=5, size=(96, 64))
    state = predictor.init_state(video_path=str(video))
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (5, 64, 96)
    _, _, logits = predictor.add_new_points_or_box(state, 0, 1, box=[5, 5, 50, 40])
    assert logits.shape == (1, 1, 64, 96)
    with pytest.raises(MediaError):
        predictor.init_state(str(tmp_path / "missing.mp4"))


def test_the_state_has_the_entries_that_scripts_read(predictor: SAM2VideoPredictor, state: Any) -> None:
    predictor.add_new_points_or_box(state, 0, 9, box=BOX)
    predictor.add_new_points_or_box(state, 0, 4, points=[Q], labels=[1])
    assert dict(state) == {
        "num_frames": 12,
        "video_height": 256,
        "video_width": 256,
        "images": state.session.video,
        "obj_ids": [9, 4],
        "obj_id_to_idx": {9: 0, 4: 1},
        "obj_idx_to_id": {0: 9, 1: 4},
        "device": torch.device("cpu"),
        "storage_device": torch.device("cpu"),
    }
    assert len(state["images"]) == 12
    with pytest.raises(KeyError, match="has only num_frames"):
        state["output_dict"]


def test_two_states_of_one_predictor_share_nothing(predictor: SAM2VideoPredictor, video_dir: Path) -> None:
    first, second = predictor.init_state(video_dir), predictor.init_state(video_dir)
    predictor.add_new_points_or_box(first, 0, 1, box=BOX)
    expected = [logits for _, _, logits in predictor.propagate_in_video(first, max_frame_num_to_track=3)]
    predictor.reset_state(first)
    predictor.add_new_points_or_box(first, 0, 1, box=BOX)
    predictor.add_new_points_or_box(second, 2, 1, points=[Q], labels=[1])
    turns = zip(
        predictor.propagate_in_video(first, max_frame_num_to_track=3),
        predictor.propagate_in_video(second, max_frame_num_to_track=3),
        expected,
        strict=True,
    )
    for (_, _, logits), (_, _, _), wanted in turns:
        assert torch.equal(logits, wanted)


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda p, s: p.add_new_points_or_box(s, 0, 1), ValueError, "empty prompt"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[P]), ValueError, "provided together"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, labels=[1]), ValueError, "provided together"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[P], labels=[1, 0]), PromptError, "1 points need 1"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[(1, 2, 3)], labels=[1]), PromptError, "x, y pairs"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=5, labels=1), PromptError, "x, y pairs"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points="P", labels=[1]), PromptError, "numbers"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[(999, 1)], labels=[1]), PromptError, "outside"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[P], labels=[-1]), PromptError, "empty prompt"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, box=[9, 9, 5, 20]), PromptError, "no area"),
        (lambda p, s: p.add_new_points_or_box(s, 0, 1, box=[1, 2, 3]), PromptError, "box"),
        (lambda p, s: p.add_new_points_or_box(s, 99, 1, points=[P], labels=[1]), InputError, "frames 0 to 11"),
        (lambda p, s: p.add_new_points_or_box(s, 0, "cat", points=[P], labels=[1]), InputError, "whole number"),
        (lambda p, s: p.add_new_mask(s, 0, 1, np.zeros((256, 256))), PromptError, "empty"),
        (lambda p, s: p.add_new_mask(s, 0, 1, np.ones((2, 256, 256))), PromptError, "rows and columns"),
        (lambda p, s: p.add_new_mask(s, 0, 1, np.ones((0, 5))), PromptError, "shape"),
        (lambda p, s: p.clear_all_prompts_in_frame(s, 0, 1), UnknownObjectError, "no object 1"),
        (lambda p, s: list(p.propagate_in_video(s)), RuntimeError, "no object was prompted"),
    ],
)
def test_refusals(predictor: SAM2VideoPredictor, state: Any, call: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as raised:
        call(predictor, state)
    assert isinstance(raised.value, MaskletError)
    assert state["obj_ids"] == []


def test_cuda_falls_back_to_the_cpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.warns(MaskletWarning, match="running on the CPU"):
        predictor = build_sam2_video_predictor("nano")
    assert predictor.device == torch.device("cpu")
    with pytest.warns(MaskletWarning, match="running on the CPU"):
        assert predictor.to("cuda").device == torch.device("cpu")
