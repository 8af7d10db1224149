"""One frame's way through the network for a set of objects: no state of its own, so sessions can share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from masklet.batching import in_batches
from masklet.masks import rle
from masklet.models.copying import COPIED_AT
from masklet.models.mask_decoder import Candidates
from masklet.models.pixels import frame_to_input
from masklet.models.prompt_encoder import FEEDBACK_LIMIT, input_points
from masklet.models.sam2 import MASK_PROMPT_LOGIT, SAM2, ImageFeatures, Memories, resize, too_small, upsample
from masklet.models.shape import InputShape, input_shape
from masklet.prompts import Prompt, asked
from masklet.results import Box, Explanation, Scores
from masklet.runtime import threads_beside
from masklet.settings import ABSENT, Shape
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies import Policy
from masklet.tracking.policies.base import Choice, Moment, Offer, Selection
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.tracking.windows import moved

T = TypeVar("T")


@dataclass(frozen=True)
class _Draft:
    """A frame's record before its memory is encoded.

    Attributes:
        masks_v1hw: logits of the masks that enter memory; the first is the record's.
        pointers_vc: their object pointers.
        object_scores: their object scores.
    """

    record: FrameRecord
    masks_v1hw: Tensor
    pointers_vc: Tensor
    object_scores: tuple[float, ...]


class Engine:
    """Runs a network under a policy.

    Args:
        model: the network.
        policy: chooses candidates and memories.
        image_size: side of the network's input (the longer one; the model's own by default).
        shape: ``square``, or ``fit`` for the frames' own proportions; see :mod:`masklet.models.shape`.
        stability_fallback: see :class:`~masklet.models.mask_decoder.MaskDecoder`.
        binarize_prompts: masks of prompt frames enter memory as drawn, not as probabilities (the released setting).
        max_pointers: object pointers to read; the model's own number unless a short clip is to be treated as the
            official package does, which never reads more than the clip has frames.
        objects_at_once: objects that go through the network together.
    """

    def __init__(
        self,
        model: SAM2,
        policy: Policy,
        *,
        image_size: int | None = None,
        shape: Shape = "square",
        stability_fallback: bool = True,
        binarize_prompts: bool = True,
        max_pointers: int | None = None,
        objects_at_once: int = 16,
    ) -> None:
        self.model = model
        self.policy = policy
        self.image_size = model.spec.check_resolution(image_size or model.spec.image_size)
        self.shape: Shape = shape
        input_shape(shape, self.image_size, 1, 1)
        self.stability_fallback = stability_fallback
        self.binarize_prompts = binarize_prompts
        self.max_pointers = max_pointers or model.spec.max_pointers
        self.objects_at_once = objects_at_once
        self._too_small = partial(too_small, model, self.image_size)

    def threads_beside(self) -> int | None:
        """See :func:`masklet.runtime.threads_beside`."""
        return threads_beside(self.image_size, self.model.spec.trunk.widths[0], self.model.device)

    def input_shape(self, size: FrameSize) -> InputShape:
        """How frames of a size go into the network."""
        return input_shape(self.shape, self.image_size, size.width, size.height)

    def moment(self, frame: int, step: int) -> Moment:
        """A frame as policies look at it."""
        return Moment(frame, step, self.model.spec.num_memories, self.max_pointers)

    def forget(self, track: ObjectTrack, frame: int, step: int, *, prompts: bool = False) -> None:
        """Drop memories that neither ``frame`` nor any frame after it can read; see :meth:`MemoryBank.keep`."""
        bank = track.bank
        at = self.moment(frame, step)
        bank.keep(self.policy.reach(list(bank.prompts), bank.recent_scores, track.state, at), prompts=prompts)

    @torch.inference_mode()
    def encode(self, image_hwc: np.ndarray) -> ImageFeatures:
        """Encode a source frame (uint8 RGB ``[h, w, 3]``)."""
        shape = self.input_shape(FrameSize(image_hwc.shape[1], image_hwc.shape[0]))
        pixels = frame_to_input(image_hwc, shape, self.model.spec)
        return self._guarded(lambda: self.model.encode_image(pixels.to(self.model.device), shape))

    # --- prompts -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def decide(
        self,
        features: ImageFeatures,
        size: FrameSize,
        track: ObjectTrack,
        frame: int,
        prompts: Sequence[Prompt],
        known: FrameRecord | None = None,
        *,
        correction_step: int | None = None,
    ) -> FrameRecord:
        """Let prompts decide a frame, each correcting the mask that those before it gave.

        Args:
            prompts: all that is said about the object there, in order.
            known: what the frame shows so far; used where its prompts are the first of these.
            correction_step: the direction in which this frame was tracked before (0: it was not), so that clicks are
                decoded on top of what memory says, as the official package does. None for prompts that mean the same
                whatever was tracked: clicks on a mask are decoded on top of the memory that this very mask makes.
        """
        prompts = tuple(prompts)
        if known is not None and (len(known.prompts) >= len(prompts) or known.prompts != prompts[: len(known.prompts)]):
            known = None
        for end in range(len(known.prompts) + 1 if known is not None else 1, len(prompts) + 1):

            def run(said: tuple[Prompt, ...] = prompts[:end], before: FrameRecord | None = known) -> FrameRecord:
                prompt = asked(said)
                if prompt.mask is not None:
                    draft = self._take_mask(features, frame, prompt, before)
                else:
                    draft = self._decode_prompt(features, size, track, frame, prompt, correction_step, before)
                [record] = self._remember(features, [draft], binarize=self.binarize_prompts)
                return replace(record, prompts=said)

            known = self._guarded(run)
        assert known is not None
        return known

    def _decode_prompt(
        self,
        features: ImageFeatures,
        size: FrameSize,
        track: ObjectTrack,
        frame: int,
        prompt: Prompt,
        step: int | None,
        before: FrameRecord | None,
    ) -> _Draft:
        model = self.model
        selection = Selection([], [])
        bank = MemoryBank({t: memory for t, memory in track.bank.prompts.items() if t != frame}, track.bank.recent)
        if step and bank.prompts:
            selection = self.policy.select(bank, track.state, self.moment(frame, step))[0]
        elif step is None and before is not None and any(said.mask is not None for said in before.prompts):
            assert before.memory is not None
            selection = Selection([(0, before.memory)], [(0, before.memory)])
        if selection.frames:
            embedding = model.attend_to_memory(features, self._stack([selection]))
        else:
            embedding = model.without_memory(features.embedding_bchw)
        points, labels = input_points(prompt, size.width, size.height, features.shape)
        feedback = None if before is None else before.low_res_11hw.clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT)
        candidates = model.decode_masks(
            features,
            embedding,
            points,
            labels,
            feedback,
            multimask=prompt.point_count <= 1,
            stability_fallback=self.stability_fallback,
        )
        # At a prompt the policy starts anew: what it believed about the object no longer matters.
        track = ObjectTrack(track.object_id, bank)
        return self._choose([candidates], track, frame, 0, [selection], size)

    def _take_mask(self, features: ImageFeatures, frame: int, prompt: Prompt, before: FrameRecord | None) -> _Draft:
        """A mask prompt is the output itself; the decoder only makes its object pointer (SAM 2 section 4)."""
        assert prompt.mask is not None
        model, shape = self.model, features.shape
        given = torch.from_numpy(rle.decode(prompt.mask))[None, None].float()
        mask = (resize(given, shape.inner, antialias=True) >= 0.5).float().to(model.device)
        logits = mask * 2 * MASK_PROMPT_LOGIT - MASK_PROMPT_LOGIT
        low_res = resize(logits, shape.low_res, antialias=True)
        candidates = model.decode_masks(
            features,
            features.embedding_bchw,
            mask_logits_b1hw=shape.without_padding(model.mask_downsample(shape.padded(mask).to(model.dtype))),
            multimask=False,
            stability_fallback=False,
        )
        present = (candidates.object_score_b1 > self.policy.presence_threshold) & prompt.shows
        pointer = model.object_pointer(candidates.tokens_bnc[:, 0], present)
        scores = Scores(MASK_PROMPT_LOGIT if prompt.shows else -MASK_PROMPT_LOGIT, 1.0)
        record = FrameRecord(frame, 0, low_res, scores, 0)
        why, offered = (None, None) if before is None else (before.explanation, before.candidates_1nhw)
        if prompt.origin == "candidate" and before is not None and why is not None and offered is not None:
            # Chosen instead of what the policy chose: the others are still to choose from.
            index = int(((offered > 0) == (low_res > 0)).flatten(2).sum(2).argmax())
            scores = Scores(before.scores.object_score, why.ious[index])
            record = replace(record, scores=scores, candidate=index, explanation=why, candidates_1nhw=offered)
        return _Draft(record, low_res, pointer, (scores.object_score or 0.0,))

    # --- tracking ----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def track(
        self, features: ImageFeatures, size: FrameSize, frame: int, step: int, tracks: Sequence[ObjectTrack]
    ) -> list[FrameRecord]:
        """Find objects on a frame from their memories and encode what later frames will remember of it."""
        at = self.moment(frame, step)
        selections = [self.policy.select(track.bank, track.state, at) for track in tracks]
        readings = [selection for chosen in selections for selection in chosen]
        found = iter(self._read(features, readings))
        drafts = [
            self._choose([next(found) for _ in chosen], track, frame, step, chosen, size)
            for track, chosen in zip(tracks, selections, strict=True)
        ]
        return self._in_batches(lambda part: self._remember(features, drafts[part], binarize=False), len(drafts))

    def _read(self, features: ImageFeatures, readings: Sequence[Selection]) -> list[Candidates]:
        """What the decoder offers after each reading. Those of equally many memories go through the network together,
        be they of several objects or several readings of one."""
        groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for i, reading in enumerate(readings):
            groups[len(reading.frames), len(reading.pointers), len(self._copied(reading))].append(i)
        found: dict[int, Candidates] = {}
        for members in groups.values():

            def run(part: slice, members: list[int] = members) -> list[tuple[int, Candidates]]:
                chosen = members[part]
                memories = self._stack([readings[i] for i in chosen])
                embedding = self.model.attend_to_memory(features, memories)
                candidates = self.model.decode_masks(features, embedding, batch=len(chosen), multimask=True)
                return [(i, candidates[row]) for row, i in enumerate(chosen)]

            found |= dict(self._in_batches(run, len(members)))
        return [found[i] for i in range(len(readings))]

    def _copied(self, reading: Selection) -> list[FrameMemory]:
        """The memories that masks are copied from, if the network does that: the prompts', and of those whose pointers
        are read the ones of `COPIED_AT`, if they show the object."""
        spec = self.model.spec
        if not spec.copying:
            return []
        prompts = {memory.frame: memory for slot, memory in reading.frames if slot == spec.num_memories - 1}
        shown = [
            memory
            for distance, memory in reading.pointers
            if distance in COPIED_AT and memory.frame not in prompts and (memory.scores.object_score or 0.0) >= 0
        ]
        return [*prompts.values(), *shown]

    def _stack(self, selections: Sequence[Selection]) -> Memories:
        """Batch readings of equally many memories."""
        device = self.model.device
        count, pointer_count = len(selections[0].frames), len(selections[0].pointers)

        def batch(rows: Iterable[Sequence[FrameMemory]]) -> list[Tensor]:
            columns = zip(*rows, strict=True)
            return [torch.cat([memory.features_bchw.to(device) for memory in column]) for column in columns]

        frames = batch([memory for _, memory in selection.frames] for selection in selections)
        copied = batch(self._copied(selection) for selection in selections)
        slots = torch.tensor([[slot for slot, _ in selection.frames] for selection in selections])
        weights = None
        if any(selection.weights for selection in selections):
            weights = torch.tensor([selection.weights or [1.0] * (count + pointer_count) for selection in selections])
        if not pointer_count:
            pointers = torch.zeros(len(selections), 0, self.model.spec.width)
            return Memories(frames, slots, pointers, torch.zeros(len(selections), 0), weights, copied)
        pointers = torch.stack(
            [torch.cat([memory.pointer_bc for _, memory in selection.pointers]) for selection in selections]
        )
        distances = torch.tensor(
            [[distance for distance, _ in selection.pointers] for selection in selections],
            dtype=torch.float32,
        )
        return Memories(frames, slots, pointers, distances / max(1, self.max_pointers - 1), weights, copied)

    def _choose(
        self,
        found: Sequence[Candidates],
        track: ObjectTrack,
        frame: int,
        step: int,
        readings: Sequence[Selection],
        size: FrameSize,
    ) -> _Draft:
        """Let the policy choose among an object's candidates (where there is a choice), a batch of one a reading."""
        shape = self.input_shape(size)
        masks = [self._shown(candidates) for candidates in found]
        offers, looked_at = [], []
        for candidates, logits in zip(found, masks, strict=True):
            offer, boxes = _offer(logits, candidates.iou_bn[0].tolist(), float(candidates.object_score_b1), shape)
            offers.append(offer)
            looked_at.append(boxes)
        choice = Choice(((0, 0),), b"", offers[0].ious)
        if len(offers[0].ious) > 1:
            choice = self.policy.choose(offers, track.bank, track.state, self.moment(frame, step))
        row, index = choice.kept[0]
        ious, boxes = offers[row].ious, looked_at[row]
        scale = (size.width / shape.inner_width, size.height / shape.inner_height)
        explanation = Explanation(
            step=step,
            ious=ious,
            motion_scores=choice.motion_scores,
            final_scores=choice.final_scores,
            candidate_boxes=tuple(_scaled(boxes.get(i), scale) for i in range(len(ious))) if boxes else None,
            motion_box_xyxy=_scaled(choice.expected_box_xyxy, scale),
            memory_frames=tuple((memory.frame, slot) for slot, memory in readings[row].frames),
            pointer_frames=tuple(memory.frame for _, memory in readings[row].pointers),
        )
        motion_score = choice.motion_scores[index] if choice.motion_scores else None
        scores, offered = Scores(offers[row].object_score, ious[index], motion_score), masks[row] if step == 0 else None
        kept = torch.cat([masks[row][:, index : index + 1] for row, index in choice.kept])
        return _Draft(
            FrameRecord(frame, step, kept[:1], scores, index, choice.state, None, explanation, offered),
            kept,
            torch.cat([self._pointer(found[row], index) for row, index in choice.kept]),
            tuple(offers[row].object_score for row, _ in choice.kept),
        )

    def _shown(self, candidates: Candidates) -> Tensor:
        """Mask logits of all candidates; of an object that isn't there, no mask shows anything."""
        present = float(candidates.object_score_b1) > self.policy.presence_threshold
        return candidates.logits_bnhw if present else torch.full_like(candidates.logits_bnhw, ABSENT)

    def _pointer(self, candidates: Candidates, index: int) -> Tensor:
        """The object pointer ``[1, c]`` of a candidate."""
        tokens = candidates.tokens_bnc
        present = candidates.object_score_b1 > self.policy.presence_threshold
        return self.model.object_pointer(tokens[:, index if tokens.shape[1] > 1 else 0], present)

    def _remember(self, features: ImageFeatures, drafts: Sequence[_Draft], *, binarize: bool) -> list[FrameRecord]:
        """Encode the memory frames of all masks that enter memory, in one batch."""
        low_res = torch.cat([draft.masks_v1hw for draft in drafts])
        object_scores = torch.tensor([[x] for draft in drafts for x in draft.object_scores], device=low_res.device)
        encoded = self.model.encode_memory(features, low_res, object_scores > 0, binarize=binarize).to(torch.bfloat16)
        records = []
        for draft, own in zip(drafts, encoded.split([len(draft.pointers_vc) for draft in drafts]), strict=True):
            frame, scores, prompted = draft.record.frame, draft.record.scores, draft.record.is_prompt
            # A clone, so that one object's memory doesn't keep the whole batch alive.
            memory = FrameMemory(frame, own.clone(), draft.pointers_vc, scores, is_prompt=prompted)
            records.append(replace(draft.record, memory=memory))
        return records

    @torch.inference_mode()
    def remember(self, features: ImageFeatures, record: FrameRecord, low_res_11hw: Tensor) -> FrameMemory:
        """The memory of a record's frame with other features than it was found on, and its mask as it lies there."""
        assert record.memory is not None
        binarize, pointer = record.is_prompt and self.binarize_prompts, record.memory.pointer_bc[:1]
        draft = _Draft(record, low_res_11hw, pointer, (record.scores.object_score or 0.0,))
        [made] = self._guarded(lambda: self._remember(features, [draft], binarize=binarize))
        assert made.memory is not None
        return made.memory

    @torch.inference_mode()
    def in_whole_frame(self, features: ImageFeatures, record: FrameRecord, size: FrameSize) -> FrameRecord:
        """A prompt's record whose mask lies in a window, with the memory that the whole frame makes of it, and with
        what the policy knows then: places are places in the network's input."""
        shape = features.shape
        memory = self.remember(features, record, moved(record.low_res_11hw, record.window, None, size, shape.low_res))
        offered, why, state = record.candidates_1nhw, record.explanation, b""
        if record.state and offered is not None and why is not None:
            logits = moved(offered.transpose(0, 1), record.window, None, size, shape.low_res).transpose(0, 1)
            offer, _ = _offer(logits, why.ious, record.scores.object_score or 0.0, shape)
            state = self.policy.choose([offer], MemoryBank(), b"", self.moment(record.frame, 0)).state
        return replace(record, memory=memory, state=state)

    # --- memory of the device ----------------------------------------------------------------------------------

    def _in_batches(self, run: Callable[[slice], list[T]], count: int) -> list[T]:
        """Run over ``count`` objects in batches, from then on in smaller ones where memory does not suffice."""
        parts = in_batches(run, count, self.objects_at_once, self.model.device, self._too_small, self._shrink)
        return [each for part in parts for each in part]

    def _guarded(self, run: Callable[[], T]) -> T:
        """Run once more after dropping caches if memory ran out."""
        return in_batches(lambda _: run(), 1, 1, self.model.device, self._too_small)[0]

    def _shrink(self, at_once: int) -> None:
        self.objects_at_once = at_once


def _offer(
    logits_1nhw: Tensor, ious: Sequence[float], object_score: float, shape: InputShape
) -> tuple[Offer, dict[int, Box | None]]:
    """Candidates as a policy looks at them, and the boxes that it has asked for."""
    boxes: dict[int, Box | None] = {}

    def box_of(index: int) -> Box | None:
        if index not in boxes:
            boxes[index] = _mask_box(logits_1nhw[:, index : index + 1], shape)
        return boxes[index]

    @cache
    def mask_of(index: int) -> np.ndarray:
        shown: np.ndarray = (logits_1nhw[0, index] > 0).cpu().numpy()
        return shown

    return Offer(tuple(ious), object_score, box_of, mask_of), boxes


def _mask_box(logits_11hw: Tensor, shape: InputShape) -> Box | None:
    """Tight box of a mask in pixels of the network's input (corner pixels inclusive, as SAMURAI measures it)."""
    mask = upsample(logits_11hw, *shape.inner)[0, 0] > 0
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    if not len(rows):
        return None
    return (float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1]))


def _scaled(box: Box | None, scale: tuple[float, float]) -> Box | None:
    if box is None:
        return None
    return (box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
