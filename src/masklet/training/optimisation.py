"""Which weights learn, and how fast."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from masklet.errors import InputError
from masklet.models.sam2 import SAM2
from masklet.training.settings import TrainSettings

#: The parts of a network, and the beginnings of their weights' keys: the longest one that fits says where a weight
#: belongs. The decoder's convolutions for the fine levels count as the neck's: they run with the image encoder.
PARTS: dict[str, tuple[str, ...]] = {
    "trunk": ("image_encoder.trunk.",),
    "neck": ("image_encoder.neck.", "sam_mask_decoder.conv_s0.", "sam_mask_decoder.conv_s1."),
    "memory-attention": ("memory_attention.", "maskmem_tpos_enc", "obj_ptr_tpos_proj.", "no_mem_embed"),
    "memory-encoder": ("memory_encoder.", "no_obj_embed_spatial"),
    "prompt-encoder": ("sam_prompt_encoder.", "prompt_maps.", "mask_downsample."),
    "mask-decoder": ("sam_mask_decoder.", "obj_ptr_proj.", "no_obj_ptr"),
}
#: Names for several parts.
GROUPS: dict[str, tuple[str, ...]] = {"image-encoder": ("trunk", "neck")}

#: Kept for the released checkpoints' sake; nothing ever reads it.
_UNUSED = "no_mem_pos_enc"

#: Small tables and tokens: no weight decay, like biases and norms.
_NO_DECAY = ("embed", "tpos_enc", "no_obj_ptr", "token", "gamma")


def part_of(key: str) -> str | None:
    """The part that a weight belongs to; None for the one that nothing reads."""
    if key == _UNUSED:
        return None
    fitting = [(len(start), part) for part, starts in PARTS.items() for start in starts if key.startswith(start)]
    return max(fitting)[1]


def frozen_parts(names: Iterable[str]) -> frozenset[str]:
    """The parts that these names (of :data:`PARTS` or :data:`GROUPS`) stand for.

    Raises:
        InputError: an unknown name, or nothing would be left to learn.
    """
    parts: set[str] = set()
    for name in names:
        if name not in PARTS and name not in GROUPS:
            raise InputError(f"{name!r} can't be frozen; choose from: {', '.join((*GROUPS, *PARTS))}")
        parts.update(GROUPS.get(name, (name,)))
    if parts == set(PARTS):
        raise InputError("everything is frozen: leave out a part")
    return frozenset(parts)


def freeze(model: SAM2, names: Iterable[str]) -> None:
    """Make only the weights outside these parts learn. Raises as :func:`frozen_parts`."""
    parts = frozen_parts(names)
    for key, parameter in model.named_parameters():
        part = part_of(key)
        parameter.requires_grad_(part is not None and part not in parts)


def rate_of(key: str, blocks: int, decay: float, encoder: float) -> float:
    """The share of the learning rate that a weight gets.

    Inside the image encoder's trunk it falls from block to block towards the picture (layer decay, as in the SAM 2
    paper's training): deep layers of a trained trunk hold general knowledge.
    """
    if not key.startswith("image_encoder.trunk."):
        return 1.0
    below = blocks - int(key.split(".")[3]) if key.startswith("image_encoder.trunk.blocks.") else blocks + 1
    return encoder * decay**below


class Optimiser:
    """AdamW, with Muon for the matrices where asked for; one learning rate for both.

    Muon (orthogonalised momentum) makes better use of few steps; it is PyTorch's own, from 2.9 on. Its steps are scaled
    to the size of AdamW's.
    """

    def __init__(
        self,
        model: SAM2,
        settings: TrainSettings,
        helper: nn.Module | None = None,
    ) -> None:
        muon = settings.optimiser == "muon"
        inside = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
        groups: dict[bool, dict[tuple[float, float], list[Tensor]]] = {True: {}, False: {}}
        for key, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            plain = parameter.ndim < 2 or any(name in key for name in _NO_DECAY)
            matrix = muon and id(parameter) in inside
            share = rate_of(key, model.spec.trunk.blocks, settings.layer_decay, settings.encoder_rate)
            group = (share * (settings.matrix_rate if matrix else 1.0), 0.0 if plain else settings.weight_decay)
            groups[matrix].setdefault(group, []).append(parameter)
        if helper is not None:
            groups[False].setdefault((1.0, 0.0), []).extend(helper.parameters())
        adamw, matrices = (
            [
                {"params": parameters, "share": share, "weight_decay": decay, "lr": 0.0}
                for (share, decay), parameters in groups[matrix].items()
            ]
            for matrix in (False, True)
        )
        self.parts: list[torch.optim.Optimizer] = []
        if adamw:
            self.parts.append(torch.optim.AdamW(adamw, betas=(0.9, 0.99 if muon else 0.999)))
        if matrices:
            if not hasattr(torch.optim, "Muon"):
                raise InputError("the muon optimiser needs PyTorch 2.9 or newer; use adamw")
            self.parts.append(torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw"))
        self.parameters = [p for part in self.parts for group in part.param_groups for p in group["params"]]

    def step(self, rate: float, clip_norm: float) -> float:
        """Apply the gradients at this learning rate; return their norm before clipping.

        A step whose gradients aren't finite is left out.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters, clip_norm))
        if math.isfinite(norm):
            for part in self.parts:
                for group in part.param_groups:
                    group["lr"] = rate * group["share"]
                part.step()
        for part in self.parts:
            part.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for part, own in zip(self.parts, state, strict=True):
            # Rates are the settings' business, which may have changed since.
            kept = [(group["share"], group["weight_decay"]) for group in part.param_groups]
            part.load_state_dict(own)
            for group, (share, decay) in zip(part.param_groups, kept, strict=True):
                group["share"], group["weight_decay"] = share, decay


def cosine(step: int, steps: int, warm_up: int, floor: float = 0.02) -> float:
    """The share of the learning rate at a step: a linear rise, then half a cosine down to ``floor``."""
    if step < warm_up:
        return (step + 1) / warm_up
    along = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return floor + (1 - floor) * (1 + math.cos(math.pi * along)) / 2


class Average:
    """Exponential moving average of the weights: what is validated and written out.

    Early on it follows closely, so that the random beginning is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.count += 1
        share = 1 - min(self.decay, (1 + self.count) / (10 + self.count))
        new = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        torch._foreach_lerp_([self.state[key] for key in new], list(new.values()), share)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        for key, value in state["state"].items():
            self.state[key].copy_(value)
