"""Losses against plain formulas, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from masklet.training.losses import (
    OBJECT_WEIGHT,
    Guess,
    balanced_loss,
    dice_loss,
    focal_loss,
    total_loss,
    true_iou,
)

WEIGHTS = {"focal": 20.0, "dice": 1.0, "iou": 1.0, "object_score": 1.0}
LOGITS = torch.tensor([[[2.0, -1.0, 0.5], [-3.0, 0.1, 4.0]], [[-2.0, 1.0, -0.5], [3.0, -0.1, -4.0]]])
TRUTH = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])


def _p(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def _entropy(z: float, t: float) -> float:
    return -(t * math.log(_p(z)) + (1 - t) * math.log(1 - _p(z)))


@pytest.mark.parametrize("mask", [0, 1])
def test_focal_loss_is_the_published_formula(mask: int) -> None:
    pixels = list(zip(LOGITS[mask].flatten().tolist(), TRUTH[mask].flatten().tolist(), strict=True))
    # -alpha_t (1 - p_t)^gamma log p_t
    expected = [
        (OBJECT_WEIGHT if t else 1 - OBJECT_WEIGHT) * (1 - (_p(z) if t else 1 - _p(z))) ** 2 * _entropy(z, t)
        for z, t in pixels
    ]
    assert focal_loss(LOGITS, TRUTH)[mask].item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_dice_loss_is_one_minus_smoothed_overlap() -> None:
    p = LOGITS[0].sigmoid()
    both = sum(a * b for a, b in zip(p.flatten().tolist(), TRUTH[0].flatten().tolist(), strict=True))
    expected = 1 - (2 * both + 1) / (p.sum().item() + TRUTH[0].sum().item() + 1)
    assert dice_loss(LOGITS, TRUTH)[0].item() == pytest.approx(expected, rel=1e-5)
    assert dice_loss(torch.full((4, 4), 50.0), torch.ones(4, 4)).item() == pytest.approx(0, abs=1e-6)


def test_balanced_loss_weighs_object_and_background_alike() -> None:
    pixels = list(zip(LOGITS[0].flatten().tolist(), TRUTH[0].flatten().tolist(), strict=True))
    inside = [_entropy(z, t) for z, t in pixels if t]
    outside = [_entropy(z, t) for z, t in pixels if not t]
    expected = (np.mean(inside) + np.mean(outside)) / 2
    assert balanced_loss(LOGITS, TRUTH)[0].item() == pytest.approx(expected, rel=1e-5)


def test_true_iou_counts_pixels() -> None:
    found, truth = LOGITS[0] > 0, TRUTH[0] > 0.5
    expected = int((found & truth).sum()) / int((found | truth).sum())
    assert true_iou(LOGITS[None, :1], truth[None])[0, 0].item() == pytest.approx(expected)
    assert true_iou(-torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)).item() == 0


def _guess(visible: bool, candidates: int = 3) -> Guess:
    generator = torch.Generator().manual_seed(4)
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    truth[:, 2:6, 1:5] = visible
    logits = torch.randn(1, candidates, 8, 8, generator=generator)
    return Guess(logits, torch.tensor([[0.2, 0.9, 0.4][:candidates]]), torch.tensor([[0.7]]), truth)


def test_total_loss_takes_the_best_candidate_and_every_iou() -> None:
    guess = _guess(True)
    truth = guess.truth_khw.float()
    each = [
        20 * focal_loss(guess.logits_knhw[:, n], truth)[0].item() + dice_loss(guess.logits_knhw[:, n], truth)[0].item()
        for n in range(3)
    ]
    ious = true_iou(guess.logits_knhw, guess.truth_khw)[0].tolist()
    iou_error = np.mean([abs(a - b) for a, b in zip([0.2, 0.9, 0.4], ious, strict=True)])
    loss, record = total_loss(guess, WEIGHTS, 8)
    assert loss.item() == pytest.approx(min(each) + iou_error + _entropy(0.7, 1), rel=1e-4)
    assert record["true_iou"].item() == pytest.approx(ious[1])  # of the candidate that the network would choose
    assert len(set(np.round(each, 6))) == 3


def test_where_the_object_is_hidden_only_its_score_learns() -> None:
    guess = _guess(False)
    logits, iou, score = (x.clone().requires_grad_() for x in (guess.logits_knhw, guess.iou_kn, guess.score_k1))
    loss, _ = total_loss(Guess(logits, iou, score, guess.truth_khw), WEIGHTS | {"balanced": 1.0}, 8)
    loss.backward()
    assert loss.item() == pytest.approx(_entropy(0.7, 0), rel=1e-5)
    assert not logits.grad.any() and not iou.grad.any() and score.grad.item() > 0


def test_masks_of_other_sizes_are_brought_to_one_grid() -> None:
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[:, 4:12, 4:12] = True
    right = torch.where(truth[:, None, ::4, ::4], 30.0, -30.0)
    guess = Guess(right, torch.ones(1, 1), torch.full((1, 1), 30.0), truth)
    for size in (4, 8, 16):
        loss, record = total_loss(guess, WEIGHTS, size)
        assert record["true_iou"].item() > 0.8
        assert loss.item() < total_loss(Guess(-right, torch.ones(1, 1), guess.score_k1, truth), WEIGHTS, size)[0]
