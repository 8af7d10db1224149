"""Which network a set of weights is: told from names and shapes, for every released size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from masklet.errors import CheckpointError
from masklet.models.specs import LITE0, LITE1, LITE2, SPECS, WITHOUT_WEIGHTS, EfficientNetSpec, get_spec
from masklet.weights.checkpoints import _expected_shapes
from masklet.weights.loading import find_weights
from masklet.weights.recognise import check_keys, looks_like, recognise, traits_of_spec
from masklet.weights.registry import RELEASED, packaged_weights

PARITY = Path(__file__).parents[1] / "parity"
PUBLISHED = {
    get_spec(name).name: {key: tuple(shape) for key, shape in shapes.items()}
    for name, shapes in json.loads((PARITY / "state_dict_keys.json").read_text()).items()
}
TINY = PUBLISHED["sam2.1-tiny"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_released_sizes_are_recognised_and_fit(name: str) -> None:
    spec = recognise(PUBLISHED[name])
    assert spec is SPECS[name]
    check_keys(_expected_shapes(spec), PUBLISHED[name], name)
    assert sum(math.prod(shape) for shape in PUBLISHED[name].values()) == RELEASED[name].values


def test_all_released_sizes_are_covered() -> None:
    assert set(PUBLISHED) == set(RELEASED) == set(SPECS) - {"nano"}


def test_nano_is_recognised() -> None:
    with safe_open(packaged_weights("nano"), "numpy") as file:
        shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    spec = recognise(shapes)
    assert spec is SPECS["nano"]
    check_keys(_expected_shapes(spec), shapes, "nano")


@pytest.mark.parametrize("trunk", [LITE0, LITE1, LITE2])
def test_a_convolutional_trunk_is_recognised(trunk: EfficientNetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(get_spec("nano2"), name="cnn", trunk=trunk)
    monkeypatch.setitem(WITHOUT_WEIGHTS, "nano2", spec)
    shapes = _expected_shapes(spec)
    assert recognise(shapes) is spec
    stranger = {key: shape for key, shape in shapes.items() if ".blocks.15." not in key}
    with pytest.raises(CheckpointError, match="nearest is cnn, but it has blocks"):
        recognise(stranger)


def test_a_network_without_weights_is_loaded_from_a_file_only() -> None:
    with pytest.raises(CheckpointError, match=r"no weights of nano2.*--checkpoint"):
        find_weights("nano2")


def test_no_two_models_have_the_same_traits() -> None:
    known = (*SPECS.values(), *WITHOUT_WEIGHTS.values())
    assert len({tuple(traits_of_spec(spec).values()) for spec in known}) == len(known)


@settings(deadline=None, max_examples=60)
@given(key=st.sampled_from(sorted(TINY)))
def test_any_missing_key_is_named_or_makes_it_another_size(key: str) -> None:
    shapes = {name: shape for name, shape in TINY.items() if name != key}
    with pytest.raises(CheckpointError) as caught:
        check_keys(TINY, shapes, recognise(shapes).name)
    message = str(caught.value)
    assert key in message or "instead" in message


@settings(deadline=None, max_examples=60)
@given(key=st.sampled_from(sorted(TINY)), factor=st.integers(2, 3))
def test_any_other_shape_is_refused(key: str, factor: int) -> None:
    shapes = {**TINY, key: (TINY[key][0] * factor, *TINY[key][1:])}
    with pytest.raises(CheckpointError):
        check_keys(TINY, shapes, recognise(shapes).name)


def test_a_surplus_key_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"unexpected: lora\.down\.weight"):
        check_keys(TINY, {**TINY, "lora.down.weight": (4, 4)}, "sam2.1-tiny")


def test_only_the_first_few_of_many_keys_are_told() -> None:
    kept = {key: shape for key, shape in TINY.items() if not key.startswith("memory_attention.")}
    with pytest.raises(CheckpointError) as caught:
        check_keys(TINY, kept, "sam2.1-tiny")
    assert "and 103 more" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_unknown_size_tells_what_differs_from_the_nearest() -> None:
    shapes = {**TINY, "maskmem_tpos_enc": (15, 1, 1, 64)}
    with pytest.raises(CheckpointError, match=r"nearest is sam2\.1-tiny.*num_memories 15 instead of 7"):
        recognise(shapes)


FOREIGN = {
    "SAM 1": {"image_encoder.blocks.0.attn.rel_pos_h": (27, 64), "mask_decoder.iou_token.weight": (1, 256)},
    "MobileSAM": {"image_encoder.layers.0.blocks.0.conv1.c.weight": (256, 64, 1, 1)},
    "transformers": {"vision_encoder.backbone.blocks.0.attn.proj.weight": (96, 96)},
    "ResNet": {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 3, 3)},
    "YOLO": {"model.0.conv.weight": (16, 3, 3, 3)},
    "vision transformer": {"patch_embed.proj.weight": (96, 3, 7, 7), "blocks.0.attn.qkv.weight": (288, 96)},
    "language model": {"model.embed_tokens.weight": (32000, 4096)},
    "SAM 3": {"detector.backbone.vision.weight": (1,)},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_networks_are_called_by_their_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=name) as caught:
        recognise(FOREIGN[name])
    assert "image_encoder.trunk.patch_embed.proj.weight is missing" in str(caught.value)
    assert sorted(FOREIGN[name])[0] in str(caught.value)


def test_an_unheard_of_network() -> None:
    assert looks_like(["a", "b"]) is None
    with pytest.raises(CheckpointError, match="it isn't SAM 2"):
        recognise({"a": (1,), "b": (2,)})
    with pytest.raises(CheckpointError, match="no tensors"):
        recognise({})
