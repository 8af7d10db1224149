"""The official image predictor's methods over :class:`masklet.ImagePredictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masklet.compat.sam2.errors import StateError
from masklet.compat.sam2.modeling.sam2_base import SAM2Base, as_base
from masklet.errors import InputError, PromptError
from masklet.masks.clean import fill_holes, remove_specks
from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FEEDBACK_LIMIT
from masklet.models.sam2 import SAM2, upsample
from masklet.prompts import numbers

#: Logits of filled holes and of removed specks lie this far from the threshold.
_CLEANED = 10.0

#: Masks ``[c, height, width]``, predicted IoU ``[c]``, low-resolution logits ``[c, h, w]``; float32.
Answer = tuple[np.ndarray, np.ndarray, np.ndarray]


class SAM2ImagePredictor:
    """Set an image, then prompt it as often as you like.

    Args:
        sam_model: what ``build_sam2`` or :func:`masklet.load_model` gives.
        mask_threshold: logits above it are the object.
        max_hole_area, max_sprinkle_area: holes are filled and separate pieces removed up to this area, counted in
            pixels of the low-resolution mask.
    """

    def __init__(
        self,
        sam_model: SAM2Base | SAM2,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.model = as_base(sam_model)
        self.mask_threshold = mask_threshold
        self.max_hole_area = max_hole_area
        self.max_sprinkle_area = max_sprinkle_area
        self._predictor = self.model.image_predictor()
        self._is_batch = False

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """The predictor of a Hugging Face id; see :func:`~masklet.compat.sam2.build_sam.build_sam2_hf`."""
        from masklet.compat.sam2.build_sam import build_sam2_hf

        return cls(build_sam2_hf(model_id, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.model.device

    # --- images ------------------------------------------------------------------------------------------------

    def set_image(self, image: Any) -> None:
        """Encode an image: a uint8 RGB array ``[h, w, 3]`` or a Pillow image (its pixels as stored, not turned).

        Raises:
            InputError: not an image.
        """
        self._set([image], batch=False)

    def set_image_batch(self, image_list: Sequence[Any]) -> None:
        """Encode several images of any sizes, for :meth:`predict_batch`."""
        if not isinstance(image_list, (list, tuple)):
            raise InputError(f"set_image_batch takes a list of images, but got {type(image_list).__name__}")
        self._set(list(image_list), batch=True)

    def reset_predictor(self) -> None:
        """Forget the images."""
        self._predictor.reset()
        self._is_batch = False

    def get_image_embedding(self) -> Tensor:
        """The image's embedding ``[1, c, h, w]``, as the mask decoder reads it; of all images after a batch.

        Raises:
            StateError (a RuntimeError): no image is set.
        """
        self._require_images("set_image")
        network = self._predictor.model
        count = len(self._predictor.sizes)
        with torch.inference_mode():
            return torch.cat([network.without_memory(self._predictor.features(i).embedding_bchw) for i in range(count)])

    # --- prompts -----------------------------------------------------------------------------------------------

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Answer:
        """Masks for a prompt, or for each of a batch of b.

        Args:
            point_coords: ``[n, 2]`` or ``[b, n, 2]`` x, y in pixels (from 0 to 1 without ``normalize_coords``).
            point_labels: ``[n]`` or ``[b, n]``: 1 (this), 0 (not this), -1 (padding).
            box: ``[4]`` or ``[b, 4]`` x1, y1, x2, y2.
            mask_input: ``[1, h, w]`` or ``[b, 1, h, w]`` low-resolution logits of an earlier answer.
            multimask_output: three candidates instead of one mask.
            return_logits: logits instead of masks of 0 and 1.

        Returns:
            Masks ``[c, height, width]``, predicted IoU ``[c]``, low-resolution logits ``[c, h, w]``, all float32, of c
            candidates; with another dimension ``b`` in front for a batch of more than one.

        Raises:
            StateError (a RuntimeError): no image is set.
            PromptError (a ValueError): the prompt can't be used.
        """
        self._require_images("set_image")
        # Like the official package, which answers for the last image of a batch here.
        last, prompt = len(self._predictor.sizes) - 1, (point_coords, point_labels, box, mask_input)
        return self._answer(last, prompt, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[Any] | None = None,
        point_labels_batch: Sequence[Any] | None = None,
        box_batch: Sequence[Any] | None = None,
        mask_input_batch: Sequence[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """For each image of a batch what :meth:`predict` gives, as three lists; arguments are lists too."""
        self._require_images("set_image_batch")
        if not self._is_batch:
            raise StateError("predict_batch needs images from set_image_batch")
        given = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        count = len(self._predictor.sizes)
        for values in given:
            if values is not None and len(values) != count:
                raise PromptError(f"there are {count} images, but prompts for {len(values)}")
        prompts = [tuple(None if values is None else values[i] for values in given) for i in range(count)]
        options = (multimask_output, return_logits, normalize_coords)
        answers = [self._answer(i, prompt, *options) for i, prompt in enumerate(prompts)]
        masks, ious, low_res = (list(part) for part in zip(*answers, strict=True))
        return masks, ious, low_res

    # --- helpers -----------------------------------------------------------------------------------------------

    def _set(self, images: list[Any], *, batch: bool) -> None:
        if self._predictor.model is not self.model.network:  # moved to another device, or other weights
            self._predictor = self.model.image_predictor()
        self._predictor.set_images([_pixels(image) for image in images])
        self._is_batch = batch

    def _require_images(self, method: str) -> None:
        if not self._predictor.sizes:
            raise StateError(f"there is no image yet: call {method} first")

    def _answer(
        self, image: int, prompt: tuple[Any, ...], multimask: bool, return_logits: bool, normalize: bool
    ) -> Answer:
        """`prompt` is points, labels, box and mask."""
        *clicks, mask_input = prompt
        width, height = self._predictor.sizes[image]
        scale = torch.tensor([width, height]) if normalize else torch.ones(2)
        points, labels = _points(*clicks)
        if points is not None:
            points = points / scale * torch.tensor(self._predictor.features(image).shape.inner[::-1])
        feedback = None if mask_input is None else _tensor(mask_input, "mask_input")
        if feedback is not None:
            rows, columns = self._predictor.low_res_size(image)
            if feedback.ndim not in (2, 3, 4) or feedback.shape[-2:] != (rows, columns):
                raise PromptError(f"mask_input has the shape [1, {rows}, {columns}], not {list(feedback.shape)}")
            feedback = feedback.reshape(-1, 1, rows, columns)
            count = len(feedback) if points is None else len(points)
            if len(feedback) not in (1, count):
                raise PromptError(f"there are {count} prompts, but {len(feedback)} mask inputs")
            feedback = feedback.expand(count, -1, -1, -1)
        found = self._predictor.decode(points, labels, feedback, multimask=multimask, image=image)
        masks = np.stack([self._full_size(logits, width, height, return_logits) for logits in found.logits_bnhw])
        ious = found.iou_bn.float().cpu().numpy()
        low_res = found.logits_bnhw.clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT).float().cpu().numpy()
        return (masks[0], ious[0], low_res[0]) if len(masks) == 1 else (masks, ious, low_res)

    def _full_size(self, logits_nhw: Tensor, width: int, height: int, return_logits: bool) -> np.ndarray:
        full = upsample(self._cleaned(logits_nhw)[None], height, width)[0].cpu().numpy()
        return full if return_logits else (full > self.mask_threshold).astype(np.float32)

    def _cleaned(self, logits_nhw: Tensor) -> Tensor:
        """Logits with small holes filled and small pieces removed."""
        if self.max_hole_area <= 0 and self.max_sprinkle_area <= 0:
            return logits_nhw
        cleaned = logits_nhw.clone()
        for logits in cleaned:
            inside = (logits > self.mask_threshold).cpu().numpy()
            tidy = remove_specks(fill_holes(inside, self.max_hole_area), self.max_sprinkle_area)
            logits[torch.from_numpy(tidy & ~inside)] = self.mask_threshold + _CLEANED
            logits[torch.from_numpy(~tidy & inside)] = self.mask_threshold - _CLEANED
        return cleaned


def _pixels(image: Any) -> Any:
    """A Pillow image as its stored pixels: the official package doesn't look at the orientation in EXIF data."""
    return np.asarray(image.convert("RGB")) if hasattr(image, "getbands") else image


