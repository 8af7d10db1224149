"""Tells which network a set of weights belongs to, from the names and shapes of its tensors alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from masklet.errors import CheckpointError
from masklet.models.specs import SPECS, WITHOUT_WEIGHTS, ModelSpec

Shapes = Mapping[str, tuple[int, ...]]

_TRUNK = "image_encoder.trunk."
#: The weights that each kind of trunk begins with.
_FIRST = {"patch_embed.proj.weight": "Hiera", "stem.weight": "EfficientNet"}
_LATERAL = "image_encoder.neck.convs.{}.conv.weight"
_BLOCK = re.compile(re.escape(_TRUNK) + r"blocks\.(\d+)\.")

# Keys that give other people's networks away, the more special ones first.
_FOREIGN = (
    (
        r"^vision_encoder\.backbone\.|^shared_image_embedding\.",
        "SAM 2 in the key names of the transformers library",
    ),
    (r"^(detector|tracker)\.", "SAM 3"),
    (r"^image_encoder\.blocks\.\d+\.attn\.rel_pos_h$", "the first Segment Anything (SAM 1)"),
    (r"^image_encoder\.(layers|stages)\.\d+\.", "MobileSAM or another small relative of SAM 1"),
    (r"^image_encoder\.(trunk|neck)\.", "a changed SAM 2"),
    (r"^(mask_decoder|prompt_encoder)\.", "SAM 1 or a relative of it"),
    (r"^(student|teacher|backbone)\.", "the trainer's state of another network"),
    (r"^blocks\.\d+\.(attn|norm1)", "a plain vision transformer (ViT, DINO or Hiera)"),
    (r"^layer[1-4]\.\d+\.conv\d", "a ResNet"),
    (r"^model\.\d+\.(conv|cv\d|m)\.", "a YOLO detector"),
    (r"^(model\.)?(layers|h)\.\d+\.|embed_tokens", "a language model"),
)


Traits = dict[str, Any]
"""What the shapes say about a SAM 2 network. Together these tell all known sizes apart."""


def traits_of_spec(spec: ModelSpec) -> Traits:
    """What the shapes of this network's weights will say."""
    own = ("width", "memory_width", "num_memories", "occlusion_memory", "pointer_time", "mixing")
    return {
        "trunk": type(spec.trunk).__name__.removesuffix("Spec"),
        "trunk_widths": spec.trunk.widths,
        "blocks": spec.trunk.blocks,
        **{name: getattr(spec, name) for name in own},
    }


def traits_of_shapes(shapes: Shapes) -> Traits | None:
    """Read the traits off a state dict; None where it isn't SAM 2 at all."""
    trunk = next((name for key, name in _FIRST.items() if len(shapes.get(_TRUNK + key, ())) == 4), None)
    memory = shapes.get("maskmem_tpos_enc", ())
    pointer = shapes.get("no_obj_ptr", ())
    if trunk is None or len(memory) != 4 or len(pointer) != 2:
        return None
    laterals = (shapes.get(_LATERAL.format(3 - i), ()) for i in range(4))
    return {
        "trunk": trunk,
        "trunk_widths": tuple(shape[1] for shape in laterals if len(shape) == 4),
        "blocks": len({int(match[1]) for key in shapes if (match := _BLOCK.match(key))}),
        "width": pointer[-1],
        "memory_width": memory[-1],
        "num_memories": memory[0],
        "occlusion_memory": "no_obj_embed_spatial" in shapes,
        "pointer_time": any(key.startswith("obj_ptr_tpos_proj.") for key in shapes),
        "mixing": any(key.startswith("image_encoder.neck.mixer.") for key in shapes),
    }


def recognise(shapes: Shapes) -> ModelSpec:
    """Return the spec of the network that tensors of these names and shapes belong to.

    Raises `CheckpointError`: not SAM 2 (the message says what it looks like instead), or a SAM 2 of no known
    size (the message says what differs from the nearest one).
    """
    traits = traits_of_shapes(shapes)
    if traits is None:
        raise CheckpointError(_not_sam2(shapes))
    differences: dict[str, list[str]] = {}
    for spec in (*SPECS.values(), *WITHOUT_WEIGHTS.values()):
        theirs = traits_of_spec(spec)
        differing = [
            f"{name} {mine!r} instead of {theirs[name]!r}" for name, mine in traits.items() if mine != theirs[name]
        ]
        if not differing:
            return spec
        differences[spec.name] = differing
    nearest = min(differences, key=lambda name: len(differences[name]))
    raise CheckpointError(
        f"it is a SAM 2 of a size that masklet doesn't know; nearest is {nearest}, but it has "
        f"{', '.join(differences[nearest])}"
    )


def looks_like(keys: Collection[str]) -> str | None:
    """Name the network that these keys remind of, or None."""
    for pattern, name in _FOREIGN:
        compiled = re.compile(pattern)
        if any(compiled.search(key) for key in keys):
            return name
    return None


def some(keys: Collection[str], at_most: int = 3) -> str:
    """The first few of many keys, for an error message."""
    ordered = sorted(keys)
    more = f" and {len(ordered) - at_most} more" if len(ordered) > at_most else ""
    return ", ".join(ordered[:at_most]) + more


def _not_sam2(shapes: Shapes) -> str:
    if not shapes:
        return "it holds no tensors"
    guess = looks_like(shapes.keys())
    seems = f"it looks like {guess}, not like SAM 2" if guess else "it isn't SAM 2"
    wanted = _TRUNK + "patch_embed.proj.weight"
    missing = "with another shape" if wanted in shapes else "missing"
    return f"{seems}: {wanted} is {missing}, there is {some(shapes.keys())} instead"


def check_keys(expected: Shapes, found: Shapes, name: str) -> None:
    """Raise `CheckpointError` unless both have the same names and shapes; the message tells the first few of
    each kind.
    """
    missing = expected.keys() - found.keys()
    unexpected = found.keys() - expected.keys()
    misshapen = {
        f"{key} {list(found[key])} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in found and tuple(found[key]) != tuple(shape)
    }
    problems = [
        f"{title}: {some(keys)}"
        for title, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if keys
    ]
    if problems:
        raise CheckpointError(f"it looks like {name}, but doesn't fit it; {'; '.join(problems)}")
