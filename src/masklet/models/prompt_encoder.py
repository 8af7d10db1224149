"""Turns clicks, boxes and masks into embeddings (SAM, arXiv 2304.02643, appendix A; unchanged in SAM 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.layers import LayerNorm2d
from masklet.models.positions import FourierPositions
from masklet.models.shape import InputShape

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
