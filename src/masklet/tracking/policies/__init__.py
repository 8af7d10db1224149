"""Policies by name."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from masklet.errors import InputError
from masklet.models.specs import ModelSpec
from masklet.tracking.policies.base import Choice, MotionState, Policy, Selection
from masklet.tracking.policies.recency import Recency
from masklet.tracking.policies.samurai import Samurai

POLICIES: dict[str, type] = {"samurai": Samurai, "recency": Recency}

# Least and greatest sensible value of each setting; logits have none.
_RANGES: dict[str, tuple[float, float]] = {
    "kf_score_weight": (0, 1),
    "stable_frames_threshold": (1, math.inf),
    "stable_ious_threshold": (0, 1),
    "min_obj_score_logits": (-math.inf, math.inf),
    "memory_bank_iou_threshold": (0, 1),
    "memory_bank_obj_score_threshold": (-math.inf, math.inf),
    "memory_bank_kf_score_threshold": (0, 1),
    "max_prompt_frames": (1, math.inf),
}
_COUNTS = ("stable_frames_threshold", "max_prompt_frames")


def make_policy(policy: str | Policy, spec: ModelSpec, **settings: Any) -> Policy:
    """Make a policy by name with the defaults that fit the model; a ready one is returned as it is.

    Raises:
        InputError: no policy of this name, a setting that it does not have, or a value that the setting can't have.
    """
    if not isinstance(policy, str):
        if settings:
            raise InputError("policy settings go with a policy's name; a ready policy has its own")
        return policy
    if policy not in POLICIES:
        raise InputError(f"there is no policy called {policy!r}; choose one of: {', '.join(POLICIES)}")
    kind = POLICIES[policy]
    known = [field.name for field in fields(kind) if field.name != "name"]
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"the policy {policy!r} has no setting {name!r}; it has: {', '.join(known)}")
        _check(name, value)
    if kind is Samurai:
        settings.setdefault("kf_score_weight", spec.motion_weight)
    return kind(**settings)


def _check(name: str, value: Any) -> None:
    if name == "max_prompt_frames" and value is None:
        return
    number = int if name in _COUNTS else (int, float)
    if isinstance(value, bool) or not isinstance(value, number) or math.isnan(value):
        kind = "a whole number" if name in _COUNTS else "a number"
        raise InputError(f"the policy setting {name} is {kind}, not {value!r}")
    least, greatest = _RANGES[name]
    if not least <= value <= greatest:
        bounds = f"from {least} to {greatest}" if greatest < math.inf else f"{least} or more"
        raise InputError(f"the policy setting {name} is {value}; it has to be {bounds}")


__all__ = ["POLICIES", "Choice", "MotionState", "Policy", "Recency", "Samurai", "Selection", "make_policy"]
