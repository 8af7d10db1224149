"""What the JSON layouts share: documents and segmentations that may be damaged, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.masks import polygons, rle


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises InputError where there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds a JSON {type(document).__name__}; annotations are an object with named entries")
    return document


def packed(segmentation: Any) -> Any:
    """A segmentation as it was, with long lists of run lengths as arrays: an eighth of the memory."""
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        try:
            return {"size": segmentation.get("size"), "counts": np.asarray(segmentation["counts"], np.int32)}
        except (ValueError, TypeError, OverflowError):
            return segmentation  # damaged; said when it is used
    return segmentation


def to_mask(segmentation: Any, size_hw: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool of run lengths (their own size) or polygons (of `size_hw`).

    Raises InputError for damaged ones, naming `where`.
    """
    try:
        if isinstance(segmentation, Mapping):
            return rle.decode(segmentation)
        return polygons.from_coco(segmentation, *size_hw)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{where}: the segmentation can't be used: {error}") from error
