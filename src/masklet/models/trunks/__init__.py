"""Image encoders' trunks: pictures in, four levels of features at strides 4, 8, 16 and 32 out (docs/trunks.md)."""

from __future__ import annotations

from masklet.models.specs import HieraSpec, TrunkSpec
from masklet.models.trunks.efficientnet import EfficientNet
from masklet.models.trunks.hiera import Hiera

Trunk = Hiera | EfficientNet


def make_trunk(spec: TrunkSpec) -> Trunk:
    """The trunk that a spec describes."""
    return Hiera(spec) if isinstance(spec, HieraSpec) else EfficientNet(spec)
