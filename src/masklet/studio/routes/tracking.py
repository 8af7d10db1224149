"""Tracking, why frames look as they do, and all jobs."""

from __future__ import annotations

from fastapi import APIRouter

from masklet.errors import InputError, ProjectError
from masklet.runs import actions, corrections, explain
from masklet.studio import schemas
from masklet.studio.routes.common import PROBLEMS, PROJECT, FrameOf, ObjectOf, ProjectOf, StudioOf

router = APIRouter(responses=PROBLEMS, tags=["tracking and jobs"])


@router.post(f"{PROJECT}/track", status_code=202)
def track(studio: StudioOf, project: ProjectOf, given: schemas.StartTracking) -> schemas.JobState:
    """Tracks the objects that were prompted; masks come over the WebSocket while it runs."""
    project.require_model()
    opened, device = project.project, studio.options.device
    for number in given.objects or ():
        opened.get_object(number)
    if given.direction == "frame":
        if given.start is None:
            raise InputError("Say which frame: start.")
        frame = given.start
        actions.track_frame.steps(opened, frame, given.objects)  # raises what can't be done
        job = studio.board.track(
            f"Track frame {frame}", project, lambda: actions.track_frame.steps(opened, frame, given.objects, device)
        )
        return job.snapshot()
    direction = given.direction
    actions.track.steps(opened, given.objects, given.start, given.end, direction)  # raises what can't be done
    job = studio.board.track(
        {"forward": "Track forwards", "backward": "Track backwards", "both": "Track both ways"}[direction],
        project,
        lambda: actions.track.steps(opened, given.objects, given.start, given.end, direction, device),
    )
    return job.snapshot()


@router.post(f"{PROJECT}/correct", status_code=202)
def correct(studio: StudioOf, project: ProjectOf, given: schemas.Correct) -> schemas.JobState:
    """Re-tracks an object from a prompted frame, to both sides, until the new masks agree with the old ones."""
    project.require_model()
    opened, device = project.project, studio.options.device
    chosen = project.project.unlocked(given.object)
    if not opened.prompts(given.frame, given.object):
        raise InputError(f"{chosen.name} has no prompt on frame {given.frame}: click, box or paint it there first.")
    job = studio.board.track(
        f"Re-track {chosen.name}",
        project,
        lambda: corrections.retrack.steps(
            opened, given.frame, given.object, given.direction, given.until_agrees, device
        ),
    )
    return job.snapshot()


@router.post(f"{PROJECT}/resume", status_code=202)
def resume(studio: StudioOf, project: ProjectOf) -> schemas.JobState:
    """Goes on with a run that was paused, or that ended with the server, exactly where it was."""
    opened, device = project.project, studio.options.device
    if opened.run is None:
        raise ProjectError("There is no unfinished run: there is nothing to go on with.")
    project.require_model()
    job = studio.board.track("Go on tracking", project, lambda: actions.resume.steps(opened, device))
    return job.snapshot()


@router.get(f"{PROJECT}/explanation/{{frame}}/{{object}}")
def get_explanation(project: ProjectOf, frame: FrameOf, object: ObjectOf) -> schemas.ExplanationState:
    """Why the mask of an object on a frame looks as it does."""
    why = explain.explain(project.project, frame, object)
    return schemas.ExplanationState(
        frame=frame,
        object=object,
        summary=why.summary,
        direction=why.direction,  # type: ignore[arg-type]
        policy=why.policy,
        object_score=why.mask.scores.object_score,
        lost=why.mask.lost,
        candidates=why.candidates,
        motion_box=why.motion_box,
        memories=[schemas.ExplainedMemory(**vars(memory.scores), **vars(memory)) for memory in why.memories],
    )


@router.get("/api/jobs")
def list_jobs(studio: StudioOf) -> list[schemas.JobState]:
    """All jobs, oldest first; the last hundred that have ended among them."""
    return [job.snapshot() for job in studio.board.all()]


@router.get("/api/jobs/{job}")
def get_job(studio: StudioOf, job: str) -> schemas.JobState:
    """How far a job is."""
    return studio.board.get(job).snapshot()


@router.post("/api/jobs/{job}/pause")
def pause_job(studio: StudioOf, job: str) -> schemas.JobState:
    """Stops a track after the frame that it is on; it can be gone on with, also after the server was restarted."""
    found = studio.board.get(job)
    found.pause()
    return found.snapshot()


@router.post("/api/jobs/{job}/resume")
def resume_job(studio: StudioOf, job: str) -> schemas.JobState:
    """Goes on with a paused track."""
    found = studio.board.get(job)
    found.resume()
    return found.snapshot()


@router.post("/api/jobs/{job}/cancel")
def cancel_job(studio: StudioOf, job: str) -> schemas.JobState:
    """Ends a job. What was tracked stays; nothing is left of an export."""
    found = studio.board.get(job)
    found.cancel()
    return found.snapshot()
