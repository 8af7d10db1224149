"""The studio's server, put together: what it keeps, its routes, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import ASGIApp

from masklet import __version__
from masklet.project import TrackSettings
from masklet.studio import problems
from masklet.studio.batches import Batches
from masklet.studio.files import Root
from masklet.studio.recent import Recent
from masklet.studio.security import Access, Guard
from masklet.studio.sockets import Hub
from masklet.studio.tasks import Board
from masklet.studio.worker import Worker
from masklet.studio.workspace import Workspace

PAGE = Path(__file__).with_name("page")


@dataclass
class StudioOptions:
    """How a studio is started.

    Attributes:
        root: the folder that it works in; nothing outside of it is read or written.
        uploads: where uploads go, below the root.
        upload_limit: bytes of one upload.
        settings: model and the like for new projects.
        device: see :func:`masklet.load_model`.
        recent: the file with the projects that were opened lately; by default in the user's state folder.
    """

    root: Path
    uploads: str = "uploads"
    upload_limit: int = 20 << 30
    settings: TrackSettings = field(default_factory=TrackSettings)
    device: str | None = None
    recent: Path | None = None


class Studio:
    """Everything that one server keeps."""

    def __init__(self, options: StudioOptions, access: Access) -> None:
        self.options, self.access = options, access
        self.root = Root(options.root.resolve(), options.uploads, options.upload_limit)
        self.hub = Hub()
        self.worker = Worker()
        self.board = Board(self.hub, self.worker, self.root, options.device)
        self.recent = Recent(options.recent)
        self.batches = Batches(self.root)
        self.workspace = Workspace(self.root, self.hub, options.settings, options.device, self.recent, self.batches)
        self.open_at_start: str | None = None
        self.batch_at_start: str | None = None

    def close(self) -> None:
        """Stops everything; tracks can be gone on with at the next start."""
        for project in self.workspace.all():
            self.board.leave(project)
        self.board.close()
        self.worker.stop()
        self.batches.close()
        for project in self.workspace.all():
            self.workspace.close(project)


def make_app(studio: Studio) -> ASGIApp:
    """The ASGI app of a studio, guarded."""
    from masklet.studio.routes import (
        batches,
        edits,
        exports,
        files,
        models,
        pictures,
        playback,
        projects,
        prompts,
        review,
        socket,
        tracking,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await to_thread.run_sync(studio.close)

    app = FastAPI(
        title="masklet studio",
        version=__version__,
        summary="Click any object in any video, see it tracked, fix it, export it.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.state.studio = studio
    problems.install(app)
    for module in (
        *(files, projects, batches, pictures, playback, prompts, edits),
        *(review, tracking, exports, models, socket),
    ):
        app.include_router(module.router)
    app.mount("/", _Page(directory=PAGE, html=True, check_dir=False))
    return Guard(app, studio.access, studio.root.upload_limit)


class _Page(StaticFiles):
    """The page's files: always asked for again, so that an update shows."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response
