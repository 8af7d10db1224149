"""Prompts of a project answered at once, frame by frame, without tracking.

What a prompt gives here is what tracking will start from: it is decided by the same engine from the same prompts in the
same order, and kept in the project with them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from masklet.errors import CheckpointError, InputError, PromptError
from masklet.masks import rle
from masklet.models import ImageFeatures
from masklet.project.records import ORIGINS, MaskRecord, PromptRecord
from masklet.runs.run_steps import record_of
from masklet.tracking import Engine, FrameSize, ObjectMask, Prompt, make_policy
from masklet.tracking.session import make_result
from masklet.tracking.track import FrameRecord, ObjectTrack
from masklet.weights.loading import resolve_model

if TYPE_CHECKING:
    from masklet.project.store import Project

FEATURE_BYTES = 256 << 20
_ANSWERS_KEPT = 64


@dataclass(frozen=True)
class Candidate:
    """One of the masks that the decoder offered; `final_score` is what the policy ranked it by."""

    index: int
    rle: rle.RLE
    predicted_iou: float
    final_score: float | None
    chosen: bool


@dataclass(frozen=True)
class Answer:
    """What a frame shows of an object after a prompt: its mask (None where nothing is left), and the candidates."""

    frame: int
    object_id: int
    mask: MaskRecord | None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class _Decided:
    """What a row of prompts comes to: the prompt that they make together, and what the engine made of it."""

    said: tuple[Any, ...]
    prompt: Prompt
    record: FrameRecord


def require_weights(project: Project) -> None:
    """Raises CheckpointError where the project's model would have to be downloaded first."""
    from masklet.weights.loading import find_weights

    settings = project.track_settings
    if settings.checkpoint is None:
        find_weights(settings.model, download=False)


