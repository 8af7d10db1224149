"""Masks in single pictures: prompted, or of everything there is."""

from masklet.predictors.automatic import AutomaticMaskGenerator, FoundMask
from masklet.predictors.image import ImagePredictor
from masklet.predictors.results import ImageMasks

__all__ = ["AutomaticMaskGenerator", "FoundMask", "ImageMasks", "ImagePredictor"]
