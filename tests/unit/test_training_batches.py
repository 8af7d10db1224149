"""Batches, rates, averages: what a step sees and how fast what learns."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.training_speck import SPECK, painted, painted_clips

from masklet.errors import InputError
from masklet.models.sam2 import SAM2
from masklet.training.batches import ClipBatches, choose_masklets, seen_anew
from masklet.training.initialise import initialise
from masklet.training.optimisation import PARTS, Average, Optimiser, cosine, freeze, part_of, rate_of
from masklet.training.settings import Stage, TrainSettings

STAGE = Stage(share=1, frames=3, clips=2)


@pytest.fixture(scope="module")
def model() -> SAM2:
    return initialise(SAM2(SPECK), 1)


def _batches(**more: object) -> ClipBatches:
    return ClipBatches(painted(STAGE), 2, 2, 5, **more)  # type: ignore[arg-type]


def test_a_batch_is_the_same_whatever_came_before() -> None:
    forwards, backwards = _batches(echo=2, spread=2), _batches(echo=2, spread=2)
    first = {number: forwards[number] for number in range(5)}
    for number in (4, 1, 3, 0, 2):
        for name in ("frames_bthwc", "masks_kthw", "owner_k", "known_kt", "shown_bthw"):
            assert torch.equal(getattr(first[number], name), getattr(backwards[number], name))
    assert not torch.equal(first[0].frames_bthwc, first[1].frames_bthwc)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_every_clip_is_shown_as_often_as_asked(echo: int, spread: int, clips: int) -> None:
    batches = ClipBatches(painted(STAGE), clips, 1, echo=echo, spread=spread)
    seen = Counter(clip for number in range(3 * echo * spread) for clip in batches.clip_numbers(number))
    assert seen == Counter(dict.fromkeys(range(3 * spread * clips), echo))


def test_masklets_belong_to_their_clip_and_show_at_its_start() -> None:
    batch = _batches()[7]
    assert batch.frames_bthwc.dtype == torch.uint8 and batch.frames_bthwc.shape == (2, 3, 64, 64, 3)
    assert 1 <= len(batch.owner_k) <= 4 and max(Counter(batch.owner_k.tolist()).values()) <= 2
    assert batch.masks_kthw[:, 0].flatten(1).any(1).all() and batch.known_kt.all()
    assert (batch.masks_kthw & ~batch.shown_bthw[batch.owner_k]).sum() == 0


def test_seen_anew_moves_labels_with_their_pixels() -> None:
    clip = painted_clips(1)[0]
    plain = {np.asarray(labels).tobytes() for labels in clip.labels_thw}
    mirrored = {np.ascontiguousarray(labels[:, ::-1]).tobytes() for labels in clip.labels_thw}
    seen = set()
    for seed in range(30):
        _, labels, annotated = seen_anew(np.random.default_rng(seed), clip)
        found = {label.tobytes() for label in labels}
        assert found in (plain, mirrored) and annotated.all()
        seen.add((found == mirrored, labels[0].tobytes() in (labels_hw.tobytes() for labels_hw in clip.labels_thw[:1])))
    assert len({first for first, _ in seen}) == 2


def test_tiny_objects_are_left_out_unless_there_is_nothing_else() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:3, :3] = 1
    assert list(choose_masklets(np.random.default_rng(0), labels, 1)) == [1]
    labels[50:60, 50:60] = 2
    assert list(choose_masklets(np.random.default_rng(0), labels, 1)) == [2]
    assert list(choose_masklets(np.random.default_rng(0), labels * 0, 3)) == []


def test_where_objects_are_few_they_come_again() -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8), 25).reshape(10, 10)
    for count in (2, 3, 7):
        chosen = Counter(choose_masklets(np.random.default_rng(count), labels, count))
        assert chosen.total() == count and set(chosen) <= {1, 2, 3}
        assert max(chosen.values()) - min(chosen.values() if count > 2 else [1]) <= 1


def test_every_weight_belongs_to_one_part(model: SAM2) -> None:
    owners = {key: part_of(key) for key, _ in model.named_parameters()}
    assert {key for key, part in owners.items() if part is None} == {"no_mem_pos_enc"}
    assert set(owners.values()) - {None} == set(PARTS)
    assert owners["sam_mask_decoder.conv_s0.weight"] == owners["image_encoder.neck.convs.0.conv.weight"] == "neck"


@pytest.mark.parametrize("part", [*PARTS, "image-encoder"])
def test_freezing_names_exactly_these_weights(model: SAM2, part: str) -> None:
    freeze(model, [part])
    names = ("trunk", "neck") if part == "image-encoder" else (part,)
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == (part_of(key) not in (*names, None))


@pytest.mark.parametrize("parts", [["head"], list(PARTS)])
def test_freezing_nonsense_is_refused(model: SAM2, parts: list[str]) -> None:
    with pytest.raises(InputError, match=r"head|everything"):
        freeze(model, parts)


def test_rates_fall_towards_the_picture() -> None:
    trunk = "image_encoder.trunk."
    rates = [
        rate_of(key, 5, 0.9, 0.5) for key in ("x", f"{trunk}blocks.4.w", f"{trunk}blocks.0.w", f"{trunk}pos_embed")
    ]
    assert rates == pytest.approx([1, 0.5 * 0.9, 0.5 * 0.9**5, 0.5 * 0.9**6])
    assert rate_of("image_encoder.neck.w", 5, 0.9, 0.5) == 1, "the neck isn't pre-trained"


@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_the_optimiser_moves_weights_by_their_rate(method: str) -> None:
    if method == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    model = initialise(SAM2(SPECK), 2)
    freeze(model, ["prompt-encoder"])
    optimiser = Optimiser(model, TrainSettings(optimiser=method, weight_decay=0, layer_decay=0.5, matrix_rate=1))
    assert len({id(p) for p in optimiser.parameters}) == sum(p.requires_grad for p in model.parameters())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(0)
    for parameter in optimiser.parameters:
        parameter.grad = torch.randn_like(parameter)
    assert optimiser.step(1e-3, 1e9) > 1
    moved = {key: (value - before[key]).square().mean().sqrt().item() for key, value in model.state_dict().items()}
    assert moved["sam_prompt_encoder.no_mask_embed.weight"] == 0
    assert moved["image_encoder.trunk.blocks.1.norm1.weight"] / moved["memory_attention.norm.weight"] == pytest.approx(
        0.5**4, rel=0.01
    )  # AdamW's first step is of the size of the rate
    at_most = max(value for key, value in moved.items() if key.startswith("memory_attention"))
    assert at_most == pytest.approx(1e-3, rel=0.5)


def test_a_step_without_finite_gradients_changes_nothing() -> None:
    model = initialise(SAM2(SPECK), 2)
    freeze(model, [])
    optimiser = Optimiser(model, TrainSettings(optimiser="adamw", weight_decay=0.1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for parameter in optimiser.parameters:
        parameter.grad = torch.full_like(parameter, float("nan"))
    assert not math.isfinite(optimiser.step(1e-3, 1.0))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in optimiser.parameters)


def test_cosine_rises_and_falls() -> None:
    shares = [cosine(step, 100, 10) for step in range(101)]
    assert shares[0] == 0.1 and shares[9] == 1 and shares[10] == 1
    assert shares[:10] == sorted(shares[:10]) and shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.02 + 0.98 / 2, abs=0.01) and shares[100] == pytest.approx(0.02)


def test_the_average_is_exponential_after_its_beginning() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    average = Average(model, 0.5)
    expected = 0.0
    for count in range(1, 30):
        torch.nn.init.constant_(model.weight, float(count))
        average.update(model)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * count
    assert average.state["weight"].item() == pytest.approx(expected, rel=1e-5)
    again = Average(model, 0.5)
    again.load_state_dict(average.state_dict())
    assert again.count == 29 and torch.equal(again.state["weight"], average.state["weight"])


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=4), st.integers(1, 300))
def test_stages_share_the_steps_out(shares: list[float], steps: int) -> None:
    settings = TrainSettings(steps=steps, stages=tuple(Stage(share=share, frames=1, clips=1) for share in shares))
    numbers = [settings.stage_at(step)[0] for step in range(steps)]
    assert numbers == sorted(numbers)
    for number, share in enumerate(shares):
        assert abs(numbers.count(number) - share / sum(shares) * steps) <= 1.001
    batches = [settings.batches_before(step) for step in range(steps)]
    for step in range(1, steps):  # within a stage one after the other, so that a resumed run goes on where it was
        if numbers[step] == numbers[step - 1]:
            assert batches[step] == batches[step - 1] + 1
        else:
            assert batches[step] <= 1


def test_first_weights_follow_from_the_seed() -> None:
    first, same, other = (initialise(SAM2(SPECK), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    assert not torch.equal(first["no_mem_embed"], other["no_mem_embed"])
