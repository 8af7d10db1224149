"""The network as the official package hands it around: with its settings, movable to other devices."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from masklet.compat.sam2.settings import Settings
from masklet.errors import CheckpointError, InputError
from masklet.models.sam2 import SAM2
from masklet.predictors import ImagePredictor
from masklet.runtime import pick_device
from masklet.settings import DEFAULT_MODEL
from masklet.tracking.policies import make_policy
from masklet.weights.loading import load_model


class SAM2Base:
    """A network and how to run it: what ``build_sam2`` gives and the predictors take.

    The network is shared with everybody who uses the same weights; moving or loading into this object leaves the others
    alone. Attributes of the network (``image_encoder``, ``sam_mask_decoder`` …) can be read through it.
    """

    def __init__(
        self,
        network: SAM2,
        settings: Settings | None = None,
        *,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.network = network
        self.settings = settings or Settings()
        self.image_size: int = network.spec.check_resolution(self.settings.image_size or network.spec.image_size)
        self.policy = make_policy(self.settings.policy, network.spec, **self.settings.policy_settings)
        self._checkpoint = checkpoint
        self._own = False

    @classmethod
    def load(
        cls,
        name: str | None,
        checkpoint: str | Path | None,
        settings: Settings,
        *,
        device: str | torch.device | None,
        dtype: str | torch.dtype | None,
    ) -> Any:
        """Load a network by name, by file, or by both, which then have to agree.

        Raises:
            CheckpointError: the weights are missing, damaged, or another network's.
            InputError: neither a known name nor a file.
        """
        if name is None and checkpoint is None:
            raise InputError("this config's name says nothing about the network: give its weights, or a model type")
        network = load_model(
            name or DEFAULT_MODEL, device=pick_device(device, fall_back=True), dtype=dtype, checkpoint=checkpoint
        )
        if name is not None and network.spec.name != name:
            raise CheckpointError(f"{checkpoint} holds {network.spec.name}, but {name} was asked for")
        return cls(network, settings, checkpoint=checkpoint)

    def image_predictor(self) -> ImagePredictor:
        """A predictor for single pictures, by the settings."""
        settings = self.settings
        return ImagePredictor(
            self.network,
            resolution=self.image_size,
            shape=settings.shape,
            stability_fallback=settings.stability_fallback,
        )

    # --- what callers of a torch module expect -----------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Go on with the same weights on another device or in another number format; returns this object."""
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for value in args:
            if isinstance(value, torch.Tensor):
                device, dtype = value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (str, int, torch.device)) and not isinstance(value, bool):
                device = value
        device = self.device if device is None else pick_device(device, fall_back=True)
        dtype = dtype or self.dtype
        if self._own:
            self.network = self.network.to(device, dtype)
        elif (device, dtype) != (self.device, self.dtype):
            name = self.network.spec.name
            self.network = load_model(name, device=device, dtype=dtype, checkpoint=self._checkpoint)
        return self

    def cuda(self, device: int | None = None) -> Any:
        return self.to("cuda" if device is None else f"cuda:{device}")

    def cpu(self) -> Any:
        return self.to("cpu")

    def float(self) -> Any:
        return self.to(torch.float32)

    def half(self) -> Any:
        return self.to(torch.float16)

    def bfloat16(self) -> Any:
        return self.to(torch.bfloat16)

    def eval(self) -> Any:
        return self

    def train(self, mode: bool = True) -> Any:
        """Only ``train(False)``: training has its own interface, :mod:`masklet.training`."""
        if mode:
            raise InputError("masklet.compat.sam2 is for inference; masklet.training trains networks")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        if requires_grad:
            raise InputError("masklet.compat.sam2 is for inference; masklet.training trains networks")
        return self

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> Any:
        """Load other weights of the same size (official key names), for this object alone."""
        network = copy.deepcopy(self.network)
        try:
            result = network.load_state_dict(state_dict, strict=strict)
        except RuntimeError as error:
            raise CheckpointError(f"these weights don't fit {network.spec.name}: {error}") from error
        self.network, self._own = network, True
        return result

    def __getattr__(self, name: str) -> Any:
        if name in ("network", "__setstate__"):  # not there yet (unpickling, copying)
            raise AttributeError(name)
        return getattr(self.network, name)


def as_base(model: SAM2Base | SAM2) -> SAM2Base:
    """A network of masklet's own, with the default settings; one of ``build_sam2`` as it is.

    Raises:
        InputError: neither.
    """
    if isinstance(model, SAM2Base):
        return model
    if isinstance(model, SAM2):
        return SAM2Base(model)
    raise InputError(f"a predictor takes what build_sam2 or masklet.load_model gives, but got {type(model).__name__}")
