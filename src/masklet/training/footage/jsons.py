"""What the JSON layouts share: documents and segmentations that may be damaged, checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def expecting(path: Path, what: str) -> Iterator[None]:
    """Raises InputError where a document turns out not to be `what` while it is read."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is not {what}: {error!r}") from error


def packed(segmentation: Any) -> Any:
    """A segmentation as it was, with long lists of run lengths as arrays: an eighth of the memory."""
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        try:
            return {"size": segmentation.get("size"), "counts": np.asarray(segmentation["counts"], np.int32)}
        except (ValueError, TypeError, OverflowError):
            return segmentation  # damaged; said when it is used
    return segmentation


def to_masks(segmentations: Mapping[int, Any], size_hw: tuple[int, int], where: str) -> dict[int, np.ndarray]:
    """(H, W) bool by object of run lengths (their own size) or polygons (of `size_hw`).

    Raises InputError for damaged ones, naming `where`, which has a place for the object.
    """
    found = {}
    for object_id, segmentation in segmentations.items():
        try:
            if isinstance(segmentation, Mapping):
                found[object_id] = rle.decode(segmentation)
            else:
                found[object_id] = polygons.from_coco(segmentation, *size_hw)
        except (InputError, TypeError, ValueError) as error:
            raise InputError(f"{where.format(object_id)}: the segmentation can't be used: {error}") from error
    return found
