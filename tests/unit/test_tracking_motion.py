"""The motion filter against a textbook Kalman filter, and the overlap of boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.linalg import inv

from masklet.masks.boxes import box_overlap
from masklet.tracking.motion import Box, BoxFilter


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = (draw(st.floats(-50, 1000)) for _ in range(2))
    width, height = (draw(st.floats(0.5, 400)) for _ in range(2))
    return (x, y, x + width, y + height)


class Textbook:
    """Predict and update as in any textbook, with an explicit inverse and the Joseph form; noise as SAMURAI has it."""

    def __init__(self, box: Box) -> None:
        z = self.measure(box)
        h = z[3]
        deviations = [h / 10, h / 10, 0.01, h / 10, h / 16, h / 16, 1e-5, h / 16]
        self.x = np.array([*z, 0, 0, 0, 0])
        self.p = np.diag(np.square(deviations))

    @staticmethod
    def measure(box: Box) -> np.ndarray:
        x1, y1, x2, y2 = box
        return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1])

    def predict(self) -> None:
        f = np.block([[np.eye(4), np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
        h = self.x[3]
        q = np.diag(np.square([h / 20, h / 20, 0.01, h / 20, h / 160, h / 160, 1e-5, h / 160]))
        self.x, self.p = f @ self.x, f @ self.p @ f.T + q

    def update(self, box: Box) -> None:
        h_matrix = np.eye(4, 8)
        h = self.x[3]
        r = np.diag(np.square([h / 20, h / 20, 0.1, h / 20]))
        gain = self.p @ h_matrix.T @ inv(h_matrix @ self.p @ h_matrix.T + r)
        self.x = self.x + gain @ (self.measure(box) - h_matrix @ self.x)
        rest = np.eye(8) - gain @ h_matrix
        self.p = rest @ self.p @ rest.T + gain @ r @ gain.T


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), boxes()), min_size=1, max_size=12), boxes())
def test_equals_a_textbook_filter(measurements: list[Box | None], first: Box) -> None:
    ours, book = BoxFilter.start(first), Textbook(first)
    for box in measurements:
        ours = ours.predict()
        book.predict()
        if box is not None:
            ours = ours.update(box)
            book.update(box)
        np.testing.assert_allclose(ours.mean, book.x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.covariance, book.p, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.lists(boxes(), min_size=1, max_size=8))
def test_belief_stays_a_covariance(measurements: list[Box]) -> None:
    belief = BoxFilter.start(measurements[0])
    for box in measurements:
        belief = belief.predict().update(box)
        assert np.allclose(belief.covariance, belief.covariance.T, rtol=1e-6)
        scale = np.sqrt(np.outer(np.diag(belief.covariance), np.diag(belief.covariance)))
        assert np.linalg.eigvalsh(belief.covariance / scale).min() > -1e-9


def test_steps_leave_the_filter_alone() -> None:
    belief = BoxFilter.start((10, 20, 40, 80))
    mean, covariance = belief.mean.copy(), belief.covariance.copy()
    belief.predict().update((12, 20, 42, 80))
    np.testing.assert_array_equal(belief.mean, mean)
    np.testing.assert_array_equal(belief.covariance, covariance)


def test_learns_a_velocity() -> None:
    belief = BoxFilter.start((0, 0, 30, 60))
    for frame in range(1, 40):
        belief = belief.predict().update((4 * frame, -frame, 30 + 4 * frame, 60 - frame))
    np.testing.assert_allclose(belief.mean[4:6], (4, -1), atol=0.05)
    assert belief.predict().box_xyxy == pytest.approx((160, -40, 190, 20), abs=0.5)


def test_without_measurements_it_goes_on_and_grows_unsure() -> None:
    belief = BoxFilter.start((0, 0, 30, 60))
    for frame in range(1, 20):
        belief = belief.predict().update((4 * frame, 0, 30 + 4 * frame, 60))
    later = belief
    for _ in range(5):
        later = later.predict()
    assert later.mean[0] == pytest.approx(belief.mean[0] + 5 * belief.mean[4])
    assert (np.diag(later.covariance) >= np.diag(belief.covariance)).all()


@settings(deadline=None)
@given(boxes())
def test_starts_at_its_box(box: Box) -> None:
    assert BoxFilter.start(box).box_xyxy == pytest.approx(box, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 5.0), (5.0, 5.0, 9.0, 5.0), (5.0, 5.0, 5.0, 9.0)])
def test_masks_one_pixel_wide_or_high(box: Box) -> None:
    """The box of a single row of pixels has no height (corners are inclusive); the filter must stay finite."""
    belief = BoxFilter.start(box).predict().update(box).predict()
    assert np.isfinite(belief.mean).all()
    assert np.linalg.eigvalsh(belief.covariance).min() > 0


@settings(deadline=None)
@given(boxes(), boxes())
def test_overlap(a: Box, b: Box) -> None:
    overlap = box_overlap(a, b)
    assert 0 <= overlap <= 1 + 1e-9
    assert overlap == pytest.approx(box_overlap(b, a))
    moved = tuple(v + 17 for v in a), tuple(v + 17 for v in b)
    assert box_overlap(*moved) == pytest.approx(overlap, abs=1e-9)  # type: ignore[arg-type]
    assert box_overlap(a, a) == pytest.approx(1)


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 20)] * 4), st.tuples(*[st.integers(0, 20)] * 4))
def test_overlap_counts_pixels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    canvas = np.zeros((2, 40, 40), bool)
    for layer, (x, y, width, height) in zip(canvas, (a, b), strict=True):
        layer[y : y + height, x : x + width] = True
    union = (canvas[0] | canvas[1]).sum()
    expected = (canvas[0] & canvas[1]).sum() / union if union else 0
    corners = [(float(x), float(y), float(x + width), float(y + height)) for x, y, width, height in (a, b)]
    assert box_overlap(*corners) == pytest.approx(expected)
