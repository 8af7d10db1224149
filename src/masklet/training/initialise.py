"""First weights of a network that starts from nothing."""

from __future__ import annotations

import torch
from torch import nn

from masklet.models.layers import ConvNextBlock
from masklet.models.sam2 import SAM2
from masklet.models.trunks.hiera import Hiera

_STD = 0.02


def initialise(model: SAM2, seed: int = 0) -> SAM2:
    """Give a network random weights, the same for the same seed, and return it.

    Layers get PyTorch's own uniform values by fan-in: with the truncated normal of deviation 0.02 that is usual for
    larger transformers, a decoder this narrow whispers, and takes twice as many steps to say anything. The scale of
    ConvNeXt blocks starts at 0.1 instead of 1e-6, which a training of a few thousand steps would not
    leave.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
        own: list[torch.Tensor] = [
            model.maskmem_tpos_enc,
            model.no_mem_embed,
            model.no_obj_ptr,
        ]
        if model.no_obj_embed_spatial is not None:
            own.append(model.no_obj_embed_spatial)
        trunk = model.image_encoder.trunk
        if isinstance(trunk, Hiera):
            own += [trunk.pos_embed, trunk.pos_embed_window]
        for parameter in own:
            nn.init.trunc_normal_(parameter, std=_STD)
        for module in model.modules():
            if isinstance(module, ConvNextBlock):
                nn.init.constant_(module.gamma, 0.1)
        # Shrinks a drawn mask to its mean: a starting point that already says where the object is.
        nn.init.constant_(model.mask_downsample.weight, 1 / 16)
        # Not learned, but random as well: where clicks are, in waves.
        model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.normal_()
    return model
