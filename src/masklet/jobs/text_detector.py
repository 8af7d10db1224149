"""Objects by words, found by an open-vocabulary detector of `transformers` (the extra `masklet[detect]`)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from masklet.errors import InputError

#: Which network of Hugging Face's hub is used, unless the environment names another one.
MODEL, VARIABLE = "google/owlv2-base-patch16-ensemble", "MASKLET_TEXT_DETECTOR"


class TextDetector:
    """Finds what words say; several things are separated by commas. The network is fetched when it is made.

    Raises InputError: there are no words, or `transformers` is not installed.
    """

    def __init__(self, words: str) -> None:
        self.labels = [label.strip() for label in words.split(",") if label.strip()]
        if not self.labels:
            raise InputError('say what to look for: --detector text:"a red car"')
        try:
            from transformers import pipeline
        except ImportError as problem:
            raise InputError("finding objects by words needs an extra: pip install 'masklet[detect]'") from problem
        self._find = pipeline("zero-shot-object-detection", model=os.environ.get(VARIABLE, MODEL))

    def __call__(self, image_hwc: np.ndarray) -> Iterator[tuple[tuple[float, float, float, float], str, float]]:
        for found in self._find(Image.fromarray(image_hwc), candidate_labels=self.labels):
            box = found["box"]
            yield (box["xmin"], box["ymin"], box["xmax"], box["ymax"]), found["label"], found["score"]
