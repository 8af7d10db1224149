"""A training run from a folder, pictures or footage, and a few settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from masklet.errors import InputError
from masklet.models.specs import get_spec
from masklet.runtime import pick_device
from masklet.runtime import threads as cpu_threads
from masklet.training.batches import ClipSource
from masklet.training.footage import Footage
from masklet.training.optimisation import PARTS, frozen_parts
from masklet.training.run_folder import RunFolder
from masklet.training.settings import Stage, TrainSettings
from masklet.training.synthesis import Clip, ClipGenerator, Wardrobe
from masklet.training.trainer import Trainer, TrainReport
from masklet.weights.registry import RELEASED

#: Validation clips come from a seed of their own, far from any that trains.
_VALIDATION_SEED = 0x5EED
_VALIDATION_FRAMES = 6
_FOOTAGE_VALIDATION_FRAMES = 8

#: Fine-tuning: steps, and frames and masklets of a clip.
TUNING_STEPS, TUNING_FRAMES, TUNING_OBJECTS = 200, 4, 2


@dataclass(frozen=True)
class Clips:
    """Where a run's clips come from.

    Attributes:
        learned: the source for a stage, at a size in pixels and with a seed.
        validated: so many clips at a size that nothing learns from.
        anew: whether clips are to be mirrored, reversed and coloured by chance.
    """

    learned: Callable[[Stage, int, int], ClipSource]
    validated: Callable[[int, int], Sequence[Clip]]
    anew: bool = True


def synthetic_clips(wardrobe: Wardrobe) -> Clips:
    """Clips made on the fly from pictures (without any, everything is painted)."""
    generator = ClipGenerator(wardrobe)
    return _clips(generator, generator, _VALIDATION_FRAMES, anew=True)


def footage_clips(learned: Footage, validated: Footage | None) -> Clips:
    """Clips out of annotated videos, which are augmented there.

    Args:
        validated: videos that nothing is learned from; None where there are none.
    """
    if validated is not None:
        validated = validated.changed(**{**dict(validated.settings.plain()), "between": 0.0})
    return _clips(learned, validated, _FOOTAGE_VALIDATION_FRAMES, anew=False)


def _clips(
    learned: ClipGenerator | Footage, validated: ClipGenerator | Footage | None, frames: int, *, anew: bool
) -> Clips:
    def source(stage: Stage, size: int, seed: int) -> ClipSource:
        return learned.changed(seed, frames=stage.frames, height=size, width=size)

    def held(count: int, size: int) -> Sequence[Clip]:
        if validated is None:
            return ()
        clips = validated.changed(_VALIDATION_SEED, frames=frames, height=size, width=size)
        return [clips.clip(number) for number in range(count)]

    return Clips(source, held, anew)


def tuning_stages(frames: int | None = None, objects: int | None = None) -> tuple[Stage, ...]:
    """One stage of one clip a step."""
    return (Stage(share=1, frames=frames or TUNING_FRAMES, clips=1, objects=objects or TUNING_OBJECTS),)


def tuning_settings(*, model: str, start: Path, device: str | None, steps: int | None = None) -> TrainSettings:
    """What a fine-tuning run begins from: short clips one at a time, a low learning rate, no aid for beginners.

    Everything but the image encoder's trunk learns; of a released network on a CPU only the mask decoder, which spares
    time and memory. masklet's own networks take a higher rate: they know less.
    """
    released = get_spec(model).name in RELEASED
    decoder_only = released and pick_device(device).type == "cpu"
    length = steps or TUNING_STEPS
    return TrainSettings(
        model=model,
        start=str(start.absolute()),
        steps=length,
        stages=tuning_stages(),
        learning_rate=1e-4 if released else 3e-4,
        warm_up=max(1, min(50, length // 10)),
        encoder_rate=0.3,
        layer_decay=0.9,
        weight_decay=0.01,
        optimiser="adamw",
        clip_norm=0.1,
        ema=0.99,
        aid=0.0,
        echo=1,
        freeze=tuple(part for part in PARTS if part != "mask-decoder") if decoder_only else ("trunk",),
        validate_every=max(1, length // 5),
    )


def train_run(
    path: Path,
    clips: Clips,
    *,
    settings_file: Path | None = None,
    changes: Mapping[str, Any],
    defaults: Callable[[], TrainSettings] = TrainSettings,
    device: str | None = None,
    workers: int = 1,
    threads: int | None = None,
    validation: int = 6,
    report: Callable[[TrainReport], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Begin a run in a folder, or go on with the one that is there; return whether it reached its end.

    Args:
        settings_file: JSON with any of the settings.
        changes: settings that count above all.
        defaults: makes what a new run begins from.

    Raises:
        InputError: settings that can't be, or the folder is in use. CheckpointError: weights or state don't fit.
    """
    with closing(RunFolder(path)) as folder, cpu_threads(threads):
        settings = _settings(folder, defaults, settings_file, changes)
        size = settings.resolution or get_spec(settings.model).image_size
        trainer = Trainer(
            settings,
            folder,
            # Clip n of a seed is the same scene whatever its length: each stage gets scenes of its own.
            lambda stage: clips.learned(stage, stage.size or size, settings.seed + settings.stages.index(stage)),
            clips.validated(validation, size) if validation else (),
            device=device,
            workers=workers,
            anew=clips.anew,
        )
        return trainer.run(report, stop)


def _settings(
    folder: RunFolder, defaults: Callable[[], TrainSettings], file: Path | None, changes: Mapping[str, Any]
) -> TrainSettings:
    settings = folder.read_settings() if folder.started else defaults()
    own: dict[str, Any] = {}
    if file is not None:
        try:
            own = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(own, dict):
                raise ValueError("it isn't an object")
        except (OSError, ValueError) as error:
            raise InputError(f"{file} can't be read as settings: {error}") from error
    try:
        settings = TrainSettings.model_validate({**settings.model_dump(), **own, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"there is no setting {place}; there are {', '.join(TrainSettings.model_fields)}"
            ) from None
        raise InputError(f"the setting {place} can't be {first['input']!r}: {first['msg']}") from None
    frozen_parts(settings.freeze)
    return settings
