"""Classes and attributes of objects, for data sets that have such things."""

from __future__ import annotations

from collections.abc import Sequence

from masklet.project.records import Attribute, ProjectObject


def by_class(objects: Sequence[ProjectObject]) -> dict[str, list[ProjectObject]]:
    """Objects by class, in the order of the first of each; one without a class has its name for it."""
    found: dict[str, list[ProjectObject]] = {}
    for chosen in objects:
        found.setdefault(chosen.label, []).append(chosen)
    return found


def attribute_values(objects: Sequence[ProjectObject]) -> dict[str, list[str]]:
    """The attributes that objects have, each with the values that it takes, as texts."""
    found: dict[str, dict[str, None]] = {}
    for chosen in objects:
        for name, value in chosen.attributes.items():
            found.setdefault(name, {})[attribute_text(value)] = None
    return {name: list(values) for name, values in found.items()}


def attribute_text(value: Attribute) -> str:
    """An attribute's value as data sets write it: true and false in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)
