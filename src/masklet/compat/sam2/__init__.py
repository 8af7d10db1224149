"""The official ``sam2`` package by its own names, over masklet.

Change ``from sam2.build_sam import …`` to ``from masklet.compat.sam2.build_sam import …``; docs/compat.md says what is
the same and what is not. The names can also be imported from here.
"""

from masklet.compat.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from masklet.compat.sam2.build_sam import (
    build_sam2,
    build_sam2_hf,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from masklet.compat.sam2.sam2_image_predictor import SAM2ImagePredictor
from masklet.compat.sam2.sam2_video_predictor import InferenceState, SAM2VideoPredictor, SAM2VideoPredictorVOS

__all__ = [
    "InferenceState",
    "SAM2AutomaticMaskGenerator",
    "SAM2ImagePredictor",
    "SAM2VideoPredictor",
    "SAM2VideoPredictorVOS",
    "build_sam2",
    "build_sam2_hf",
    "build_sam2_video_predictor",
    "build_sam2_video_predictor_hf",
]
