"""Homographies (3, 3) float64 that move pictures: p' ~ matrix @ (x, y, 1)."""

from __future__ import annotations

import numpy as np


def translation(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaling(x: float, y: float | None = None) -> np.ndarray:
    return np.diag([x, x if y is None else y, 1.0])


def rotation(angle: float) -> np.ndarray:
    """Turns by an angle in radians about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float64)


def shear(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([[1, x, 0], [y, 1, 0], [0, 0, 1]], np.float64)


def tilt(yaw: float, pitch: float, distance: float) -> np.ndarray:
    """A flat picture of size 1 around the origin, turned in space and seen from `distance` away.

    Angles in radians; the smaller the distance, the stronger the perspective.
    """
    cos_y, sin_y, cos_p, sin_p = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    x_axis = np.array([cos_y, sin_p * sin_y, -cos_p * sin_y])
    y_axis = np.array([0.0, cos_p, sin_p])
    return np.array(
        [
            [x_axis[0], y_axis[0], 0],
            [x_axis[1], y_axis[1], 0],
            [x_axis[2] / distance, y_axis[2] / distance, 1],
        ]
    )


def move(matrix: np.ndarray, points_n2: np.ndarray) -> np.ndarray:
    """Points (N, 2) after a homography; points behind the viewer come out as NaN."""
    moved = points_n2 @ matrix[:2, :2].T + matrix[:2, 2]
    depth = points_n2 @ matrix[2, :2] + matrix[2, 2]
    return moved / np.where(depth > 1e-6, depth, np.nan)[:, None]


def corners(width: float, height: float) -> np.ndarray:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
