"""Annotated videos to train on: data sets, exports and masklet projects, as endless clips.

footage = Footage("my_videos/", FootageSettings(frames=5, height=512, width=512), seed=1)
clip = footage.clip(0)
clip.frames_thwc, clip.labels_thw, clip.annotated_t

See docs/training-data.md.
"""

from __future__ import annotations

from masklet.training.footage.footage import Footage, FootageClip
from masklet.training.footage.settings import FootageSettings

__all__ = ["Footage", "FootageClip", "FootageSettings"]
