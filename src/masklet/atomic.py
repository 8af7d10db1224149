"""Write files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from masklet.errors import MaskletError, MediaError, explained
from masklet.sources import refuse_source


def temporary_name(path: Path, error: type[MaskletError] = MediaError) -> Path:
    """A name next to `path` that no other file has; its folder is made if it is missing.

    Raises `SourceError` where `path` is a source, `error` where the folder can't be made or written to.
    """
    refuse_source(path)
    with explained(error, f"The folder {path.parent} can't be made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise error(f"The folder {path.parent} can't be written to: permission denied.")
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def publish(
    temporary: Path,
    path: Path,
    overwrite: bool = True,
    error: type[MaskletError] = MediaError,
    durable: bool = True,
) -> None:
    """Make a finished temporary file durable (unless that isn't worth the wait) and give it its real name, in one step.

    Raises `SourceError` where `path` is a source, `error` where it can't be flushed to disk or renamed, or where `path`
    exists and may not be overwritten. The temporary file is removed then.
    """
    with _temporary(temporary, path, error):
        refuse_source(path)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _claim(temporary, path, error)
        if durable:
            _sync_folder(path.parent)


@contextmanager
def atomic_path(
    path: str | os.PathLike[str],
    overwrite: bool = True,
    error: type[MaskletError] = MediaError,
    durable: bool = True,
) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` if the block ends well and is deleted if not.

    Without `durable` nobody waits for the disk: a power cut may take the file, or some of it.

    Raises `SourceError` where `path` is a source, `error` where the place can't be written to, the disk is full, or the
    file exists and may not be overwritten.
    """
    final = Path(path)
    refuse_existing(final, overwrite, error)
    temporary = temporary_name(final, error)
    with _temporary(temporary, final, error):
        yield temporary
        publish(temporary, final, overwrite, error, durable)


def refuse_existing(path: Path, overwrite: bool, error: type[MaskletError] = MediaError) -> None:
    """Raises `error` where `path` is a folder, or a file that may not be overwritten."""
    if path.is_dir():
        raise error(f"{path} is a folder; a file name is needed.")
    if not overwrite and path.exists():
        raise error(f"{path} exists already; choose another name or allow overwriting.")


@contextmanager
def _temporary(temporary: Path, path: Path, error: type[MaskletError]) -> Iterator[None]:
    """A file that is on its way to `path`; it is removed in the end, unless it got there."""
    try:
        with explained(error, f"{path} can't be written"):
            yield
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path, error: type[MaskletError]) -> None:
    # A hard link fails if the name is taken, even by a file that appeared just now. Some file systems have none.
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        refuse_existing(path, False, error)
        temporary.replace(path)


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
