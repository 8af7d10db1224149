"""What happens between frames: prompts, memories, motion, policies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Loaded on first use: the declarations of policies need no PyTorch, nearly everything else does.
_LAZY = {
    "DEFAULT_POLICY": "policies",
    "POLICIES": "policies",
    "Engine": "engine",
    "Explanation": "results",
    "FrameMasks": "results",
    "FrameSize": "engine",
    "ObjectMask": "results",
    "Policy": "policies",
    "Prompt": "prompts",
    "Recency": "policies",
    "Samurai": "policies",
    "Session": "session",
    "VideoTracker": "tracker",
    "make_policy": "policies",
}

__all__ = [
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
    "Samurai",
    "Session",
    "VideoTracker",
    "make_policy",
]

if TYPE_CHECKING:
    from masklet.tracking.engine import Engine, FrameSize
    from masklet.tracking.policies import DEFAULT_POLICY, POLICIES, Policy, Recency, Samurai, make_policy
    from masklet.tracking.prompts import Prompt
    from masklet.tracking.results import Explanation, FrameMasks, ObjectMask
    from masklet.tracking.session import Session
    from masklet.tracking.tracker import VideoTracker


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"masklet.tracking.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'masklet.tracking' has no attribute {name!r}")
