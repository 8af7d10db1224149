"""One writer at a time: a lock beside the project file that the operating system drops with the process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from masklet.errors import ProjectError, ProjectInUseError


class ProjectLock:
    """Held while one process may write a project; `kill -9` frees it.

    The file `.<name>.lock` holds the process id, for the message that the second process shows. It is removed
    on release. Works on local disks; on network disks as far as their locks do.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._path = project.with_name(f".{project.name}.lock")
        self._lock = FileLock(self._path, thread_local=False)

    def acquire(self) -> None:
        """Takes the lock, or raises ProjectInUseError. Raises ProjectError where no lock file can be made."""
        holder = self._holder()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ProjectInUseError(
                f"{self._project.name} is in use by {holder}. "
                "Close it there first; reading it (masklet status, masklet export) works meanwhile."
            ) from None
        except (OSError, NotImplementedError) as problem:
            raise ProjectError(
                f"Can't write in {self._project.parent}: {getattr(problem, 'strerror', None) or problem}. "
                "Open the project read-only, or copy it to a folder that can be written and is on a local disk."
            ) from problem
        with suppress(OSError), self._path.open("r+b", buffering=0) as file:
            file.write(b"%d\n" % os.getpid())

    def release(self) -> None:
        """Gives the lock back; does nothing when it isn't held."""
        if self._lock.is_locked:
            if sys.platform != "win32":  # an open file can't be removed there; the lock removes it itself
                with suppress(OSError):
                    self._path.unlink()
            self._lock.release()

    def _holder(self) -> str:
        try:
            process = int(self._path.read_bytes().split(b"\n")[0])
        except (OSError, ValueError):
            return "another process"
        return "this very process" if process == os.getpid() else f"another process (number {process})"
