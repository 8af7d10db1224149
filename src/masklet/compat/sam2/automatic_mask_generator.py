"""The official automatic mask generator over :class:`masklet.AutomaticMaskGenerator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from masklet.compat.sam2.modeling.sam2_base import SAM2Base, as_base
from masklet.errors import InputError
from masklet.masks import rle as run_lengths
from masklet.models import SAM2
from masklet.predictors import AutomaticMaskGenerator, FoundMask, ImagePredictor

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


class SAM2AutomaticMaskGenerator:
    """Masks of everything in an image.

    Args:
        model: what ``build_sam2`` or :func:`masklet.load_model` gives.
        pred_iou_thresh, stability_score_thresh: by default 0.8 and 0.95 as in the official package, and lower for
            ``nano``, whose scores are lower.
        output_mode: ``binary_mask``, ``uncompressed_rle`` or ``coco_rle``.

    The other arguments are those of :class:`masklet.AutomaticMaskGenerator`. Of ``points_per_side`` and ``point_grids``
    one is given and the other None.
    """

    def __init__(
        self,
        model: SAM2Base | SAM2,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[np.ndarray] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        **kwargs: Any,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise InputError("give either points_per_side or point_grids, and None for the other")
        if output_mode not in OUTPUT_MODES:
            raise InputError(f"output_mode is one of {', '.join(OUTPUT_MODES)}, not {output_mode!r}")
        self.output_mode = output_mode
        self.model = as_base(model)
        self._generator = AutomaticMaskGenerator(
            ImagePredictor(
                self.model.network,
                resolution=self.model.image_size,
                stability_fallback=self.model.settings.stability_fallback,
            ),
            points_per_side=points_per_side or 32,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            mask_threshold=mask_threshold,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids,
            min_mask_region_area=min_mask_region_area,
            use_m2m=use_m2m,
            multimask_output=multimask_output,
        )

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
