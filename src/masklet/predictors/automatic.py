"""Segment everything: prompt a grid of points, keep the masks that hold (SAM, arXiv 2304.02643, appendix B)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from masklet.errors import InputError
from masklet.masks import rle as run_lengths
from masklet.masks.boxes import mask_to_box, to_xywh
from masklet.masks.clean import fill_holes, remove_specks
from masklet.models.prompt_encoder import FEEDBACK_LIMIT, POSITIVE
from masklet.models.sam2 import SAM2
from masklet.predictors.crops import crop_boxes, cut_off, point_grid
from masklet.predictors.image import ImagePredictor
from masklet.predictors.pictures import ImageArray, as_rgb
from masklet.predictors.windows import Upsampler
from masklet.settings import Shape

if TYPE_CHECKING:
    from masklet.masks.rle import RLE

CropBox = tuple[int, int, int, int]
_Told = tuple[float, float, tuple[float, float], CropBox]
#: Called with the points that are done and all of them. What it raises ends the search.
Progress = Callable[[int, int], None]

#: Which masks are good enough: predicted IoU and stability. nano's scores are lower throughout.
_THRESHOLDS = {"nano": (0.3, 0.2)}
_RELEASED_THRESHOLDS = (0.8, 0.95)


@dataclass(frozen=True, eq=False)
class FoundMask:
    """One mask of a search for everything.

    Attributes:
        rle: the mask as COCO run lengths, the size of the picture.
        area: its pixels.
        box_xyxy: its tight box in pixels, right and bottom exclusive: float32 ``[4]``.
        predicted_iou: predicted IoU with the truth, 0…1.
        stability_score: how little the area depends on where the logits are cut, 0…1.
        point_xy: the point that it was found with, in pixels.
        crop_xyxy: the crop that it was found in, in pixels, right and bottom exclusive.
    """

    rle: RLE
    area: int
    box_xyxy: np.ndarray
    predicted_iou: float
    stability_score: float
    point_xy: tuple[float, float]
    crop_xyxy: CropBox

    @property
    def mask(self) -> np.ndarray:
        """The mask: bool ``[height, width]``. Unpacked anew each time."""
        return run_lengths.decode(self.rle)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers under the names of SA-1B's annotations; boxes as x, y, width, height."""
        x1, y1, x2, y2 = self.crop_xyxy
        return {
            "segmentation": dict(self.rle),
            "area": self.area,
            "bbox": to_xywh(self.box_xyxy),
            "predicted_iou": self.predicted_iou,
            "point_coords": [list(self.point_xy)],
            "stability_score": self.stability_score,
            "crop_box": [x1, y1, x2 - x1, y2 - y1],
        }


