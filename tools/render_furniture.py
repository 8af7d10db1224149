"""Renders the models of Debian's sweethome3d-furniture: turning objects with alpha, and furnished rooms.

Used by fetch_training_sources.py. The pictures of an object are a strip: it turns and tilts in equal steps, as a
thing does when somebody walks around it. Needs OpenCV 5 (`cv2.triangleRasterize`, a rasteriser on the CPU).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np
from PIL import Image

_FINER = 2  # rendered this much larger, then shrunk: smooth edges
_NEAR, _FAR = 0.05, 40.0  # what is nearer or farther isn't drawn; a wider range makes surfaces fight


@dataclass
class Material:
    """A surface: a colour (3,) 0 … 255, and a texture (H, W, 3) uint8 or None."""

    colour: np.ndarray
    texture: np.ndarray | None = None


@dataclass
class Mesh:
    """Triangles without shared corners.

    Attributes:
        points, normals: (N, 3) float32, three rows per triangle; y points up.
        uv: (N, 2) float32 texture coordinates.
        material: (N,) int, index into `materials`.
    """

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    materials: list[Material]

    def transformed(self, matrix: np.ndarray) -> Mesh:
        """Moved by a (4, 4) matrix."""
        linear = matrix[:3, :3].astype(np.float32)
        points = self.points @ linear.T + matrix[:3, 3].astype(np.float32)
        normals = self.normals @ np.linalg.inv(linear)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return Mesh(points, normals.astype(np.float32), self.uv, self.material, self.materials)


def joined(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    materials: list[Material] = []
    numbers = []
    for mesh in meshes:
        numbers.append(mesh.material + len(materials))
        materials += mesh.materials
    return Mesh(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate(numbers),
        materials,
    )


# ------------------------------------------------------------------------------------------------ files


def load_obj(archive: zipfile.ZipFile, name: str, largest: int = 12_000_000) -> Mesh | None:
    """A model of an archive, its longest side 1 and its middle at the origin; None when it is empty or too large."""
    if archive.getinfo(name).file_size > largest:
        return None
    points: list[list[float]] = []
    uvs: list[list[float]] = []
    normals: list[list[float]] = []
    corners: list[tuple[int, int, int]] = []
    owners: list[int] = []
    names: dict[str, int] = {"": 0}
    libraries: list[str] = []
    current = 0
    for line in archive.read(name).decode("latin-1").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            points.append([float(v) for v in words[1:4]])
        elif words[0] == "vt":
            uvs.append([float(v) for v in words[1:3]])
        elif words[0] == "vn":
            normals.append([float(v) for v in words[1:4]])
        elif words[0] == "f":
            face = [_corner(word, len(points), len(uvs), len(normals)) for word in words[1:]]
            for i in range(1, len(face) - 1):
                corners += (face[0], face[i], face[i + 1])
                owners += (current,) * 3
        elif words[0] == "usemtl":
            current = names.setdefault(" ".join(words[1:]), len(names))
        elif words[0] == "mtllib":
            libraries.append(" ".join(words[1:]))
    if len(corners) < 12:
        return None
    index = np.asarray(corners)
    spots = np.asarray(points, np.float32)[index[:, 0]]
    low, high = spots.min(axis=0), spots.max(axis=0)
    if not np.isfinite(spots).all() or float((high - low).max()) <= 0:
        return None
    spots = (spots - (low + high) / 2) / float((high - low).max())
    flat = np.repeat(_face_normals(spots), 3, axis=0)
    if normals:
        given = np.asarray(normals, np.float32)[np.maximum(index[:, 2], 0)]
        length = np.linalg.norm(given, axis=1, keepdims=True)
        flat = np.where((index[:, 2:] >= 0) & (length > 1e-6), given / np.maximum(length, 1e-6), flat)
    uv = np.zeros((len(index), 2), np.float32)
    if uvs:
        uv = np.where(index[:, 1:2] >= 0, np.asarray(uvs, np.float32)[np.maximum(index[:, 1], 0)], 0)
    materials = _materials(archive, PurePosixPath(name).parent, libraries, names)
    return Mesh(spots, flat.astype(np.float32), uv.astype(np.float32), np.asarray(owners), materials)


def _corner(word: str, points: int, uvs: int, normals: int) -> tuple[int, int, int]:
    """Indices of a face's corner from zero; -1 where there is none. Negative numbers count from the end."""
    parts = [*word.split("/"), "", ""][:3]
    found = []
    for part, count in zip(parts, (points, uvs, normals), strict=True):
        number = int(part) if part else 0
        at = number - 1 if number > 0 else count + number if number < 0 else -1
        found.append(at if 0 <= at < count else -1)
    return found[0], found[1], found[2]


