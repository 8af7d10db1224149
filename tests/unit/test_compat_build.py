"""Building by config names, model types and Hugging Face ids, and what can be done with a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masklet.compat import sam2
from masklet.compat.sam2 import SAM2ImagePredictor, build_sam2, build_sam2_video_predictor
from masklet.compat.sam2.build_sam import build_sam2_hf, build_sam2_video_predictor_hf
from masklet.compat.sam2.modeling.sam2_base import SAM2Base
from masklet.compat.sam2.settings import Settings, read_name, read_overrides
from masklet.errors import CheckpointError, DeviceError, InputError, MaskletWarning
from masklet.models.sam2 import SAM2
from masklet.models.specs import get_spec
from masklet.tracking.policies import Recency, Samurai
from masklet.weights.loading import load_model
from masklet.weights.registry import RELEASED, packaged_weights


@pytest.mark.parametrize(
    ("name", "model", "policy"),
    [
        ("configs/sam2/sam2_hiera_t.yaml", "sam2-tiny", "recency"),
        ("configs/sam2/sam2_hiera_b+.yaml", "sam2-base-plus", "recency"),
        ("configs/sam2.1/sam2.1_hiera_s.yaml", "sam2.1-small", "recency"),
        ("configs/sam2.1/sam2.1_hiera_l", "sam2.1-large", "recency"),
        ("configs/samurai/sam2.1_hiera_b+.yaml", "sam2.1-base-plus", "samurai"),
        ("configs\\samurai\\sam2.1_hiera_t.yaml", "sam2.1-tiny", "samurai"),
        ("//home/me/sam2/sam2/configs/sam2.1/sam2.1_hiera_l.yaml", "sam2.1-large", "recency"),
        ("sam2_hiera_l.yaml", "sam2-large", "recency"),
        ("configs/mine/finetuned.yaml", None, "recency"),
        ("configs/samurai/mine.yaml", None, "samurai"),
        ("mine.yaml", None, "recency"),
        (None, "sam2.1-base-plus", "samurai"),
        ("base_plus", "sam2.1-base-plus", "samurai"),
        ("tiny", "sam2.1-tiny", "samurai"),
        ("large", "sam2.1-large", "samurai"),
        ("nano", "nano", "samurai"),
        ("sam2_hiera_small", "sam2-small", "samurai"),
    ],
)
def test_names(name: str | None, model: str | None, policy: str) -> None:
    assert read_name(name) == (model, policy)


def test_unknown_model_types() -> None:
    with pytest.raises(InputError, match="tiny, small"):
        build_sam2_video_predictor("huge", device="cpu")


@pytest.mark.parametrize("model", RELEASED)
def test_hugging_face_ids(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each id stands for its model; nothing is fetched here."""
    version, size = model.split("-", 1)
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    for build in (build_sam2_hf, build_sam2_video_predictor_hf, SAM2ImagePredictor.from_pretrained):
        with pytest.raises(CheckpointError, match=model):
            build(f"facebook/{version}-hiera-{size}", device="cpu")
    with pytest.raises(InputError, match=r"facebook/sam2\.1-hiera-tiny"):
        build_sam2_hf("somebody/sam2", device="cpu")


def test_missing_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="--model nano"):
        build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", str(tmp_path / "none.pt"), device="cpu")


def test_weights_and_name_have_to_agree(tmp_path: Path) -> None:
    weights = packaged_weights("nano")
    official = tmp_path / "nano.pt"
    state = load_model("nano", device="cpu", dtype="float32").state_dict()
    torch.save({"model": state}, official)
    for build in (build_sam2, build_sam2_video_predictor):
        assert build("nano", str(official), "cpu").network.spec.name == "nano"
        assert build("configs/mine.yaml", weights, "cpu").network.spec.name == "nano"
        assert build(model_ckpt=official, device="cpu").network.spec.name == "nano"
        assert build(config_file="nano", ckpt_path=official, device=torch.device("cpu")).device.type == "cpu"
        assert build(model_type="nano", model_ckpt=None, device="cpu").network.spec.name == "nano"
        with pytest.raises(CheckpointError, match=r"holds nano, but sam2\.1-tiny"):
            build("configs/sam2.1/sam2.1_hiera_t.yaml", official, device="cpu")
        with pytest.raises(InputError, match="says nothing about the network"):
            build("configs/mine.yaml", device="cpu")
        with pytest.raises(InputError, match="two names"):
            build("nano", model_type="nano", device="cpu")


def test_policies() -> None:
    def policy(*args: Any, **kwargs: Any) -> Any:
        return build_sam2_video_predictor(*args, device="cpu", **kwargs).policy

    weights = packaged_weights("nano")
    samurai = Samurai(kf_score_weight=get_spec("nano").motion_weight)
    assert policy("nano") == samurai
    assert policy(model_type="nano", policy="recency") == Recency()
    assert policy("configs/samurai/mine.yaml", weights) == samurai
    assert policy("configs/sam2.1/mine.yaml", weights) == Recency()
    assert policy("configs/sam2.1/mine.yaml", weights, policy="samurai") == samurai
    assert policy("nano", kf_score_weight=0.4, stable_frames_threshold=3) == Samurai(
        kf_score_weight=0.4, stable_frames_threshold=3
    )
    own = Recency(max_prompt_frames=2)
    assert policy("nano", policy=own) is own
    with pytest.raises(InputError, match="no policy called"):
        policy("nano", policy="kalman")
    with pytest.raises(InputError, match="no samurai setting 'speed'"):
        policy("nano", speed=3)


