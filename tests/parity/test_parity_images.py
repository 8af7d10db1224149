"""Single pictures against the official image predictor, on the same weights.

The goldens `image_<model>_<side>.npz` are outputs of facebookresearch/sam2 (2b90b9f) in float32 on a CPU, for the
picture `image_1024.png` and the weights of `weights.py`, without the fallback for unsure single masks: samples of the
features at strides 4, 8 and 16 (the first two after the 1x1 convolutions of the decoder) with their norms and shapes,
samples of the sine tables, and for each kind of prompt the predicted IoUs and every fourth row and column of the
low-resolution logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tests.parity.conftest import KEYS, with_recipe_weights

from masklet import ImagePredictor
from masklet.models.positions import sine_table
from masklet.models.sam2 import SAM2
from masklet.models.specs import get_spec
from masklet.predictors import ImageMasks

pytestmark = pytest.mark.slow

MILLIONS = {"sam2.1-tiny": 38.96, "sam2.1-small": 46.06, "sam2.1-base-plus": 80.85, "sam2.1-large": 224.45}
RUNS = [
    ("sam2.1-tiny", 1024),
    ("sam2.1-tiny", 512),
    ("sam2-tiny", 1024),
    ("sam2.1-small", 1024),
    ("sam2.1-base-plus", 1024),
    ("sam2.1-large", 1024),
]
# In pixels of the picture at 1024x1024.
BOX = np.array([200, 250, 800, 900])
PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"points": np.array([[400, 500]])},
    "points": {"points": np.array([[400, 500], [700, 300], [100, 900]]), "labels": [1, 1, 0]},
    "box": {"box": BOX},
    "box_points": {"box": BOX, "points": np.array([[400, 500], [300, 800]]), "labels": [1, 0]},
}
# The parity kit's tolerances: relative L2 for features, absolute for logits and predicted IoUs.
_FEATURES, _LOGITS, _IOU = 1e-5, 2e-3, 1e-4


class Run:
    """A network with the recipe's weights that has seen the picture, and what the reference made of it."""

    def __init__(self, goldens: Path, name: str, side: int) -> None:
        with np.load(goldens / f"image_{name.replace('-', '_')}_{side}.npz") as file:
            self.golden = dict(file)
        self.side = side
        with Image.open(goldens / "image_1024.png") as picture:
            image_hwc = np.asarray(picture.convert("RGB"))
        if side != 1024:
            image_hwc = cv2.resize(image_hwc, (side, side), interpolation=cv2.INTER_AREA)
        model = with_recipe_weights(name)
        self.predictor = ImagePredictor(model, resolution=side, stability_fallback=False).set_image(image_hwc)

    def predict(self, kind: str, multimask: bool, mask: ImageMasks | None = None) -> ImageMasks:
        prompt = dict(PROMPTS[kind])
        for key in ("points", "box"):
            if key in prompt:
                prompt[key] = prompt[key] * (self.side / 1024)
        return self.predictor.predict(**prompt, mask=mask, multimask=multimask)

    def check(self, answer: ImageMasks, key: str) -> None:
        logits = answer.low_res_logits_nhw[:, ::4, ::4].numpy()
        assert logits.shape == self.golden[f"{key}_low"].shape
        assert np.abs(logits - self.golden[f"{key}_low"]).max() <= _LOGITS
        assert np.abs(answer.predicted_iou_n - self.golden[f"{key}_iou"]).max() <= _IOU


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]} at {run[1]}")
def run(request: pytest.FixtureRequest, goldens: Path) -> Iterator[Run]:
    return Run(goldens, *request.param)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_keys_and_shapes_are_the_released_ones(name: str) -> None:
    with torch.device("meta"):
        model = SAM2(get_spec(name.replace("_", "-")))
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == KEYS[name]
    if model.spec.name in MILLIONS:
        count = sum(parameter.numel() for parameter in model.parameters())
        assert round(count / 1e6, 2) == MILLIONS[model.spec.name]


def test_features(run: Run) -> None:
    features = run.predictor.features()
    for level, tensor in enumerate((*features.high_res_bchw, features.embedding_bchw)):
        golden = run.golden[f"fpn{level}"]
        assert list(tensor.shape) == run.golden[f"fpn{level}_shape"].tolist()
        ours = tensor.numpy().ravel()
        samples = ours[:: ours.size // len(golden)][: len(golden)]
        assert np.linalg.norm(samples - golden) <= _FEATURES * np.linalg.norm(golden), f"level {level}"
        norm = np.linalg.norm(ours.astype(np.float64))
        assert norm == pytest.approx(float(run.golden[f"fpn{level}_norm"]), rel=_FEATURES)


def test_sine_tables(run: Run) -> None:
    for level, stride in enumerate((4, 8, 16)):
        golden = run.golden[f"pos{level}"]
        side = run.side // stride
        table = sine_table(run.predictor.model.spec.width, side, side, torch.device("cpu"), torch.float32)
        ours = table.numpy().ravel()
        samples = ours[:: ours.size // len(golden)][: len(golden)]
        assert np.linalg.norm(samples - golden) <= _FEATURES * np.linalg.norm(golden), f"level {level}"


@pytest.mark.parametrize("multimask", [True, False], ids=["multi", "single"])
@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts(run: Run, kind: str, multimask: bool) -> None:
    run.check(run.predict(kind, multimask), f"{kind}_{'multi' if multimask else 'single'}")


def test_mask_fed_back(run: Run) -> None:
    first = run.predict("point", multimask=True)
    run.check(run.predict("points", multimask=False, mask=first), "mask_input")


def test_every_golden_is_compared(goldens: Path) -> None:
    """A golden that no test reads would look like parity that isn't there."""
    compared = {f"{kind}_{mode}_{part}" for kind in PROMPTS for mode in ("multi", "single") for part in ("iou", "low")}
    compared |= {"mask_input_iou", "mask_input_low"} | {f"pos{level}" for level in range(3)}
    compared |= {f"fpn{level}{part}" for level in range(3) for part in ("", "_norm", "_shape")}
    files = sorted(path.name for path in goldens.glob("image_*.npz"))
    assert files == sorted(f"image_{name.replace('-', '_')}_{side}.npz" for name, side in RUNS)
    for name in files:
        with np.load(goldens / name) as file:
            assert set(file.files) == compared
