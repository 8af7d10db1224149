"""Batches: which video is how far, which deserve a look, what is next, exports after a correction."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from masklet.jobs.job import JobExport
from masklet.jobs.queue import State
from masklet.jobs.work import export_path
from masklet.studio import schemas
from masklet.studio.batches import Batch
from masklet.studio.files import Root
from masklet.studio.problems import BusyError, OutsideRootError
from masklet.studio.routes.common import PROBLEMS, StudioOf
from masklet.studio.tasks import BatchExportJob

router = APIRouter(responses=PROBLEMS, tags=["batches"])

_BATCH = "/api/batches/{batch}"
_MOST = 500


async def the_batch(studio: StudioOf, batch: Annotated[str, Path(max_length=100)]) -> Batch:
    return studio.batches.get(batch)


BatchOf = Annotated[Batch, Depends(the_batch)]


@router.get("/api/batches")
def list_batches(studio: StudioOf) -> list[schemas.BatchState]:
    """The batches that were opened since the studio started."""
    return [batch.state() for batch in studio.batches.all()]


@router.post("/api/batches")
def open_batch(studio: StudioOf, given: schemas.OpenBatch) -> schemas.BatchState:
    """Opens the batch in a folder, to look at. It may run meanwhile: its queue is only read."""
    return studio.batches.open(given.path).state()


@router.get(_BATCH)
def get_batch(batch: BatchOf) -> schemas.BatchState:
    """How far a batch is."""
    return batch.state()


@router.get(f"{_BATCH}/videos")
def list_videos(
    studio: StudioOf,
    batch: BatchOf,
    start: Annotated[int, Query(ge=0, lt=2**31, description="How many to leave out")] = 0,
    count: Annotated[int, Query(ge=1, le=_MOST)] = 200,
    state: Annotated[State | None, Query(description="Only those in this state")] = None,
    search: Annotated[str, Query(max_length=200, description="Only those with this in their name")] = "",
) -> schemas.BatchVideos:
    """A part of the videos of a batch, in its order."""
    states = [] if state is None else [state]
    return batch.videos(studio.workspace.open_ids(), start, count, states, search)


@router.get(f"{_BATCH}/next-doubtful")
def next_doubtful(
    studio: StudioOf,
    batch: BatchOf,
    after: Annotated[int, Query(ge=0, lt=2**31, description="Number of the video to go on from; 0: the top")] = 0,
) -> schemas.NextDoubtful:
    """The next video, down the list, of which something deserves a look."""
    return batch.next_doubtful(studio.workspace.open_ids(), after)


@router.post(f"{_BATCH}/videos/{{number}}/exports", status_code=202)
def export_again(studio: StudioOf, batch: BatchOf, number: Annotated[int, Path(ge=0, lt=2**31)]) -> schemas.JobState:
    """Writes everything that the batch exports of a video again, such as after a correction."""
    row = batch.row(number)
    if row.state != "done":
        raise BusyError(f"{row.job.name} is {row.state}; only what is done is exported again.")
    for export in row.job.exports:
        _check_inside(studio.root, export, export_path(batch.folder, row.job, export.format))
    job = BatchExportJob(studio.board, batch, row)
    studio.board.run(job)
    return job.snapshot()


def _check_inside(root: Root, export: JobExport, place: FilePath) -> None:
    """Raises OutsideRootError where an export of a batch would write or read outside of the root."""
    from masklet.export import registry

    fields = registry.get(export.format).model_fields
    read = [
        value for name, value in export.options.items() if name in fields and "Path" in str(fields[name].annotation)
    ]
    for path in (place, *(FilePath(str(value)) for value in read)):
        if not root.holds(path.resolve()):
            raise OutsideRootError(
                f"{path} is outside of {root.folder}: let the command masklet batch write this format."
            )
