"""Policies by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from masklet.errors import InputError
from masklet.models.specs import ModelSpec
from masklet.tracking.policies.base import Choice, MotionState, Policy, Selection
from masklet.tracking.policies.recency import Recency
from masklet.tracking.policies.samurai import Samurai

POLICIES: dict[str, type] = {"samurai": Samurai, "recency": Recency}


def make_policy(policy: str | Policy, spec: ModelSpec, **settings: Any) -> Policy:
    """Make a policy by name with the defaults that fit the model; a ready one is returned as it is.

    Raises:
        InputError: no policy of this name, or a setting that it does not have.
    """
    if not isinstance(policy, str):
        if settings:
            raise InputError("policy settings go with a policy's name; a ready policy has its own")
        return policy
    if policy not in POLICIES:
        raise InputError(f"there is no policy called {policy!r}; choose one of: {', '.join(POLICIES)}")
    kind = POLICIES[policy]
    known = [field.name for field in fields(kind) if field.name != "name"]
    for name in settings:
        if name not in known:
            raise InputError(f"the policy {policy!r} has no setting {name!r}; it has: {', '.join(known)}")
    if kind is Samurai:
        settings.setdefault("kf_score_weight", spec.motion_weight)
    return kind(**settings)


__all__ = ["POLICIES", "Choice", "MotionState", "Policy", "Recency", "Samurai", "Selection", "make_policy"]
