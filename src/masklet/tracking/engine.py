"""One frame's way through the network for a set of objects: no state of its own, so sessions can share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from masklet.batching import in_batches
from masklet.errors import DeviceMemoryError
from masklet.masks import rle
from masklet.models import SAM2, Candidates, ImageFeatures, Memories
from masklet.models.pixels import frame_to_input
from masklet.models.prompt_encoder import input_points
from masklet.models.sam2 import ABSENT, MASK_PROMPT_LOGIT, upsample
from masklet.prompts import Prompt, asked
from masklet.results import Explanation, Scores
from masklet.runtime import threads_beside
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.motion import Box
from masklet.tracking.policies import MotionState, Policy, Selection
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack

T = TypeVar("T")

#: Earlier masks are fed back with their logits inside this range, as in the reference.
FEEDBACK_LIMIT = 32.0


class Engine:
    """Runs a network under a policy.

    Args:
        model: the network.
        policy: chooses candidates and memories.
        image_size: side of the network's square input (the model's own by default).
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
        stability_fallback: bool = True,
        binarize_prompts: bool = True,
        max_pointers: int | None = None,
        objects_at_once: int = 16,
    ) -> None:
        self.model = model
        self.policy = policy
        self.image_size = model.spec.check_resolution(image_size or model.spec.image_size)
        self.stability_fallback = stability_fallback
        self.binarize_prompts = binarize_prompts
        self.max_pointers = max_pointers or model.spec.max_pointers
        self.objects_at_once = objects_at_once

    def threads_beside(self) -> int | None:
        """See :func:`masklet.runtime.threads_beside`."""
        return threads_beside(self.image_size, self.model.spec.trunk.widths[0], self.model.device)

    @torch.inference_mode()
    def encode(self, image_hwc: np.ndarray) -> ImageFeatures:
        """Encode a source frame (uint8 RGB ``[h, w, 3]``)."""
        pixels = frame_to_input(image_hwc, self.image_size, self.model.spec)
        return self._guarded(lambda: self.model.encode_image(pixels.to(self.model.device)))

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
                    record = self._take_mask(features, frame, prompt, before)
                else:
                    record = self._decode_prompt(features, size, track, frame, prompt, correction_step, before)
                return self._remember(features, [replace(record, prompts=said)], binarize=self.binarize_prompts)[0]

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
    ) -> FrameRecord:
        model = self.model
        selection = Selection([], [])
        if step is None and before is not None and any(said.mask is not None for said in before.prompts):
            assert before.memory is not None
            selection = Selection([(0, before.memory)], [(0, before.memory)])
        if step:
            others = {t: memory for t, memory in track.bank.prompts.items() if t != frame}
            bank = MemoryBank(others, track.bank.recent)
            if others:
                selection = self.policy.select(bank, frame, step, model.spec, self.max_pointers)
        if selection.frames:
            embedding = model.attend_to_memory(features.embedding_bchw, self._stack([selection]))
        else:
            embedding = model.without_memory(features.embedding_bchw)
        points, labels = input_points(prompt, size.width, size.height, self.image_size)
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
        # A prompt starts the belief about motion anew: where the object was believed to be no longer matters.
        return self._choose(candidates, 0, frame, 0, MotionState(), selection, size)

    def _take_mask(
        self, features: ImageFeatures, frame: int, prompt: Prompt, before: FrameRecord | None
    ) -> FrameRecord:
        """A mask prompt is the output itself; the decoder only makes its object pointer (SAM 2 section 4)."""
        assert prompt.mask is not None
        model, side = self.model, self.image_size
        mask = torch.from_numpy(rle.decode(prompt.mask))[None, None].float()
        if mask.shape[-2:] != (side, side):
            mask = torch.nn.functional.interpolate(
                mask, (side, side), mode="bilinear", align_corners=False, antialias=True
            )
            mask = (mask >= 0.5).float()
        mask = mask.to(model.device)
        low_res = torch.nn.functional.interpolate(
            mask * 2 * MASK_PROMPT_LOGIT - MASK_PROMPT_LOGIT,
            (side // 4, side // 4),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        candidates = model.decode_masks(
            features,
            features.embedding_bchw,
            mask_logits_b1hw=model.mask_downsample(mask.to(model.dtype)),
            multimask=False,
            stability_fallback=False,
        )
        present = (candidates.object_score_b1 > self.policy.presence_threshold) & prompt.shows
        pointer = model.object_pointer(candidates.tokens_bnc[:, 0], present)
        scores = Scores(MASK_PROMPT_LOGIT if prompt.shows else -MASK_PROMPT_LOGIT, 1.0)
        memory = FrameMemory(frame, low_res, pointer, scores, is_prompt=True)
        record = FrameRecord(frame, 0, low_res, scores, 0, MotionState(), memory)
        offered = None if before is None else before.candidates_1nhw
        if prompt.origin != "candidate" or before is None or before.explanation is None or offered is None:
            return record
        # Chosen instead of what the policy chose: the others are still to choose from.
        index = int(((offered > 0) == (low_res > 0)).flatten(2).sum(2).argmax())
        scores = Scores(before.scores.object_score, before.explanation.ious[index])
        return replace(record, scores=scores, candidate=index, explanation=before.explanation, candidates_1nhw=offered)

    # --- tracking ----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def track(
        self, features: ImageFeatures, size: FrameSize, frame: int, step: int, tracks: Sequence[ObjectTrack]
    ) -> list[FrameRecord]:
        """Find objects on a frame from their memories and encode what later frames will remember of it."""
        selections = [
            self.policy.select(track.bank, frame, step, self.model.spec, self.max_pointers) for track in tracks
        ]
        # Objects that read equally many memories go through the network together.
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, selection in enumerate(selections):
            groups[len(selection.frames), len(selection.pointers)].append(i)
        records: list[FrameRecord | None] = [None] * len(tracks)
        for members in groups.values():

            def run(part: slice, members: list[int] = members) -> list[tuple[int, FrameRecord]]:
                chosen = members[part]
                found = self._track_group(
                    features, size, frame, step, [tracks[i] for i in chosen], [selections[i] for i in chosen]
                )
                return list(zip(chosen, found, strict=True))

            for i, record in self._in_batches(run, len(members)):
                records[i] = record
        return [record for record in records if record is not None]

    def _track_group(
        self,
        features: ImageFeatures,
        size: FrameSize,
        frame: int,
        step: int,
        tracks: Sequence[ObjectTrack],
        selections: Sequence[Selection],
    ) -> list[FrameRecord]:
        model = self.model
        embedding = model.attend_to_memory(features.embedding_bchw, self._stack(selections))
        candidates = model.decode_masks(features, embedding, batch=len(tracks), multimask=True)
        records = [
            self._choose(candidates, row, frame, step, track.motion, selection, size)
            for row, (track, selection) in enumerate(zip(tracks, selections, strict=True))
        ]
        return self._remember(features, records, binarize=False)

    def _stack(self, selections: Sequence[Selection]) -> Memories:
        """Batch the memories of objects that read equally many."""
        device = self.model.device
        first = selections[0]
        frames = [
            torch.cat([selection.frames[i][1].features_bchw.to(device) for selection in selections])
            for i in range(len(first.frames))
        ]
        slots = torch.tensor([[slot for slot, _ in selection.frames] for selection in selections])
        if not first.pointers:
            pointers = torch.zeros(len(selections), 0, self.model.spec.width)
            return Memories(frames, slots, pointers, torch.zeros(len(selections), 0))
        pointers = torch.stack(
            [torch.cat([memory.pointer_bc for _, memory in selection.pointers]) for selection in selections]
        )
        distances = torch.tensor(
            [[distance for distance, _ in selection.pointers] for selection in selections],
            dtype=torch.float32,
        )
        return Memories(frames, slots, pointers, distances / max(1, self.max_pointers - 1))

    def _choose(
        self,
        candidates: Candidates,
        row: int,
        frame: int,
        step: int,
        motion: MotionState,
        selection: Selection,
        size: FrameSize,
    ) -> FrameRecord:
        """Let the policy choose among one object's candidates (where there is a choice)."""
        object_score = float(candidates.object_score_b1[row, 0])
        present = object_score > self.policy.presence_threshold
        logits = candidates.logits_bnhw[row : row + 1]
        if not present:
            logits = torch.full_like(logits, ABSENT)
        ious = candidates.iou_bn[row].tolist()
        boxes: dict[int, Box | None] = {}

        def box_of(index: int) -> Box | None:
            if index not in boxes:
                boxes[index] = _mask_box(logits[:, index : index + 1], self.image_size) if present else None
            return boxes[index]

        if len(ious) > 1:
            choice = self.policy.choose(ious, box_of, motion)
            index, motion_after = choice.index, choice.motion
            motions, final, motion_score = choice.motion_scores, choice.final_scores, choice.motion_score
        else:
            index, motion_after, motions, final, motion_score = 0, motion, None, tuple(ious), None
        token = candidates.tokens_bnc[row : row + 1, index if candidates.tokens_bnc.shape[1] > 1 else 0]
        pointer = self.model.object_pointer(token, torch.tensor([[present]], device=token.device))
        chosen = logits[:, index : index + 1]
        scale = (size.width / self.image_size, size.height / self.image_size)
        explanation = Explanation(
            step=step,
            ious=tuple(ious),
            motion_scores=motions,
            final_scores=final,
            candidate_boxes=tuple(_scaled(boxes.get(i), scale) for i in range(len(ious))) if boxes else None,
            motion_box_xyxy=_scaled(motion.filter.predict().box_xyxy, scale) if motion.filter else None,
            memory_frames=tuple((memory.frame, slot) for slot, memory in selection.frames),
            pointer_frames=tuple(memory.frame for _, memory in selection.pointers),
        )
        scores = Scores(object_score, ious[index], motion_score)
        memory = FrameMemory(frame, chosen, pointer, scores, is_prompt=step == 0)
        offered = logits if step == 0 else None
        return FrameRecord(frame, step, chosen, scores, index, motion_after, memory, explanation, offered)

    def _remember(self, features: ImageFeatures, records: list[FrameRecord], *, binarize: bool) -> list[FrameRecord]:
        """Encode the memory frames of records; their memories carry everything else already."""
        model = self.model
        low_res = torch.cat([record.low_res_11hw for record in records])
        visible = torch.tensor([[(record.scores.object_score or 0) > 0] for record in records], device=low_res.device)
        memories = model.encode_memory(
            features.embedding_bchw, low_res, visible, image_size=self.image_size, binarize=binarize
        ).to(torch.bfloat16)
        done = []
        for row, record in enumerate(records):
            assert record.memory is not None
            # A clone, so that one object's memory doesn't keep the whole batch alive.
            own = memories[row : row + 1].clone()
            done.append(replace(record, memory=replace(record.memory, features_bchw=own)))
        return done

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

    def _too_small(self) -> DeviceMemoryError:
        spec = self.model.spec
        smaller = self.image_size // 2 // 32 * 32
        return DeviceMemoryError(
            f"{self.model.device} has too little memory for {spec.name} at {self.image_size}x{self.image_size}: "
            f"try a lower resolution (--resolution {max(smaller, 64)}), a smaller model (--model tiny or nano), "
            "or the CPU (--device cpu)"
        )


def _mask_box(logits_11hw: Tensor, side: int) -> Box | None:
    """Tight box of a mask at the network's input size (corner pixels inclusive, as SAMURAI measures it)."""
    mask = upsample(logits_11hw, side, side)[0, 0] > 0
    columns, rows = mask.any(0).nonzero(), mask.any(1).nonzero()
    if not len(rows):
        return None
    return (float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1]))


def _scaled(box: Box | None, scale: tuple[float, float]) -> Box | None:
    if box is None:
        return None
    return (box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
