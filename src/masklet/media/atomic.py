"""Write files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from masklet.errors import MediaError


def temporary_name(path: Path) -> Path:
    """A name next to `path` that no other file has; its folder is made if it is missing.

    Raises:
        MediaError: the folder can't be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {path.parent} can't be made: {error.strerror or error}.") from error
    if not os.access(path.parent, os.W_OK):
        raise MediaError(f"The folder {path.parent} can't be written to: permission denied.")
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def publish(temporary: Path, path: Path, overwrite: bool = True) -> None:
    """Make a finished temporary file durable and give it its real name, in one step.

    Raises:
        MediaError: it can't be flushed to disk or renamed, or `path` exists and may not be overwritten. The
            temporary file is removed then.
    """
    try:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _claim(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise MediaError(f"{path} can't be written: {error.strerror or error}.") from error


@contextmanager
def atomic_path(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` if the block ends well and is deleted if not.

    Raises:
        MediaError: the place can't be written to, the disk is full, or the file exists and may not be overwritten.
    """
    final = Path(path)
    refuse_existing(final, overwrite)
    temporary = temporary_name(final)
    try:
        yield temporary
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise MediaError(f"{final} can't be written: {error.strerror or error}.") from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    publish(temporary, final, overwrite)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises:
    MediaError: `path` is a folder, or is a file that may not be overwritten.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder; a file name is needed.")
    if not overwrite and path.exists():
        raise MediaError(f"{path} exists already; choose another name or allow overwriting.")


def _claim(temporary: Path, path: Path) -> None:
    # A hard link fails if the name is taken, even by a file that appeared just now. Some file systems have none.
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        refuse_existing(path, overwrite=False)
        temporary.replace(path)
        return
    temporary.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems can't
    finally:
        os.close(descriptor)
