"""masklet's errors that are also what callers of the official package catch."""

from __future__ import annotations

from masklet.errors import InputError, UnknownObjectError


class StateError(InputError, RuntimeError):
    """Something has to be called first: an image set, an object prompted."""


class NoSuchObjectError(UnknownObjectError, RuntimeError):
    """No object of this id, where the caller asked to be strict."""
