"""A training run from a folder, pictures or footage, and a few settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from masklet.errors import InputError
from masklet.models import get_spec
from masklet.runtime import threads as cpu_threads
from masklet.training.batches import ClipSource
from masklet.training.run_folder import RunFolder
from masklet.training.settings import Stage, TrainSettings
from masklet.training.synthesis import ClipGenerator, ClipSettings, Pictures, Wardrobe
from masklet.training.trainer import Report, Trainer

#: Validation clips come from a seed of their own, far from any that trains.
_VALIDATION_SEED = 0x5EED
_VALIDATION_FRAMES = 6


@dataclass(frozen=True)
class Clips:
    """Where a run's clips come from.

    Attributes:
        learned: the source for a stage, at a size in pixels and with a seed.
        validated: so many clips at a size that nothing learns from.
    """

    learned: Callable[[Stage, int, int], ClipSource]
    validated: Callable[[int, int], Sequence[Any]]


def synthetic_clips(cutouts: Pictures | None, photos: Pictures | None, textures: Pictures | None) -> Clips:
    """Clips made on the fly from pictures (without any, everything is painted)."""
    wardrobe = Wardrobe(cutouts, photos, textures)

    def learned(stage: Stage, size: int, seed: int) -> ClipSource:
        return ClipGenerator(wardrobe, ClipSettings(frames=stage.frames, height=size, width=size), seed)

    def validated(count: int, size: int) -> Sequence[Any]:
        settings = ClipSettings(frames=_VALIDATION_FRAMES, height=size, width=size)
        generator = ClipGenerator(wardrobe, settings, _VALIDATION_SEED)
        return [generator.clip(number) for number in range(count)]

    return Clips(learned, validated)


def train_run(
    path: Path,
    clips: Clips,
    *,
    settings_file: Path | None = None,
    changes: Mapping[str, Any],
    defaults: TrainSettings | None = None,
    device: str | None = None,
    workers: int = 1,
    threads: int | None = None,
    validation: int = 6,
    report: Callable[[Report], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Begin a run in a folder, or go on with the one that is there; return whether it reached its end.

    Args:
        settings_file: JSON with any of the settings.
        changes: settings that count above all.
        defaults: what a new run begins from.

    Raises:
        InputError: settings that can't be, or the folder is in use. CheckpointError: weights or state don't fit.
    """
    folder = RunFolder(path)
    try:
        settings = _settings(folder, defaults or TrainSettings(), settings_file, changes)
        size = settings.resolution or get_spec(settings.model).image_size
        with cpu_threads(threads):
            trainer = Trainer(
                settings,
                folder,
                lambda stage: clips.learned(stage, stage.size or size, settings.seed),
                clips.validated(validation, size) if validation else (),
                device=device,
                workers=workers,
            )
            return trainer.run(report, stop)
    finally:
        folder.close()


def _settings(
    folder: RunFolder, defaults: TrainSettings, file: Path | None, changes: Mapping[str, Any]
) -> TrainSettings:
    settings = folder.read_settings() if folder.started else defaults
    own: dict[str, Any] = {}
    if file is not None:
        try:
            own = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(own, dict):
                raise ValueError("it isn't an object")
        except (OSError, ValueError) as error:
            raise InputError(f"{file} can't be read as settings: {error}") from error
    try:
        return TrainSettings.model_validate({**settings.model_dump(), **own, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"the setting {place} can't be {first['input']!r}: {first['msg']}") from None
