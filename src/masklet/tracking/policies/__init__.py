"""Policies by name. A new one is a file of this folder, and a name in the line of `POLICIES`.

Nothing here needs PyTorch, so that help and settings pages can read the declarations at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from masklet.errors import InputError
from masklet.tracking.policies.base import Policy
from masklet.tracking.policies.dam4sam import DAM4SAM
from masklet.tracking.policies.recency import Recency
from masklet.tracking.policies.sam2long import SAM2Long
from masklet.tracking.policies.samurai import Samurai

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec

POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Samurai, Recency, DAM4SAM, SAM2Long)}
DEFAULT_POLICY = Samurai.name


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
    return kind(**{**kind.defaults(spec), **settings})
