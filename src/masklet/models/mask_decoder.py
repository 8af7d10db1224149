"""Turns image features and prompt embeddings into candidate masks with their scores (SAM 2 section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.fpn import Pointwise
from masklet.models.layers import MLP, ConvNextBlock, LayerNorm2d
from masklet.models.specs import ModelSpec
from masklet.models.two_way_transformer import TwoWayTransformer

#: A single mask is trusted if its area hardly changes between these logits (SAM 2's released inference settings).
STABILITY_DELTA = 0.05
STABILITY_THRESHOLD = 0.98

_MASKS = 4  # one for unambiguous prompts and three candidates


@dataclass(frozen=True)
class Candidates:
    """What the decoder proposes for a batch of prompts; n is 3 candidates or 1 mask.

    Attributes:
        logits_bnhw: mask logits at a quarter of the input's side; above 0 is object.
        iou_bn: predicted IoU of each mask with the truth, 0…1.
        tokens_bnc: the output tokens that object pointers are made from (one for all where a single mask is asked for).
        object_score_b1: logit that the object is visible at all.
    """

    logits_bnhw: Tensor
    iou_bn: Tensor
    tokens_bnc: Tensor
    object_score_b1: Tensor

    def __getitem__(self, index: int) -> Candidates:
        """What was proposed for one prompt of the batch, as a batch of one."""
        part = slice(index, index + 1)
        return Candidates(self.logits_bnhw[part], self.iou_bn[part], self.tokens_bnc[part], self.object_score_b1[part])


class MaskDecoder(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, (fine, middle) = spec.width, spec.high_res
        self.transformer = TwoWayTransformer(width, spec.decoder_feed_forward)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(_MASKS, width)
        self.obj_score_token = nn.Embedding(1, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, middle, kernel_size=2, stride=2),
            LayerNorm2d(middle),
            nn.GELU(),
            nn.ConvTranspose2d(middle, fine, kernel_size=2, stride=2),
            nn.GELU(),
        )
        # One after each of the three scales, coarsest first.
        self.mixers = nn.ModuleList(
            ConvNextBlock(channels, expansion=2) if spec.mixing else nn.Identity() for channels in (width, middle, fine)
        )
        self.conv_s0 = Pointwise(width, fine)
        self.conv_s1 = Pointwise(width, middle)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, fine, 3) for _ in range(_MASKS))
        self.iou_prediction_head = MLP(width, 256, _MASKS, 3, sigmoid=True)
        self.pred_obj_score_head = MLP(width, width, 1, 3)

    def forward(
        self,
        embedding_bchw: Tensor,
        high_res_bchw: tuple[Tensor, Tensor],
        sparse_bnc: Tensor,
        dense_bchw: Tensor,
        position_bchw: Tensor,
        multimask: bool,
        stability_fallback: bool = True,
    ) -> Candidates:
        """Decode masks.

        Args:
            embedding_bchw: image embedding at stride 16, with or without memory, one a prompt or one for all.
            high_res_bchw: features at strides 4 and 8 (after ``conv_s0`` and ``conv_s1``), one a prompt or one for all.
            sparse_bnc, dense_bchw: from the prompt encoder.
            position_bchw: Fourier positions of the embedding's cells.
            multimask: three candidates for ambiguous prompts, else one mask.
            stability_fallback: if the single mask's outline is unsure, answer with the best of the three candidates.
        """
        b = sparse_bnc.shape[0]
        own = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(b, -1, -1), sparse_bnc), dim=1)
        source = (embedding_bchw + dense_bchw).expand(b, -1, -1, -1)
        h, w = source.shape[-2:]
        tokens, source = self.transformer(
            source.flatten(2).transpose(1, 2), position_bchw.flatten(2).transpose(1, 2), tokens
        )
        mask_tokens = tokens[:, 2 : 2 + _MASKS]

        stride4, stride8 = high_res_bchw
        up1, norm, gelu, up2, _ = self.output_upscaling
        mix16, mix8, mix4 = self.mixers
        x = mix16(source.transpose(1, 2).unflatten(2, (h, w)))
        x = mix8(gelu(norm(up1(x) + stride8)))
        x = mix4(F.gelu(up2(x) + stride4))
        weights = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        logits = (weights @ x.flatten(2)).unflatten(2, x.shape[-2:]).float()
        iou = self.iou_prediction_head(tokens[:, 1]).float()
        object_score = self.pred_obj_score_head(tokens[:, 0]).float()

        if multimask:
            return Candidates(logits[:, 1:], iou[:, 1:], mask_tokens[:, 1:], object_score)
        single = logits[:, :1], iou[:, :1]
        if stability_fallback:
            single = _steadiest(logits, iou)
        return Candidates(*single, mask_tokens[:, :1], object_score)


def _steadiest(logits_bnhw: Tensor, iou_bn: Tensor) -> tuple[Tensor, Tensor]:
    """The single mask where its outline is stable, else the candidate of highest predicted IoU."""
    single = logits_bnhw[:, :1].flatten(1)
    sure = (single > STABILITY_DELTA).sum(1).float()
    maybe = (single > -STABILITY_DELTA).sum(1).float()
    stable = torch.where(maybe > 0, sure / maybe, torch.ones_like(maybe)) >= STABILITY_THRESHOLD
    best = iou_bn[:, 1:].argmax(1) + 1
    index = torch.where(stable, torch.zeros_like(best), best)
    rows = torch.arange(len(index), device=index.device)
    return logits_bnhw[rows, index][:, None], iou_bn[rows, index][:, None]
