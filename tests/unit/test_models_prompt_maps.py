"""Prompts drawn as maps: where a person pointed is where the network sees it."""

from __future__ import annotations

import pytest
import torch

from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NEGATIVE, PADDING, POSITIVE, PromptMaps
from masklet.models.sam2 import SAM2
from masklet.models.shape import InputShape
from masklet.models.specs import get_spec

NEAR, FAR, NEAR_NOT, FAR_NOT = 0, 2, 1, 3  # channels of the two spots, for clicks on the object and off it
INSIDE, CENTRAL, BOXED, EARLIER, HAS_EARLIER, COPIED, HAS_COPIED = range(4, 11)


def draw(points: list[tuple[float, float]], labels: list[int], *masks: torch.Tensor | None) -> torch.Tensor:
    earlier, copied = (*masks, None, None)[:2]
    return PromptMaps.draw(torch.tensor([points]), torch.tensor([labels]), earlier, copied, InputShape.of(128, 128))[0]


def test_clicks_are_spots_of_their_kind() -> None:
    maps = draw([(100, 20), (30, 90)], [POSITIVE, NEGATIVE])
    assert maps.shape == (PromptMaps.CHANNELS, 32, 32)
    for channels, (column, row) in (((NEAR, FAR), (25, 5)), ((NEAR_NOT, FAR_NOT), (7, 22))):
        for channel in channels:
            assert divmod(int(maps[channel].argmax()), 32) == (row, column)
        assert maps[channels[0]].sum() < maps[channels[1]].sum()
    assert not maps[INSIDE:].any()


def test_a_box_is_filled_to_its_border() -> None:
    maps = draw([(16, 32), (80, 96), (60, 60)], [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, POSITIVE])
    assert maps[INSIDE, 9:23, 5:19].min() == 1
    outside = maps[INSIDE].clone()
    outside[7:25, 3:21] = 0
    assert not outside.any()
    assert divmod(int(maps[CENTRAL].argmax()), 32) in {(15, 11), (15, 12), (16, 11), (16, 12)}
    assert maps[BOXED].min() == 1
    assert maps[NEAR, 15, 15] > 0.5


def test_an_earlier_mask_is_there_only_where_one_was_given() -> None:
    nothing = draw([(0, 0)], [PADDING])
    assert not nothing.any()
    logits = torch.full((1, 1, 32, 32), -20.0)
    logits[..., :16] = 20
    maps = draw([(0, 0)], [PADDING], logits)
    assert maps[EARLIER, :, :16].min() > 0.99 and maps[EARLIER, :, 16:].max() < 0.01
    assert maps[HAS_EARLIER].min() == 1 and not maps[:EARLIER].any() and not maps[COPIED:].any()
    maps = draw([(0, 0)], [PADDING], None, logits.sigmoid())
    assert maps[COPIED, :, :16].min() > 0.99 and maps[HAS_COPIED].min() == 1 and not maps[:COPIED].any()


@pytest.mark.parametrize("size", [64, 96])
def test_a_network_with_maps_decodes_every_kind_of_prompt(size: int) -> None:
    model = SAM2(get_spec("nano")).eval().requires_grad_(False)
    features = model.encode_image(torch.zeros(1, 3, size, size))
    embedding = model.without_memory(features.embedding_bchw)
    points, labels = torch.tensor([[[9.0, 9.0]], [[40.0, 30.0]]]), torch.tensor([[POSITIVE], [NEGATIVE]])
    mask = torch.zeros(2, 1, 17, 23)
    for prompt in ((points, labels), (points, labels, mask), (None, None, mask), ()):
        found = model.decode_masks(features, embedding, *prompt, batch=2, multimask=True)
        assert found.logits_bnhw.shape == (2, 3, size // 4, size // 4)
