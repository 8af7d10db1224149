"""Endless synthetic clips with exact masks, to train on.

wardrobe = Wardrobe(Pictures(["cut-outs/"], "cutouts"), Pictures(["photos/"], "photos"))
for clip in ClipGenerator(wardrobe, ClipSettings(frames=5, height=256, width=256), seed=1):
    clip.frames_thwc, clip.labels_thw
"""

from __future__ import annotations

from masklet.training.synthesis.clips import Clip, ClipGenerator, ClipSettings
from masklet.training.synthesis.preview import contact_sheet
from masklet.training.synthesis.sources import Pictures, Wardrobe

__all__ = ["Clip", "ClipGenerator", "ClipSettings", "Pictures", "Wardrobe", "contact_sheet"]
