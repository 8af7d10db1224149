"""What parity tests share: the clip, the network that the goldens were made with, and what "equal" means."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.models.sam2 import SAM2
from masklet.models.specs import get_spec
from masklet.weights.loading import load_model

_HERE = Path(__file__).parent
KEYS: dict[str, dict[str, list[int]]] = json.loads((_HERE / "state_dict_keys.json").read_text())
# The parity kit's tolerances for videos: the reference keeps memories in bfloat16, which amplifies the rounding of
# float32 (a change of 1e-5 in its input moves its own logits by up to 0.007).
_MEAN_ERROR, _MAX_ERROR, _MASK_IOU = 0.01, 0.1, 0.995


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder with outputs of the official implementations."""
    return _HERE / "goldens"


@pytest.fixture(scope="session")
def clip(goldens: Path) -> np.ndarray:
    """The clip of the goldens: uint8 RGB ``[48, 256, 256, 3]``."""
    return np.stack([_read(path) for path in sorted((goldens / "clip_256").glob("*.png"))])


@pytest.fixture(scope="session")
def forward_clip(goldens: Path, clip: np.ndarray) -> np.ndarray:
    """The clip as the reference saw it in every run that began on frame 0: see `test_parity_videos`."""
    return np.concatenate((_read(goldens / "frame0_of_forward_runs.png")[None], clip[1:]))


@pytest.fixture(scope="session")
def golden_nano(goldens: Path) -> SAM2:
    """``nano1`` in float32 with the weights that the goldens were made with."""
    return load_model(device="cpu", dtype="float32", checkpoint=goldens / "nano_v0.safetensors")


@pytest.fixture(scope="session")
def assert_equal_masks() -> Callable[[np.ndarray, np.ndarray, str], None]:
    """``(logits_nhw, golden_nhw, where)``: fails unless every object's logits are the reference's but for rounding."""

    def check(logits_nhw: np.ndarray, golden_nhw: np.ndarray, where: str) -> None:
        assert logits_nhw.shape == golden_nhw.shape, where
        error = np.abs(logits_nhw - golden_nhw)
        assert error.mean() <= _MEAN_ERROR, f"{where}: mean error {error.mean():.4f}"
        assert error.max() <= _MAX_ERROR, f"{where}: greatest error {error.max():.4f}"
        for ours, theirs in zip(logits_nhw > 0, golden_nhw > 0, strict=True):
            differing, union = (ours ^ theirs).sum(), (ours | theirs).sum()
            # Goldens are samples: of a small mask, one sample alone is more than the tolerance.
            assert differing <= max(1, (1 - _MASK_IOU) * union), f"{where}: {differing} of {union} samples differ"

    return check


@pytest.fixture(scope="session")
def nano_video(goldens: Path) -> Mapping[str, np.ndarray]:
    with np.load(goldens / "nano_video.npz") as file:
        return dict(file)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def with_recipe_weights(name: str) -> SAM2:
    """A released network with the weights of `weights.py`."""
    shapes = KEYS[name.replace("-", "_")]
    weights = run_path(str(_HERE / "weights.py"))["fill"](shapes)
    with torch.device("meta"):
        model = SAM2(get_spec(name))
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)
