"""TypeScript types of the studio's API out of its pydantic models, so that page and server can't drift apart.

`python -m tests.page.api_types` writes src/masklet/studio/page/api-types.d.ts; a test checks that it is up to date.
"""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter

from masklet.project import edits
from masklet.studio import schemas

PLACE = Path(__file__).parents[2] / "src" / "masklet" / "studio" / "page" / "api-types.d.ts"

_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def declarations() -> str:
    """The text of api-types.d.ts."""
    models = [
        model
        for _, model in inspect.getmembers(schemas, inspect.isclass)
        if (issubclass(model, BaseModel) and model.__module__ == schemas.__name__ and model is not schemas.Given)
        or (is_dataclass(model) and model.__module__.startswith("masklet."))
    ]
    models.sort(key=lambda model: (model.__module__ != schemas.__name__, inspect.getsourcelines(model)[1]))
    parts = ["// Made from src/masklet/studio/schemas.py by tests/page/api_types.py; don't edit.\n"]
    parts += [_interface(model) for model in models]
    kinds = get_args(get_args(edits.Edit)[0])
    parts += [_interface(model) for model in kinds]
    parts.append(f"export type Edit = {' | '.join(model.__name__ for model in kinds)};\n")
    return "\n".join(parts)


def _interface(model: type) -> str:
    given = issubclass(model, schemas.Given | edits.RangeEdit)
    schema = TypeAdapter(model).json_schema(mode="validation" if given else "serialization")
    required = set(schema.get("required", []))
    lines = [f"export interface {model.__name__} {{"]
    for name, field in schema.get("properties", {}).items():
        if "description" in field:
            lines.append(f"  /** {field['description']} */")
        optional = given and name not in required and "const" not in field
        lines.append(f"  {name}{'?' if optional else ''}: {_type(field)};")
    return "\n".join([*lines, "}\n"])


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[-1]
    if "const" in field:
        return _literal(field["const"])
    if "enum" in field:
        return " | ".join(_literal(value) for value in field["enum"])
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_type(choice) for choice in field["anyOf"]))
    kind = field.get("type")
    if kind == "array":
        if "prefixItems" in field:
            return f"[{', '.join(_type(item) for item in field['prefixItems'])}]"
        inner = _type(field.get("items", {}))
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if kind == "object":
        values = field.get("additionalProperties")
        return f"Record<string, {_type(values) if isinstance(values, dict) else 'any'}>"
    return _PLAIN.get(str(kind), "any")


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PLACE.write_text(declarations(), encoding="utf-8")
