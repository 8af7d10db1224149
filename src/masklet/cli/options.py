"""Options that several commands share, each said once; and groups of them that a command takes as one parameter."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from masklet.errors import InputError
from masklet.masks.settings import MaskSettings
from masklet.settings import DEFAULT_MODEL, CheckedSettings
from masklet.tracking.policies import DEFAULT_POLICY, POLICIES

if TYPE_CHECKING:
    from masklet.runs.prompt_text import PromptText

# Options under a heading of the help each.
of_object = partial(typer.Option, rich_help_panel="Which object")
of_place = partial(typer.Option, rich_help_panel="Where in the video")
of_model = partial(typer.Option, rich_help_panel="Model")
of_policy = partial(typer.Option, rich_help_panel=f"Settings of the policy {DEFAULT_POLICY}")
of_looks = partial(typer.Option, rich_help_panel="How it looks")
of_many = partial(typer.Option, rich_help_panel="Objects of other tools and detectors")
of_files = partial(typer.Option, rich_help_panel="Files")

_POLICIES = "; ".join(f"{name} {kind.description}" for name, kind in POLICIES.items())
_OTHERS = "; ".join(
    f"{name} has {', '.join(kind.model_fields)}" for name, kind in POLICIES.items() if name != DEFAULT_POLICY
)

ProjectFile = Annotated[Path, typer.Argument(metavar="PROJECT", help="A clip.masklet.")]
Source = Annotated[Path | None, typer.Option("--source", metavar="FILE", help="Where the video is now, if it moved.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Overwrite = Annotated[bool, of_files("--overwrite", help="Replace files that exist.")]

OneObject = Annotated[str | None, of_object("--object", metavar="NAME|ID", help="Needed where there are several.")]

POSITION = "N|TIME"
Start = Annotated[str | None, of_place(metavar=POSITION, help="First frame.", show_default="the first")]
End = Annotated[str | None, of_place(metavar=POSITION, help="Last frame.", show_default="the last")]

ModelName = Annotated[
    str | None,
    of_model(help="nano, tiny, small, base_plus, large; sam2-tiny … for SAM 2.0.", show_default=DEFAULT_MODEL),
]
Checkpoint = Annotated[Path | None, of_model(metavar="FILE", help="Weights of your own; their size is recognised.")]
Resolution = Annotated[
    int | None,
    of_model(
        metavar="PIXELS",
        help="Side of what the model sees (the longer one): less is quicker and coarser.",
        show_default="the model's own",
    ),
]
InputShape = Annotated[
    str | None,
    of_model(
        "--shape",
        help="square: as the weights were trained; fit: the frames' own proportions, which is quicker.",
        show_default="square",
    ),
]
Zoom = Annotated[
    bool | None,
    of_model(
        "--zoom/--no-zoom",
        help="Look at small objects through a window around them, in all the detail the video has.",
        show_default="no",
    ),
]
Device = Annotated[str | None, of_model(help="cpu, cuda, cuda:1, mps.", show_default="the best there is")]
Dtype = Annotated[str | None, of_model(help="float32, bfloat16, float16.", show_default="what suits the device")]
PolicyName = Annotated[
    str | None, of_model(help=f"Chooses masks and memories: {_POLICIES}.", show_default=DEFAULT_POLICY)
]
PolicyOption = Annotated[
    list[str] | None,
    of_model(
        metavar="NAME=VALUE",
        help=f"A setting of the policy; may be repeated. `masklet track --help` shows those of {DEFAULT_POLICY}; "
        f"{_OTHERS}.",
    ),
]


class Group:
    """Options that belong together. A subclass is a dataclass: every field is an option."""

    @classmethod
    def options(cls) -> dict[str, tuple[Any, Any]]:
        """What typer is to make of every option by name: (annotation, default)."""
        hints = get_type_hints(cls, include_extras=True)
        required = inspect.Parameter.empty
        return {
            field.name: (hints[field.name], required if field.default is MISSING else field.default)
            for field in fields(cls)  # type: ignore[arg-type]
        }


@dataclass(frozen=True)
class Prompts(Group):
    """Clicks, boxes and masks of any number of objects."""

    point: Annotated[
        list[str] | None, of_object(metavar="X,Y", help="A point on the object, in pixels. May be repeated.")
    ] = None
    negative: Annotated[list[str] | None, of_object(metavar="X,Y", help="A point that is not on the object.")] = None
    box: Annotated[
        list[str] | None, of_object(metavar="X1,Y1,X2,Y2", help="A box around it: left, top, right, bottom.")
    ] = None
    mask: Annotated[list[str] | None, of_object(metavar="FILE", help="A picture of its mask, white on black.")] = None

    def read(self) -> list[PromptText]:
        """Raises PromptError for what can't be read."""
        from masklet.runs.prompt_text import parse_box, parse_mask, parse_point

        return [
            *map(parse_point, self.point or ()),
            *(parse_point(text, positive=False) for text in self.negative or ()),
            *map(parse_box, self.box or ()),
            *map(parse_mask, self.mask or ()),
        ]


