"""Why a frame looks as it does: what tracking saw there, kept small, and put into words.

A project keeps for every tracked mask what the policy chose from and which memories were read. Why other memories were
not read follows from their scores and the policy's thresholds, so it is worked out when somebody asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError, ProjectError

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.project.records import MaskRecord
    from masklet.project.store import Project
    from masklet.tracking.policies import Policy
    from masklet.tracking.results import Explanation

Box = tuple[float, float, float, float]

#: Frames behind the last one that was read that are still told about.
_FRAMES_MORE = 6
_MOST_MEMORIES = 64


@dataclass(frozen=True)
class Candidate:
    """One of the decoder's masks: `box` (x1, y1, x2, y2 in pixels of the frame) where the policy looked at it."""

    index: int
    chosen: bool
    predicted_iou: float
    motion_iou: float | None
    final_score: float
    box: Box | None


@dataclass(frozen=True)
class Memory:
    """A frame that could have been remembered, and why it was or was not. `slot` is its place in memory attention."""

    frame: int
    used: bool
    kind: str
    slot: int | None
    pointer: bool
    predicted_iou: float | None
    object_score: float | None
    motion_score: float | None
    reason: str


@dataclass(frozen=True)
class Why:
    """All that is known about one object on one frame. `direction` is forward, backward, prompt, painted or unknown."""

    direction: str
    policy: str
    record: MaskRecord
    summary: list[str]
    candidates: list[Candidate] = field(default_factory=list)
    motion_box: Box | None = None
    motion_weight: float | None = None
    memories: list[Memory] = field(default_factory=list)


def pack(explanation: Explanation, step: int) -> str:
    """An explanation as a project keeps it: JSON. `step` is the direction of tracking, 0 for a prompt."""
    kept: dict[str, Any] = {"step": step, "ious": _short(explanation.ious), "final": _short(explanation.final_scores)}
    if explanation.motion_scores is not None:
        kept["motion"] = _short(explanation.motion_scores)
    if explanation.candidate_boxes is not None:
        kept["boxes"] = [None if box is None else _short(box, 1) for box in explanation.candidate_boxes]
    if explanation.motion_box_xyxy is not None:
        kept["expected"] = _short(explanation.motion_box_xyxy, 1)
    if explanation.memory_frames:
        kept["memory"] = [list(pair) for pair in explanation.memory_frames]
    if explanation.pointer_frames:
        kept["pointers"] = list(explanation.pointer_frames)
    return json.dumps(kept, separators=(",", ":"))


def explain(project: Project, frame: int, object_id: int) -> Why:
    """Why the mask of an object on a frame looks as it does.

    Raises:
        UnknownObjectError, InputError: no such object, or it has no mask on the frame.
        ProjectError: what the project keeps about it is damaged.
    """
    thing = project.get_object(object_id)
    record = project.mask(frame, object_id)
    if record is None:
        raise InputError(f"{thing.name} has no mask on frame {frame}: nothing was found there yet")
    kept = project.explanation(frame, object_id)
    settings = project.track_settings
    if record.painted:
        return Why("painted", settings.policy, record, ["The mask was painted by hand. Tracking leaves it as it is."])
    if kept is None:
        return Why("unknown", settings.policy, record, ["Nothing was kept about how this mask was found."])
    try:
        return _explain(project, record, kept)
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise ProjectError(f"What is kept about frame {frame} of {thing.name} is damaged: {problem!r}") from problem


def _explain(project: Project, record: MaskRecord, kept: Mapping[str, Any]) -> Why:
    from masklet.models import get_spec
    from masklet.tracking import make_policy

    settings = project.track_settings
    spec = get_spec(settings.model)
    policy = make_policy(settings.policy, spec, **settings.policy_options)
    step = int(kept["step"])
    candidates = _candidates(record, kept)
    memories = [] if step == 0 else _memories(project, record, kept, step, policy, spec)
    expected = kept.get("expected")
    return Why(
        direction={1: "forward", -1: "backward", 0: "prompt"}[step],
        policy=policy.name,
        record=record,
        summary=_summary(record, candidates, memories, step, policy),
        candidates=candidates,
        motion_box=None if expected is None else _box(expected),
        motion_weight=getattr(policy, "kf_score_weight", None),
        memories=memories,
    )


def _candidates(record: MaskRecord, kept: Mapping[str, Any]) -> list[Candidate]:
    ious, final = [float(value) for value in kept["ious"]], [float(value) for value in kept["final"]]
    motion = kept.get("motion") or [None] * len(ious)
    boxes = kept.get("boxes") or [None] * len(ious)
    return [
        Candidate(
            index=i,
            chosen=i == record.candidate,
            predicted_iou=iou,
            motion_iou=None if motion[i] is None else float(motion[i]),
            final_score=final[i],
            box=None if boxes[i] is None else _box(boxes[i]),
        )
        for i, iou in enumerate(ious)
    ]


