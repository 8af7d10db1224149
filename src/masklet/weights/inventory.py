"""Which models there are, and which of their weights are here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

from masklet.models.specs import SPECS
from masklet.weights.cache import cache_state, cached_path, part_path
from masklet.weights.registry import RELEASED, packaged_weights


def weights_path(name: str) -> Path:
    """Where a model's weights lie, or will lie once they are fetched."""
    if name in RELEASED:
        return cached_path(RELEASED[name])
    return packaged_weights(name)


def describe(name: str) -> dict[str, Any]:
    """Name, path, number of parameters, bytes and state of a model's weights; of a released one also its address."""
    spec = SPECS[name]
    row: dict[str, Any] = {"name": name, "short": spec.aliases[0] if spec.aliases else name}
    row["path"] = str(weights_path(name))
    if name not in RELEASED:
        path = weights_path(name)
        return {**row, "parameters": _count_values(path), "bytes": path.stat().st_size, "state": "packaged"}
    released = RELEASED[name]
    state, size = cache_state(released), released.size
    if state in ("ready", "unchecked"):
        size = weights_path(name).stat().st_size
    elif state == "partial":
        row["fetched_bytes"] = part_path(released).stat().st_size
    row.update(url=released.url, sha256=released.sha256)
    return {**row, "parameters": released.values, "bytes": size, "state": state}


def _count_values(path: Path) -> int:
    with safe_open(path, "numpy") as file:  # reads the header only
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
