"""Training walks a clip as tracking does: the same masks and scores from the same prompts, on real frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.tracking.tracker import VideoTracker
from masklet.training import prompting
from masklet.training.batches import ClipBatch
from masklet.training.losses import Guess
from masklet.training.settings import Prompting
from masklet.training.unroll import Unroller
from masklet.weights.checkpoints import build, read_checkpoint
from masklet.weights.registry import packaged_weights

FRAMES = 7  # more than the network's memories, so that old ones are dropped
KINDS = {
    "mask": Prompting(mask=1, box=0, corrections=0, later=0),
    "box": Prompting(mask=0, box=1, corrections=0, later=0),
    "click": Prompting(mask=0, box=0, corrections=0, later=0),
}


@pytest.fixture(scope="module")
def batch(clip_256_frames: list[np.ndarray]) -> ClipBatch:
    """The clip, and two masks on its first frame: a part of the picture each, right enough to be followed."""
    frames = np.stack(clip_256_frames[:FRAMES])
    whole = build(read_checkpoint(packaged_weights("nano"))).eval()
    whole.spec = replace(whole.spec, closer_look=None)  # training prompts whole frames
    tracker = VideoTracker(whole, policy="recency", resolution=256)
    prompts = {1: {"box": (28, 78, 120, 208)}, 2: {"points": [(24, 120)]}}
    found = [tracker.push(frame, prompts if t == 0 else None) for t, frame in enumerate(frames)]
    masks = np.stack([[masks[k].mask for masks in found] for k in (1, 2)])
    known = torch.ones(2, FRAMES, dtype=torch.bool)
    shown = torch.from_numpy(masks.any(0))[None]
    return ClipBatch(
        torch.from_numpy(frames)[None], torch.from_numpy(masks), torch.zeros(2, dtype=torch.long), known, shown
    )


@pytest.mark.parametrize("kind", KINDS)
def test_unrolling_equals_tracking(kind: str, batch: ClipBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []
    for name in ("boxes", "first_clicks"):
        draw = getattr(prompting, name)

        def remembered(rng: np.random.Generator, masks: np.ndarray, draw: object = draw) -> object:
            points, labels = draw(rng, masks)  # type: ignore[operator]
            drawn.append(points.numpy())
            return points, labels

        monkeypatch.setattr(prompting, name, remembered)
    model = build(read_checkpoint(packaged_weights("nano")))
    unroller = Unroller(model)
    spoken: list[list[Guess]] = []
    with torch.no_grad():
        features = unroller.encode(batch.frames_bthwc)
        said = unroller(features, batch, KINDS[kind], np.random.default_rng(3))
    # what was said of the frames, in order: of frame 0 by its own number of candidates
    spoken = [said.guesses[1], said.guesses[3]] if kind != "click" else [[], said.guesses[3]]
    guesses = [*spoken[0], *spoken[1]]
    assert len(guesses) == FRAMES

    whole = build(read_checkpoint(packaged_weights("nano"))).eval()
    whole.spec = replace(whole.spec, closer_look=None)  # training prompts whole frames
    tracker = VideoTracker(whole, policy="recency", resolution=256)
    tracker.engine.stability_fallback = False  # which is there for use, not for training
    prompts = {}
    for k in range(2):
        given = {"mask": batch.masks_kthw[k, 0].numpy()} if kind == "mask" else {}
        if kind == "box":
            given = {"box": drawn[0][k].reshape(4)}
        elif kind == "click":
            given = {"points": drawn[0][k]}
        prompts[k] = given
    for t in range(FRAMES):
        found = tracker.push(batch.frames_bthwc[0, t].numpy(), prompts if t == 0 else None)
        if t == 0 and kind == "mask":
            continue  # tracking takes the mask as it is; training learns to repeat it
        best = guesses[t].iou_kn.argmax(1)
        for k in range(2):
            logits = guesses[t].logits_knhw[k, best[k]]
            record = tracker._records[k]
            if t == 0:
                tolerance = 1e-3
            else:  # tracking rounds its memories to bfloat16
                tolerance = 0.25
            assert guesses[t].score_k1[k].item() == pytest.approx(record.scores.object_score, abs=max(tolerance, 0.02))
            assert guesses[t].iou_kn[k, best[k]].item() == pytest.approx(record.scores.predicted_iou, abs=0.02)
            theirs = record.low_res_11hw[0, 0]
            assert (logits - theirs).abs().mean() < tolerance
            ours, theirs = logits > 0, theirs > 0
            assert (ours & theirs).sum() / (ours | theirs).sum().clamp(min=1) > 0.99
        assert set(found.masks) == {0, 1}


def test_a_frozen_encoder_says_the_same_without_gradients(batch: ClipBatch) -> None:
    model = build(read_checkpoint(packaged_weights("nano")))
    unroller = Unroller(model)
    frozen = unroller.encode(batch.frames_bthwc[:, :2])
    model.image_encoder.neck.requires_grad_(True)
    learning = unroller.encode(batch.frames_bthwc[:, :2])
    assert not frozen.embedding_bchw.requires_grad and learning.embedding_bchw.requires_grad
    for parameter, other in zip(
        (frozen.embedding_bchw, *frozen.high_res_bchw), (learning.embedding_bchw, *learning.high_res_bchw), strict=True
    ):
        torch.testing.assert_close(parameter, other.detach(), rtol=1e-3, atol=1e-4)


def test_one_step_holds_masks_boxes_and_clicks(batch: ClipBatch) -> None:
    many = ClipBatch(
        batch.frames_bthwc[:, :1],
        batch.masks_kthw[[0, 1] * 12, :1],
        batch.owner_k.repeat(12),
        batch.known_kt[:, :1].repeat(12, 1),
        batch.shown_bthw[:, :1],
    )
    unroller = Unroller(build(read_checkpoint(packaged_weights("nano"))))
    with torch.no_grad():
        features = unroller.encode(many.frames_bthwc)
        said = unroller(features, many, Prompting(mask=0.3, box=0.3, corrections=0, later=0), np.random.default_rng(0))
    masks, boxes = said.guesses[1]
    [clicks] = said.guesses[3]
    assert len(masks.truth_khw) + len(boxes.truth_khw) + len(clicks.truth_khw) == 24
    assert min(len(guess.truth_khw) for guess in (masks, boxes, clicks)) > 2


def test_corrections_add_guesses_and_unknown_frames_none(batch: ClipBatch) -> None:
    model = build(read_checkpoint(packaged_weights("nano")))
    unroller = Unroller(model)
    sparse = ClipBatch(
        batch.frames_bthwc[:, :3],
        batch.masks_kthw[:, :3],
        batch.owner_k,
        torch.tensor([[True, False, True]]).expand(2, -1),
        batch.shown_bthw[:, :3],
    )
    with torch.no_grad():
        features = unroller.encode(sparse.frames_bthwc)
        plain = unroller(features, sparse, KINDS["click"], np.random.default_rng(0)).together()
        corrected = KINDS["click"].model_copy(update={"corrections": 3})
        rich = unroller(features, sparse, corrected, np.random.default_rng(1)).together()
    assert sum(len(guess.truth_khw) for guess in plain) == 2 * 2  # two masklets on the two frames that are known
    more = sum(len(guess.truth_khw) for guess in rich)
    assert 4 < more <= 2 * 2 + 2 * 3 and more % 2 == 0
    assert {guess.iou_kn.shape[1] for guess in rich} == {1, 3}  # several clicks ask for one mask
