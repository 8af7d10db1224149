"""Copies masks of remembered frames to where a frame looks the same: tracking that needs no training.

Features that were learned from photographs match parts of an object from frame to frame. Every cell of a frame takes
the masks of the ten remembered cells that look most like it and aren't far away (label propagation, as in arXiv
2006.14613). Nothing here learns. The mask decoder is told the copied mask and learns what to make of it; the mask of
a tracked frame is the mean of both, for each errs where the other doesn't: the copy keeps to what was shown, the
decoder keeps to one object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.specs import CELLS, ModelSpec
from masklet.models.trunks.levels import Level

#: How many remembered cells a cell copies from, and how much more the most similar of them counts.
_COPIED, _TEMPERATURE = 10, 0.07
#: Masks are copied from the prompts and from frames so far back. Of the frame just before, a mask would be a copy of a
#: copy of a copy: the fewer times a mask was copied, the less it drifts.
COPIED_AT = (3, 7)
#: How far things move: a standard deviation, in shares of the picture.
_REACH = 0.2
#: How much the copied mask counts where the decoder's counts one, and how sure it may be.
_SAY, _SURE = 2.0, 1e-3
#: So many cells are compared at once: their likenesses stay in the cache.
_AT_ONCE = 128


class CopyKeys(nn.Module):
    """What cells of stride 8 are compared by: the trunk's levels of strides 8 to 32, each as unit vectors, projected to
    ``spec.copying`` channels. The projection doesn't learn: random, or better the principal axes of photographs."""

    projection: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.register_buffer("projection", torch.zeros(spec.copying, sum(spec.trunk.widths[1:])))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.projection)

    @torch.no_grad()
    def forward(self, levels: Sequence[Level]) -> Tensor:
        """Unit vectors ``[b, copying, h, w]`` of the trunk's levels, finest first."""
        maps = [layout.join(x).permute(0, 3, 1, 2) for x, layout in levels[1:]]
        size = maps[0].shape[-2:]
        seen = torch.cat([F.normalize(_enlarged(x, size), dim=1) for x in maps], 1)
        return F.normalize(F.conv2d(seen, self.projection[..., None, None].to(seen.dtype)), dim=1)


def _enlarged(x_bchw: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x_bchw, size, mode="bilinear", align_corners=False)


@torch.no_grad()
def remembered(keys_bchw: Tensor, logits_b1hw: Tensor) -> Tensor:
    """What is kept of a frame for copying: keys and a mask (logits at stride 4), as channels of a grid of stride 16."""
    b = len(logits_b1hw)
    cells = F.pixel_unshuffle(keys_bchw, 2).expand(b, -1, -1, -1)
    return torch.cat((cells, F.pixel_unshuffle(logits_b1hw.sigmoid(), 4).to(cells.dtype)), 1)


@torch.no_grad()
def copied(keys_bchw: Tensor, frames: Sequence[Tensor]) -> Tensor:
    """Copy masks of remembered frames, for each of b objects: ``[b, CELLS, h, w]`` at stride 16, 0…1.

    Args:
        keys_bchw: the frame's keys, once for all objects or once each.
        frames: what :func:`remembered` said of each of m frames, ``[b, c, h, w]``.
    """
    stored = torch.stack(list(frames), 1)  # bmchw
    cells, masks = stored[:, :, :-CELLS], stored[:, :, -CELLS:]
    keys = F.pixel_shuffle(cells, 2).transpose(1, 2).flatten(2).to(keys_bchw.dtype)  # bcn
    values = F.pixel_unshuffle(F.pixel_shuffle(masks, 4), 2).transpose(1, 2).flatten(2).transpose(1, 2).float()  # bn4
    h, w = keys_bchw.shape[-2:]
    # What is near is likelier: with -|p - p'|² / 2 = p p' - |p'|² / 2 - …, places are three channels more.
    places = _places(h, w).to(keys)
    theirs = torch.cat((places, -places.square().sum(0, keepdim=True) / 2)).repeat(1, len(frames))
    ours = torch.cat((places, torch.ones_like(places[:1])))
    parts: list[Tensor] = []
    for own_chw, keys_cm, value_m4 in zip(keys_bchw.expand(len(keys), -1, -1, -1), keys, values, strict=True):
        key_cm = torch.cat((keys_cm, theirs))
        for query_nc in torch.cat((own_chw.flatten(1) / _TEMPERATURE, ours)).t().split(_AT_ONCE):
            likeness, place = (query_nc @ key_cm).topk(_COPIED, sorted=False)
            parts.append((value_m4[place] * likeness.float().softmax(-1)[..., None]).sum(1))
    found = torch.cat(parts).reshape(len(keys), h, w, 4).permute(0, 3, 1, 2)
    return F.pixel_unshuffle(F.pixel_shuffle(found, 2), 4)


def blended(logits_bnhw: Tensor, copied_b1hw: Tensor) -> Tensor:
    """The decoder's candidates and the copied mask (0…1) of the same size, put together as logits."""
    copied = copied_b1hw.clamp(_SURE, 1 - _SURE).logit()
    return ((logits_bnhw.float() + _SAY * copied) / 2).to(logits_bnhw.dtype)


def _places(h: int, w: int) -> Tensor:
    """y and x of every cell, ``[2, h * w]``, from the centre of the picture in units of `_REACH`."""
    y, x = (((torch.arange(n) + 0.5) / n - 0.5) / _REACH for n in (h, w))
    return torch.stack((y[:, None].expand(h, w), x.expand(h, w))).flatten(1)