class AutomaticMaskGenerator:
    """Finds masks of everything in a picture.

    Every point of a grid is a click; of its masks those are kept whose predicted IoU is high and whose outline is
    stable, and of masks with overlapping boxes the best. Crops in layers find small things in large pictures.

    Args:
        model: a network, its name (``nano`` by default), or an :class:`ImagePredictor` (which forgets its pictures).
        points_per_side: points along one side of the grid.
        points_per_batch: points that go through the network together.
        pred_iou_thresh: lowest predicted IoU. By default 0.8, and less for ``nano``, whose scores are lower.
        stability_score_thresh: lowest stability score. By default 0.95, and less for ``nano``.
        stability_score_offset: the stability score compares the areas of the mask cut this much above and this much
            below ``mask_threshold``.
        mask_threshold: logits above this are object.
        box_nms_thresh: box IoU above which the worse of two masks of a crop goes.
        crop_n_layers: layers of crops; layer i has ``2**i`` x ``2**i`` of them.
        crop_nms_thresh: box IoU above which, of masks of different crops, that of the larger crop goes.
        crop_overlap_ratio: overlap of the first layer's crops as a share of the shorter side of the picture.
        crop_n_points_downscale_factor: the grid in layer i has ``points_per_side`` divided by this to the power i.
        point_grids: own grids instead of ``points_per_side``: for each layer ``[n, 2]`` points, x and y from 0 to 1.
        min_mask_region_area: holes and separate pieces smaller than this many pixels are taken away.
        use_m2m: refine each mask once by feeding it back with its point.
        multimask_output: take three masks a point instead of one.
        resolution, shape, device, dtype, checkpoint: as for :class:`ImagePredictor`.

    Raises:
        InputError, CheckpointError, DeviceError: what was given can't be used.
    """

    def __init__(
        self,
        model: SAM2 | ImagePredictor | str | None = None,
        *,
        points_per_side: int = 32,
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
        point_grids: Sequence[Any] | None = None,
        min_mask_region_area: float = 0,
        use_m2m: bool = False,
        multimask_output: bool = True,
        resolution: int | None = None,
        shape: Shape | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        checkpoint: str | Path | None = None,
    ) -> None:
        _check_whole("points_per_side", points_per_side, 1, 1024)
        _check_whole("points_per_batch", points_per_batch, 1, 1 << 16)
        _check_whole("crop_n_layers", crop_n_layers, 0, 6)
        _check_whole("crop_n_points_downscale_factor", crop_n_points_downscale_factor, 1, 1024)
        _check_share("box_nms_thresh", box_nms_thresh)
        _check_share("crop_nms_thresh", crop_nms_thresh)
        if not 0 <= crop_overlap_ratio < 1:
            raise InputError(
                f"crop_overlap_ratio is a share from 0 up to (not including) 1, not {crop_overlap_ratio!r}"
            )
        if isinstance(model, ImagePredictor):
            if any(value is not None for value in (resolution, shape, device, dtype, checkpoint)):
                raise InputError(
                    "resolution, shape, device, dtype and checkpoint are those of the ImagePredictor: set them there"
                )
            self.predictor = model
        else:
            self.predictor = ImagePredictor(
                model,
                resolution=resolution,
                shape=shape or "square",
                device=device,
                dtype=dtype,
                checkpoint=checkpoint,
            )
        iou, stability = _THRESHOLDS.get(self.predictor.model.spec.name, _RELEASED_THRESHOLDS)
        self.pred_iou_thresh = iou if pred_iou_thresh is None else pred_iou_thresh
        self.stability_score_thresh = stability if stability_score_thresh is None else stability_score_thresh
        _check_share("pred_iou_thresh", self.pred_iou_thresh)
        _check_share("stability_score_thresh", self.stability_score_thresh)
        self.points_per_batch = points_per_batch
        self.stability_score_offset = stability_score_offset
        self.mask_threshold = mask_threshold
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.min_mask_region_area = min_mask_region_area
        self.use_m2m = use_m2m
        self.multimask_output = multimask_output
        if point_grids is None:
            scale = crop_n_points_downscale_factor
            sides = [max(1, points_per_side // scale**layer) for layer in range(crop_n_layers + 1)]
            self.point_grids = [point_grid(side) for side in sides]
        else:
            self.point_grids = _check_grids(point_grids, crop_n_layers + 1)

    def generate(self, image: Any, progress: Progress | None = None) -> list[FoundMask]:
        """Masks of everything in a picture, highest predicted IoU first.

        Args:
            image: what :meth:`ImagePredictor.set_image` takes.
            progress: called with the number of points done and of all points. What it raises ends the search.

        Raises:
            InputError, MediaError: not a picture; DeviceMemoryError: it doesn't fit.
        """
        image_hwc = as_rgb(image)
        height, width = image_hwc.shape[:2]
        crops = crop_boxes(width, height, self.crop_n_layers, self.crop_overlap_ratio)
        total = sum(len(self.point_grids[layer]) for layer, _ in crops)
        found: list[_WindowMask] = []
        done = 0
        try:
            for layer, crop in crops:

                def advance(points: int, before: int = done) -> None:
                    if progress is not None:
                        progress(before + points, total)

                found += self._search_crop(image_hwc, crop, self.point_grids[layer], advance)
                done += len(self.point_grids[layer])
        finally:
            self.predictor.reset()
        if len(crops) > 1:
            areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (candidate.crop_xyxy for candidate in found)]
            found = _best(found, [1 / area for area in areas], self.crop_nms_thresh)
        if self.min_mask_region_area > 0:
            found = self._tidy(found)
        found.sort(key=lambda candidate: -candidate.predicted_iou)
        return [candidate.on_picture(height, width) for candidate in found]

    def _search_crop(
        self, image_hwc: ImageArray, crop: CropBox, grid_n2: np.ndarray, advance: Callable[[int], None]
    ) -> list[_WindowMask]:
        x1, y1, x2, y2 = crop
        self.predictor.set_image(np.ascontiguousarray(image_hwc[y1:y2, x1:x2]))
        upsampler = Upsampler(self.predictor.low_res_size(), y2 - y1, x2 - x1)
        found: list[_WindowMask] = []
        for start in range(0, len(grid_n2), self.points_per_batch):
            part = grid_n2[start : start + self.points_per_batch]
            found += self._search_points(upsampler, crop, part)
            advance(start + len(part))
        height, width = image_hwc.shape[:2]
        lost = cut_off(np.array([candidate.box_xyxy for candidate in found]).reshape(-1, 4), crop, width, height)
        found = [candidate for candidate, gone in zip(found, lost, strict=True) if not gone]
        return _best(found, [candidate.predicted_iou for candidate in found], self.box_nms_thresh)

    def _search_points(self, upsampler: Upsampler, crop: CropBox, grid_n2: np.ndarray) -> Iterator[_WindowMask]:
        x1, y1, x2, y2 = crop
        level, offset = self.mask_threshold, self.stability_score_offset
        for logits, iou, (x, y) in self._decode(grid_n2):
            window = upsampler.above(logits, level - offset)
            if window is None:
                continue
            logits_hw = window.logits_hw.numpy()  # whose counting is far quicker than PyTorch's
            possible = int(np.count_nonzero(logits_hw > level - offset))
            stability = int(np.count_nonzero(logits_hw > level + offset)) / max(1, possible)
            inside_hw = logits_hw > level
            if stability < self.stability_score_thresh or not inside_hw.any():
                continue
            point = (x1 + x * (x2 - x1), y1 + y * (y2 - y1))
            yield _WindowMask.make(inside_hw, x1 + window.left, y1 + window.top, (iou, stability, point, crop))

    @torch.inference_mode()
    def _decode(self, grid_n2: np.ndarray) -> Iterator[tuple[torch.Tensor, float, tuple[float, float]]]:
        """Low-resolution logits, predicted IoU and point of every mask whose predicted IoU is high enough."""
        predictor = self.predictor
        points_n12 = torch.from_numpy(grid_n2 * predictor.features().shape.inner[::-1]).float()[:, None]
        labels_n1 = torch.full((len(grid_n2), 1), POSITIVE)
        at_once = self.points_per_batch
        candidates = predictor.decode(points_n12, labels_n1, multimask=self.multimask_output, at_once=at_once)
        count = candidates.iou_bn.shape[1]
        logits, ious = candidates.logits_bnhw.flatten(0, 1), candidates.iou_bn.flatten()
        points = torch.arange(len(grid_n2)).repeat_interleave(count)
        if self.use_m2m:
            refined = predictor.decode(
                points_n12[points],
                labels_n1[points],
                logits[:, None].clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT),
                multimask=False,
                at_once=at_once,
            )
            logits, ious = refined.logits_bnhw[:, 0], refined.iou_bn[:, 0]
        good = ious > self.pred_iou_thresh
        chosen = points[good.cpu()]
        rows = zip(logits[good].cpu(), ious[good].tolist(), grid_n2[chosen.numpy()].tolist(), strict=True)
        return ((low_res, iou, (x, y)) for low_res, iou, (x, y) in rows)

    def _tidy(self, found: list[_WindowMask]) -> list[_WindowMask]:
        """Take small holes and pieces away, then drop what has become a repetition: of two, the changed one."""
        limit = np.nextafter(self.min_mask_region_area, 0)  # less than that area, which need not be a whole number
        tidied, unchanged = [], []
        for candidate in found:
            before_hw = run_lengths.decode(candidate.rle)
            after_hw = remove_specks(fill_holes(before_hw, limit), limit)
            same = bool((before_hw == after_hw).all())
            tidied.append(candidate if same else candidate.with_mask(after_hw))
            unchanged.append(1.0 + same)
        return _best(tidied, unchanged, max(self.box_nms_thresh, self.crop_nms_thresh))