def test_overrides() -> None:
    settings = Settings()
    read_overrides(
        [
            "++model.image_size=512",
            "++model.samurai_mode=true",
            "model.kf_score_weight=0.15",
            "++model.stable_frames_threshold=20",
            "+model.max_cond_frames_in_attn=4",
            "++model.non_overlap_masks=True",
            "++model.binarize_mask_from_pts_for_mem_enc=false",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=false",
            "++model.fill_hole_area=8",
            "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictorVOS",
        ],
        settings,
    )
    assert settings == Settings(
        policy="samurai",
        policy_settings={"kf_score_weight": 0.15, "stable_frames_threshold": 20, "max_prompt_frames": 4},
        image_size=512,
        stability_fallback=False,
        binarize_prompts=False,
        non_overlap_masks=True,
    )
    read_overrides(["++model.max_cond_frames_in_attn=-1"], fresh := Settings())
    assert fresh == Settings()
    with pytest.warns(MaskletWarning, match="memory_temporal_stride_for_eval"):
        read_overrides(["++model.memory_temporal_stride_for_eval=2"], Settings())
    for wrong in ("++model.image_size=large", "++model.samurai_mode=1", "++model.kf_score_weight="):
        with pytest.raises(InputError, match="override"):
            read_overrides([wrong], Settings())


def test_settings_reach_the_session(clip_256_frames: list[np.ndarray]) -> None:
    predictor = build_sam2_video_predictor(
        "nano",
        device="cpu",
        hydra_overrides_extra=["++model.image_size=128", "++model.kf_score_weight=0.5"],
        apply_postprocessing=False,
        vos_optimized=True,
    )
    engine = predictor.init_state(np.stack(clip_256_frames[:3])).session.engine
    assert engine.image_size == predictor.image_size == 128
    assert engine.policy == Samurai(kf_score_weight=0.5)
    assert not engine.stability_fallback
    assert not engine.binarize_prompts
    assert engine.max_pointers == 3, "a clip of three frames, as the official package treats it"
    with pytest.raises(InputError, match="multiple of 32"):
        build_sam2("nano", device="cpu", hydra_overrides_extra=["++model.image_size=100"])
    with pytest.raises(InputError, match="mode"):
        build_sam2("nano", device="cpu", mode="train")


# --- the network as an object --------------------------------------------------------------------------------------


def test_a_network_is_shared_and_looks_like_the_official_one() -> None:
    model = build_sam2("nano", device="cpu")
    assert model.network is load_model("nano", device="cpu", dtype="float32")
    assert build_sam2_video_predictor("nano", device="cpu").network is model.network
    assert model.image_size == 320
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.eval() is model.to("cpu") is model.float() is model.cpu() is model.train(False) is model
    assert sum(p.numel() for p in model.parameters()) > 4_000_000
    assert "no_mem_embed" in model.state_dict()
    assert model.image_encoder is model.network.image_encoder
    with pytest.raises(AttributeError, match="no_such_part"):
        model.no_such_part  # noqa: B018
    for train in (model.train, lambda: model.requires_grad_(True)):
        with pytest.raises(InputError, match=r"masklet\.training"):
            train()


def test_moving_a_network_leaves_the_others_alone() -> None:
    model, other = build_sam2("nano", device="cpu"), build_sam2("nano", device="cpu")
    assert model.to(torch.bfloat16) is model
    assert (model.dtype, other.dtype) == (torch.bfloat16, torch.float32)
    assert model.bfloat16().network is load_model("nano", device="cpu", dtype="bfloat16")
    assert model.to("cpu", torch.float32).network is other.network
    assert model.to(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert model.to(device="cpu", dtype=torch.float32).dtype == torch.float32
    with pytest.raises(DeviceError, match="float16"):
        model.half()
    with pytest.raises(DeviceError, match="there is no device"):
        model.to("toaster")


def test_loading_other_weights_leaves_the_others_alone() -> None:
    model, other = build_sam2("nano", device="cpu"), build_sam2("nano", device="cpu")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["no_mem_embed"] += 1
    model.load_state_dict(state)
    assert torch.equal(model.no_mem_embed, other.no_mem_embed + 1)
    assert model.network is not other.network
    kept = model.network
    assert model.to(torch.float32).network is kept
    assert not any(parameter.requires_grad for parameter in kept.parameters())
    with pytest.raises(CheckpointError, match="don't fit nano"):
        model.load_state_dict({"other": torch.zeros(1)})
    assert model.network is kept


def test_predictors_take_networks_of_either_kind() -> None:
    network = load_model("nano", device="cpu", dtype="float32")
    assert SAM2ImagePredictor(network).model.network is network
    assert SAM2ImagePredictor(build_sam2("nano", device="cpu")).model.network is network
    with pytest.raises(InputError, match="build_sam2"):
        SAM2ImagePredictor("nano")  # type: ignore[arg-type]


def test_names_are_where_the_official_package_has_them() -> None:
    from masklet.compat.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    from masklet.compat.sam2.sam2_image_predictor import SAM2ImagePredictor as ImagePredictor
    from masklet.compat.sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

    assert sam2.SAM2ImagePredictor is ImagePredictor
    assert sam2.SAM2VideoPredictor is SAM2VideoPredictor
    assert sam2.SAM2AutomaticMaskGenerator is SAM2AutomaticMaskGenerator
    assert issubclass(SAM2VideoPredictorVOS, SAM2VideoPredictor)
    assert issubclass(SAM2VideoPredictor, SAM2Base)
    assert isinstance(build_sam2("nano", device="cpu").network, SAM2)
