"""What the tests of training share: a network small enough to train in seconds, painted clips, footage on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.models.specs import SPECS, HieraSpec, ModelSpec
from masklet.training.batches import ClipSource
from masklet.training.settings import Stage, TrainSettings
from masklet.training.synthesis import ClipGenerator, ClipSettings, Wardrobe

#: Of the same architecture as the products, but of no use to anyone.
SPECK = ModelSpec(
    "speck",
    HieraSpec(16, 1, (1, 1, 2, 1), (3,), (8, 4, 8, 4)),
    image_size=64,
    width=64,
    memory_width=16,
    memory_layers=1,
    memory_feed_forward=64,
    num_memories=3,
    max_pointers=4,
    decoder_feed_forward=64,
    frame_resize="area",
)


def know_speck() -> None:
    """Let this process find the network by its name."""
    SPECS["speck"] = SPECK


def settings_of(**changes: Any) -> TrainSettings:
    """A short run of the small network."""
    plain: dict[str, Any] = {
        "model": "speck",
        "steps": 6,
        "stages": (Stage(share=1, frames=1, clips=2), Stage(share=1, frames=3, clips=1)),
        "warm_up": 2,
        "validate_every": 1000,
        "precision": "float32",
    }
    return TrainSettings.model_validate({**plain, **changes})


def painted(stage: Stage, seed: int = 0, size: int = 64) -> ClipSource:
    """Clips of painted shapes."""
    return ClipGenerator(Wardrobe(None, None, None), ClipSettings(frames=stage.frames, height=size, width=size), seed)


def painted_clips(count: int, frames: int = 3, size: int = 64) -> list[Any]:
    source = painted(Stage(share=1, frames=frames, clips=1), seed=99, size=size)
    return [source.clip(number) for number in range(count)]


def write_footage(folder: Path, videos: int = 2, frames: int = 4, size: int = 96) -> Path:
    """Painted clips in DAVIS's layout."""
    for number, clip in enumerate(painted_clips(videos, frames, size)):
        for kind in ("JPEGImages", "Annotations"):
            (folder / kind / f"clip{number}").mkdir(parents=True)
        for t, (image, labels) in enumerate(zip(clip.frames_thwc, clip.labels_thw, strict=True)):
            Image.fromarray(image).save(folder / "JPEGImages" / f"clip{number}" / f"{t:05d}.jpg", quality=95)
            Image.fromarray(labels.astype(np.uint8)).save(folder / "Annotations" / f"clip{number}" / f"{t:05d}.png")
    return folder


def train_speck(folder: str, steps: int) -> None:
    """Train in a folder, saving at every step and saying so; for a process that is to be killed."""
    from masklet.training.run_folder import RunFolder
    from masklet.training.trainer import Trainer

    know_speck()
    trainer = Trainer(settings_of(steps=steps, save_minutes=1e-9), RunFolder(Path(folder)), painted, workers=0)

    def said() -> bool:
        print(trainer.step, flush=True)
        if trainer.step == 6:
            time.sleep(600)  # killed by now
        return False

    trainer.run(lambda report: None, said)
