"""Corrections: prompts that put one frame right, and the object tracked again from there.

Tracking again goes a second to each side first, and then on until the new masks are as the old ones were. Frames that
were prompted, painted or accepted are never changed, and it ends before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from masklet.errors import InputError, PromptError
from masklet.project.review import reviewed
from masklet.project.run import Leg
from masklet.prompts import Prompt, waits
from masklet.runs.actions import make_run
from masklet.runs.agreement import AGREEING_FRAMES
from masklet.runs.engine import Action, Runner, RunSteps
from masklet.runs.plan import ways
from masklet.runs.sessions import add_prompts, lead_in, open_session, prompt_steps, restore

if TYPE_CHECKING:
    from masklet.project.store import Project


@Action
def correct(
    project: Project,
    frame: int,
    object_id: int,
    *,
    points: Sequence[Sequence[float]] | None = None,
    labels: Sequence[int] | None = None,
    box: Sequence[float] | None = None,
    mask: np.ndarray | None = None,
    direction: str = "both",
    until_agrees: bool = True,
    device: str | None = None,
) -> RunSteps:
    """Corrects an object on a frame, and tracks it again from there (see `retrack`).

    Clicks and boxes correct the mask that is there (see `masklet.prompts.prompts_after`). The prompt and all that
    follows from it are one step of undo. An unfinished run goes on after it.

    Raises:
        UnknownObjectError, InputError, PromptError: no such object or frame, it is locked, or the prompt can't be used.
        ProjectError: the source isn't found, or the file can't be written.
    """
    name = project.unlocked(object_id).name
    new = Prompt.make(points, labels, box, mask, width=project.source.width, height=project.source.height)
    prompts = project.prompts_after(frame, object_id, new)
    if waits(prompts):
        raise PromptError(f"frame {frame} shows nothing of {name} that could be taken away: click on it first")
    steps = ways(direction)
    unfinished = project.run
    with open_session(project, device, unfinished.dtype if unfinished else None) as session:
        if unfinished is not None:
            unfinished = restore(session, project, unfinished)
        if object_id not in session.object_ids:
            add_prompts(session, project, [object_id])
        answer = session.set_prompts(frame, object_id, prompts)
        for way in steps:
            yield from lead_in(session, project, object_id, frame - way, way)
        label = f"Correct {name} on frame {frame}"[:100]
        step = project.begin_step(label)
        project.say(label, prompts, answer[object_id], step)
        legs = _legs(project, object_id, frame, steps, until_agrees)
        if unfinished is not None:
            here = unfinished.legs[unfinished.place.leg]
            legs += [replace(here, first=unfinished.place.frame), *unfinished.legs[unfinished.place.leg + 1 :]]
        return (yield from Runner(project, session).go(make_run(label, legs, session), step))


@Action
def retrack(
    project: Project,
    frame: int,
    object_id: int,
    direction: str = "both",
    until_agrees: bool = True,
    device: str | None = None,
) -> RunSteps:
    """Tracks an object again from a frame that was prompted: one step of undo.

    A second to each side comes first. Then it goes on, until the new masks agree with the old ones (unless
    `until_agrees` is off, see `masklet.runs.agreement`), to before the next frame that was prompted, painted or
    accepted, or as far as the object was tracked. Where it was tracked to neither side, it goes to the video's end.

    Raises:
        UnknownObjectError, InputError: no such object, it is locked, or it has no prompt on the frame.
        ProjectError: the source isn't found, or the file can't be written.
    """
    name = project.unlocked(object_id).name
    if not project.prompts(frame, object_id):
        raise InputError(f"{name} has no prompt on frame {frame}: click, box or paint it there first")
    steps = ways(direction)
    legs = _legs(project, object_id, frame, steps, until_agrees)
    with open_session(project, device) as session:
        yield from prompt_steps(session, project, [object_id])
        for way in steps:
            yield from lead_in(session, project, object_id, frame - way, way)
        run = make_run(f"Re-track {name} from frame {frame}"[:100], legs, session)
        return (yield from Runner(project, session).go(run))


def _legs(
    project: Project, object_id: int, frame: int, steps: Iterable[Literal[1, -1]], until_agrees: bool
) -> list[Leg]:
    """First a second to each side, then what is left of each."""
    kept = {prompt.frame for prompt in project.prompts(object_id=object_id)}
    for known in reviewed(project, object_id, "accepted"):
        kept |= {known.first, known.last}
    tracked = project.tracked_frames(object_id)
    ends = {way: _reach(frame, way, kept, tracked) for way in steps}
    if set(ends.values()) == {frame} and not kept - {frame} and 1 in ends:
        ends[1] = project.source.frame_count - 1  # nothing was tracked yet
    second = max(round(project.source.rate), AGREEING_FRAMES)
    legs, rest = [Leg(1, frame, frame, (object_id,), frame)], []
    for way, end in ends.items():
        first, there = frame + way, frame + way * min(second, abs(end - frame))
        if end != frame:
            legs.append(Leg(way, first, there, (object_id,), first))
        if end != there:
            rest.append(Leg(way, there + way, end, (object_id,), first, until_agrees))
    return legs + rest


def _reach(frame: int, way: int, kept: Iterable[int], tracked: Iterable[int]) -> int:
    """The last frame that follows from a correction: before the next that is kept, else as far as was tracked."""
    ahead = [place for place in kept if (place - frame) * way > 0]
    if ahead:
        return (min(ahead) if way > 0 else max(ahead)) - way
    return max((place for place in tracked if (place - frame) * way > 0), key=lambda place: place * way, default=frame)
