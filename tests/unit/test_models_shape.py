"""Pictures in their own proportions: where they lie in the network's input, and that networks work there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from masklet import ImagePredictor, Session, VideoTracker, load_model, open_media
from masklet.cli import app
from masklet.errors import InputError
from masklet.masks.boxes import mask_to_box
from masklet.masks.distance import deepest_point
from masklet.media import read_mask, write_image
from masklet.models.pixels import frame_to_input, image_to_input
from masklet.models.prompt_encoder import input_points
from masklet.models.shape import LOW_RES, InputShape, input_shape
from masklet.models.specs import get_spec
from masklet.predictors.automatic import AutomaticMaskGenerator
from masklet.project import Project
from masklet.prompts import Prompt
from masklet.settings import RESOLUTION_STEP, SHAPES

sides = st.integers(2, 30).map(lambda steps: steps * RESOLUTION_STEP)
lengths = st.integers(1, 5000)


@given(side=sides, width=lengths, height=lengths)
def test_a_picture_fits_and_keeps_its_proportions(side: int, width: int, height: int) -> None:
    shape = input_shape("fit", side, width, height)
    assert max(shape.height, shape.width) == side == max(shape.inner)
    assert shape.height % RESOLUTION_STEP == shape.width % RESOLUTION_STEP == 0
    assert 0 <= shape.height - shape.inner_height < RESOLUTION_STEP
    assert 0 <= shape.width - shape.inner_width < RESOLUTION_STEP
    assert shape.low_res == (shape.inner_height // LOW_RES, shape.inner_width // LOW_RES)
    exact = side * min(width, height) / max(width, height)
    assert abs(min(shape.inner) - exact) <= LOW_RES / 2 or min(shape.inner) == LOW_RES


@given(side=sides, width=lengths, height=lengths)
def test_a_square_is_filled(side: int, width: int, height: int) -> None:
    assert input_shape("square", side, width, height) == InputShape.of(side, side)


@given(
    side=sides,
    width=lengths,
    height=lengths,
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    shape=st.sampled_from(["square", "fit"]),
)
def test_points_go_there_and_come_back(side: int, width: int, height: int, x: float, y: float, shape) -> None:
    made = input_shape(shape, side, width, height)
    points, _ = input_points(Prompt(((x * width, y * height),), (1,)), width, height, made)
    found = points[0, 0].numpy() / made.inner[::-1] * (width, height)
    assert np.allclose(found, (x * width, y * height), rtol=1e-5, atol=1e-3)
    assert (points[0, 0].numpy() <= np.array(made.inner[::-1]) + 1e-3).all()


@given(side=sides, width=lengths, height=lengths, scale=st.sampled_from([1, LOW_RES]))
def test_what_is_padded_is_cut_off_again(side: int, width: int, height: int, scale: int) -> None:
    shape = input_shape("fit", side, width, height)
    inner = torch.rand(1, 2, shape.inner_height // scale, shape.inner_width // scale)
    padded = shape.padded(inner, -7.0)
    assert padded.shape[-2:] == (shape.height // scale, shape.width // scale)
    assert (padded[..., inner.shape[-2] :, :] == -7).all() and (padded[..., :, inner.shape[-1] :] == -7).all()
    if scale == LOW_RES:
        assert torch.equal(shape.without_padding(padded), inner)


def test_a_shape_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="round"):
        Session(np.zeros((1, 32, 32, 3), np.uint8), shape="round")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="windows"):
        Session(np.zeros((1, 32, 32, 3), np.uint8), shape="fit", zoom=True)


@pytest.mark.parametrize("to_input", [frame_to_input, image_to_input])
def test_padding_is_grey_and_the_picture_is_not_touched_by_it(to_input) -> None:
    spec = get_spec("tiny")
    picture = np.random.default_rng(0).integers(0, 255, (90, 200, 3), np.uint8)
    shape = input_shape("fit", 256, 200, 90)
    assert (shape.height, shape.inner_height) == (128, 116)
    x = to_input(picture, shape, spec)
    assert x.shape == (1, 3, 128, 256) and (x[:, :, 116:] == 0).all()
    assert torch.equal(x[:, :, :116], to_input(picture, InputShape.of(116, 256), spec))


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def bunny_hw(bunny_clip: Path) -> np.ndarray:
    """Where the bunny is on frame 48."""
    return read_mask(bunny_clip.with_name("bunny_frame48.png"))


def overlap(a_hw: np.ndarray, b_hw: np.ndarray) -> float:
    return np.count_nonzero(a_hw & b_hw) / np.count_nonzero(a_hw | b_hw)


def test_nano_tracks_in_the_frames_own_shape(bunny_clip: Path, bunny_hw: np.ndarray, nano) -> None:
    found = {}
    for shape in SHAPES:
        with Session(bunny_clip, nano, resolution=256, shape=shape) as session:
            assert session.engine.input_shape(session.size).inner == ((144, 256) if shape == "fit" else (256, 256))
            first = session.add_prompt(48, 1, mask=bunny_hw)[1]
            assert first.mask.shape == (720, 1280) and overlap(first.mask, bunny_hw) > 0.85
            found[shape] = [masks[1].mask for masks in session.propagate(48, 53)][-1]
    assert overlap(found["square"], found["fit"]) > 0.8


def test_clicks_and_boxes_land_where_they_are_meant(bunny_clip: Path, bunny_hw: np.ndarray, nano) -> None:
    with open_media(bunny_clip) as video:
        frame = video.read(48).image_hwc
    tracker = VideoTracker(nano, resolution=320, shape="fit")
    tracker.push(frame)
    (x, y), _ = deepest_point(bunny_hw)
    prompts: list[dict] = [{"points": [(x, y)]}, {"box": mask_to_box(bunny_hw)}]
    for number, prompt in enumerate(prompts, 1):
        mask = tracker.prompt(number, **prompt)[number].mask
        assert mask[int(y), int(x)] and overlap(mask, bunny_hw) > 0.4


def test_pictures_of_many_shapes_go_through_together(nano) -> None:
    chance = np.random.default_rng(1)
    pictures = [
        chance.integers(0, 255, size, np.uint8) for size in ((90, 200, 3), (90, 200, 3), (200, 90, 3), (64, 64, 3))
    ]
    together = ImagePredictor(nano, resolution=128, shape="fit").set_images(pictures)
    answers = together.predict_batch([{"points": [(30, 40)], "image": i} for i in range(4)])
    for number, (picture, answer) in enumerate(zip(pictures, answers, strict=True)):
        alone = (
            ImagePredictor(nano, resolution=128, shape="fit")
            .set_image(picture)
            .predict(points=[(30, 40)], closer=False)
        )
        assert answer.masks_nhw.shape[1:] == picture.shape[:2]
        assert torch.allclose(alone.decoder_logits_nhw, answer.decoder_logits_nhw, atol=1e-3)
        refined = together.predict(points=[(30, 40)], mask=answer, image=number)
        assert refined.mask.shape == answer.mask.shape


def test_everything_is_searched_in_the_pictures_shape(bunny_clip: Path, nano) -> None:
    with open_media(bunny_clip) as video:
        frame = video.read(0).image_hwc
    found = AutomaticMaskGenerator(nano, resolution=256, shape="fit", points_per_side=6, crop_n_layers=0).generate(
        frame
    )
    assert found and all(each.mask.shape == frame.shape[:2] for each in found)


@pytest.mark.parametrize("name", ["nano", "sam2.1-tiny"])
def test_a_square_picture_gives_the_same_in_both_shapes(name: str) -> None:
    from masklet.models.sam2 import SAM2

    torch.manual_seed(0)
    model = SAM2(get_spec(name)).eval()
    picture = np.random.default_rng(2).integers(0, 255, (70, 70, 3), np.uint8)
    answers = [
        ImagePredictor(model, resolution=128, shape=shape)
        .set_image(picture)
        .predict(box=(10, 10, 50, 60), closer=False)
        for shape in ("square", "fit")
    ]
    assert torch.equal(answers[0].decoder_logits_nhw, answers[1].decoder_logits_nhw)


def test_commands_take_it_and_projects_keep_it(bunny_clip: Path, tmp_path: Path) -> None:
    place, clip = tmp_path / "clip.masklet", str(bunny_clip)
    usual = ["--resolution", "128", "--device", "cpu", "--shape", "fit"]
    box = ["--box", "153,219,571,558"]
    track = ["track", clip, *box, "--start", "48", "--end", "50", "--project", str(place)]
    done = CliRunner().invoke(app, [*track, *usual])
    assert done.exit_code == 0, done.output
    with Project.open(place, read_only=True) as project:
        assert project.track_settings.shape == "fit"
    assert "at 128, samurai, fit" in CliRunner().invoke(app, ["status", str(place)]).output

    with open_media(bunny_clip) as video:
        write_image(tmp_path / "wide.png", video.read(48).image_hwc)
    done = CliRunner().invoke(app, ["segment", str(tmp_path / "wide.png"), *box, *usual, "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    [found] = (tmp_path / "out").glob("*.json")
    assert json.loads(found.read_text())["shape"] == "fit"
    refused = CliRunner().invoke(app, [*track, "--shape", "fit", "--zoom", "--overwrite"])
    assert refused.exit_code == 2
