"""Models and their weights."""

from __future__ import annotations

from fastapi import APIRouter

from masklet.errors import InputError
from masklet.studio import schemas
from masklet.studio.problems import BusyError
from masklet.studio.routes.common import PROBLEMS, StudioOf
from masklet.studio.tasks import DownloadJob

router = APIRouter(responses=PROBLEMS, tags=["models"])


@router.get("/api/models")
def list_models(studio: StudioOf) -> list[schemas.ModelState]:
    """All models: how large they are, and whether their weights are here."""
    from masklet.models.specs import SPECS
    from masklet.tracking.policies import POLICIES
    from masklet.weights.inventory import describe

    jobs = {name: studio.board.downloading(name) for name in SPECS}
    return [
        schemas.ModelState(
            **describe(name),
            image_size=spec.image_size,
            policy_defaults={policy: kind.defaults(spec) for policy, kind in POLICIES.items()},
            job=job.id if (job := jobs[name]) else None,
        )
        for name, spec in SPECS.items()
    ]


@router.post("/api/models/{name}/download", status_code=202)
def download_model(studio: StudioOf, name: str) -> schemas.JobState:
    """Fetches the weights of a model, or goes on where an earlier download stopped."""
    from masklet.models.specs import get_spec
    from masklet.weights.download import ensure_online
    from masklet.weights.registry import RELEASED

    spec = get_spec(name)
    if spec.name not in RELEASED:
        raise InputError(f"{spec.name} is part of the package: there is nothing to download.")
    ensure_online(RELEASED[spec.name])
    running = studio.board.downloading(spec.name)
    if running is not None:
        raise BusyError(f"{spec.name} is being downloaded already: see job {running.id}.")
    job = DownloadJob(studio.board, RELEASED[spec.name])
    studio.board.run(job)
    return job.snapshot()
