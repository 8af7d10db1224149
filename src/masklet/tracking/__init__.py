"""What happens between frames: prompts, memories, motion, policies."""

from masklet.tracking.engine import Engine, FrameSize
from masklet.tracking.policies import POLICIES, Policy, Recency, Samurai, make_policy
from masklet.tracking.prompts import Prompt
from masklet.tracking.results import Explanation, FrameMasks, ObjectMask
from masklet.tracking.session import Session
from masklet.tracking.tracker import VideoTracker

__all__ = [
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