def _face_normals(points: np.ndarray) -> np.ndarray:
    triangles = points.reshape(-1, 3, 3)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _materials(
    archive: zipfile.ZipFile, folder: PurePosixPath, libraries: list[str], names: dict[str, int]
) -> list[Material]:
    found = {name: Material(np.array([190.0, 190, 190])) for name in names}
    inside = {n.lower(): n for n in archive.namelist()}
    for library in libraries:
        path = inside.get(str(folder / library).lower())
        if path is None:
            continue
        material = Material(np.array([190.0, 190, 190]))
        for line in archive.read(path).decode("latin-1").splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] == "newmtl":
                material = found.setdefault(" ".join(words[1:]), Material(np.array([190.0, 190, 190])))
            elif words[0] == "Kd" and len(words) >= 4:
                material.colour = np.clip([float(v) for v in words[1:4]], 0, 1) ** 0.6 * 255
            elif words[0] == "map_Kd":
                picture = inside.get(str(folder / words[-1]).lower())
                if picture is not None:
                    material.texture = _texture(archive.read(picture))
    return [found[name] for name in names]


def _texture(data: bytes) -> np.ndarray | None:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((1024, 1024))
    return np.asarray(image)


# ------------------------------------------------------------------------------------------------ pictures


def look(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(4, 4) from world to a camera that looks along -z with y up."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 1, 0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def render(
    mesh: Mesh, camera: np.ndarray, field: float, size: tuple[int, int], light: np.ndarray, ambient: float
) -> tuple[np.ndarray, float]:
    """A picture with alpha, (height, width, 4) uint8, and the distance of what is nearest in it.

    Triangles that reach behind the camera are left out.

    Args:
        camera: (4, 4) from `look`.
        field: vertical field of view in radians.
        size: width, height in pixels.
        light: direction to the light, (3,), length 1.
        ambient: share of light from everywhere.
    """
    width, height = size[0] * _FINER, size[1] * _FINER
    spread = mesh.uv.max(axis=0) - mesh.uv.min(axis=0)
    spread = np.maximum(spread, 1e-6)
    uv = (mesh.uv - mesh.uv.min(axis=0)) / spread
    tag = (mesh.material[:, None] + 0.5) / max(len(mesh.materials), 1)
    first = np.hstack([uv, tag]).astype(np.float32)
    index = np.arange(len(mesh.points), dtype=np.int32).reshape(-1, 3)
    ahead = -(mesh.points @ camera[2, :3].astype(np.float32) + np.float32(camera[2, 3]))
    index = index[(ahead.reshape(-1, 3) > _NEAR).all(axis=1)]
    if not len(index):
        return np.zeros((size[1], size[0], 4), np.uint8), _FAR
    surface, depth = _rasterize(mesh.points, index, first, camera, field, (width, height))
    facing, _ = _rasterize(mesh.points, index, mesh.normals * 0.5 + 0.5, camera, field, (width, height))
    solid = depth < _FAR * 0.99

    number = np.clip((surface[..., 2] * len(mesh.materials)).astype(int), 0, len(mesh.materials) - 1)
    where_u = surface[..., 0] * spread[0] + mesh.uv[:, 0].min()
    where_v = surface[..., 1] * spread[1] + mesh.uv[:, 1].min()
    colours = np.zeros((height, width, 3), np.float32)
    for i in np.unique(number[solid]):
        material, mine = mesh.materials[i], solid & (number == i)
        if material.texture is None:
            colours[mine] = material.colour
        else:
            colours[mine] = _sampled(material.texture, where_u, where_v, mine)
    normal = facing * 2 - 1
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    # surfaces of these models are often seen from behind: light falls on both sides
    shade = ambient + (1 - ambient) * np.abs(normal @ light.astype(np.float32))
    colours *= shade[..., None]
    alpha = solid[..., None].astype(np.float32)
    small = cv2.resize(np.dstack([colours * alpha, alpha]), size, interpolation=cv2.INTER_AREA)
    clear = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    picture = np.dstack([np.clip(clear, 0, 255), small[..., 3:] * 255]).round().astype(np.uint8)
    return picture, float(depth.min())