class Prompter:
    """Answers prompts on the frames of one project. Not for two threads at once.

    Args:
        project: open for writing.
        device: see :func:`masklet.load_model`.
        picture: gives a frame's picture, uint8 RGB (height, width, 3); by default the project's source is read.
        feature_bytes: how much of what the network saw is kept, so that the next click on a frame is quick.

    Raises:
        CheckpointError: the weights are not there; they are not downloaded here.
        InputError, DeviceError: the project's settings can't be used.
    """

    def __init__(
        self,
        project: Project,
        *,
        device: str | None = None,
        picture: Callable[[int], np.ndarray] | None = None,
        feature_bytes: int = FEATURE_BYTES,
    ) -> None:
        self.project = project
        self.settings = settings = project.track_settings
        require_weights(project)
        try:
            model = resolve_model(settings.model, device, settings.dtype, settings.checkpoint)
        except CheckpointError as problem:
            raise CheckpointError(f"The model {settings.model} can't be used: {problem}") from problem
        policy = make_policy(settings.policy, model.spec, **settings.policy_options)
        self.engine = Engine(model, policy, image_size=settings.resolution)
        self.size = FrameSize(project.source.width, project.source.height)
        self._picture = picture or (lambda frame: project.open_source().read(frame).image_hwc)
        self._features: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._feature_bytes = feature_bytes
        self._decided: OrderedDict[tuple[int, int], _Decided] = OrderedDict()

    @property
    def is_current(self) -> bool:
        """Whether the project's settings are still those that this was made for."""
        return self.settings == self.project.track_settings

    # --- asking ------------------------------------------------------------------------------------------------

    def encode(self, frame: int) -> ImageFeatures:
        """Let the network look at a frame, unless it has lately. Raises InputError, MediaError, DeviceMemoryError."""
        features = self._features.get(frame)
        if features is None:
            self._check_frame(frame)
            features = self.engine.encode(self._picture(frame))
            self._features[frame] = features
            most = max(1, self._feature_bytes // max(1, _bytes_of(features)))
            while len(self._features) > most:
                self._features.popitem(last=False)
        self._features.move_to_end(frame)
        return features

    def preview(
        self,
        frame: int,
        object_id: int | None = None,
        *,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
    ) -> ObjectMask:
        """What a prompt would give, on top of those that the object has on the frame. Nothing is kept."""
        said = self._said(frame, object_id) if object_id is not None else ()
        before = self._replay(frame, object_id, said) if object_id is not None and said else None
        prompt = self._prompt(points=points or None, labels=labels, box=box)
        decided = self._decide(frame, object_id or 0, before, prompt, ())
        return make_result(object_id or 0, decided.record, self.size)

    def look(self, frame: int, object_id: int) -> Answer:
        """What the frame shows of an object, with the candidates that its clicks gave. Nothing is changed."""
        project = self.project
        project.get_object(object_id)
        self._check_frame(frame)
        clicks, _ = self._clicks(frame, object_id)
        mask = project.mask(frame, object_id)
        decided = self._replay(frame, object_id, tuple(map(_key, clicks))) if clicks else None
        if decided is None or mask is None:
            return Answer(frame, object_id, mask)
        record = replace(decided.record, candidate=mask.candidate)
        return Answer(frame, object_id, mask, self._candidates(record, mask))

    # --- saying ------------------------------------------------------------------------------------------------

    def add(
        self,
        frame: int,
        object_id: int,
        *,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        clear: bool = False,
    ) -> Answer:
        """Keep clicks or a box, on top of those that the frame has (unless `clear`), and the mask that they give.

        On a frame that was tracked, the mask that is there is kept as a prompt too: the clicks correct it.

        Raises:
            UnknownObjectError, InputError, PromptError: no such object or frame, it is locked, or the prompt can't be
                used. Nothing is kept then.
        """
        project = self.project
        self._check_unlocked(object_id)
        self._check_frame(frame)
        prompt = self._prompt(points=points or None, labels=labels or None, box=box)
        said = () if clear else self._said(frame, object_id)
        there = project.mask(frame, object_id)
        corrects = not said and not clear and there is not None and not there.lost and there.area > 0
        if corrects:
            assert there is not None
            said = (((), (), None, there.rle["counts"], "tracked"),)
        if not said and not ((prompt.labels_n == 1).any() or prompt.box_xyxy is not None):
            raise PromptError("There is nothing to take away from: click on the object first, or draw a box.")
        # The network runs before the file is touched: others may read it meanwhile.
        before = self._replay(frame, object_id, said) if said else None
        pairs = tuple((float(x), float(y)) for x, y in points or ())
        corners = None if box is None else tuple(float(value) for value in box)
        here = (pairs, tuple(labels or (1,) * len(pairs)), corners, None, ORIGINS[0])
        decided = self._decide(frame, object_id, before, prompt, (*said, here))
        answer = self._answer(frame, object_id, decided)
        with project.edit("Box" if box is not None else "Click"):
            if clear:
                project.clear_prompts(frame, object_id)
            if corrects:
                assert there is not None
                project.add_prompt(frame, object_id, mask=there.rle, origin="tracked", clear_old=False)
            project.add_prompt(frame, object_id, points=points or None, labels=labels or None, box=box, clear_old=False)
            return self._keep(answer)

    def paint(self, frame: int, object_id: int, mask: np.ndarray | dict[str, Any]) -> Answer:
        """Keep a mask that was painted, boolean (height, width) or run lengths: it decides the frame for good.

        Raises UnknownObjectError, InputError: no such object or frame, it is locked, or the mask has another size.
        """
        project = self.project
        self._check_unlocked(object_id)
        with project.edit("Paint"):
            kept = project.add_prompt(frame, object_id, mask=mask)
            assert kept.mask is not None
            record = MaskRecord(
                frame=frame, object_id=object_id, rle=kept.mask, predicted_iou=1.0, is_prompt=True, painted=True
            )
            project.put_masks([record])
        return Answer(frame, object_id, record)

    def choose(self, frame: int, object_id: int, candidate: int) -> Answer:
        """Take another of the candidates that the frame's clicks gave.

        Raises InputError where there are no candidates, or none of this number.
        """
        project = self.project
        self._check_unlocked(object_id)
        clicks, chosen_before = self._clicks(frame, object_id)
        decided = self._replay(frame, object_id, tuple(map(_key, clicks))) if clicks else None
        offered = None if decided is None else decided.record.candidates_1nhw
        if decided is None or offered is None or offered.shape[1] < 2:
            raise InputError("There is only one mask here: candidates come with the first click on an object.")
        if candidate >= offered.shape[1]:
            raise InputError(f"There is no candidate {candidate}: the clicks gave 0 to {offered.shape[1] - 1}.")
        if candidate == decided.record.candidate:
            mask, answer = None, self._answer(frame, object_id, decided)
        else:
            chosen = replace(
                decided.record,
                low_res_11hw=offered[:, candidate : candidate + 1],
                candidate=candidate,
                predicted_iou=decided.record.explanation.ious[candidate],
            )
            answer = self._answer(frame, object_id, replace(decided, record=chosen))
            mask = answer.mask
        with project.edit("Choose candidate"):
            if chosen_before is not None:
                self._take_back(chosen_before, clicks)
            if mask is not None:
                project.add_prompt(frame, object_id, mask=mask.rle, origin="candidate", clear_old=False)
            return self._keep(answer)

    def clear(self, frame: int, object_id: int) -> Answer:
        """Take back what was said about an object on a frame; what tracking had found there comes back."""
        project = self.project
        self._check_unlocked(object_id)
        self._check_frame(frame)
        with project.edit("Clear prompts"):
            tracked = next((one for one in project.prompts(frame, object_id) if one.origin == "tracked"), None)
            before = project.mask(frame, object_id)
            if not project.clear_prompts(frame, object_id):
                return Answer(frame, object_id, before)
            if tracked is None or tracked.mask is None:
                project.clear_masks(object_id, frame, frame + 1)
                return Answer(frame, object_id, None)
            record = MaskRecord(frame=frame, object_id=object_id, rle=tracked.mask)
            project.put_masks([record])
            return Answer(frame, object_id, record)

    # --- deciding ----------------------------------------------------------------------------------------------

    def _replay(self, frame: int, object_id: int, said: tuple[Any, ...]) -> _Decided | None:
        """What the prompts of a frame come to, from the longest row of them that was decided before."""
        place = (frame, object_id)
        known = self._decided.get(place)
        if known is not None and known.said != said[: len(known.said)]:
            known = None
        for i in range(len(known.said) if known else 0, len(said)):
            points, labels, box, mask = said[i][:4]
            prompt = self._prompt(
                points=points or None,
                labels=labels or None,
                box=box,
                mask=None if mask is None else rle.decode({"size": list(self.project.source.size), "counts": mask}),
            )
            known = self._decide(frame, object_id, known, prompt, said[: i + 1])
        return known

    def _decide(
        self, frame: int, object_id: int, before: _Decided | None, prompt: Prompt, said: tuple[Any, ...]
    ) -> _Decided:
        joined = prompt if before is None else before.prompt.joined(prompt)
        record = self.engine.decide(
            self.encode(frame),
            self.size,
            ObjectTrack(object_id),
            frame,
            joined,
            previous_low_res=None if before is None else before.record.low_res_11hw,
        )
        decided = _Decided(said, joined, record)
        if said:
            self._decided[frame, object_id] = decided
            self._decided.move_to_end((frame, object_id))
            while len(self._decided) > _ANSWERS_KEPT:
                self._decided.popitem(last=False)
        return decided

    def _answer(self, frame: int, object_id: int, decided: _Decided) -> Answer:
        mask = record_of(make_result(object_id, decided.record, self.size), frame, 0)
        return Answer(frame, object_id, mask, self._candidates(decided.record, mask))

    def _keep(self, answer: Answer) -> Answer:
        assert answer.mask is not None
        self.project.put_masks([answer.mask])
        return answer

    def _candidates(self, record: FrameRecord, mask: MaskRecord) -> tuple[Candidate, ...]:
        offered = record.candidates_1nhw
        if offered is None or offered.shape[1] < 2:
            return ()
        found = []
        for i, iou in enumerate(record.explanation.ious):
            chosen = i == record.candidate
            one = ObjectMask(0, offered[0, i], self.size.width, self.size.height, record.object_score, iou)
            run_lengths = mask.rle if chosen else rle.encode(one.mask)
            found.append(Candidate(i, run_lengths, iou, record.explanation.final_scores[i], chosen))
        return tuple(found)

    def _take_back(self, old: PromptRecord, kept: Sequence[PromptRecord]) -> None:
        project = self.project
        project.clear_prompts(old.frame, old.object_id)
        for one in kept:
            project.add_prompt(
                one.frame,
                one.object_id,
                points=one.points or None,
                labels=one.labels or None,
                box=one.box,
                mask=one.mask,
                origin=one.origin,
                clear_old=False,
            )

    def _clicks(self, frame: int, object_id: int) -> tuple[list[PromptRecord], PromptRecord | None]:
        """The prompts of a frame, and apart from them the candidate that was chosen last, if it was."""
        records = self.project.prompts(frame, object_id)
        if records and records[-1].origin == "candidate":
            return records[:-1], records[-1]
        return records, None

    def _said(self, frame: int, object_id: int) -> tuple[Any, ...]:
        return tuple(map(_key, self.project.prompts(frame, object_id)))

    def _prompt(self, **given: Any) -> Prompt:
        return Prompt.make(**given, width=self.size.width, height=self.size.height)

    def _check_frame(self, frame: int) -> None:
        count = self.project.source.frame_count
        if not 0 <= frame < count:
            raise InputError(f"There is no frame {frame}: the source has frames 0 to {count - 1}.")

    def _check_unlocked(self, object_id: int) -> None:
        thing = self.project.get_object(object_id)
        if thing.locked:
            raise InputError(f"{thing.name} is locked: unlock it to change its masks.")


def _key(record: PromptRecord) -> tuple[Any, ...]:
    mask = None if record.mask is None else record.mask["counts"]
    return record.points, record.labels, record.box, mask, record.origin


def _bytes_of(features: ImageFeatures) -> int:
    return sum(
        one.nbytes
        for value in vars(features).values()
        for one in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(one, Tensor)
    )
