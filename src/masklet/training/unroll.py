"""A clip's way through the network with gradients: the masks, memories and prompts of tracking, for a whole batch.

This is what :mod:`masklet.tracking` does with the ``recency`` policy, except that prompts come from the truth and all
masklets of a batch walk together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from masklet.models.copying import COPIED_AT
from masklet.models.mask_decoder import Candidates
from masklet.models.pixels import normalise
from masklet.models.prompt_encoder import FEEDBACK_LIMIT
from masklet.models.sam2 import MASK_PROMPT_LOGIT, SAM2, ImageFeatures, Memories, resize, upsample
from masklet.settings import ABSENT
from masklet.training import prompting
from masklet.training.batches import ClipBatch
from masklet.training.losses import Guess
from masklet.training.optimisation import GROUPS, part_of
from masklet.training.settings import Prompting

#: A frozen image encoder takes so many pixels at once; nothing of them has to be kept for gradients.
_PIXELS_AT_ONCE = 1 << 20
#: The parts that run when a picture is encoded.
_ENCODING = frozenset(GROUPS["image-encoder"])


class _FrameTokens(NamedTuple):
    """What one frame leaves behind for all k masklets."""

    features_kchw: Tensor
    pointer_kc: Tensor


@dataclass(frozen=True)
class _Frame:
    """One frame as k masklets see it: features, the truth, and whether that is known."""

    features: ImageFeatures
    truth_khw: Tensor
    known_k: Tensor

    def of(self, rows: Tensor) -> _Frame:
        """The same for some of the masklets."""
        return _Frame(self.features.rows(rows), self.truth_khw[rows], self.known_k[rows])


@dataclass
class Unrolled:
    """Everything the network said of a batch, by number of candidates, and the truth beside it."""

    guesses: dict[int, list[Guess]] = field(default_factory=lambda: defaultdict(list))

    def add(self, candidates: Candidates, frame: _Frame) -> None:
        guess = Guess(candidates.logits_bnhw, candidates.iou_bn, candidates.object_score_b1, frame.truth_khw)
        if not bool(frame.known_k.all()):
            guess = Guess(*(part[frame.known_k] for part in guess))
        if len(guess.truth_khw):
            self.guesses[guess.iou_kn.shape[1]].append(guess)

    def together(self) -> list[Guess]:
        """One guess for each number of candidates."""
        return [Guess(*map(torch.cat, zip(*guesses, strict=True))) for guesses in self.guesses.values()]


class _ChosenMask(NamedTuple):
    """The chosen candidate of every masklet on a frame: raw logits, output token, object score."""

    logits_k1hw: Tensor
    token_kc: Tensor
    score_k1: Tensor


def _best(candidates: Candidates) -> _ChosenMask:
    """The candidate of highest predicted IoU."""
    count = candidates.iou_bn.shape[1]
    rows = torch.arange(len(candidates.iou_bn), device=candidates.iou_bn.device)
    index = candidates.iou_bn.argmax(1) if count > 1 else torch.zeros_like(rows)
    token = index if candidates.tokens_bnc.shape[1] > 1 else torch.zeros_like(rows)
    return _ChosenMask(
        candidates.logits_bnhw[rows, index][:, None], candidates.tokens_bnc[rows, token], candidates.object_score_b1
    )


class Unroller:
    """Walks batches through a network.

    Args:
        model: the network, in training mode.
    """

    def __init__(self, model: SAM2) -> None:
        self.model = model

    def encode(self, frames_bthwc: Tensor) -> ImageFeatures:
        """Encode all frames of a batch (frame t of clip i is row ``i * t_count + t``).

        Together, or where everything up to the features is frozen a few at a time without gradients.
        """
        frames_nhwc = frames_bthwc.flatten(0, 1)
        if any(weight.requires_grad for key, weight in self.model.named_parameters() if part_of(key) in _ENCODING):
            return self._encode(frames_nhwc)
        count = max(1, _PIXELS_AT_ONCE // frames_nhwc.shape[1] ** 2)
        with torch.no_grad():
            encoded = [self._encode(part) for part in frames_nhwc.split(count)]
        return ImageFeatures.of(encoded)

    def _encode(self, frames_nhwc: Tensor) -> ImageFeatures:
        rgb = frames_nhwc.permute(0, 3, 1, 2).contiguous().float() / 255
        return self.model.encode_image(normalise(rgb, self.model.spec))

    def __call__(
        self,
        features: ImageFeatures,
        batch: ClipBatch,
        plan: Prompting,
        rng: np.random.Generator,
        trust_truth: float = 0.0,
    ) -> Unrolled:
        """Prompt every masklet on frame 0 and track it to the end of its clip.

        Args:
            trust_truth: how often memory takes the truth's word on whether the object is visible, not the network's.
        """
        return _Walk(self.model, plan, rng).through(features, batch, trust_truth)


@dataclass
class _Walk:
    """The way of one batch from its first frame to its last."""

    model: SAM2
    plan: Prompting
    rng: np.random.Generator
    said: Unrolled = field(default_factory=Unrolled)
    prompts: list[int] = field(default_factory=lambda: [0])
    memories: dict[int, _FrameTokens] = field(default_factory=dict)

    def through(self, features: ImageFeatures, batch: ClipBatch, trust_truth: float) -> Unrolled:
        count = batch.frames_bthwc.shape[1]
        later = int(self.rng.integers(1, count)) if count > 1 and self.rng.random() < self.plan.later else None
        trust = self.rng.random() < trust_truth
        for t in range(count):
            own = features.rows(batch.owner_k * count + t)
            frame = _Frame(own, batch.masks_kthw[:, t], batch.known_kt[:, t])
            by_hand = torch.zeros_like(frame.known_k)
            if t == 0:
                answer, by_hand = self._prompted(frame)
            else:
                embedding = self.model.attend_to_memory(own, self._read(t))
                answer = _best(self._decoded(frame, embedding, batch=len(by_hand), multimask=True))
                if t == later and bool(frame.known_k.all()):
                    answer = self._corrected(frame, embedding, answer, None)
                    self.prompts.append(t)
            if t + 1 < count:
                self.memories[t] = self._remember(frame, answer, by_hand, t in self.prompts, trust)
        return self.said

    def _decoded(self, frame: _Frame, embedding: Tensor, *prompt: Tensor, **how: Any) -> Candidates:
        """What the decoder says, which is what it learns from."""
        candidates = self.model.decode_masks(frame.features, embedding, *prompt, **how)
        self.said.add(candidates, frame)
        return candidates

    # --- prompted frames -----------------------------------------------------------------------------------------

    def _prompted(self, frame: _Frame) -> tuple[_ChosenMask, Tensor]:
        """Frame 0: each masklet gets its mask, a box or a click; boxes and clicks perhaps corrections."""
        chance = torch.from_numpy(self.rng.random(len(frame.known_k))).to(frame.known_k.device)
        by_hand = chance < self.plan.mask
        boxed = ~by_hand & (chance < self.plan.mask + self.plan.box)
        parts: list[tuple[Tensor, _ChosenMask]] = []
        for chosen, draw in ((by_hand, None), (boxed, prompting.boxes), (~by_hand & ~boxed, prompting.first_clicks)):
            rows = chosen.nonzero()[:, 0]
            if not len(rows):
                continue
            some = frame.of(rows)
            if draw is None:
                parts.append((rows, self._painted(some)))
                continue
            prompt = draw(self.rng, some.truth_khw.cpu().numpy())
            embedding = self.model.without_memory(some.features.embedding_bchw)
            multimask = prompt[0].shape[1] == 1
            answer = _best(self._decoded(some, embedding, *prompt, multimask=multimask, stability_fallback=False))
            parts.append((rows, self._corrected(some, embedding, answer, prompt)))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        answers = zip(*(answer for _, answer in parts), strict=True)
        return _ChosenMask(*(torch.cat(tensors)[order] for tensors in answers)), by_hand

    def _painted(self, frame: _Frame) -> _ChosenMask:
        """A mask prompt is the answer itself; the decoder makes the pointer, and learns from repeating the mask."""
        mask = frame.truth_khw[:, None].float()
        said = self._decoded(
            frame,
            frame.features.embedding_bchw,
            mask_logits_b1hw=self.model.mask_downsample(mask),
            multimask=False,
            stability_fallback=False,
        )
        return _ChosenMask(_as_logits(mask, said.logits_bnhw), said.tokens_bnc[:, 0], said.object_score_b1)

    def _corrected(
        self, frame: _Frame, embedding: Tensor, answer: _ChosenMask, prompt: tuple[Tensor, Tensor] | None
    ) -> _ChosenMask:
        """Click on what is wrong, a few times; ``prompt`` is what was said on this frame before."""
        most = self.plan.corrections
        rounds = int(self.rng.integers(0 if prompt else 1, most + 1)) if most else 0
        truth = frame.truth_khw
        for _ in range(rounds):
            with torch.no_grad():
                found = upsample(answer.logits_k1hw, *truth.shape[-2:])[:, 0] > 0
            points, labels = prompting.corrections(self.rng, found.cpu().numpy(), truth.cpu().numpy())
            if prompt is not None:
                points, labels = torch.cat((prompt[0], points), 1), torch.cat((prompt[1], labels), 1)
            prompt = points, labels
            feedback = answer.logits_k1hw.detach().clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT)
            how = {"multimask": points.shape[1] <= 1, "stability_fallback": False}
            answer = _best(self._decoded(frame, embedding, points, labels, feedback, **how))
        return answer

    # --- memory ----------------------------------------------------------------------------------------------------

    def _remember(
        self, frame: _Frame, answer: _ChosenMask, by_hand: Tensor, is_prompt: bool, trust: bool
    ) -> _FrameTokens:
        """``trust`` tells whether memory is to take the truth's word on visibility, where that is known."""
        visible = frame.truth_khw.flatten(1).any(1)[:, None]
        present = answer.score_k1.detach() > 0
        if is_prompt:
            present = visible
        elif trust:
            present = torch.where(frame.known_k[:, None], visible, present)
        logits = torch.where(present[..., None, None], answer.logits_k1hw, torch.full_like(answer.logits_k1hw, ABSENT))
        if bool(by_hand.any()):
            painted = _as_logits(frame.truth_khw[:, None].float(), logits)
            logits = torch.where(by_hand[:, None, None, None], painted, logits)
        features = self.model.encode_memory(frame.features, logits, present, binarize=is_prompt)
        return _FrameTokens(features, self.model.object_pointer(answer.token_kc, present))

    def _read(self, t: int) -> Memories:
        """What frame t reads: the prompt frames, then the latest others, as the ``recency`` policy selects them."""
        spec = self.model.spec
        told = [(t - p, self.memories[p]) for p in self.prompts]
        rest = {d: self.memories[t - d] for d in range(1, t + 1) if t - d not in self.prompts}
        slots = [(spec.num_memories - 1, memory) for _, memory in told]
        slots += [(d - 1, rest[d]) for d in range(spec.num_memories - 1, 0, -1) if d in rest]
        pointers = told + [(d, memory) for d, memory in rest.items() if d < spec.max_pointers]
        k, device = len(told[0][1].pointer_kc), told[0][1].pointer_kc.device
        distances = torch.tensor([distance for distance, _ in pointers], dtype=torch.float32, device=device)
        return Memories(
            [memory.features_kchw for _, memory in slots],
            torch.tensor([slot for slot, _ in slots], device=device).expand(k, -1),
            torch.stack([memory.pointer_kc for _, memory in pointers], 1),
            (distances / max(1, spec.max_pointers - 1)).expand(k, -1),
            copied=[memory.features_kchw for d, memory in pointers if t - d in self.prompts or d in COPIED_AT],
        )


def _as_logits(mask_k1hw: Tensor, like: Tensor) -> Tensor:
    """A drawn mask as logits of the decoder's size."""
    height, width = like.shape[-2:]
    return resize((mask_k1hw * 2 - 1) * MASK_PROMPT_LOGIT, (height, width), antialias=True)