def _sampled(texture: np.ndarray, u: np.ndarray, v: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Texture colours of the pixels in `mine`, (N, 3); shrunk copies are used where the texture is far away."""
    rows, columns = texture.shape[:2]
    steps = [np.abs(np.diff(coordinate, axis=axis, append=np.nan)) for coordinate in (u, v) for axis in (0, 1)]
    pixels = np.maximum(np.maximum(steps[0], steps[1]) * columns, np.maximum(steps[2], steps[3]) * rows)[mine]
    level = np.clip(np.nan_to_num(np.log2(np.maximum(pixels, 1))), 0, 5).round().astype(int)
    found = np.empty((len(level), 3), np.float32)
    copy = texture
    for number in range(int(level.max(initial=0)) + 1):
        here = level == number
        rows, columns = copy.shape[:2]
        x = ((u[mine][here] % 1) * columns).astype(int) % columns
        y = ((1 - v[mine][here] % 1) * rows).astype(int) % rows
        found[here] = copy[y, x]
        copy = cv2.resize(copy, (max(1, columns // 2), max(1, rows // 2)), interpolation=cv2.INTER_AREA)
    return found


def _rasterize(
    points: np.ndarray, index: np.ndarray, values: np.ndarray, camera: np.ndarray, field: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    width, height = size
    settings = cv2.TriangleRasterizeSettings()
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    colour = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), _FAR, np.float32)
    cv2.triangleRasterize(
        np.ascontiguousarray(points, np.float32),
        index,
        np.ascontiguousarray(values, np.float32),
        colour,
        depth,
        camera.astype(np.float32),
        field,
        _NEAR,
        _FAR,
        settings,
    )
    return colour, depth


def direction(azimuth: float, height: float) -> np.ndarray:
    """The direction of a compass angle and a height above the horizon, both in radians."""
    flat = np.cos(height)
    return np.array([flat * np.sin(azimuth), np.sin(height), flat * np.cos(azimuth)])


def turning_views(mesh: Mesh, rng: np.random.Generator, count: int, side: int) -> Iterator[np.ndarray]:
    """The object as the camera goes around it in equal steps, (side, side, 4) uint8, all in one frame."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.7)
    step, rise = rng.choice([-1, 1]) * rng.uniform(0.1, 0.3), rng.normal(0, 0.04)
    distance = rng.uniform(1.6, 3.2)
    radius = float(np.linalg.norm(mesh.points, axis=1).max())
    field = 2 * np.arcsin(min(0.95, radius / distance)) * 1.02
    light = direction(rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2))
    ambient = rng.uniform(0.3, 0.6)
    for i in range(count):
        eye = distance * direction(azimuth + i * step, float(np.clip(height + i * rise, -0.2, 1.3)))
        yield render(mesh, look(eye, np.zeros(3)), field, (side, side), light, ambient)[0]


# ------------------------------------------------------------------------------------------------ rooms


