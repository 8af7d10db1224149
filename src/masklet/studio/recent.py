"""The projects that were opened lately, remembered from one start of the studio to the next."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from masklet.atomic import atomic_path
from masklet.errors import MaskletError
from masklet.project import Project
from masklet.studio.login import state_folder
from masklet.studio.problems import NotFoundError
from masklet.studio.schemas import RecentProject

if TYPE_CHECKING:
    from masklet.studio.files import Root

_KEPT, _SHOWN = 100, 24


class Recent:
    """A short list of paths in the user's state folder."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or state_folder() / "recent.json"
        self._mutex = threading.Lock()

    def add(self, path: Path) -> None:
        """Put a project first. A list that can't be written is no reason not to open a project."""
        with self._mutex, contextlib.suppress(MaskletError):
            paths = [str(path), *(known for known in self._read() if known != str(path))][:_KEPT]
            with atomic_path(self._file) as temporary:
                temporary.write_text(json.dumps(paths), "utf-8")

    def projects(self, root: Root, open_ids: dict[Path, str]) -> list[RecentProject]:
        """Those below the root that are still there, the latest first."""
        found: list[RecentProject] = []
        for text in self._read():
            path = Path(text)
            if len(found) >= _SHOWN:
                break
            if path.is_file() and root.holds(path.resolve()):
                with contextlib.suppress(MaskletError, OSError):
                    found.append(_describe(path, root, open_ids.get(path)))
        return found

    def thumbnail(self, path: Path, root: Root) -> bytes:
        """A small picture of a project: of its first prompted frame. Raises NotFoundError, MaskletError."""
        from masklet.studio.frames import FrameStore

        with Project.open(path, read_only=True) as project:
            reader = project.open_source(within=root.folder)
            prompts = project.prompts()
            frame = min((prompt.frame for prompt in prompts), default=0)
            if frame >= len(reader):
                raise NotFoundError("This project has no such frame.")
            with contextlib.closing(FrameStore(reader)) as frames:
                return frames.thumbnail(frame, 180)

    def _read(self) -> list[str]:
        try:
            paths = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return []
        return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _describe(path: Path, root: Root, open_id: str | None) -> RecentProject:
    with Project.open(path, read_only=True) as project:
        objects = project.objects()
        tracked = {frame for object_ in objects for frame in project.tracked_frames(object_.id)}
        place = Path(project.source.path)
        relative = root.relative(path)
        there = _is_there(place, root)
        return RecentProject(
            path=relative,
            name=path.stem,
            modified=path.stat().st_mtime,
            width=project.source.width,
            height=project.source.height,
            frame_count=project.source.frame_count,
            objects=len(objects),
            tracked_frames=len(tracked),
            source_there=there,
            thumbnail=f"/api/recent/thumbnail.jpg?path={quote(relative)}" if there else None,
            open_id=open_id,
        )


def _is_there(place: Path, root: Root) -> bool:
    from masklet.project.source import is_there

    with contextlib.suppress(OSError, RuntimeError):
        return root.holds(place.resolve()) and is_there(place)
    return False
