"""Renders people who move: bodies of the package ``anny`` (Apache-2.0, made from MakeHuman's CC0 data), dressed here.

Used by fetch_training_sources.py, with ``anny``, ``roma`` and ``trimesh`` installed. A strip shows one person in the
same clothes, seen from a camera that walks around. Clothes are parts of the body pushed outwards, in colours and
fabrics of their own, so that what belongs together has many colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from render_furniture import Material, Mesh, direction, joined, look, render

#: Joints and how far they turn around x, y and z, (lowest, highest) in radians; those of the right side are mirrored.
_JOINTS = {
    "upperleg01.L": ((-1.5, 0.5), (-0.5, 0.1), (-0.3, 0.3)),
    "lowerleg01.L": ((0.0, 1.7), (0, 0), (0, 0)),
    "foot.L": ((-0.3, 0.4), (0, 0), (-0.2, 0.2)),
    "upperarm01.L": ((-0.7, 0.7), (-1.9, 0.6), (-1.2, 0.4)),
    "lowerarm01.L": ((-1.3, 0.1), (0, 0), (-1.3, 0.1)),
    "spine03": ((-0.25, 0.6), (-0.25, 0.25), (-0.4, 0.4)),
    "spine01": ((-0.15, 0.3), (-0.15, 0.15), (-0.3, 0.3)),
    "head": ((-0.3, 0.4), (-0.25, 0.25), (-0.6, 0.6)),
}
_SKIN, _HAIR, _TOP, _BOTTOM, _SHOES = range(5)


@dataclass(frozen=True)
class _Outfit:
    materials: list[Material]
    zone_v: np.ndarray  # which of them each vertex of the body wears
    swell_v: np.ndarray  # how far it is pushed outwards, in metres
    things: list[tuple[str, Mesh]]  # what is carried, by the bone it hangs on; placed at rest


class People:
    """Bodies to pose and to dress.

    Args:
        fabrics: pictures (H, W, 3) uint8 for clothes.
    """

    def __init__(self, fabrics: list[np.ndarray]) -> None:
        import anny

        warnings.filterwarnings("ignore", message="Fallback to lbs skinning")
        self.fabrics = fabrics
        self.body: Any = anny.Anny().to(torch.float32)
        self.faces = self.body.faces.numpy()
        weights = self.body.dense_vertex_bone_weights
        weights = (weights() if callable(weights) else weights).numpy()
        bones = weights.argmax(1 if weights.shape[0] > weights.shape[1] else 0)
        self.bone_v = np.array(self.body.bone_labels)[bones]

    def strip(self, rng: np.random.Generator, count: int, side: int) -> Iterator[np.ndarray]:
        """``count`` views of a moving person, (H, W, 4) uint8, all in one frame of at most ``side`` pixels."""
        looks = {name: torch.tensor(float(rng.beta(1.5, 1.5))) for name in self.body.phenotype_labels}
        looks["age"] = torch.tensor(float(rng.uniform(0.35, 0.95)))
        rest = self._posed({}, looks)
        outfit = self._outfit(rng, rest["vertices"])
        middle = {name: [rng.uniform(*span) for span in spans] for name, spans in self._joints()}
        swing = rng.uniform(0, 0.45)
        phases = {name: rng.uniform(0, 2 * np.pi, 3) for name, _ in self._joints()}
        meshes = []
        for t in range(count):
            angles = {}
            for name, spans in self._joints():
                width = np.array([high - low for low, high in spans])
                wave = np.sin(phases[name] + 2 * np.pi * t / count)
                turned = np.array(middle[name]) + swing * width / 2 * wave
                angles[name] = turned.clip([low for low, _ in spans], [high for _, high in spans])
            meshes.append(self._mesh(self._posed(angles, looks), rest, outfit))
        points = np.concatenate([mesh.points for mesh in meshes])
        centre = (points.min(0) + points.max(0)) / 2
        radius = float(np.linalg.norm(points - centre, axis=1).max())
        azimuth, height = rng.uniform(0, 2 * np.pi), float(np.clip(rng.normal(0.12, 0.2), -0.3, 0.9))
        step, distance = rng.normal(0, 0.12), rng.uniform(2.2, 6.0) * radius
        field = 2 * np.arcsin(radius / distance) * 1.02
        light, ambient = direction(rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)), rng.uniform(0.3, 0.6)
        views = []
        for t, mesh in enumerate(meshes):
            eye = centre + distance * direction(azimuth + t * step, height)
            views.append(render(mesh, look(eye, centre), field, (side, side), light, ambient)[0])
        solid = np.max([view[..., 3] for view in views], axis=0) > 16
        rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
        for view in views:
            yield np.ascontiguousarray(view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])

    def _joints(self) -> Iterator[tuple[str, tuple[tuple[float, float], ...]]]:
        for name, (x, y, z) in _JOINTS.items():
            yield name, (x, y, z)
            if name.endswith(".L"):
                yield name.replace(".L", ".R"), (x, (-y[1], -y[0]), (-z[1], -z[0]))

    def _posed(self, angles: dict[str, np.ndarray], looks: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        pose = torch.eye(4)[None, None].repeat(1, self.body.bone_count, 1, 1)
        for name, turned in angles.items():
            pose[0, self.body.bone_labels.index(name), :3, :3] = torch.from_numpy(cv2.Rodrigues(turned)[0]).float()
        posed = self.body(pose_parameters=pose, phenotype_kwargs=looks)
        return {name: posed[name][0].numpy() for name in ("vertices", "bone_poses")}

    # ------------------------------------------------------------------------------------------ clothes

    def _outfit(self, rng: np.random.Generator, rest_v3: np.ndarray) -> _Outfit:
        sleeves, legs, dress = rng.integers(0, 3), rng.integers(0, 3), rng.random() < 0.12
        arms = ("upperarm01", "upperarm02", "lowerarm01", "lowerarm02")[: (0, 2, 4)[sleeves]]
        low = ("upperleg02", "lowerleg01", "lowerleg02")[: (1, 2, 3)[legs]]
        top = ("spine01", "spine02", "spine03", "spine04", "breast", "clavicle", "shoulder01", *arms)
        bottom = ("root", "pelvis", "spine05", "upperleg01", *low)
        names = np.array([name.partition(".")[0] for name in self.bone_v])
        zone = np.full(len(names), _SKIN)
        zone[np.isin(names, top)] = _TOP
        zone[np.isin(names, bottom)] = _TOP if dress else _BOTTOM
        shod = np.char.startswith(names.astype(str), "toe") | (names == "foot")
        zone[shod if rng.random() < 0.85 else shod & False] = _SHOES
        head = np.isin(names, ("head", "eye"))
        up, back = rest_v3[:, 2], rest_v3[:, 1]
        crown = up[head].max()
        hair = head & ((up > crown - rng.uniform(0.05, 0.1)) | (back > np.median(back[head]) + rng.uniform(0.0, 0.05)))
        if rng.random() < 0.9:
            zone[hair] = _HAIR
        thick = np.array([0.0, *rng.uniform((0.01, 0.005, 0.005, 0.008), (0.06, 0.05, 0.05, 0.02))])
        folds = 1 + 0.35 * np.sin(rest_v3 @ rng.normal(0, 25, 3) + rng.uniform(0, 6))
        share = rng.uniform(0, 1)
        skin = (1 - share) * np.array([70.0, 45, 32]) + share * np.array([235.0, 195, 170]) + rng.normal(0, 6, 3)
        hairs = np.array([[25, 20, 18], [70, 45, 30], [150, 110, 60], [120, 120, 120], [160, 60, 35]])
        cap = self._fabric(rng) if rng.random() < 0.35 else Material(hairs[rng.integers(5)] * rng.uniform(0.7, 1.3))
        materials = [Material(skin), cap, *(self._fabric(rng) for _ in range(3))]
        things = []
        if dress or rng.random() < 0.1:
            things.append(("root", self._skirt(rng, rest_v3, materials[_TOP if dress else _BOTTOM])))
        if rng.random() < 0.25:
            size = rng.uniform((0.14, 0.08, 0.18), (0.22, 0.16, 0.3))
            spot = np.median(rest_v3[self.bone_v == "spine02"], axis=0) + np.array([0, 0.1 + size[1], 0.02])
            things.append(("spine02", _rounded_box(spot, size, self._fabric(rng))))
        if rng.random() < 0.25:
            hand = "wrist.R" if rng.random() < 0.5 else "wrist.L"
            size = [(0.02, 0.02, rng.uniform(0.3, 0.8)), tuple(rng.uniform(0.05, 0.2, 3))][int(rng.integers(2))]
            spot = rest_v3[self.bone_v == hand].mean(axis=0) - [0, 0, 0.06]
            things.append((hand, _rounded_box(spot, np.array(size), self._fabric(rng))))
        return _Outfit(materials, zone, thick[zone] * folds, things)

    def _fabric(self, rng: np.random.Generator) -> Material:
        hsv = np.array([[[rng.integers(180), 255 * rng.beta(1.2, 1.8), rng.uniform(25, 245)]]]).astype(np.uint8)
        plain = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
        if rng.random() < 0.6:
            return Material(plain)
        cloth = self.fabrics[int(rng.integers(len(self.fabrics)))]
        tint = plain / 128 if rng.random() < 0.5 else np.ones(3)
        return Material(plain, (cloth * tint).clip(0, 255).astype(np.uint8))

    def _skirt(self, rng: np.random.Generator, rest_v3: np.ndarray, material: Material) -> Mesh:
        waist = np.median(rest_v3[self.bone_v == "spine05"], axis=0)
        hem, flare = rng.uniform(0.3, 0.85), rng.uniform(0.2, 0.45)
        turn = np.linspace(0, 2 * np.pi, 33)
        waves = 1 + rng.uniform(0, 0.15) * np.sin(turn * rng.integers(4, 10))
        rings = []
        for share in np.linspace(0, 1, 7):
            radius = (0.16 + (flare - 0.16) * share) * (1 + (waves - 1) * share)
            ring = np.stack([np.cos(turn) * radius, np.sin(turn) * radius * 0.8, np.full(33, -hem * share)], 1)
            rings.append(waist + np.array([0, 0, 0.04]) + ring)
        return _sheet(np.stack(rings), material)

    def _mesh(self, posed: dict[str, np.ndarray], rest: dict[str, np.ndarray], outfit: _Outfit) -> Mesh:
        vertices = posed["vertices"]
        normals = _vertex_normals(vertices, self.faces)
        vertices = vertices + normals * outfit.swell_v[:, None]
        normals = _vertex_normals(vertices, self.faces)
        zones = np.median(outfit.zone_v[self.faces], axis=1).astype(int)
        uv = rest["vertices"][:, [0, 2]] * 2
        body = Mesh(
            vertices[self.faces].reshape(-1, 3),
            normals[self.faces].reshape(-1, 3),
            uv[self.faces].reshape(-1, 2).astype(np.float32),
            np.repeat(zones, 3),
            outfit.materials,
        )
        parts = [body]
        for bone, mesh in outfit.things:
            i = self.body.bone_labels.index(bone)
            parts.append(mesh.transformed(posed["bone_poses"][i] @ np.linalg.inv(rest["bone_poses"][i])))
        upright = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
        return joined(parts).transformed(upright)


def _vertex_normals(vertices_v3: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices_v3[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, i], 3), minlength=len(vertices_v3)) for i in range(3)],
        axis=1,
    )
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _sheet(grid_rc3: np.ndarray, material: Material) -> Mesh:
    """A surface through rows and columns of points."""
    rows, columns = grid_rc3.shape[:2]
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    points = grid_rc3.reshape(-1, 3).astype(np.float32)
    normals = _vertex_normals(points, faces)
    uv = np.stack(np.meshgrid(np.linspace(0, 2, columns), np.linspace(0, 1, rows)), -1).reshape(-1, 2)
    return Mesh(
        points[faces].reshape(-1, 3),
        normals[faces].reshape(-1, 3),
        uv[faces].reshape(-1, 2).astype(np.float32),
        np.zeros(3 * len(faces), int),
        [material],
    )


def _rounded_box(centre: np.ndarray, half: np.ndarray, material: Material) -> Mesh:
    turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(-np.pi / 2, np.pi / 2, 13))
    ball = np.stack([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)], -1)
    return _sheet(centre + np.sign(ball) * np.abs(ball) ** 0.4 * half, material)
