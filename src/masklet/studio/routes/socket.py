"""The WebSocket with news."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from masklet import __version__
from masklet.studio.schemas import Hello

router = APIRouter()


@router.websocket("/api/ws")
async def news(socket: WebSocket, project: str | None = None) -> None:
    """News of one project, or of all, and of all jobs."""
    studio = socket.app.state.studio
    hello = Hello(version=__version__, jobs=[job.snapshot() for job in studio.board.all()])
    await studio.hub.serve(socket, project, hello)
