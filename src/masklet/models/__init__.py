"""The network as pure modules: no state of a video, no file of a user."""

from masklet.models.mask_decoder import Candidates
from masklet.models.sam2 import SAM2, ImageFeatures, Memories
from masklet.models.specs import SPECS, HieraSpec, ModelSpec, get_spec

__all__ = ["SAM2", "SPECS", "Candidates", "HieraSpec", "ImageFeatures", "Memories", "ModelSpec", "get_spec"]