def rotation_y(angle: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    return matrix


def _quad(corners: list[list[float]], repeat: tuple[float, float], material: Material) -> Mesh:
    """A rectangle, cut fine enough that its texture follows perspective."""
    a, b, c, d = (np.asarray(p, np.float32) for p in corners)
    cells = 24
    points, uv = [], []
    for i in range(cells):
        for j in range(cells):
            square = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            for k in (0, 1, 2, 0, 2, 3):
                s, t = square[k][0] / cells, square[k][1] / cells
                points.append((1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * d + s * c))
                uv.append((s * repeat[0], t * repeat[1]))
    spots = np.asarray(points, np.float32)
    normals = np.repeat(_face_normals(spots), 3, axis=0).astype(np.float32)
    return Mesh(spots, normals, np.asarray(uv, np.float32), np.zeros(len(spots), int), [material])


def room_views(
    models: list[tuple[Mesh, float]],
    textures: list[np.ndarray],
    rng: np.random.Generator,
    count: int,
    size: tuple[int, int],
) -> Iterator[np.ndarray]:
    """Views of a room with furniture, (height, width, 3) uint8.

    Args:
        models: what may stand there, with its longest side in metres.
        textures: for floor and walls.
    """

    def cover() -> Material:
        colour = rng.uniform(90, 240) * (1 + rng.normal(0, 0.08, 3))
        texture = textures[int(rng.integers(len(textures)))] if rng.random() < 0.6 else None
        return Material(np.clip(colour, 0, 255), texture)

    half_x, half_z, top = rng.uniform(1.8, 4), rng.uniform(1.8, 4), rng.uniform(2.3, 3.2)
    x, z = float(half_x), float(half_z)
    repeat = float(rng.uniform(1, 6))
    floor = _quad([[-x, 0, -z], [x, 0, -z], [x, 0, z], [-x, 0, z]], (repeat, repeat), cover())
    ceiling = _quad([[-x, top, -z], [x, top, -z], [x, top, z], [-x, top, z]], (1, 1), Material(np.full(3, 225.0)))
    wall = cover()
    walls = [
        _quad([[-x, 0, s * z], [x, 0, s * z], [x, top, s * z], [-x, top, s * z]], (repeat, repeat / 2), wall)
        for s in (-1, 1)
    ] + [
        _quad([[s * x, 0, -z], [s * x, 0, z], [s * x, top, z], [s * x, top, -z]], (repeat, repeat / 2), wall)
        for s in (-1, 1)
    ]
    furniture = []
    for _ in range(int(rng.integers(5, 14))):
        mesh, metres = models[int(rng.integers(len(models)))]
        matrix = rotation_y(rng.choice(4) * np.pi / 2 + rng.normal(0, 0.1)) @ np.diag([metres] * 3 + [1.0])
        lowest = float(mesh.points[:, 1].min()) * metres
        matrix[:3, 3] = rng.uniform(-0.85, 0.85) * x, -lowest, rng.uniform(-0.85, 0.85) * z
        furniture.append(mesh.transformed(matrix))
    scene = joined([floor, ceiling, *walls, *furniture])
    light = direction(rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.3))
    for _ in range(count):
        eye = np.array([rng.uniform(-0.9, 0.9) * x, rng.uniform(0.8, 1.9), rng.uniform(-0.9, 0.9) * z])
        middle = np.array([rng.uniform(-0.4, 0.4) * x, rng.uniform(0.3, 1.2), rng.uniform(-0.4, 0.4) * z])
        if np.hypot(*(eye - middle)[[0, 2]]) < 1.0:
            eye = middle + direction(rng.uniform(0, 2 * np.pi), 0.2) * 1.5
            eye = np.clip(eye, [-0.95 * x, 0.4, -0.95 * z], [0.95 * x, top - 0.2, 0.95 * z])
        field, ambient = float(rng.uniform(0.8, 1.3)), float(rng.uniform(0.4, 0.7))
        view, distance = render(scene, look(eye, middle), field, size, light, ambient)
        # not inside a wardrobe, nor with the nose against one
        if distance > 0.5 and (view[..., 3] > 250).mean() > 0.995:
            yield np.ascontiguousarray(view[..., :3])
