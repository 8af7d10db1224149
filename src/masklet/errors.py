"""Everything that masklet raises on purpose.

A message says what was wrong, where, and what to do about it. The command line turns these into exit code 2
and the service into a 4xx answer; any other exception is a bug in masklet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MaskletError(Exception):
    """Base of every error that masklet raises on purpose."""


class MaskletWarning(UserWarning):
    """Something was changed or ignored that the caller should know about."""


class InputError(MaskletError, ValueError):
    """A value that the caller passed can't be used."""


class PromptError(InputError):
    """A point, box or mask prompt can't be used."""


class UnknownObjectError(InputError, KeyError):
    """No object of this id is being tracked."""

    def __str__(self) -> str:  # KeyError would quote the sentence
        return str(self.args[0]) if self.args else ""


class MediaError(MaskletError):
    """A picture, video or sequence can't be read or written."""


class SourceError(MaskletError):
    """A file that the user brought would be written over."""


class CheckpointError(MaskletError):
    """Weights are missing, damaged, or belong to another network."""


class DownloadError(CheckpointError):
    """A checkpoint could not be fetched or does not match its published hash."""


class DeviceError(MaskletError):
    """The requested device or number format isn't available here."""


class DeviceMemoryError(DeviceError):
    """The device ran out of memory, even for one object at a time."""


class ProjectError(MaskletError):
    """A saved project can't be opened or written."""


class ProjectInUseError(ProjectError):
    """Another process has this project open."""


class SourceNotFoundError(ProjectError):
    """The video or picture of a project isn't where it was, and nobody said where it is now."""


class ExportError(MaskletError):
    """An export can't be written, or would be empty."""


class CancelledError(MaskletError):
    """The caller asked a running job to stop."""


class BatchError(MaskletError):
    """A batch of videos can't be begun or gone on with."""


@contextmanager
def explained(error: type[MaskletError], what: str) -> Iterator[None]:
    """What the system refuses in here is raised as `error`, which says what can't be done and why."""
    try:
        yield
    except OSError as problem:
        raise error(f"{what}: {problem.strerror or problem}.") from problem
