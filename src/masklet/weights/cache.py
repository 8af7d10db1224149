"""The folder that released checkpoints are kept in, and what is known about the files there.

A checkpoint is trusted once its SHA-256 has been seen to be right. Hashing 900 MB at every start would be
felt, so the result is kept next to the file in ``<file>.verified`` together with the length and the
modification time that the file had. A file put there by hand is hashed once, on first use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
from filelock import FileLock, Timeout

from masklet.atomic import atomic_path
from masklet.errors import CheckpointError, MediaError, explained
from masklet.weights.registry import RELEASED, ReleasedCheckpoint

CacheState = Literal["ready", "unchecked", "partial", "wrong size", "missing"]

_HASH_BLOCK = 1 << 20


def cache_folder() -> Path:
    """Where released checkpoints lie: ``$MASKLET_HOME/checkpoints``, or below the platform's cache folder."""
    home = os.environ.get("MASKLET_HOME", "").strip()
    base = Path(home).expanduser() if home else platformdirs.user_cache_path("masklet", appauthor=False)
    return base.absolute() / "checkpoints"


def cached_path(checkpoint: ReleasedCheckpoint) -> Path:
    """Where this checkpoint lies, or has to be put."""
    return cache_folder() / checkpoint.filename


def part_path(checkpoint: ReleasedCheckpoint) -> Path:
    """Where an unfinished download of this checkpoint is kept."""
    return cached_path(checkpoint).with_name(checkpoint.filename + ".part")


def _stamp_path(checkpoint: ReleasedCheckpoint) -> Path:
    return cached_path(checkpoint).with_name(checkpoint.filename + ".verified")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def how_to_get(checkpoint: ReleasedCheckpoint) -> str:
    """The part of an error message that says what to do when a checkpoint can't be fetched."""
    return (
        f"Fetch {checkpoint.published_url} by hand (a browser will do) and put it at {cached_path(checkpoint)}, "
        "or name a file you have with --checkpoint FILE. `--model nano` works without any download."
    )


def _stamp(checkpoint: ReleasedCheckpoint) -> dict[str, str | int]:
    info = cached_path(checkpoint).stat()
    return {"sha256": checkpoint.sha256, "size": info.st_size, "mtime_ns": info.st_mtime_ns}


def mark_verified(checkpoint: ReleasedCheckpoint) -> None:
    """Remember that the file in the cache has the published hash (a read-only cache forgets it)."""
    content = _stamp(checkpoint)
    with contextlib.suppress(MediaError), atomic_path(_stamp_path(checkpoint)) as temporary:
        temporary.write_text(json.dumps(content))


def is_verified(checkpoint: ReleasedCheckpoint) -> bool:
    """Whether the file in the cache is the one whose hash was found right."""
    try:
        return bool(json.loads(_stamp_path(checkpoint).read_text()) == _stamp(checkpoint))
    except (OSError, ValueError):
        return False


def cache_state(checkpoint: ReleasedCheckpoint) -> CacheState:
    """What the cache holds of this checkpoint, judged without reading the file.

    ``unchecked``: the file is there with the right length (as far as that is known), its hash hasn't been
    taken.
    """
    path = cached_path(checkpoint)
    if path.is_file():
        if checkpoint.size is not None and path.stat().st_size != checkpoint.size:
            return "wrong size"
        return "ready" if is_verified(checkpoint) else "unchecked"
    return "partial" if part_path(checkpoint).is_file() else "missing"


def find_cached(checkpoint: ReleasedCheckpoint) -> Path | None:
    """Return the cached file once its hash is known to be right, or None where there is none.

    Raises `CheckpointError` for a file of another length or another hash; it is left alone, because it may
    have been put there by hand.
    """
    path, state = cached_path(checkpoint), cache_state(checkpoint)
    if state in ("missing", "partial", "ready"):
        return path if state == "ready" else None
    remedy = (
        f"Delete it (`masklet models remove {checkpoint.name}`) and run `masklet models pull "
        f"{checkpoint.name}` to fetch it again. To use weights of your own, pass them with --checkpoint FILE."
    )
    if state == "wrong size":
        raise CheckpointError(
            f"{path} has {path.stat().st_size:,} bytes; the published {checkpoint.filename} has "
            f"{checkpoint.size:,}. It is cut off or another file. {remedy}"
        )
    with explained(CheckpointError, f"{path} can't be read"):
        found = sha256_of(path)
    if found != checkpoint.sha256:
        raise CheckpointError(
            f"{path} is not the published {checkpoint.filename}: its SHA-256 is {found}, it should be "
            f"{checkpoint.sha256}. {remedy}"
        )
    mark_verified(checkpoint)
    return path


@contextlib.contextmanager
def locked(checkpoint: ReleasedCheckpoint, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold this checkpoint's place in the cache against other processes and threads.

    The operating system releases the lock when its holder dies, so a crash leaves nothing to clean up.
    ``on_wait`` (a function without arguments) is called once when somebody else holds it.
    """
    path = cached_path(checkpoint)
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait is not None:
                on_wait()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise CheckpointError(
            f"The cache folder {path.parent} can't be locked for writing: {error}. "
            "Set $MASKLET_HOME to a folder you can write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` deleted: the files, and how many bytes that freed."""

    files: tuple[Path, ...]
    freed: int


def remove(checkpoint: ReleasedCheckpoint) -> Removed:
    """Delete a checkpoint, an unfinished download of it and its stamp from the cache.

    Waits for a download that is going on in another process. Raises `CheckpointError` where a file can't be
    deleted.
    """
    if not cache_folder().is_dir():
        return Removed((), 0)
    files: list[Path] = []
    freed = 0
    with locked(checkpoint):
        for path in (_stamp_path(checkpoint), part_path(checkpoint), cached_path(checkpoint)):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CheckpointError(f"{path} can't be deleted: {error.strerror or error}.") from error
            files.append(path)
            freed += size
    return Removed(tuple(files), freed)


def leftovers() -> list[Path]:
    """Files in the cache folder that belong to no released checkpoint."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    suffixes = ("", ".part", ".verified", ".lock")
    known = {checkpoint.filename + suffix for checkpoint in RELEASED.values() for suffix in suffixes}
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in known)