def _points(coords: Any, labels: Any, box: Any) -> tuple[Tensor | None, Tensor | None]:
    """Points ``[b, n, 2]`` and labels ``[b, n]``, a box's corners first."""
    parts: list[tuple[Tensor, Tensor]] = []
    if box is not None:
        corners = _tensor(box, "box")
        if corners.ndim not in (1, 2) or corners.shape[-1] != 4:
            raise PromptError(f"a box is x1, y1, x2, y2, but the shape is {list(corners.shape)}")
        corners = corners.reshape(-1, 2, 2)
        if not (corners[:, 1] > corners[:, 0]).all():
            raise PromptError("a box has no area: x2 must exceed x1, and y2 exceed y1")
        parts.append((corners, torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]]).expand(len(corners), -1)))
    if coords is not None:
        if labels is None:
            raise PromptError("point_coords need point_labels: 1 or 0 for each point")
        points, said = _tensor(coords, "point_coords"), _tensor(labels, "point_labels")
        points, said = (points[None], said[None]) if points.ndim == 2 and said.ndim == 1 else (points, said)
        if points.ndim != 3 or points.shape[2] != 2 or points.shape[:2] != said.shape:
            raise PromptError(
                f"points are [n, 2] with labels [n], or [b, n, 2] with [b, n], not {list(points.shape)} with "
                f"{list(said.shape)}"
            )
        parts.append((points, said.long()))
    elif labels is not None:
        raise PromptError("point_labels need point_coords")
    if not parts:
        return None, None
    count = max(len(points) for points, _ in parts)
    if any(len(points) not in (1, count) for points, _ in parts):
        raise PromptError(f"there are {len(parts[0][0])} boxes, but points for {len(parts[1][0])} prompts")
    return (
        torch.cat([points.expand(count, -1, -1) for points, _ in parts], dim=1),
        torch.cat([said.expand(count, -1) for _, said in parts], dim=1),
    )


def _tensor(values: Any, what: str) -> Tensor:
    tensor = torch.from_numpy(numbers(values, what)).float()
    if not torch.isfinite(tensor).all():
        raise PromptError(f"{what} hold a value that is not a finite number")
    return tensor
