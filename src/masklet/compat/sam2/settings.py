"""What the official package's config names and Hydra overrides say, in masklet's words."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from masklet.errors import InputError, MaskletWarning
from masklet.models.specs import get_spec
from masklet.settings import Shape, known_shape
from masklet.tracking.policies import Samurai

#: The model of a call that names none.
DEFAULT_MODEL = "base_plus"

_CONFIG = re.compile(r"(sam2(?:\.1)?)_hiera_(t|s|b\+|l)")
_SIZES = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}


@dataclass
class Settings:
    """How a network is to be run.

    Attributes:
        policy: the name of one, or a policy object.
        policy_settings: settings of a policy given by name.
        image_size: side of the network's input, the longer one; None for the model's own.
        shape: ``square``, as the official package has it, or ``fit`` for the pictures' own proportions.
        stability_fallback, binarize_prompts: see :class:`masklet.tracking.engine.Engine`.
        non_overlap_masks: of several objects, a pixel belongs to the one of the highest logit.
    """

    policy: Any = "recency"
    policy_settings: dict[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    shape: Shape = "square"
    stability_fallback: bool = True
    binarize_prompts: bool = True
    non_overlap_masks: bool = False


def read_name(name: str | None) -> tuple[str | None, str]:
    """The model and the policy that a config file's name or a model type stands for.

    ``configs/sam2.1/sam2.1_hiera_t.yaml`` means SAM 2.1 tiny with plain recency, ``configs/samurai/…`` SAMURAI; so does
    a model type, ``tiny`` … ``large`` or ``nano``. None means the default model type; of a config by an unknown name,
    the model is None: the weights have to tell.

    Raises:
        InputError: no such model type.
    """
    if name is None:
        return get_spec(DEFAULT_MODEL).name, "samurai"
    text = str(name).replace("\\", "/")
    path = PurePosixPath(text)
    policy = "samurai" if "samurai" in text.lower() else "recency"
    config = _CONFIG.fullmatch(path.name.removesuffix(".yaml").removesuffix(".yml"))
    if config:
        return f"{config[1]}-{_SIZES[config[2]]}", policy
    if len(path.parts) > 1 or path.suffix in (".yaml", ".yml"):
        return None, policy
    return get_spec(text).name, "samurai"


def read_overrides(overrides: Iterable[str], settings: Settings) -> None:
    """Take over what Hydra overrides (``++model.image_size=512``) say; warn about those that masklet doesn't know."""
    for override in overrides:
        key, _, value = str(override).lstrip("+~").partition("=")
        key = key.removeprefix("model.")
        if key in Samurai.model_fields:
            settings.policy_settings[key] = _number(key, value)
        elif key in _SWITCHES:
            setattr(settings, _SWITCHES[key], _whether(key, value))
        elif key == "samurai_mode":
            settings.policy = "samurai" if _whether(key, value) else "recency"
        elif key == "image_size":
            settings.image_size = int(_number(key, value))
        elif key == "shape":
            settings.shape = known_shape(value)
        elif key == "max_cond_frames_in_attn":
            limit = int(_number(key, value))
            if limit > 0:
                settings.policy_settings["max_prompt_frames"] = limit
        elif key not in _IGNORED:
            warnings.warn(
                f"masklet has nothing for the override {override!r} and ignores it", MaskletWarning, stacklevel=4
            )


def _number(key: str, value: str) -> float:
    try:
        return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
    except ValueError as error:
        raise InputError(f"the override {key} needs a number, but got {value!r}") from error


def _whether(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"the override {key} is true or false, but got {value!r}")
    return value.lower() == "true"


_DECODER = "sam_mask_decoder_extra_args."
_SWITCHES = {
    "non_overlap_masks": "non_overlap_masks",
    "binarize_mask_from_pts_for_mem_enc": "binarize_prompts",
    f"{_DECODER}dynamic_multimask_via_stability": "stability_fallback",
}
#: What masklet does anyway, or what does not change a mask.
_IGNORED = {
    "_target_",
    "compile_image_encoder",
    "add_all_frames_to_correct_as_cond",
    "fill_hole_area",
    f"{_DECODER}dynamic_multimask_stability_delta",
    f"{_DECODER}dynamic_multimask_stability_thresh",
}
