"""What the network says about one prompt on a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from masklet.models.prompt_encoder import FEEDBACK_LIMIT
from masklet.models.sam2 import upsample
from masklet.models.shape import regridded
from masklet.results import Window


@dataclass(frozen=True, eq=False)
class ImageMasks:
    """The candidates of one prompt: three where it was ambiguous, else one.

    Masks are made when they are asked for, so that many answers on a large picture cost nothing until then.

    Attributes:
        decoder_logits_nhw: float32 mask logits at a quarter of the network's input side, as decoded.
        predicted_iou_n: float32, predicted IoU of each candidate with the truth, 0…1.
        object_score: logit that the object is visible; below zero, the masks mean little.
        width, height: size of the picture in pixels.
        window: the part of the picture that the logits are of, None for all of it; nothing was looked for elsewhere.
        low_res: height and width of low-resolution logits of the whole picture, where there is a window.
    """

    decoder_logits_nhw: Tensor
    predicted_iou_n: np.ndarray
    object_score: float
    width: int
    height: int
    window: Window | None = None
    low_res: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.predicted_iou_n)

    def __iter__(self) -> Iterator[ImageMasks]:
        """Each candidate as an answer of its own."""
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> ImageMasks:
        """One candidate as an answer of its own."""
        place = range(len(self))[index]  # an IndexError as any sequence's
        logits, ious = self.decoder_logits_nhw[place : place + 1], self.predicted_iou_n[place : place + 1]
        return replace(self, decoder_logits_nhw=logits, predicted_iou_n=ious)

    @property
    def best(self) -> int:
        """The candidate of the highest predicted IoU."""
        return int(self.predicted_iou_n.argmax())

    @property
    def predicted_iou(self) -> float:
        """Predicted IoU of the best candidate."""
        return float(self.predicted_iou_n[self.best])

    @property
    def low_res_logits_nhw(self) -> Tensor:
        """Float32 logits at a quarter of the input's side, within ±32: what ``predict(mask=…)`` takes back."""
        logits = self.decoder_logits_nhw
        if self.window is not None:
            picture = (0, 0, self.width, self.height)
            logits = regridded(logits[:, None], astuple(self.window), picture, self.low_res)[:, 0]
        return logits.clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT)

    @property
    def logits_nhw(self) -> np.ndarray:
        """Every candidate's logits at the size of the picture: float32 ``[n, height, width]``; made anew each time."""
        return self._enlarged(self.decoder_logits_nhw)

    @cached_property
    def masks_nhw(self) -> np.ndarray:
        """Every candidate at the size of the picture: bool ``[n, height, width]``."""
        return np.stack([self._mask(i) for i in range(len(self))])

    @cached_property
    def mask(self) -> np.ndarray:
        """The best candidate at the size of the picture: bool ``[height, width]``."""
        return self._mask(self.best)

    @cached_property
    def box_xyxy(self) -> np.ndarray | None:
        """Box of the best candidate in pixels, right and bottom exclusive: float32 ``[4]``; None if it is empty."""
        from masklet.masks.boxes import mask_to_box

        return mask_to_box(self.mask)

    def _mask(self, index: int) -> np.ndarray:
        # One candidate at a time: float logits of a large picture are four times the size of its mask.
        logits = self.decoder_logits_nhw[index]
        if not bool((logits > 0).any()):
            return np.zeros((self.height, self.width), bool)
        return self._enlarged(logits[None])[0] > 0

    @torch.inference_mode()
    def _enlarged(self, logits_nhw: Tensor) -> np.ndarray:
        height, width = (self.height, self.width) if self.window is None else (self.window.height, self.window.width)
        enlarged_nhw: np.ndarray = upsample(logits_nhw[None], height, width)[0].cpu().numpy()
        return enlarged_nhw if self.window is None else self.window.pasted(enlarged_nhw, self.height, self.width)
