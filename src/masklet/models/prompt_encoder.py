"""Turns clicks, boxes and masks into embeddings (SAM, arXiv 2304.02643, appendix A; unchanged in SAM 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.layers import LayerNorm2d
from masklet.models.positions import FourierPositions
from masklet.models.shape import LOW_RES, InputShape

if TYPE_CHECKING:
    from masklet.prompts import Prompt

#: What the label of a point says. A box is two points.
PADDING, NEGATIVE, POSITIVE, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 0, 1, 2, 3

#: Earlier masks are fed back with their logits inside this range, as in the reference.
FEEDBACK_LIMIT = 32.0


def input_points(prompt: Prompt, width: int, height: int, shape: InputShape) -> tuple[Tensor, Tensor]:
    """Points ``[1, n, 2]`` in pixels of the network's input and labels ``[1, n]``, a box's corners first."""
    points = np.array(prompt.points, np.float32).reshape(-1, 2)
    labels = np.array(prompt.labels, np.int64)
    if prompt.box is not None:
        points = np.concatenate((np.array(prompt.box, np.float32).reshape(2, 2), points))
        labels = np.concatenate(([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], labels))
    scale, inner = np.array([width, height], np.float32), np.array(shape.inner[::-1], np.float32)
    return torch.from_numpy(points / scale * inner)[None].float(), torch.from_numpy(labels)[None]


class PromptMaps(nn.Module):
    """Draws prompts and copied masks over the picture; the features of the drawing are added at strides 16, 8 and 4.

    Points as waves (:class:`~masklet.models.positions.FourierPositions`) leave it to training to find out what is near
    a click and what a box holds; a small network that trains for hours, not weeks, follows prompts better if it sees
    them.
    """

    #: Spots of two sizes (standard deviations in shares of the picture) for either kind of click.
    SPOTS = (0.02, 0.1)
    #: The spots, inside a box, how near to its centre, that there is a box; an earlier mask, and that there is one; a
    #: copied mask, and that there is one.
    CHANNELS = 2 * len(SPOTS) + 7

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        # Without biases: where nothing is said, nothing is added.
        self.layers = nn.ModuleList(nn.Conv2d(self.CHANNELS, width, kernel_size=1, bias=False) for width in widths)

    def forward(
        self,
        points_bn2: Tensor | None,
        labels_bn: Tensor | None,
        mask_logits_b1hw: Tensor | None,
        copied_b1hw: Tensor | None,
        shape: InputShape,
    ) -> list[Tensor]:
        """Features ``bchw``, coarsest first. Points and labels as in :class:`PromptEncoder`; masks at stride 4."""
        maps = self.draw(points_bn2, labels_bn, mask_logits_b1hw, copied_b1hw, shape)
        dtype = self.layers[0].get_parameter("weight").dtype
        return [layer(F.avg_pool2d(maps, side).to(dtype)) for layer, side in zip(self.layers, (4, 2, 1), strict=True)]

    @classmethod
    def draw(
        cls,
        points_bn2: Tensor | None,
        labels_bn: Tensor | None,
        mask_logits_b1hw: Tensor | None,
        copied_b1hw: Tensor | None,
        shape: InputShape,
    ) -> Tensor:
        """The maps at stride 4, ``[b, CHANNELS, h, w]``, 0...1."""
        height, width = shape.height // LOW_RES, shape.width // LOW_RES
        earlier = None if mask_logits_b1hw is None else mask_logits_b1hw.float().sigmoid()
        parts: list[Tensor | None] = [None]
        if points_bn2 is not None and labels_bn is not None:
            parts = [cls._draw_points(points_bn2, labels_bn, shape)]
        parts += [
            None if mask is None else torch.cat((mask, torch.ones_like(mask)), 1) for mask in (earlier, copied_b1hw)
        ]
        like = next(part for part in parts if part is not None)
        batch = max(len(part) for part in parts if part is not None)
        counts = (cls.CHANNELS - 4, 2, 2)
        return torch.cat(
            [
                (like.new_zeros(1, count, height, width) if part is None else part).expand(batch, -1, -1, -1)
                for part, count in zip(parts, counts, strict=True)
            ],
            1,
        )

    @classmethod
    def _draw_points(cls, points_bn2: Tensor, labels_bn: Tensor, shape: InputShape) -> Tensor:
        # In units of the longer side, so that spots are round whatever the shape.
        longest = max(shape.height, shape.width)
        side = longest // LOW_RES
        points = (points_bn2.float() + 0.5) / longest
        axes = [(torch.arange(n // LOW_RES, device=points.device) + 0.5) / side for n in (shape.width, shape.height)]
        away_x, away_y = (axes[i] - points[..., i, None] for i in (0, 1))  # bnw, bnh
        maps = []
        for spot in cls.SPOTS:
            x, y = ((-((away / spot) ** 2) / 2).exp() for away in (away_x, away_y))
            for label in (POSITIVE, NEGATIVE):
                here = x * (labels_bn == label)[..., None]
                maps.append((y[..., :, None] * here[..., None, :]).amax(1))
        boxed = (labels_bn == BOX_TOP_LEFT).any(1)[:, None]
        first = labels_bn.eq(BOX_TOP_LEFT).int().argmax(1)
        low = points[torch.arange(len(points)), first]
        high = points[torch.arange(len(points)), (first + 1).clamp(max=points.shape[1] - 1)]
        reach = (high - low).clamp(min=1 / longest) / 2
        inside, central = [], []
        for i in (0, 1):
            away = (axes[i] - (low + high)[:, i, None] / 2).abs()
            inside.append(((reach[:, i, None] - away) * side + 0.5).clamp(0, 1) * boxed)
            central.append((-((away / reach[:, i, None]) ** 2)).exp() * boxed)
        for x, y in (inside, central):
            maps.append(y[:, :, None] * x[:, None, :])
        maps.append(boxed[..., None].to(x.dtype).expand_as(maps[0]))
        return torch.stack(maps, 1)


class PromptEncoder(nn.Module):
    def __init__(self, width: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.width = width
        self.pe_layer = FourierPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, kernel_size=1),
        )

    def points(self, points_bn2: Tensor, labels_bn: Tensor, shape: InputShape) -> Tensor:
        """Sparse embeddings ``[b, n + 1, c]``: one token a point and a padding token.

        Args:
            points_bn2: x, y in pixels of the network's input.
            labels_bn: one of the label constants of this module.
            shape: of the network's input.
        """
        dtype = self.not_a_point_embed.weight.dtype
        # The corner of a pixel is at its index; a click means its centre.
        size = points_bn2.new_tensor([shape.width, shape.height])
        centres = F.pad((points_bn2.float() + 0.5) / size, (0, 0, 0, 1))
        labels = F.pad(labels_bn, (0, 1), value=PADDING)[..., None]
        embedding = self.pe_layer(centres).to(dtype)
        embedding = torch.where(labels == PADDING, self.not_a_point_embed.weight, embedding)
        for label, table in enumerate(self.point_embeddings):
            embedding = embedding + (labels == label) * table.get_parameter("weight")
        return embedding

    def mask(self, logits_b1hw: Tensor) -> Tensor:
        """Dense embedding ``[b, c, h / 4, w / 4]`` of low-resolution mask logits."""
        return self.mask_downscaling(logits_b1hw.to(self.no_mask_embed.weight.dtype))

    def no_mask(self, batch: int, height: int, width: int) -> Tensor:
        """Dense embedding that says there is no mask prompt: ``[b, c, height, width]``, a view."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(batch, -1, height, width)
