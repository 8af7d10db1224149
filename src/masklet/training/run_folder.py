"""A training run on disk: settings, the state to go on from, weights to use, the record of how it went.

Every file is written beside its place and then renamed, so a run that is killed goes on from its last save.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import ValidationError

from masklet.atomic import atomic_path
from masklet.errors import CheckpointError, ExportError, InputError
from masklet.training.settings import TrainSettings

_STATE, _SETTINGS = "state.pt", "settings.json"


class RunFolder:
    """The folder of one run; only one process trains in it at a time.

    Attributes:
        weights: the averaged weights of the last save.
        best: the averaged weights that did best in validation.
        events: what TensorBoard reads.

    Raises:
        InputError: another process trains in it.
        ExportError: it can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights, self.best, self.events = path / "model.safetensors", path / "best.safetensors", path / "events"
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"another process is training in {path}: wait for it, or choose another folder") from None
        except OSError as error:
            raise ExportError(f"{path} can't be used for a training run: {error}") from error

    def close(self) -> None:
        self._lock.release()

    @property
    def started(self) -> bool:
        return (self.path / _SETTINGS).exists()

    def read_settings(self) -> TrainSettings:
        """Raises :class:`InputError` where the settings are damaged or of another version."""
        try:
            return TrainSettings.model_validate_json((self.path / _SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise InputError(f"{self.path / _SETTINGS} can't be read: {error}") from error

    def write_settings(self, settings: TrainSettings) -> None:
        text = settings.model_dump_json(indent=2)
        self._write(_SETTINGS, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def read_state(self) -> dict[str, Any] | None:
        """The last saved state, None before the first save.

        Raises:
            CheckpointError: it can't be read.
        """
        path = self.path / _STATE
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # an unpickler on damaged bytes raises almost anything
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CheckpointError(
                f"{path} can't be read ({why}); begin a new run with the weights {self.weights}"
            ) from error

    def write_state(self, state: dict[str, Any]) -> None:
        self._write(_STATE, lambda path: torch.save(state, path))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        target = self.path / name
        with atomic_path(target, error=ExportError) as temporary:
            try:
                write(temporary)
            except RuntimeError as error:  # what torch.save makes of a full disk
                raise ExportError(f"{target} can't be written: {error}") from error
