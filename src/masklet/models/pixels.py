"""From pictures to the network's input: normalised, and in its shape.

Released weights expect the ways of the official package: video frames shrunk with an antialiased bicubic filter, single
images with an antialiased bilinear one.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from masklet.models.shape import InputShape
from masklet.models.specs import ModelSpec


def frame_to_input(image_hwc: np.ndarray, shape: InputShape, spec: ModelSpec) -> Tensor:
    """A video frame (uint8 RGB, ``[h, w, 3]``) as network input ``[1, 3, height, width]``, float32 on the CPU."""
    height, width = shape.inner
    if image_hwc.shape[:2] != (height, width):
        if spec.frame_resize == "area":
            shrinks = image_hwc.shape[0] >= height and image_hwc.shape[1] >= width
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image_hwc = cv2.resize(image_hwc, (width, height), interpolation=method)
        else:
            image_hwc = np.asarray(Image.fromarray(image_hwc).resize((width, height), Image.Resampling.BICUBIC))
    return shape.padded(normalise(_unit(image_hwc), spec))


def image_to_input(image_hwc: np.ndarray, shape: InputShape, spec: ModelSpec) -> Tensor:
    """A single image (uint8 RGB, ``[h, w, 3]``) as network input ``[1, 3, height, width]``, float32 on the CPU."""
    x = _unit(image_hwc)
    if x.shape[-2:] != shape.inner:
        x = F.interpolate(x, size=shape.inner, mode="bilinear", align_corners=False, antialias=True)
    return shape.padded(normalise(x, spec))


def _unit(image_hwc: np.ndarray) -> Tensor:
    """``[1, 3, h, w]`` float32 in 0…1."""
    return torch.tensor(np.ascontiguousarray(image_hwc)).permute(2, 0, 1)[None].float() / 255


def normalise(rgb_bchw: Tensor, spec: ModelSpec) -> Tensor:
    """Colours in 0…1 as the network's trunk expects them."""
    mean, deviation = (torch.tensor(t, device=rgb_bchw.device).reshape(1, 3, 1, 1) for t in spec.trunk.PIXELS)
    return (rgb_bchw - mean) / deviation
