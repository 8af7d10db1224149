"""A clip's way through the network with gradients: the masks, memories and prompts of tracking, for a whole batch.

This is what :mod:`masklet.tracking` does with the ``recency`` policy, except that prompts come from the truth and all
masklets of a batch walk together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from masklet.models import SAM2, Candidates, ImageFeatures, Memories
from masklet.models.pixels import normalise
from masklet.models.prompt_encoder import FEEDBACK_LIMIT
from masklet.models.sam2 import ABSENT, MASK_PROMPT_LOGIT
from masklet.training import prompting
from masklet.training.batches import Batch
from masklet.training.losses import Guess
from masklet.training.optimisation import GROUPS, part_of
from masklet.training.settings import Prompting

#: A frozen image encoder takes so many pixels at once; nothing of them has to be kept for gradients.
_PIXELS_AT_ONCE = 1 << 20
#: The parts that run when a picture is encoded.
_ENCODING = frozenset(GROUPS["image-encoder"])


@dataclass(frozen=True)
class _FrameTokens:
    """What one frame leaves behind for all k masklets."""

    features_kchw: Tensor
    pointer_kc: Tensor


@dataclass
class Unrolled:
    """Everything the network said of a batch, by number of candidates, and the truth beside it."""

    guesses: dict[int, list[Guess]] = field(default_factory=lambda: defaultdict(list))

    def add(self, candidates: Candidates, truth_khw: Tensor, known_k: Tensor) -> None:
        if not bool(known_k.all()):
            keep = known_k.nonzero()[:, 0]
            candidates = _rows(candidates, keep)
            truth_khw = truth_khw[keep]
        if len(truth_khw):
            self.guesses[candidates.iou_bn.shape[1]].append(
                Guess(candidates.logits_bnhw, candidates.iou_bn, candidates.object_score_b1, truth_khw)
            )

    def together(self) -> list[Guess]:
        """One guess for each number of candidates."""
        return [
            Guess(
                torch.cat([guess.logits_knhw for guess in guesses]),
                torch.cat([guess.iou_kn for guess in guesses]),
                torch.cat([guess.score_k1 for guess in guesses]),
                torch.cat([guess.truth_khw for guess in guesses]),
            )
            for guesses in self.guesses.values()
        ]


def _rows(candidates: Candidates, rows: Tensor) -> Candidates:
    return Candidates(
        candidates.logits_bnhw[rows],
        candidates.iou_bn[rows],
        candidates.tokens_bnc[rows],
        candidates.object_score_b1[rows],
    )


@dataclass(frozen=True)
class _ChosenMask:
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
        fine, middle = zip(*(features.high_res_bchw for features in encoded), strict=True)
        embedding = torch.cat([features.embedding_bchw for features in encoded])
        return ImageFeatures(embedding, (torch.cat(fine), torch.cat(middle)), encoded[0].image_size)

    def _encode(self, frames_nhwc: Tensor) -> ImageFeatures:
        rgb = frames_nhwc.permute(0, 3, 1, 2).contiguous().float() / 255
        return self.model.encode_image(normalise(rgb, self.model.spec))

    def __call__(
        self,
        features: ImageFeatures,
        batch: Batch,
        plan: Prompting,
        rng: np.random.Generator,
        trust_truth: float = 0.0,
    ) -> Unrolled:
        """Prompt every masklet on frame 0 and track it to the end of its clip.

        Args:
            trust_truth: how often memory takes the truth's word on whether the object is visible, not the network's.
        """
        count = batch.frames_bthwc.shape[1]
        said = Unrolled()
        memories: dict[int, _FrameTokens] = {}
        prompts = [0]
        later = int(rng.integers(1, count)) if count > 1 and rng.random() < plan.later else None
        trust = rng.random() < trust_truth
        for t in range(count):
            own = _rows_of(features, batch.owner_k * count + t)
            truth, known = batch.masks_kthw[:, t], batch.known_kt[:, t]
            by_hand = torch.zeros(len(truth), dtype=torch.bool, device=truth.device)
            if t == 0:
                answer, by_hand = self._prompted(own, truth, known, plan, rng, said)
            else:
                embedding = self.model.attend_to_memory(own.embedding_bchw, self._read(memories, prompts, t))
                candidates = self.model.decode_masks(own, embedding, batch=len(truth), multimask=True)
                said.add(candidates, truth, known)
                answer = _best(candidates)
                if t == later and bool(known.all()):
                    answer = self._corrected(own, embedding, answer, truth, known, plan, rng, said, None)
                    prompts.append(t)
            if t + 1 < count:
                memories[t] = self._remember(own, answer, truth, by_hand, t in prompts, known if trust else None)
        return said

    # --- prompted frames -----------------------------------------------------------------------------------------

    def _prompted(
        self,
        own: ImageFeatures,
        truth: Tensor,
        known: Tensor,
        plan: Prompting,
        rng: np.random.Generator,
        said: Unrolled,
    ) -> tuple[_ChosenMask, Tensor]:
        """Frame 0: each masklet gets its mask, a box or a click; boxes and clicks perhaps corrections."""
        chance = torch.from_numpy(rng.random(len(truth))).to(truth.device)
        by_hand = chance < plan.mask
        boxed = ~by_hand & (chance < plan.mask + plan.box)
        parts: list[tuple[Tensor, _ChosenMask]] = []
        rows = by_hand.nonzero()[:, 0]
        if len(rows):
            parts.append((rows, self._painted(_rows_of(own, rows), truth[rows], known[rows], said)))
        for chosen, draw in ((boxed, prompting.boxes), (~by_hand & ~boxed, prompting.first_clicks)):
            rows = chosen.nonzero()[:, 0]
            if not len(rows):
                continue
            features, mask = _rows_of(own, rows), truth[rows]
            prompt = draw(rng, mask.cpu().numpy())
            embedding = self.model.without_memory(features.embedding_bchw)
            candidates = self.model.decode_masks(
                features, embedding, *prompt, multimask=prompt[0].shape[1] == 1, stability_fallback=False
            )
            said.add(candidates, mask, known[rows])
            answer = _best(candidates)
            answer = self._corrected(features, embedding, answer, mask, known[rows], plan, rng, said, prompt)
            parts.append((rows, answer))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        answers = [answer for _, answer in parts]
        return _ChosenMask(
            torch.cat([answer.logits_k1hw for answer in answers])[order],
            torch.cat([answer.token_kc for answer in answers])[order],
            torch.cat([answer.score_k1 for answer in answers])[order],
        ), by_hand

    def _painted(self, own: ImageFeatures, truth: Tensor, known: Tensor, said: Unrolled) -> _ChosenMask:
        """A mask prompt is the answer itself; the decoder makes the pointer, and learns from repeating the mask."""
        mask = truth[:, None].float()
        candidates = self.model.decode_masks(
            own,
            own.embedding_bchw,
            mask_logits_b1hw=self.model.mask_downsample(mask),
            multimask=False,
            stability_fallback=False,
        )
        said.add(candidates, truth, known)
        return _ChosenMask(
            _as_logits(mask, candidates.logits_bnhw), candidates.tokens_bnc[:, 0], candidates.object_score_b1
        )

    def _corrected(
        self,
        own: ImageFeatures,
        embedding: Tensor,
        answer: _ChosenMask,
        truth: Tensor,
        known: Tensor,
        plan: Prompting,
        rng: np.random.Generator,
        said: Unrolled,
        prompt: tuple[Tensor, Tensor] | None,
    ) -> _ChosenMask:
        """Click on what is wrong, a few times; ``prompt`` is what was said on this frame before."""
        rounds = int(rng.integers(0 if prompt else 1, plan.corrections + 1)) if plan.corrections else 0
        side = truth.shape[-1]
        for _ in range(rounds):
            with torch.no_grad():
                found = torch.nn.functional.interpolate(
                    answer.logits_k1hw.float(), (side, side), mode="bilinear", align_corners=False
                )
            points, labels = prompting.corrections(rng, (found[:, 0] > 0).cpu().numpy(), truth.cpu().numpy())
            if prompt is not None:
                points, labels = torch.cat((prompt[0], points), 1), torch.cat((prompt[1], labels), 1)
            prompt = points, labels
            feedback = answer.logits_k1hw.detach().clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT)
            candidates = self.model.decode_masks(
                own, embedding, points, labels, feedback, multimask=points.shape[1] <= 1, stability_fallback=False
            )
            said.add(candidates, truth, known)
            answer = _best(candidates)
        return answer

    # --- memory ----------------------------------------------------------------------------------------------------

    def _remember(
        self,
        own: ImageFeatures,
        answer: _ChosenMask,
        truth: Tensor,
        by_hand: Tensor,
        is_prompt: bool,
        trust: Tensor | None,
    ) -> _FrameTokens:
        """``trust`` tells for which masklets memory is to take the truth's word on visibility."""
        visible = truth.flatten(1).any(1)[:, None]
        present = answer.score_k1.detach() > 0
        if is_prompt:
            present = visible
        elif trust is not None:
            present = torch.where(trust[:, None], visible, present)
        logits = torch.where(present[..., None, None], answer.logits_k1hw, torch.full_like(answer.logits_k1hw, ABSENT))
        if bool(by_hand.any()):
            painted = _as_logits(truth[:, None].float(), logits)
            logits = torch.where(by_hand[:, None, None, None], painted, logits)
        features = self.model.encode_memory(
            own.embedding_bchw, logits, present, image_size=own.image_size, binarize=is_prompt
        )
        return _FrameTokens(features, self.model.object_pointer(answer.token_kc, present))

    def _read(self, memories: dict[int, _FrameTokens], prompts: list[int], t: int) -> Memories:
        """What frame t reads: the prompt frames, then the latest others, as the ``recency`` policy selects them."""
        spec = self.model.spec
        slots = [(spec.num_memories - 1, memories[p]) for p in prompts if p < t]
        pointers = [(t - p, memories[p]) for p in prompts if p < t]
        for distance in range(spec.num_memories - 1, 0, -1):
            if t - distance >= 0 and t - distance not in prompts:
                slots.append((distance - 1, memories[t - distance]))
        for distance in range(1, spec.max_pointers):
            if t - distance >= 0 and t - distance not in prompts:
                pointers.append((distance, memories[t - distance]))
        k = len(slots[0][1].pointer_kc)
        device = slots[0][1].pointer_kc.device
        distances = torch.tensor([distance for distance, _ in pointers], dtype=torch.float32, device=device)
        return Memories(
            [memory.features_kchw for _, memory in slots],
            torch.tensor([slot for slot, _ in slots], device=device).expand(k, -1),
            torch.stack([memory.pointer_kc for _, memory in pointers], 1),
            (distances / max(1, spec.max_pointers - 1)).expand(k, -1),
        )


def _rows_of(features: ImageFeatures, rows: Tensor) -> ImageFeatures:
    fine, middle = features.high_res_bchw
    return ImageFeatures(features.embedding_bchw[rows], (fine[rows], middle[rows]), features.image_size)


def _as_logits(mask_k1hw: Tensor, like: Tensor) -> Tensor:
    """A drawn mask as logits of the decoder's size."""
    logits = (mask_k1hw * 2 - 1) * MASK_PROMPT_LOGIT
    size = tuple(like.shape[-2:])
    return torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False, antialias=True)
