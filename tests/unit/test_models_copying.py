"""Masks copied from remembered frames: to where the picture looks the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from masklet.models.copying import copied, remembered
from masklet.models.sam2 import SAM2, Memories
from masklet.models.specs import get_spec
from masklet.training.initialise import initialise

SIDE = 16  # cells of stride 8


def scene(moved: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of a textured patch in front of a textured ground, and the patch's mask logits at stride 4."""
    torch.manual_seed(1)
    keys = torch.randn(1, 32, SIDE, SIDE)
    patch = torch.randn(1, 32, 5, 5)
    logits = torch.full((1, 1, 2 * SIDE, 2 * SIDE), -20.0)
    keys[..., 4:9, 3 + moved : 8 + moved] = patch
    logits[..., 8:18, 6 + 2 * moved : 16 + 2 * moved] = 20
    return F.normalize(keys, dim=1).to(dtype), logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_mask_goes_with_what_it_covers(moved: int, dtype: torch.dtype) -> None:
    frames = [remembered(*scene(earlier, dtype)) for earlier in (0, moved // 2)]
    keys, logits = scene(moved, dtype)
    found = F.pixel_shuffle(copied(keys, frames).float(), 4) > 0.5
    truth = logits > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.9


def test_each_object_copies_its_own_mask() -> None:
    keys, logits = scene()
    both = torch.cat((logits, -logits))
    frame = remembered(keys, both)
    assert frame.shape == (2, 4 * 32 + 16, SIDE // 2, SIDE // 2)
    together = copied(keys, [frame])
    for row in range(2):
        torch.testing.assert_close(together[row : row + 1], copied(keys, [frame[row : row + 1]]))
    assert ((together[0] > 0.5) != (together[1] > 0.5)).float().mean() > 0.95


@torch.inference_mode()
def test_the_decoder_is_told_what_was_copied() -> None:
    model = initialise(SAM2(get_spec("nano"))).eval()
    features = model.encode_image(torch.randn(1, 3, 96, 96))
    logits = torch.full((2, 1, 24, 24), -9.0)
    logits[0, ..., :10], logits[1, ..., 14:] = 9, 9
    frame = model.encode_memory(features, logits, torch.ones(2, 1) > 0, binarize=False)
    assert frame.shape == (2, model.spec.memory_channels, 6, 6)
    memories = Memories([frame], torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 0, 128), torch.zeros(2, 0))
    embedding = model.attend_to_memory(features, memories)
    told = model.decode_masks(features, embedding, batch=2, multimask=True)
    embedding[:, model.spec.width :] = 0
    untold = model.decode_masks(features, embedding, batch=2, multimask=True)
    assert not torch.equal(told.logits_bnhw, untold.logits_bnhw)
