"""What happens between frames: prompts, memories, motion, policies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Loaded on first use: the declarations of policies need no PyTorch, nearly everything else does.
_LAZY = {
    "DAM4SAM": "tracking.policies",
    "DEFAULT_POLICY": "tracking.policies",
    "POLICIES": "tracking.policies",
    "Engine": "tracking.engine",
    "Explanation": "results",
    "FrameMasks": "results",
    "FrameSize": "tracking.track",
    "ObjectMask": "results",
    "Policy": "tracking.policies",
    "Prompt": "prompts",
    "Recency": "tracking.policies",
    "SAM2Long": "tracking.policies",
    "Samurai": "tracking.policies",
    "Scores": "results",
    "Session": "tracking.session",
    "VideoTracker": "tracking.tracker",
    "make_policy": "tracking.policies",
}

__all__ = [
    "DAM4SAM",
    "DEFAULT_POLICY",
    "POLICIES",
    "Engine",
    "Explanation",
    "FrameMasks",
    "FrameSize",
    "ObjectMask",
    "Policy",
    "Prompt",
    "Recency",
    "SAM2Long",
    "Samurai",
    "Scores",
    "Session",
    "VideoTracker",
    "make_policy",
]

if TYPE_CHECKING:
    from masklet.prompts import Prompt
    from masklet.results import Explanation, FrameMasks, ObjectMask, Scores
    from masklet.tracking.engine import Engine
    from masklet.tracking.policies import (
        DAM4SAM,
        DEFAULT_POLICY,
        POLICIES,
        Policy,
        Recency,
        SAM2Long,
        Samurai,
        make_policy,
    )
    from masklet.tracking.session import Session
    from masklet.tracking.track import FrameSize
    from masklet.tracking.tracker import VideoTracker


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"masklet.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'masklet.tracking' has no attribute {name!r}")
