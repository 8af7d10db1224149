"""Settings that are declared once: a name, a type with its range, a default, a label and a sentence for people.

The JSON schema of such a class is what the command line, the API, the studio's forms and the docs are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from masklet.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Side of the network's square input in pixels: least, most, and what it has to be a multiple of.
RESOLUTION_MIN, RESOLUTION_MAX, RESOLUTION_STEP = 64, 4096, 32
Resolution = Annotated[int, Field(ge=RESOLUTION_MIN, le=RESOLUTION_MAX)]
#: Mask logit where the object is not: in frames in which it isn't visible, and where nobody looked for it.
ABSENT = -1024.0
#: The network where none is named: the one that comes with the package.
DEFAULT_MODEL = "nano"

#: How a picture goes into the network: stretched into a square, or in its own proportions (docs/shapes.md).
Shape = Literal["square", "fit"]
SHAPES: tuple[Shape, ...] = ("square", "fit")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

N = TypeVar("N", int, float)


def _rising(pair: tuple[N, N]) -> tuple[N, N]:
    if pair[0] > pair[1]:
        raise ValueError
    return pair


#: The least and the most of something.
Span = Annotated[tuple[N, N], AfterValidator(_rising)]

_KINDS = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "a text"}


def setting(default: Any, label: str, help: str, **limits: Any) -> Any:
    """A field of `CheckedSettings`, with a label for forms, a sentence about it, and limits (`ge`, `le`)."""
    return Field(default, title=label, description=help, **limits)


class CheckedSettings(BaseModel):
    """Settings that don't change; numbers are finite. A subclass says in `noun` what it calls one of them.

    Raises InputError for an unknown name or a value that can't be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as problem:
            name = str(problem.errors()[0]["loc"][0])
            declared = self.declared()
            if name not in declared:
                raise InputError(f"There is no {self.noun()} {name!r}. There are: {', '.join(declared)}.") from None
            allowed = in_words(declared[name])
            raise InputError(f"The {self.noun()} {name} must be {allowed}, not {values[name]!r}.") from None

    def changed(self, **changes: Any) -> Self:
        """A copy with some settings changed. Raises InputError as the class does."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def noun(cls) -> str:
        return "setting"

    @classmethod
    def declared(cls) -> dict[str, dict[str, Any]]:
        """JSON schema of every setting by name: type, range, `default`, `title` (a label), `description`."""
        properties: dict[str, dict[str, Any]] = cls.model_json_schema()["properties"]
        return properties


def in_words(schema: Mapping[str, Any]) -> str:
    """What a value of this JSON schema may be: `a number from 0 to 1`, `a whole number, 1 or more, or none`."""
    if "anyOf" in schema:
        return ", or ".join("none" if part["type"] == "null" else in_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if schema["type"] == "array":
        return f"a pair of the least and the most, each {in_words(schema['prefixItems'][0])}"
    kind, low, high = _KINDS[schema["type"]], schema.get("minimum"), schema.get("maximum")
    if "exclusiveMaximum" in schema:
        return f"{kind} from {low:g} to below {schema['exclusiveMaximum']:g}"
    if high is not None:
        return f"{kind} from {low:g} to {high:g}"
    return kind if low is None else f"{kind}, {low:g} or more"


def check_shape(name: str, zoom: bool = False) -> Shape:
    """The shape of this name, which goes with looking through windows or not. Raises InputError."""
    shape = known_shape(name)
    if zoom and shape != "square":
        raise InputError("zoom looks through square windows, so it needs the shape square")
    return shape


def known_shape(name: str) -> Shape:
    """The shape of this name. Raises InputError."""
    for shape in SHAPES:
        if name == shape:
            return shape
    raise InputError(f"there is no shape {name!r}; choose one of: {', '.join(SHAPES)}")
