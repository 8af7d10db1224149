"""The official automatic mask generator over :class:`masklet.AutomaticMaskGenerator`."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np

from masklet.compat.sam2.modeling.sam2_base import SAM2Base, as_base
from masklet.errors import InputError
from masklet.masks import rle as run_lengths
from masklet.models.sam2 import SAM2
from masklet.predictors import AutomaticMaskGenerator, FoundMask

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")

#: What may follow the model, in the official order: masklet's own names, without those that say how to load a network.
_ARGUMENTS = [*signature(AutomaticMaskGenerator).parameters][1:-4]
_ARGUMENTS.insert(_ARGUMENTS.index("use_m2m"), "output_mode")


class SAM2AutomaticMaskGenerator:
    """Masks of everything in an image.

    Args:
        model: what ``build_sam2`` or :func:`masklet.load_model` gives.
        pred_iou_thresh, stability_score_thresh: by default 0.8 and 0.95 as in the official package, and lower for
            ``nano``, whose scores are lower.
        output_mode: ``binary_mask``, ``uncompressed_rle`` or ``coco_rle``.

    The other arguments are those of :class:`masklet.AutomaticMaskGenerator` up to ``multimask_output``, by name or by
    place (in the official order, in which ``output_mode`` comes before ``use_m2m``); other names are ignored. Of
    ``points_per_side`` and ``point_grids`` one is given and the other None.
    """

    def __init__(self, model: SAM2Base | SAM2, *args: Any, **kwargs: Any) -> None:
        given = dict(zip(_ARGUMENTS, args, strict=False)) | {k: v for k, v in kwargs.items() if k in _ARGUMENTS}
        if len(args) > len(_ARGUMENTS):
            raise InputError(f"after the model come at most {len(_ARGUMENTS)} arguments: {', '.join(_ARGUMENTS)}")
        if (given.setdefault("points_per_side", 32) is None) == (given.get("point_grids") is None):
            raise InputError("give either points_per_side or point_grids, and None for the other")
        self.output_mode = given.pop("output_mode", "binary_mask")
        if self.output_mode not in OUTPUT_MODES:
            raise InputError(f"output_mode is one of {', '.join(OUTPUT_MODES)}, not {self.output_mode!r}")
        self.model = as_base(model)
        given["points_per_side"] = given["points_per_side"] or 32
        self._generator = AutomaticMaskGenerator(self.model.image_predictor(), **given)

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2AutomaticMaskGenerator:
        """The generator of a Hugging Face id; the other arguments are the generator's."""
        from masklet.compat.sam2.build_sam import build_sam2_hf

        return cls(build_sam2_hf(model_id), **kwargs)

    def generate(self, image: np.ndarray) -> list[dict[str, Any]]:
        """Masks of everything in an image (uint8 RGB ``[h, w, 3]``), each a dictionary:

        - ``segmentation``: bool ``[h, w]``, or run lengths as ``{"size": [h, w], "counts": …}``;
        - ``area``: its pixels; ``bbox``: x, y, width, height, counted as in the official package, where a box ends on
          the mask's last pixels and so is one pixel narrower and lower than what it covers;
        - ``predicted_iou``, ``stability_score``; ``point_coords``: the click, ``[[x, y]]``;
        - ``crop_box``: x, y, width, height of the crop that it was found in.

        Raises:
            InputError: not an image.
        """
        return [self._described(found) for found in self._generator.generate(image)]

    def _described(self, found: FoundMask) -> dict[str, Any]:
        described = found.to_dict()
        x, y, width, height = (int(value) for value in described["bbox"])
        described["bbox"] = [x, y, width - 1, height - 1]
        if self.output_mode == "binary_mask":
            described["segmentation"] = found.mask
        elif self.output_mode == "uncompressed_rle":
            size = list(found.rle["size"])
            described["segmentation"] = {"size": size, "counts": run_lengths.counts(found.rle).tolist()}
        return described
