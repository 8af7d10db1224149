"""The official package's builders: ``config_file`` names and Hugging Face ids mean masklet's models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from masklet.compat.sam2.modeling.sam2_base import SAM2Base
from masklet.compat.sam2.sam2_video_predictor import SAM2VideoPredictor
from masklet.compat.sam2.settings import Settings, read_name, read_overrides
from masklet.errors import InputError
from masklet.models.specs import get_spec
from masklet.tracking.policies import Policy

_HUGGING_FACE = "facebook/"


def build_sam2(
    config_file: str | None = None,
    ckpt_path: str | Path | None = None,
    device: str | torch.device | None = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
    **options: Any,
) -> SAM2Base:
    """A network for :class:`SAM2ImagePredictor` and :class:`SAM2AutomaticMaskGenerator`.

    Args:
        config_file: an official config's name, of which the size is read, or a model type: ``tiny``, ``small``,
            ``base_plus`` (default), ``large``, ``nano`` …
        ckpt_path: weights file; without one, the released weights, from the cache or downloaded.
        device: where to run; without CUDA, ``cuda`` falls back to the CPU with a warning. None picks the best there is.
        mode: ``eval``.
        hydra_overrides_extra: ``++model.image_size=512`` and what else docs/compat.md lists; a warning for others.
        apply_postprocessing: a single mask whose outline is unsure gives way to the best of three.
        options: what masklet adds by name: ``model_type`` and ``model_ckpt``, other names of the first two; ``dtype``,
            ``float32`` as in the official package (which autocast changes), ``bfloat16``, or None for the fastest;
            ``policy`` and its settings, see :func:`build_sam2_video_predictor`.

    Raises:
        InputError: an unknown model type or setting.
        CheckpointError: the weights are missing, damaged, or of another size.
    """
    overrides = hydra_overrides_extra
    return _build(SAM2Base, config_file, ckpt_path, device, mode, overrides, apply_postprocessing, **options)


def build_sam2_video_predictor(
    config_file: str | None = None,
    ckpt_path: str | Path | None = None,
    device: str | torch.device | None = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Iterable[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    **options: Any,
) -> SAM2VideoPredictor:
    """A video predictor, by config name or by model type.

    Args:
        vos_optimized: nothing to do: masklet compiles nothing.
        options: as for :func:`build_sam2`. ``policy`` is the name of one (``recency`` is plain SAM 2; see
            docs/policies.md), or a policy object. By default a model type tracks with SAMURAI, ``configs/samurai/…``
            too, and other configs with recency.
            Settings of a policy given by name go along: ``kf_score_weight=0.15`` …

    The other arguments, and what is raised, are those of :func:`build_sam2`; ``apply_postprocessing`` also makes the
    masks of clicks enter memory as drawn.
    """
    overrides = hydra_overrides_extra
    return _build(SAM2VideoPredictor, config_file, ckpt_path, device, mode, overrides, apply_postprocessing, **options)


def build_sam2_hf(model_id: str, **kwargs: Any) -> SAM2Base:
    """The network of a Hugging Face id such as ``facebook/sam2.1-hiera-tiny``.

    The weights are those that Meta publishes; they come from masklet's cache or are downloaded from Meta, and Hugging
    Face isn't asked. Other arguments as for :func:`build_sam2`.
    """
    return build_sam2(_named_by(model_id), **kwargs)


def build_sam2_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
    """The video predictor of a Hugging Face id, with plain recency; see :func:`build_sam2_hf`."""
    return build_sam2_video_predictor(_named_by(model_id), **{"policy": "recency", **kwargs})


def _build(
    kind: type[SAM2Base],
    config: str | None,
    ckpt: str | Path | None,
    device: str | torch.device | None,
    mode: str,
    overrides: Iterable[str],
    postprocessing: bool,
    *,
    model_type: str | None = None,
    model_ckpt: str | Path | None = None,
    dtype: str | torch.dtype | None = "float32",
    policy: str | Policy | None = None,
    **policy_settings: Any,
) -> Any:
    name = _one_of("config_file", config, "model_type", model_type)
    checkpoint = _one_of("ckpt_path", ckpt, "model_ckpt", model_ckpt)
    if mode != "eval":
        raise InputError(f"mode is 'eval', not {mode!r}: masklet.compat.sam2 is for inference")
    model, usual_policy = read_name(name)
    settings = Settings(usual_policy, stability_fallback=postprocessing, binarize_prompts=postprocessing)
    read_overrides(overrides, settings)
    if policy is not None:
        settings.policy = policy
    settings.policy_settings.update(policy_settings)
    # Nobody asked for the default model in so many words: a file may hold another.
    wanted = None if name is None and checkpoint is not None else model
    return kind.load(wanted, checkpoint, settings, device=device, dtype=dtype)


def _one_of(first_name: str, first: Any, second_name: str, second: Any) -> Any:
    if first is not None and second is not None:
        raise InputError(f"{first_name} and {second_name} are two names of one thing: give only one of them")
    return second if first is None else first


def _named_by(model_id: str) -> str:
    name = str(model_id)
    if not name.startswith(_HUGGING_FACE):
        raise InputError(f"there is no model {model_id!r}: ids look like facebook/sam2.1-hiera-tiny")
    return get_spec(name.removeprefix(_HUGGING_FACE)).name