def _memories(
    project: Project, record: MaskRecord, kept: Mapping[str, Any], step: int, policy: Policy, spec: ModelSpec
) -> list[Memory]:
    frame = record.frame
    slots = {int(place): int(slot) for place, slot in kept.get("memory", [])}
    pointers = {int(place) for place in kept.get("pointers", [])}
    scores = {row["frame"]: row for row in project.scores(record.object_id)}
    prompted = {prompt.frame for prompt in project.prompts(object_id=record.object_id)}
    behind = [place for place in scores if (frame - place) * step > 0]
    behind.sort(key=lambda place: -place * step)
    recent = [place for place in slots if place not in prompted]
    oldest = max((abs(frame - place) for place in recent), default=0)
    told = [
        *(place for place in slots if place in prompted or place not in scores),
        *[place for place in behind if abs(frame - place) <= oldest and place not in prompted],
        *[place for place in behind if abs(frame - place) > oldest and place not in prompted][:_FRAMES_MORE],
    ]
    first = next((place for place, slot in slots.items() if slot == spec.num_memories - 1), None)
    full = len(recent) >= spec.num_memories - 1
    memories = []
    for place in dict.fromkeys(told[:_MOST_MEMORIES]):
        row = scores.get(place, {})
        used, prompt = place in slots, place in prompted
        reason = (
            _why_used(place, frame, step, prompt, policy)
            if used
            else _why_not(place, row, first, full and abs(frame - place) > oldest, policy)
        )
        memories.append(
            Memory(
                frame=place,
                used=used,
                kind="prompt" if prompt else "recent",
                slot=slots.get(place),
                pointer=place in pointers,
                predicted_iou=row.get("predicted_iou"),
                object_score=row.get("object_score"),
                motion_score=row.get("motion_score"),
                reason=reason,
            )
        )
    return sorted(memories, key=lambda memory: (memory.kind != "prompt", -memory.frame * step))


def _why_used(place: int, frame: int, step: int, prompt: bool, policy: Policy) -> str:
    if prompt:
        return "Somebody said what the object is here: prompts are always read."
    if place == frame - step:
        return "The frame just before is always read."
    if policy.name == "samurai":
        return "One of the latest good frames."
    return "One of the latest frames."


def _why_not(place: int, row: Mapping[str, Any], first: int | None, full: bool, policy: Policy) -> str:
    limits = (
        ("predicted_iou", "memory_bank_iou_threshold", "Its predicted IoU"),
        ("object_score", "memory_bank_obj_score_threshold", "Its object score"),
        ("motion_score", "memory_bank_kf_score_threshold", "Its overlap with where motion expected it"),
    )
    for name, setting, words in limits:
        value, least = row.get(name), getattr(policy, setting, None)
        if value is not None and least is not None and not value > least:
            return f"{words}, {value:.2f}, is not above {least:g}."
    if policy.name == "samurai" and first is not None and abs(place - first) <= 1:
        return "The frame next to the first prompt is passed over, as SAMURAI was published."
    if full:
        return "Enough later frames were good." if policy.name == "samurai" else "It is too long ago."
    return "It was found, or found anew, after this frame was tracked."


def _summary(
    record: MaskRecord, candidates: Sequence[Candidate], memories: Sequence[Memory], step: int, policy: Policy
) -> list[str]:
    told = []
    if step == 0:
        told.append("A prompt decided this mask.")
    if record.lost:
        score = "" if record.object_score is None else f" (object score {record.object_score:.1f}, below 0)"
        told.append(f"The object is lost here: the model does not see it{score}.")
    best = max(candidates, key=lambda one: one.predicted_iou, default=None)
    chosen = next((one for one in candidates if one.chosen), None)
    if len(candidates) > 1 and best is not None and chosen is not None:
        if chosen is best:
            told.append(
                f"Candidate {chosen.index + 1} of {len(candidates)} has the highest predicted IoU, "
                f"{chosen.predicted_iou:.2f}"
                + (f", and overlaps where motion expected it by {chosen.motion_iou:.2f}." if chosen.motion_iou else ".")
            )
        elif chosen.motion_iou is not None:
            told.append(
                f"Motion decided: candidate {chosen.index + 1} lies where the object was expected "
                f"(overlap {chosen.motion_iou:.2f}), although candidate {best.index + 1} has the higher predicted IoU "
                f"({best.predicted_iou:.2f} against {chosen.predicted_iou:.2f})."
            )
        else:
            told.append(f"Candidate {chosen.index + 1} of {len(candidates)} was chosen.")
    if step and policy.name == "samurai" and all(one.motion_iou is None for one in candidates):
        told.append("Motion had no say yet: the object was not seen well for long enough.")
    used = [memory for memory in memories if memory.used]
    if used:
        prompts = sum(memory.kind == "prompt" for memory in used)
        told.append(
            f"Read from memory: {_count(prompts, 'prompted frame')} and {_count(len(used) - prompts, 'tracked frame')}."
        )
    return told


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(values: Sequence[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2