@dataclass(frozen=True)
class Many(Group):
    """Objects that nobody clicks: boxes of a file, and what a detector finds; and shots."""

    prompts: Annotated[
        Path | None,
        of_many(
            metavar="FILE",
            help="Boxes of COCO, YOLO (folder), MOTChallenge, Label Studio, CVAT; or masklet's prompts. The first box "
            "of each object is its prompt.",
        ),
    ] = None
    prompt_every: Annotated[int | None, of_many(metavar="N", help="A prompt every N frames for each object.")] = None
    prompts_first: Annotated[
        int | None,
        of_many(metavar="N", help="What number FILE gives the first frame.", show_default="1 for MOT, else 0"),
    ] = None
    detector: Annotated[
        str | None,
        of_many(metavar="NAME", help='package.module:function, an installed one, or text:"a red car".'),
    ] = None
    detect_every: Annotated[str, of_many(metavar="TIME", help="How often it looks: 2s, or a number of frames.")] = "2s"
    min_score: Annotated[float, of_many(metavar="N", help="Leave out boxes of a lower score.")] = 0.3
    max_objects: Annotated[int, of_many(metavar="N", help="Most objects that a detector may bring.")] = 20
    split: Annotated[
        str | None, of_many(metavar="shots", help="Track each shot of the video that has a prompt on its own.")
    ] = None


@dataclass(frozen=True)
class Network(Group):
    """Which network, and how it is run."""

    model: ModelName = None
    checkpoint: Checkpoint = None
    resolution: Resolution = None
    shape: InputShape = None
    device: Device = None
    dtype: Dtype = None


class MaskLooks(Group):
    """How masks are finished: every mask setting is an option, made from its declaration."""

    def __init__(self, **given: Any) -> None:
        self.finish = {name: value for name, value in given.items() if value is not None}

    @classmethod
    def options(cls) -> dict[str, tuple[Any, Any]]:
        return _declared(MaskSettings, of_looks)


class PolicyOptions(Group):
    """The policy and its settings. Those of the usual policy have options of their own, made from their declaration."""

    def __init__(self, policy: str | None, policy_option: list[str] | None, **own: Any) -> None:
        self.policy = policy
        self.policy_settings = {name: value for name, value in own.items() if value is not None}
        self.policy_settings |= read_settings(policy_option, "--policy-option")

    @classmethod
    def options(cls) -> dict[str, tuple[Any, Any]]:
        own = _declared(POLICIES[DEFAULT_POLICY], of_policy, defaults=True)
        return {"policy": (PolicyName, None), "policy_option": (PolicyOption, None), **own}


def _declared(kind: type[CheckedSettings], option: Callable[..., Any], defaults: bool = False) -> dict[str, Any]:
    """An option for every setting that a class declares."""
    found = {}
    for name, declared in kind.declared().items():
        default, flag = declared["default"], declared.get("type") == "boolean"
        shown = f"{default:g}" if defaults and default is not None else False
        made = option(metavar=None if flag else "N", help=declared["description"], show_default=shown)
        annotation: Any = kind.model_fields[name].annotation
        found[name] = (Annotated[annotation | None, made], None)
    return found


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Lets a command take groups: typer sees their options, the command gets the groups made of them."""
    hints = get_type_hints(command, include_extras=True)
    seen: list[inspect.Parameter] = []
    groups: dict[str, type[Group]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if inspect.isclass(hints[name]) and issubclass(hints[name], Group):
            groups[name] = hints[name]
            for option, (annotation, default) in hints[name].options().items():
                seen.append(inspect.Parameter(option, parameter.KEYWORD_ONLY, default=default, annotation=annotation))
        else:
            seen.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(command)
    def run(**given: Any) -> None:
        made = {name: group(**{key: given.pop(key) for key in group.options()}) for name, group in groups.items()}
        command(**given, **made)

    run.__signature__ = inspect.Signature(seen)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in seen}
    return run


def read_pairs(texts: Iterable[str] | None, where: str) -> dict[str, str]:
    """NAME=VALUE texts of an option as a dict. Raises InputError."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{where} takes NAME=VALUE, not {text!r}.")
        found[name.strip().replace("-", "_")] = value
    return found


def read_settings(texts: Iterable[str] | None, where: str) -> dict[str, Any]:
    """The same with numbers, true, false and null read as such."""
    found: dict[str, Any] = {}
    for name, value in read_pairs(texts, where).items():
        try:
            found[name] = json.loads(value.lower())
        except ValueError:
            found[name] = value
    return found
