"""Where the object will be next: a constant-velocity Kalman filter on boxes (SAMURAI section 4.1, arXiv 2411.11922).

The state is (x, y, aspect, height) of the box and its velocities, x and y being the centre, aspect width over height.
Noise grows with the height of the box, as in the SORT family of trackers. Units are pixels of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masklet.results import Box

_POSITION_NOISE = 1 / 20
_VELOCITY_NOISE = 1 / 160

_MOVE = np.eye(8)
_MOVE[:4, 4:] = np.eye(4)


@dataclass(frozen=True)
class BoxFilter:
    """Belief about a box: mean ``[8]`` and covariance ``[8, 8]``, float64. Immutable; steps return a new one."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def start(cls, box_xyxy: Box) -> BoxFilter:
        """Begin at a box with unknown velocity."""
        measured = _to_centre(box_xyxy)
        height = measured[3]
        position, velocity = 2 * _POSITION_NOISE * height, 10 * _VELOCITY_NOISE * height
        spread = np.array([position, position, 1e-2, position, velocity, velocity, 1e-5, velocity])
        return cls(np.concatenate((measured, np.zeros(4))), np.diag(spread**2))

    def predict(self) -> BoxFilter:
        """One frame later."""
        height = self.mean[3]
        position, velocity = _POSITION_NOISE * height, _VELOCITY_NOISE * height
        noise = np.array([position, position, 1e-2, position, velocity, velocity, 1e-5, velocity])
        return BoxFilter(_MOVE @ self.mean, _MOVE @ self.covariance @ _MOVE.T + np.diag(noise**2))

    def update(self, box_xyxy: Box) -> BoxFilter:
        """Correct the prediction by a measured box."""
        height = self.mean[3]
        noise = np.array([_POSITION_NOISE * height, _POSITION_NOISE * height, 1e-1, _POSITION_NOISE * height])
        uncertainty = self.covariance[:4, :4] + np.diag(noise**2)
        gain = np.linalg.solve(uncertainty, self.covariance[:4, :]).T
        mean = self.mean + gain @ (_to_centre(box_xyxy) - self.mean[:4])
        return BoxFilter(mean, self.covariance - gain @ uncertainty @ gain.T)

    @property
    def box_xyxy(self) -> Box:
        """The believed box."""
        x, y, aspect, height = (float(v) for v in self.mean[:4])
        width = aspect * height
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _to_centre(box_xyxy: Box) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box_xyxy
    # A mask one pixel high has a box of height zero; half a pixel keeps the filter's noise above zero.
    height = max(y2 - y1, 0.5)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / height, height], dtype=np.float64)
