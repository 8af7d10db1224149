"""Why a frame looks as it does: what tracking saw there, kept small, and put into words.

A project keeps for every tracked mask what the policy chose from and which memories were read. The policy puts it into
words when somebody asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError, ProjectError
from masklet.tracking.policies import PastFrame, Policy, make_policy

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.project.records import MaskRecord
    from masklet.project.store import Project
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
    chosen = project.get_object(object_id)
    record = project.mask(frame, object_id)
    if record is None:
        raise InputError(f"{chosen.name} has no mask on frame {frame}: nothing was found there yet")
    kept = project.explanation(frame, object_id)
    settings = project.track_settings
    if record.painted:
        return Why("painted", settings.policy, record, ["The mask was painted by hand. Tracking leaves it as it is."])
    if kept is None:
        return Why("unknown", settings.policy, record, ["Nothing was kept about how this mask was found."])
    try:
        return _explain(project, record, kept)
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise ProjectError(f"What is kept about frame {frame} of {chosen.name} is damaged: {problem!r}") from problem


def _explain(project: Project, record: MaskRecord, kept: Mapping[str, Any]) -> Why:
    from masklet.models import get_spec

    settings = project.track_settings
    spec = get_spec(settings.model)
    policy = make_policy(settings.policy, spec, **settings.policy_options)
    step = int(kept["step"])
    memories = [] if step == 0 else _memories(project, record, kept, step, policy, spec)
    expected = kept.get("expected")
    return Why(
        direction={1: "forward", -1: "backward", 0: "prompt"}[step],
        policy=policy.name,
        record=record,
        summary=_summary(record, kept, memories, step, policy),
        candidates=_candidates(record, kept),
        motion_box=None if expected is None else _box(expected),
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
        known = {name: row.get(name) for name in ("predicted_iou", "object_score", "motion_score")}
        used, prompt = place in slots, place in prompted
        past = PastFrame(
            (frame - place) * step,
            is_prompt=prompt,
            beside_prompt=first is not None and abs(place - first) <= 1,
            crowded_out=full and abs(frame - place) > oldest,
            **known,
        )
        memories.append(
            Memory(
                frame=place,
                used=used,
                kind="prompt" if prompt else "recent",
                slot=slots.get(place),
                pointer=place in pointers,
                reason=policy.why_read(past) if used else policy.why_not_read(past),
                **known,
            )
        )
    return sorted(memories, key=lambda memory: (memory.kind != "prompt", -memory.frame * step))


def _summary(
    record: MaskRecord, kept: Mapping[str, Any], memories: Sequence[Memory], step: int, policy: Policy
) -> list[str]:
    told = []
    if step == 0:
        told.append("A prompt decided this mask.")
    if record.lost:
        score = "" if record.object_score is None else f" (object score {record.object_score:.1f}, below 0)"
        told.append(f"The object is lost here: the model does not see it{score}.")
    told += policy.explain_choice(record.candidate, kept["ious"], kept.get("motion"), step == 0)
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
