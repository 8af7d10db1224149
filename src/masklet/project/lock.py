"""One writer at a time: a lock beside the project file that the operating system drops with the process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from masklet.errors import ProjectError, ProjectInUseError

# Windows locks a range of bytes and nobody else can read those, so the lock lies behind the text.
_LOCKED_BYTE = 1 << 20


class ProjectLock:
    """Held while one process may write a project; `kill -9` frees it.

    The file `.<name>.lock` holds the process id, for the message that the second process shows. It is removed
    on release. Works on local disks; on network disks as far as their locks do.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._path = project.with_name(f".{project.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, or raises ProjectInUseError. Raises ProjectError where no lock file can be made."""
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            except OSError as problem:
                raise ProjectError(
                    f"Can't write in {self._project.parent}: {problem.strerror or problem}. "
                    "Open the project read-only, or copy it to a folder that can be written."
                ) from problem
            if not _try_lock(descriptor):
                os.close(descriptor)
                raise ProjectInUseError(
                    f"{self._project.name} is in use by {self._holder()}. "
                    "Close it there first; reading it (masklet status, masklet export) works meanwhile."
                )
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # its last owner removed the file between our open and our lock
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode("ascii"))

    def release(self) -> None:
        """Gives the lock back; does nothing when it isn't held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        if sys.platform == "win32":
            os.close(descriptor)  # an open file can't be removed there
            with suppress(OSError):  # the next owner may have it open already
                self._path.unlink(missing_ok=True)
        else:
            self._path.unlink(missing_ok=True)
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            process = int(self._path.read_text("ascii")[:20])
        except (OSError, ValueError):
            return "another process"
        return "this very process" if process == os.getpid() else f"another process (number {process})"

    def _is_current(self, descriptor: int) -> bool:
        if sys.platform == "win32":
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        os.close(descriptor)
        raise ProjectError(
            f"The disk can't lock files ({problem.strerror}). Keep the project on a local disk."
        ) from problem
    return True
