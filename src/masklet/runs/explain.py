"""Why a frame looks as it does: what tracking saw there, kept small, and put into words.

A project keeps for every tracked mask what the policy chose from and which memories were read. The policy puts it into
words when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from masklet.errors import InputError, ProjectError
from masklet.results import Box, Explanation, ObjectMask, Scores
from masklet.tracking.policies import Policy, make_policy
from masklet.tracking.policies.base import PastFrame

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.project.store import Project

#: Frames behind the last one that was read that are still told about.
_FRAMES_MORE = 6
_MOST_MEMORIES = 64


@dataclass(frozen=True)
class ExplainedCandidate:
    """One of the decoder's masks."""

    index: int
    chosen: bool
    predicted_iou: float
    motion_iou: Annotated[float | None, Field(description="Overlap of its box with the predicted one")]
    final_score: float
    box: Annotated[Box | None, Field(description="In pixels of the frame, where the policy looked at it")]


@dataclass(frozen=True)
class Memory:
    """A frame that could have been remembered, and why it was or was not. `slot` is its place in memory attention."""

    frame: int
    used: bool
    kind: str
    slot: int | None
    pointer: bool
    scores: Scores
    reason: str


@dataclass(frozen=True)
class Why:
    """All that is known about one object on one frame. `direction` is forward, backward, prompt, painted or unknown."""

    direction: str
    policy: str
    mask: ObjectMask
    summary: list[str]
    candidates: list[ExplainedCandidate] = field(default_factory=list)
    motion_box: Box | None = None
    memories: list[Memory] = field(default_factory=list)


def explain(project: Project, frame: int, object_id: int) -> Why:
    """Why the mask of an object on a frame looks as it does.

    Raises:
        UnknownObjectError, InputError: no such object, or it has no mask on the frame.
        ProjectError: what the project keeps about it is damaged.
    """
    chosen = project.get_object(object_id)
    mask = project.mask(frame, object_id)
    if mask is None:
        raise InputError(f"{chosen.name} has no mask on frame {frame}: nothing was found there yet")
    kept = project.explanation(frame, object_id)
    settings = project.track_settings
    if mask.painted:
        return Why("painted", settings.policy, mask, ["The mask was painted by hand. Tracking leaves it as it is."])
    if kept is None:
        return Why("unknown", settings.policy, mask, ["Nothing was kept about how this mask was found."])
    try:
        return _explain(project, mask, kept)
    except IndexError as problem:
        raise ProjectError(f"What is kept about frame {frame} of {chosen.name} is damaged: {problem!r}") from problem


def _explain(project: Project, mask: ObjectMask, kept: Explanation) -> Why:
    from masklet.models.specs import get_spec

    settings = project.track_settings
    spec = get_spec(settings.model)
    policy = make_policy(settings.policy, spec, **settings.policy_options)
    memories = [] if kept.step == 0 else _memories(project, mask, kept, policy, spec)
    return Why(
        direction={1: "forward", -1: "backward", 0: "prompt"}[kept.step],
        policy=policy.name,
        mask=mask,
        summary=_summary(mask, kept, memories, policy),
        candidates=_candidates(mask, kept),
        motion_box=kept.motion_box_xyxy,
        memories=memories,
    )


def _candidates(mask: ObjectMask, kept: Explanation) -> list[ExplainedCandidate]:
    return [
        ExplainedCandidate(
            index=i,
            chosen=i == mask.candidate,
            predicted_iou=iou,
            motion_iou=kept.motion_scores[i] if kept.motion_scores else None,
            final_score=kept.final_scores[i],
            box=kept.candidate_boxes[i] if kept.candidate_boxes else None,
        )
        for i, iou in enumerate(kept.ious)
    ]


def _memories(project: Project, mask: ObjectMask, why: Explanation, policy: Policy, spec: ModelSpec) -> list[Memory]:
    frame, step = mask.frame, why.step
    slots, pointers = dict(why.memory_frames), set(why.pointer_frames)
    scores = {row["frame"]: Scores.from_json(row) for row in project.scores(mask.object_id)}
    prompted = {prompt.frame for prompt in project.prompts(object_id=mask.object_id)}
    behind = [place for place in scores if (frame - place) * step > 0]
    behind.sort(key=lambda place: -place * step)
    kept = {place for place, slot in slots.items() if slot == spec.num_memories - 1}
    recent = [place for place in slots if place not in kept]
    oldest = max((abs(frame - place) for place in recent), default=0)
    told = [
        *(place for place in slots if place in kept | prompted or place not in scores),
        *[place for place in behind if abs(frame - place) <= oldest and place not in prompted],
        *[place for place in behind if abs(frame - place) > oldest and place not in prompted][:_FRAMES_MORE],
    ]
    first = next((place for place in slots if place in kept & prompted), None)
    full = len(recent) + len(kept - prompted) >= spec.num_memories - 1
    memories = []
    for place in dict.fromkeys(told[:_MOST_MEMORIES]):
        known = scores.get(place, Scores())
        used, prompt = place in slots, place in prompted
        past = PastFrame(
            (frame - place) * step,
            is_prompt=prompt,
            kept=place in kept,
            scores=known,
            beside_prompt=first is not None and abs(place - first) <= 1,
            crowded_out=full and abs(frame - place) > oldest,
        )
        memories.append(
            Memory(
                frame=place,
                used=used,
                kind="prompt" if prompt else "recent",
                slot=slots.get(place),
                pointer=place in pointers,
                scores=known,
                reason=policy.why_read(past) if used else policy.why_not_read(past),
            )
        )
    return sorted(memories, key=lambda memory: (memory.kind != "prompt", -memory.frame * step))


def _summary(mask: ObjectMask, kept: Explanation, memories: Sequence[Memory], policy: Policy) -> list[str]:
    told = []
    if kept.step == 0:
        told.append("A prompt decided this mask.")
    if mask.lost:
        known = mask.scores.object_score
        score = "" if known is None else f" (object score {known:.1f}, below 0)"
        told.append(f"The object is lost here: the model does not see it{score}.")
    if kept.ious:
        told += policy.explain_choice(mask.candidate, kept.ious, kept.motion_scores, kept.step == 0)
    used = [memory for memory in memories if memory.used]
    if used:
        prompts = sum(memory.kind == "prompt" for memory in used)
        told.append(
            f"Read from memory: {_count(prompts, 'prompted frame')} and {_count(len(used) - prompts, 'tracked frame')}."
        )
    return told


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