@dataclass(frozen=True, eq=False)
class _WindowMask(FoundMask):
    """A mask whose run lengths are those of a window of the picture."""

    left: int
    top: int

    @classmethod
    def make(cls, inside_hw: np.ndarray, left: int, top: int, told: _Told) -> _WindowMask:
        """`told` are the last fields of a :class:`FoundMask`, from the predicted IoU on."""
        box = mask_to_box(inside_hw)
        assert box is not None  # callers see to it that there is a mask
        box += np.array([left, top, left, top], np.float32)
        return cls(run_lengths.encode(inside_hw), int(np.count_nonzero(inside_hw)), box, *told, left, top)

    @property
    def told(self) -> _Told:
        return self.predicted_iou, self.stability_score, self.point_xy, self.crop_xyxy

    def with_mask(self, inside_hw: np.ndarray) -> _WindowMask:
        return self.make(inside_hw, self.left, self.top, self.told)

    def on_picture(self, height: int, width: int) -> FoundMask:
        rle = run_lengths.encode_crop(self.mask, self.left, self.top, height, width)
        return FoundMask(rle, self.area, self.box_xyxy, *self.told)


def _best(found: list[_WindowMask], scores: Sequence[float], threshold: float) -> list[_WindowMask]:
    """Of masks whose boxes overlap by more than ``threshold``, that of the highest score (above 0); best first."""
    boxes_xywh = [to_xywh(part.box_xyxy) for part in found]
    return [found[i] for i in cv2.dnn.NMSBoxes(boxes_xywh, list(scores), 0.0, threshold)]


def _check_grids(grids: Sequence[Any], layers: int) -> list[np.ndarray]:
    if len(grids) < layers:
        raise InputError(f"{layers} layers of crops need {layers} point grids, but there are {len(grids)}")
    checked = [np.asarray(grid, np.float64) for grid in grids]
    for grid in checked:
        if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid) or not ((grid >= 0) & (grid <= 1)).all():
            raise InputError("a point grid has the shape [n, 2] and holds x and y from 0 to 1")
    return checked


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InputError(f"{name} is a whole number from {low} to {high}, not {value!r}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} is a number from 0 to 1, not {value!r}")
