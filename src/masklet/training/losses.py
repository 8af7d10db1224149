"""What training minimises: focal 20 : dice 1 : IoU 1 : object score 1 on the best candidate (arXiv 2408.00714, D.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.models.sam2 import upsample


class Guess(NamedTuple):
    """What the decoder said of k objects (of one frame, or of several put together), and the truth.

    Attributes:
        logits_knhw: raw mask logits, of n candidates each.
        iou_kn: predicted IoU.
        score_k1: object score (logit).
        truth_khw: bool, at the network's input size.
    """

    logits_knhw: Tensor
    iou_kn: Tensor
    score_k1: Tensor
    truth_khw: Tensor


#: The object's weight in the focal loss, of one for both. SAM's 0.25 is for networks that are sure: a pixel becomes
#: object where three quarters of the evidence say so, and a small network is seldom that sure. Its masks had holes;
#: with logits moved by 0.5 to 1, IoU of first masks on real frames rose by 0.05.
OBJECT_WEIGHT = 0.7


def focal_loss(logits: Tensor, truth: Tensor, alpha: float = OBJECT_WEIGHT, gamma: float = 2.0) -> Tensor:
    """Focal loss (arXiv 1708.02002) of each mask, averaged over its pixels: ``[..., h, w]`` to ``[...]``.

    ``truth`` may be a share of the pixel (0…1).
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = logits.sigmoid()
    wrong = p + truth - 2 * p * truth
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    return (balance * cross_entropy * wrong**gamma).mean((-2, -1))


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the (smoothed) Dice coefficient of each mask: ``[..., h, w]`` to ``[...]``."""
    p = logits.sigmoid()
    both = (p * truth).sum((-2, -1))
    return 1 - (2 * both + 1) / (p.sum((-2, -1)) + truth.sum((-2, -1)) + 1)


def balanced_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy averaged over the object and over the background, each half: ``[..., h, w]`` to ``[...]``."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    inside = (cross_entropy * truth).sum((-2, -1)) / truth.sum((-2, -1)).clamp(min=1)
    outside = (cross_entropy * (1 - truth)).sum((-2, -1)) / (1 - truth).sum((-2, -1)).clamp(min=1)
    return (inside + outside) / 2


def true_iou(logits_knhw: Tensor, truth_khw: Tensor) -> Tensor:
    """IoU of each candidate (its logits above zero) with the truth, ``[k, n]``; 0 where both are empty."""
    found = logits_knhw > 0
    truth = truth_khw[:, None]
    both = (found & truth).sum((-2, -1)).float()
    either = (found | truth).sum((-2, -1)).float()
    return both / either.clamp(min=1)


def total_loss(guess: Guess, weights: Mapping[str, float], size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a guess, and its terms for the record (means over objects, before weighting).

    Masks count on objects that are visible only, and of several candidates the best one counts; every candidate learns
    its own IoU; every object learns its score.

    Args:
        weights: how much each of the terms ``focal``, ``dice``, ``iou`` and ``object_score`` counts, and ``balanced``
            where it is there: a cross-entropy in which object and background count the same. The focal loss alone
            leaves a decoder that starts from nothing at "all background" for a long time.
        size: side of the square at which masks are compared; the truth is averaged down to it.
    """
    logits = upsample(guess.logits_knhw, size, size)
    truth_k1hw = guess.truth_khw[:, None].float()
    if truth_k1hw.shape[-1] != size:
        truth_k1hw = F.interpolate(truth_k1hw, size=(size, size), mode="area")
    present = guess.truth_khw.flatten(1).any(1)
    truth = truth_k1hw.expand_as(logits)
    terms = {"focal": focal_loss(logits, truth), "dice": dice_loss(logits, truth)}
    best = (weights["focal"] * terms["focal"] + weights["dice"] * terms["dice"]).detach().argmin(1, keepdim=True)
    if weights.get("balanced"):
        terms["balanced"] = balanced_loss(logits, truth)
    count = present.sum().clamp(min=1)
    means = {name: (values.gather(1, best)[:, 0] * present).sum() / count for name, values in terms.items()}
    with torch.no_grad():
        iou = true_iou(logits, truth_k1hw[:, 0] >= 0.5)
    means["iou"] = ((guess.iou_kn - iou).abs().mean(1) * present).sum() / count
    means["object_score"] = F.binary_cross_entropy_with_logits(guess.score_k1[:, 0], present.float())
    loss = sum((weights[name] * value for name, value in means.items()), start=guess.score_k1.new_zeros(()))
    record = {name: value.detach() for name, value in means.items()}
    record["true_iou"] = (iou.gather(1, guess.iou_kn.argmax(1, keepdim=True))[:, 0] * present).sum() / count
    return loss, record
