"""The drop-in package against the official one: the same calls, the same numbers.

See `test_parity_videos` for the goldens, for the clip to its end, and for what is special about frame 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from masklet.compat.sam2.build_sam import build_sam2_video_predictor
from masklet.compat.sam2.sam2_video_predictor import SAM2VideoPredictor
from masklet.models.sam2 import SAM2

BOX = np.array([60, 70, 170, 215], dtype=np.float32)
P, Q = [110, 130], [24, 120]


@pytest.fixture(scope="module")
def weights(golden_nano: SAM2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nano1.safetensors"
    save_file({key: value.contiguous() for key, value in golden_nano.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def predictor(weights: Path) -> SAM2VideoPredictor:
    return build_sam2_video_predictor(model_type="nano1", model_ckpt=weights, device="cpu", policy="recency")


@pytest.fixture(scope="module")
def video_dir(forward_clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    for i, frame in enumerate(forward_clip):
        Image.fromarray(frame).save(folder / f"frame {i}.png", compress_level=1)
    return folder


@pytest.fixture
def state(predictor: SAM2VideoPredictor, video_dir: Path) -> Any:
    return predictor.init_state(str(video_dir))


@pytest.fixture
def agrees(nano_video: Mapping[str, np.ndarray], assert_equal_masks: Callable[..., None]) -> Callable[..., None]:
    def check(scenario: str, answer: tuple[int, list[int], Any]) -> None:
        frame, ids, logits = answer
        assert ids == nano_video[f"{scenario}/ids"].tolist()
        where = f"{scenario}/f{frame:03d}"
        assert_equal_masks(logits[:, 0, 2::4, 2::4].numpy(), nano_video[where], where)

    return check


def test_box(predictor: SAM2VideoPredictor, state: Any, agrees: Callable[..., None]) -> None:
    agrees("box", predictor.add_new_points_or_box(state, 0, 1, box=BOX))
    for answer in predictor.propagate_in_video(state, max_frame_num_to_track=11):
        agrees("box", answer)


def test_two(predictor: SAM2VideoPredictor, state: Any, agrees: Callable[..., None]) -> None:
    predictor.add_new_points_or_box(state, 0, 5, points=np.array([P]), labels=np.array([1]))
    predictor.add_new_points_or_box(state, 0, 2, points=np.array([Q, P]), labels=np.array([1, 0]))
    for answer in predictor.propagate_in_video(state, max_frame_num_to_track=11):
        agrees("two", answer)


def test_mask(predictor: SAM2VideoPredictor, state: Any, agrees: Callable[..., None]) -> None:
    mask = np.zeros((256, 256), bool)
    mask[70:215, 60:170] = True
    agrees("mask_prompt", predictor.add_new_mask(state, 0, 1, mask))
    for answer in predictor.propagate_in_video(state, max_frame_num_to_track=11):
        agrees("mask", answer)


def test_reverse(predictor: SAM2VideoPredictor, clip: np.ndarray, agrees: Callable[..., None]) -> None:
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 20, 1, box=BOX)
    for answer in predictor.propagate_in_video(state, reverse=True):
        agrees("reverse", answer)


def test_correction(predictor: SAM2VideoPredictor, state: Any, agrees: Callable[..., None]) -> None:
    predictor.add_new_points_or_box(state, 0, 1, points=[P], labels=[1])
    for answer in predictor.propagate_in_video(state, max_frame_num_to_track=23):
        agrees("correct_before", answer)
    agrees("correct_click", predictor.add_new_points_or_box(state, 12, 1, points=[Q], labels=[0]))
    for answer in predictor.propagate_in_video(state, start_frame_idx=12, max_frame_num_to_track=11):
        agrees("correct_after", answer)


def test_late_object(predictor: SAM2VideoPredictor, state: Any, agrees: Callable[..., None]) -> None:
    predictor.add_new_points_or_box(state, 0, 1, box=BOX)
    for answer in predictor.propagate_in_video(state, max_frame_num_to_track=8):
        agrees("late_first", answer)
    agrees("late_prompt", predictor.add_new_points_or_box(state, 8, 9, points=[Q], labels=[1]))
    for answer in predictor.propagate_in_video(state, start_frame_idx=8, max_frame_num_to_track=15):
        agrees("late_both", answer)


def test_samurai(weights: Path, video_dir: Path, goldens: Path, assert_equal_masks: Callable[..., None]) -> None:
    """Object 0 by the published demo's script."""
    predictor = build_sam2_video_predictor("configs/samurai/nano1.yaml", weights, device="cpu")
    state = predictor.init_state(str(video_dir), offload_video_to_cpu=True)
    predictor.add_new_points_or_box(state, box=(60, 70, 170, 215), frame_idx=0, obj_id=0)
    with np.load(goldens / "nano_samurai.npz") as golden:
        for frame, ids, logits in predictor.propagate_in_video(state, max_frame_num_to_track=23):
            assert ids == [0]
            where = f"samurai_box/f{frame:03d}"
            assert_equal_masks(logits[:, 0, 2::4, 2::4].numpy(), golden[where], where)
