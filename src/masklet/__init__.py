"""masklet: cut any object out of any image or video."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public names and where they live. They load on first use, so that `import masklet` and `masklet --help` stay
# quick: PyTorch alone takes seconds.
_LAZY = {
    "AutomaticMaskGenerator": "masklet.predictors",
    "ImagePredictor": "masklet.predictors",
    "MaskletError": "masklet.errors",
    "Prompt": "masklet.prompts",
    "Session": "masklet.tracking.session",
    "VideoTracker": "masklet.tracking.tracker",
    "load_model": "masklet.weights.loading",
    "open_media": "masklet.media",
}

__all__ = [
    "AutomaticMaskGenerator",
    "ImagePredictor",
    "MaskletError",
    "Prompt",
    "Session",
    "VideoTracker",
    "__version__",
    "load_model",
    "open_media",
]

if TYPE_CHECKING:
    from masklet.errors import MaskletError
    from masklet.media import open_media
    from masklet.predictors import AutomaticMaskGenerator, ImagePredictor
    from masklet.prompts import Prompt
    from masklet.tracking.session import Session
    from masklet.tracking.tracker import VideoTracker
    from masklet.weights.loading import load_model


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'masklet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
