"""From what the tracker gives to what people use: one frame's masks, finished by their settings.

The steps, in this order: smoothing in time (clips only), up to the frame's size, the frame's border, holes and
specks, the outline pulled to the picture's edges, grown or shrunk, a soft edge, and no overlap.
Preview and export call the same functions with the same settings. The tracked mask is never changed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks import clean, edges, overlap
from masklet.masks._arrays import ByteArray, MaskArray, as_image, as_mask, same_size
from masklet.masks.boxes import mask_slices
from masklet.masks.distance import signed_distance, smooth_outline, soft_edge
from masklet.masks.settings import MaskSettings
from masklet.masks.temporal import TemporalSmoother


@dataclass(frozen=True, eq=False)
class FinishedMask:
    """One object on one frame: `mask_hw` boolean, and `alpha_hw` opacity as uint8 0..255, both (h, w)."""

    mask_hw: MaskArray
    alpha_hw: ByteArray


def finish(
    source_hw: Any,
    settings: MaskSettings,
    image_hwc: Any = None,
    size: tuple[int, int] | None = None,
    cells: int | None = None,
) -> FinishedMask:
    """Finishes one mask.

    Args:
        source_hw: mask logits, float (h, w) at any resolution, or a boolean mask of the frame's size.
        settings: what to do; smoothing in time and overlap need more than one mask and are left to `finish_frame`
            and `ClipFinisher`.
        image_hwc: the frame, uint8 RGB; needed where `settings.refine` is above 0.
        size: the frame's (height, width); by default that of the image, else of the source.
        cells: how many pixels a side the network's own mask had (256 for the released sizes, 64 for nano), which
            says how far off a boolean mask's outline may be; logits tell by their own size.

    Raises InputError for sizes that don't fit, logits that are not numbers, or a missing image.
    """
    image = None if image_hwc is None else as_image(image_hwc)
    logits, mask, (height, width) = _open(source_hw, image, size)
    if logits is not None:
        cells = cells or max(np.asarray(source_hw).shape)
        mask = logits > 0
    assert mask is not None
    if settings.border:
        mask = clean.fix_border(mask, settings.border)
        logits = None if logits is None else clean.fix_border(logits, settings.border)
    if not mask.any():
        return FinishedMask(mask, np.zeros((height, width), np.uint8))
    mask = _clean(mask, settings)

    radius = settings.refine_radius or edges.radius_for(height, width, cells)
    reach = math.ceil(max(settings.grow, 0) + settings.feather + (2 * radius if settings.refine else 0)) + 3
    where = mask_slices(mask, reach)
    if where is None:
        return FinishedMask(mask, np.zeros((height, width), np.uint8))
    part = mask[where]
    soft = None if logits is None else logits[where]
    if settings.refine > 0:
        if image is None:
            raise InputError("Refining edges needs the picture: pass the frame, or set refine to 0.")
        soft = edges.follow_picture(part, image[where], radius, settings.refine) - np.float32(0.5)
        part = _clean(soft > 0, settings)
    if settings.grow == 0 and settings.feather == 0:
        out = part
        alpha = part.view(np.uint8) * np.uint8(255)
    else:
        distance = signed_distance(part, smooth_outline(part) if soft is None else soft) + settings.grow
        out = distance > 0
        alpha = soft_edge(distance, settings.feather)
    return FinishedMask(_placed(out, where, height, width), _placed(alpha, where, height, width))


def finish_frame(
    sources: Mapping[int, Any],
    settings: Mapping[int, MaskSettings],
    image_hwc: Any = None,
    size: tuple[int, int] | None = None,
    cells: int | None = None,
    scores: Mapping[int, float] | None = None,
) -> dict[int, FinishedMask]:
    """Finishes the masks of all objects on one frame; objects without settings get the defaults.

    Where `settings.exclusive` is set, an object gives way to those with a higher score: `scores` by object id, for
    example object scores; objects without one have 0. Other arguments and errors are those of `finish`.
    """
    plain = MaskSettings()
    done = {
        object_id: finish(source, settings.get(object_id, plain), image_hwc, size, cells)
        for object_id, source in sources.items()
    }
    polite = [object_id for object_id in done if settings.get(object_id, plain).exclusive]
    if len(done) < 2 or not polite:
        return done
    ranks = {object_id: float((scores or {}).get(object_id, 0.0)) for object_id in done}
    masks = overlap.separate({object_id: finished.mask_hw for object_id, finished in done.items()}, ranks)
    alphas = overlap.separate({object_id: finished.alpha_hw for object_id, finished in done.items()}, ranks)
    return {
        object_id: FinishedMask(masks[object_id], alphas[object_id]) if object_id in polite else finished
        for object_id, finished in done.items()
    }


@dataclass
class _Waiting:
    index: int
    image: ByteArray | None
    ids: tuple[int, ...]
    scores: dict[int, float]
    ready: dict[int, Any] = field(default_factory=dict)


class ClipFinisher:
    """Finishes a clip frame by frame, smoothing in time included.

    Frames come out in order, late by the largest `smooth_frames` of any object; only that many are held.

    Args:
        settings: settings by object id; objects without them get the defaults.
        size, cells: as for `finish`.
    """

    def __init__(
        self,
        settings: Mapping[int, MaskSettings],
        size: tuple[int, int] | None = None,
        cells: int | None = None,
    ) -> None:
        self.settings = dict(settings)
        self.size = size
        self.cells = cells
        self._frames: deque[_Waiting] = deque()
        self._smoothers: dict[int, TemporalSmoother] = {}

    def push(
        self,
        index: int,
        sources: Mapping[int, Any],
        image_hwc: Any = None,
        scores: Mapping[int, float] | None = None,
        locked: frozenset[int] | set[int] = frozenset(),
    ) -> list[tuple[int, dict[int, FinishedMask]]]:
        """Takes the next frame and returns those that are done, as (index, masks by object id).

        `locked` names objects whose mask on this frame someone decided: smoothing leaves it alone. An object that
        is missing on a frame starts anew after it. Raises InputError as `finish` does.
        """
        image = None if image_hwc is None else as_image(image_hwc)
        for object_id in list(self._smoothers):
            if object_id not in sources:
                self._drain(object_id)
        self._frames.append(_Waiting(index, image, tuple(sources), dict(scores or {})))
        for object_id, source in sources.items():
            radius = self.settings.get(object_id, MaskSettings()).smooth_frames
            if not radius:
                self._frames[-1].ready[object_id] = source
                continue
            smoother = self._smoothers.setdefault(object_id, TemporalSmoother(radius))
            self._hand_out(object_id, smoother.push(source, image, object_id in locked))
        return self._finished()

    def flush(self) -> list[tuple[int, dict[int, FinishedMask]]]:
        """The frames still waiting, after the last one."""
        for object_id in list(self._smoothers):
            self._drain(object_id)
        return self._finished()

    def _drain(self, object_id: int) -> None:
        self._hand_out(object_id, self._smoothers.pop(object_id).flush())

    def _hand_out(self, object_id: int, masks: list[Any]) -> None:
        waiting = (frame for frame in self._frames if object_id in frame.ids and object_id not in frame.ready)
        for mask, frame in zip(masks, waiting, strict=False):
            frame.ready[object_id] = mask

    def _finished(self) -> list[tuple[int, dict[int, FinishedMask]]]:
        done = []
        while self._frames and len(self._frames[0].ready) == len(self._frames[0].ids):
            frame = self._frames.popleft()
            sources = {object_id: frame.ready[object_id] for object_id in frame.ids}
            masks = finish_frame(sources, self.settings, frame.image, self.size, self.cells, frame.scores)
            done.append((frame.index, masks))
        return done


def _open(
    source_hw: Any, image: ByteArray | None, size: tuple[int, int] | None
) -> tuple[NDArray[np.float32] | None, MaskArray | None, tuple[int, int]]:
    """Logits at the frame's size, or a mask; and the frame's size."""
    source = np.asarray(source_hw)
    if size is None:
        size = image.shape[:2] if image is not None else source.shape[:2]
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise InputError(f"A frame can't be {width}x{height} pixels.")
    if image is not None and image.shape[:2] != (height, width):
        raise InputError(f"The image is {image.shape[1]}x{image.shape[0]} pixels, but the frame is {width}x{height}.")
    if not np.issubdtype(source.dtype, np.floating):
        mask = as_mask(source)
        same_size(np.empty((height, width, 0)), mask)
        return None, mask, (height, width)
    if source.ndim != 2 or 0 in source.shape:
        raise InputError(f"The logits must have the shape (height, width), but have {source.shape}.")
    if np.isnan(source).any():
        raise InputError("The logits hold values that are not numbers (NaN).")
    # Far from the outline logits say nothing more, and large ones would shift it by ringing.
    logits = np.clip(np.ascontiguousarray(source, np.float32), -4, 4)
    if logits.shape != (height, width):
        logits = np.asarray(cv2.resize(logits, (width, height), interpolation=cv2.INTER_CUBIC))
    return logits, None, (height, width)


def _clean(mask: MaskArray, settings: MaskSettings) -> MaskArray:
    if settings.keep_largest:
        mask = clean.keep_largest(mask)
    elif settings.remove_specks:
        mask = clean.remove_specks(mask, settings.remove_specks)
    if settings.fill_holes:
        mask = clean.fill_holes(mask, settings.fill_holes)
    return mask


def _placed(part: NDArray[Any], where: tuple[slice, slice], height: int, width: int) -> NDArray[Any]:
    if part.shape == (height, width):
        return part
    frame = np.zeros((height, width), part.dtype)
    frame[where] = part
    return frame
