#!/usr/bin/env python
"""Fetches the free pictures that nano is trained on, and packs them.

    python tools/fetch_training_sources.py --output ~/masklet-sources

needs Debian or Ubuntu (`apt-get download`, `dpkg-deb`), npm and pip; nothing is installed. Every source is public
domain, CC0, CC-BY, MIT, BSD or Apache; files of a package under other licences are left out. The folder gets one pack
per source, SOURCES.json (counts and licences) and CREDITS.md (the names that CC-BY asks to be named).
"""

from __future__ import annotations

import argparse
import base64
import collections
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import doom_pictures
from pack_writer import PackItem, write_pack
from render_furniture import load_obj, room_views, turning_views

from masklet.training.synthesis.packs import About, Pack
from masklet.training.synthesis.sources import CUTOUT_SIDE, PHOTO_SIDE, crop_to_alpha, shrink

Items = Iterator[PackItem]


@dataclass
class Credits:
    """Names to be named, by source."""

    names: dict[str, set[str]] = field(default_factory=lambda: collections.defaultdict(set))

    def add(self, source: str, text: str) -> None:
        text = " ".join(text.split())
        if text:
            self.names[source].add(text)


@dataclass(frozen=True)
class Source:
    """One pack: where its pictures come from and how they are read out of the package."""

    kind: str  # "cutouts", "photos" or "textures"
    package: str
    about: About
    read: Callable[[Path, Credits], Items]

    @property
    def file(self) -> str:
        return f"{self.kind}-{self.about.source}.npz"


# ------------------------------------------------------------------------------------------------ packages


def unpack_debian(package: str, work: Path) -> Path:
    """The files of a Debian package, without installing it."""
    target = work / package
    if not target.is_dir():
        _run(["apt-get", "download", package], work, f"try `apt-get update`; is {package} in your release?")
        archives = sorted(work.glob(f"{package}_*.deb"))
        partial = Path(tempfile.mkdtemp(dir=work))
        _run(["dpkg-deb", "-x", str(archives[-1]), str(partial)], work, "dpkg is part of Debian and Ubuntu")
        partial.rename(target)
    return target


def unpack_npm(package: str, work: Path) -> Path:
    """The files of an npm package, without its dependencies."""
    target = work / package.replace("/", "-").lstrip("@")
    if not target.is_dir():
        before = set(work.glob("*.tgz"))
        _run(["npm", "pack", package], work, "npm comes with Node.js")
        [archive] = set(work.glob("*.tgz")) - before or {max(before, key=lambda p: p.stat().st_mtime)}
        partial = Path(tempfile.mkdtemp(dir=work))
        with tarfile.open(archive) as files:
            files.extractall(partial, filter="data")
        partial.rename(target)
    return target


def unpack_pypi(packages: str, work: Path) -> Path:
    """The files of pure Python packages, without their dependencies and without installing them."""
    names = packages.split()
    target = work / names[0]
    if not target.is_dir():
        _run([sys.executable, "-m", "pip", "download", "--no-deps", *names], work, "pip comes with Python")
        partial = Path(tempfile.mkdtemp(dir=work))
        for name in names:
            [wheel] = work.glob(f"{name}-*.whl")
            with zipfile.ZipFile(wheel) as files:
                files.extractall(partial)
        partial.rename(target)
    return target


def _run(command: list[str], folder: Path, hint: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SystemExit(f"{command[0]} isn't installed ({hint})") from error
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}\n({hint})")


# ------------------------------------------------------------------------------------------------ cut-outs


def clean_cutout(image: Image.Image) -> np.ndarray | None:
    """A picture as a cropped, shrunk RGBA cut-out; None when it isn't fit to be an object.

    Outlines around nothing are filled with white: the thing, not its line, is the object.
    """
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return None
    image = image.convert("RGBA")
    image.thumbnail((CUTOUT_SIDE * 2, CUTOUT_SIDE * 2), reducing_gap=3.0)
    pixels = crop_to_alpha(np.asarray(image))
    if pixels is None or min(pixels.shape[:2]) < 24:
        return None
    pixels = shrink(pixels, CUTOUT_SIDE)
    solid = pixels[..., 3] >= 128
    filled = _without_holes(solid)
    if solid.sum() < 0.45 * filled.sum():
        pixels = pixels.copy()
        alpha = pixels[..., 3:].astype(np.float32) / 255
        white = (pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
        pixels[..., :3] = np.where(filled[..., None], white, pixels[..., :3])
        pixels[..., 3] = np.where(filled, 255, pixels[..., 3])
    area = float((pixels[..., 3] >= 128).mean())
    if area < 0.04 or (pixels[..., 3] >= 128).sum() < 250:
        return None
    return pixels


def _without_holes(solid: np.ndarray) -> np.ndarray:
    padded = np.pad(solid, 1).astype(np.uint8)
    cv2.floodFill(padded, None, (0, 0), 2)
    return padded[1:-1, 1:-1] != 2


class Unique:
    """Tells pictures that were seen before, whatever their size."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __call__(self, image: np.ndarray) -> bool:
        small = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA) // 16
        key = hashlib.sha1(small.tobytes()).digest()
        new = key not in self._seen
        self._seen.add(key)
        return new


def open_picture(data: bytes | Path) -> Image.Image | None:
    """A picture, or None when it is damaged or absurdly large."""
    try:
        image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
        if image.width * image.height > 40_000_000:
            return None
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return image


OPENCLIPART_SKIPPED = ("special", "unsorted/duplicates", "shapes/flowchart", "shapes/callouts", "buttons", "logos")


def openclipart(root: Path, credits: Credits) -> Items:
    base = root / "usr/share/openclipart/png"
    unique = Unique()
    for path in sorted(base.rglob("*.png")):
        name = path.relative_to(base).as_posix()
        if name.startswith(OPENCLIPART_SKIPPED) or path.is_symlink():
            continue
        image = open_picture(path)
        pixels = clean_cutout(image) if image is not None else None
        if pixels is not None and unique(pixels):
            yield PackItem(name, pixels)


def fluent_emoji(root: Path, credits: Credits) -> Items:
    credits.add("fluent-emoji", "Microsoft Corporation (Fluent Emoji), packaged by LobeHub")
    unique = Unique()
    for path in sorted((root / "package/assets").glob("*.webp")):
        image = open_picture(path)
        pixels = clean_cutout(image) if image is not None else None
        if pixels is not None and unique(pixels):
            yield PackItem(path.name, pixels)


VIEWS, ROOMS = 10, 60
PEOPLE, PERSON_SIDE = 525, 300
NOT_FREE_ENOUGH = re.compile(r"share.?alike|non.?commercial|by-sa|by-nc|no.?deriv|general public", re.IGNORECASE)


@dataclass(frozen=True)
class Furniture:
    """One entry of a catalogue: names in its archive, longest side in metres, how to turn the model upright."""

    archive: zipfile.ZipFile
    icon: str
    model: str
    metres: float
    upright: np.ndarray


def furniture(root: Path, credits: Credits, source: str) -> Iterator[Furniture]:
    """Every piece of furniture whose own licence file, if it has one, is free enough."""
    for path in sorted((root / "usr/share/sweethome3d/furniture").glob("*.sh3f")):
        archive = zipfile.ZipFile(path)
        names = set(archive.namelist())
        catalog = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
        catalog = catalog.encode("latin-1").decode("unicode_escape")
        entries: dict[str, dict[str, str]] = collections.defaultdict(dict)
        for key, number, value in re.findall(r"(?m)^(\w+)#(\d+)\s*=\s*(.*?)\s*$", catalog):
            entries[number][key] = value
        credits.add(source, f"{path.stem} catalogue, collected by Emmanuel Puybaret / eTeks (sweethome3d.com)")
        for entry in entries.values():
            icon, model = entry.get("icon", "").lstrip("/"), entry.get("model", "").lstrip("/")
            if icon not in names or model not in names:
                continue
            folder = model.rsplit("/", 1)[0] + "/"
            notes = [n for n in names if n.startswith(folder) and re.search("licen[sc]e", n, re.IGNORECASE)]
            if any(NOT_FREE_ENOUGH.search(archive.read(n).decode("latin-1")) for n in notes):
                continue
            credits.add(source, entry.get("creator", ""))
            sizes = [float(entry.get(side) or 0) for side in ("width", "depth", "height")]
            upright = np.eye(4)
            numbers = entry.get("modelRotation", "").split()
            if len(numbers) == 9:
                upright[:3, :3] = np.asarray([float(v) for v in numbers]).reshape(3, 3)
            yield Furniture(archive, icon, model, max(sizes) / 100 or 1.0, upright)


def furniture_icons(root: Path, credits: Credits) -> Items:
    unique = Unique()
    for piece in furniture(root, credits, "sweethome3d"):
        image = open_picture(piece.archive.read(piece.icon))
        pixels = clean_cutout(image) if image is not None else None
        if pixels is not None and unique(pixels):
            yield PackItem(piece.icon, pixels)


def furniture_turning(root: Path, credits: Credits) -> Items:
    """Every model as a strip of views from a camera that walks around it."""
    for number, piece in enumerate(furniture(root, credits, "sweethome3d")):
        mesh = load_obj(piece.archive, piece.model)
        if mesh is None:
            continue
        rng = np.random.default_rng([1, number])
        views = list(turning_views(mesh.transformed(piece.upright), rng, VIEWS, CUTOUT_SIDE))
        solid = np.max([view[..., 3] for view in views], axis=0)
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        if not rows.size or min(np.ptp(rows), np.ptp(columns)) < 24:
            continue
        name = piece.model.removesuffix(".obj")
        for i, view in enumerate(views):
            cut = view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            yield PackItem(f"{name}-{i}", np.ascontiguousarray(cut), strip=name)


def furnished_rooms(root: Path, credits: Credits) -> Items:
    """Rooms with furniture: scenes with depth, for which there are too few free photographs."""
    pieces = list(furniture(root, credits, "sweethome3d"))
    textures = [item.image for item in furniture_textures(root, credits)]
    for room in range(ROOMS):
        rng = np.random.default_rng([2, room])
        models = []
        for index in rng.choice(len(pieces), 14, replace=False):
            mesh = load_obj(pieces[index].archive, pieces[index].model, largest=2_500_000)
            if mesh is not None:
                models.append((mesh.transformed(pieces[index].upright), pieces[index].metres))
        for i, view in enumerate(room_views(models, textures, rng, 3, (512, 384))):
            yield PackItem(f"room{room}-{i}", view)


def people(root: Path, credits: Credits) -> Items:
    """People in clothes of their own, each as a strip of views while they move; fabrics are the furniture's."""
    sys.path.insert(0, str(root))
    from render_people import People

    credits.add("people", "NAVER Corporation (Anny, Apache-2.0); the MakeHuman community (CC0-1.0)")
    furniture_root = unpack_debian("sweethome3d-furniture", root.parent)
    bodies = People([item.image for item in furniture_textures(furniture_root, credits)])
    for number in range(PEOPLE):
        for i, view in enumerate(bodies.strip(np.random.default_rng([3, number]), 6, PERSON_SIDE)):
            yield PackItem(f"person{number}-{i}", view, strip=f"person{number}")


# ------------------------------------------------------------------------------------------------ freedoom


WAD = "usr/share/games/doom/freedoom2.wad"


def freedoom_sprites(root: Path, credits: Credits) -> Items:
    credits.add("freedoom", "Contributors to the Freedoom project")
    yield from doom_pictures.sprites(root / WAD)


def freedoom_textures(root: Path, credits: Credits) -> Items:
    unique = Unique()
    yield from (item for item in doom_pictures.textures(root / WAD) if unique(item.image))


# ------------------------------------------------------------------------------------------------ photographs


FREE_PHOTO_LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-3.0")


def lomiri_wallpapers(root: Path, credits: Credits) -> Items:
    """Only what debian/copyright puts under CC0 or CC-BY; most of the others are share-alike."""
    text = (root / "usr/share/doc/lomiri-wallpapers-16.04/copyright").read_text(encoding="utf-8")
    for stanza in text.split("\n\n"):
        files = re.search(r"(?m)^Files:\s*16\.04/(\S+\.(?:jpg|png))\s*$", stanza)
        owner = re.search(r"(?m)^Copyright:\s*(.+)$", stanza)
        licence = re.search(r"(?m)^License:\s*(\S+)\s*$", stanza)
        if not (files and owner and licence) or licence[1] not in FREE_PHOTO_LICENCES:
            continue
        path = root / "usr/share/backgrounds" / files[1]
        image = open_picture(path)
        if image is None:
            continue
        credits.add("lomiri-wallpapers", f"{files[1]}: {owner[1]}, {licence[1]}")
        yield from _crops(files[1], np.asarray(image.convert("RGB")))


def _crops(name: str, photo: np.ndarray) -> Items:
    """A large photograph as a whole, and in overlapping parts: each part is a scene of its own."""
    yield PackItem(f"{name}-whole", shrink(photo, PHOTO_SIDE))
    height, width = photo.shape[:2]
    for parts in (2, 3):
        h, w = int(height / parts * 1.25), int(width / parts * 1.25)
        for row in range(parts):
            for column in range(parts):
                y, x = (height - h) * row // (parts - 1), (width - w) * column // (parts - 1)
                crop = np.ascontiguousarray(photo[y : y + h, x : x + w])
                if crop.std() > 12:  # not just sky
                    yield PackItem(f"{name}-{parts}-{row}-{column}", shrink(crop, PHOTO_SIDE))


def hdri_views(root: Path, credits: Credits) -> Items:
    """Ordinary pictures taken in panoramas; they are small, so the views are soft, like far backgrounds."""
    try:
        import OpenEXR
    except ImportError:
        raise SystemExit("the HDRIs need OpenEXR: pip install OpenEXR") from None
    credits.add("pmndrs-hdri", "Poly Haven (CC0), packed by pmndrs")
    for path in sorted((root / "package/hdri").glob("*.exr.js")):
        encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", path.read_text(encoding="utf-8"))
        if encoded is None:
            continue
        with tempfile.NamedTemporaryFile(suffix=".exr") as file:
            file.write(base64.b64decode(encoded[1]))
            file.flush()
            radiance = OpenEXR.File(file.name).channels()["RGB"].pixels.astype(np.float32)
        for turn in range(8):
            for tilt in (-0.15, 0.25):
                picture = _look(radiance, turn * np.pi / 4, tilt)
                yield PackItem(f"{path.name[:-7]}-{turn}-{tilt:+.2f}", picture)


def _look(radiance: np.ndarray, turn: float, tilt: float, side: int = 448, view: float = 1.75) -> np.ndarray:
    """A camera's view (angle in radians) of an equirectangular panorama, exposed for what it sees."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-0.75, 0.75, side * 3 // 4))
    ray = np.stack([x * np.tan(view / 2), y * np.tan(view / 2), np.ones_like(x)], axis=-1)
    cos, sin = np.cos(tilt), np.sin(tilt)
    ray = ray @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    longitude = np.arctan2(ray[..., 0], ray[..., 2]) + turn
    latitude = np.arctan2(ray[..., 1], np.hypot(ray[..., 0], ray[..., 2]))
    height, width = radiance.shape[:2]
    map_x = ((longitude / (2 * np.pi) + 0.5) % 1 * width).astype(np.float32)
    map_y = ((latitude / np.pi + 0.5) * height).astype(np.float32)
    # in logarithms, or a lamp would throw dark rings around itself
    light = np.log1p(np.clip(np.nan_to_num(radiance, posinf=1e4), 0, 1e4)).astype(np.float32)
    seen = cv2.remap(light, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    seen = np.maximum(np.expm1(seen), 0) / max(float(np.percentile(seen, 70)), 1e-4) * 0.45
    return (np.clip(seen / (1 + 0.35 * seen), 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8)


def furniture_textures(root: Path, credits: Credits) -> Items:
    """Wood, cloth, stone, pictures on walls: the textures that the models wear."""
    unique = Unique()
    used: set[tuple[str, str]] = set()
    for piece in furniture(root, credits, "sweethome3d"):
        archive, folder = piece.archive, piece.model.rsplit("/", 1)[0] + "/"
        for name in archive.namelist():
            if not name.startswith(folder) or not name.lower().endswith((".jpg", ".png")):
                continue
            if (str(archive.filename), name) in used:
                continue
            used.add((str(archive.filename), name))
            image = open_picture(archive.read(name))
            if image is None or image.mode in ("RGBA", "LA", "PA") or min(image.size) < 96:
                continue
            pixels = np.asarray(image.convert("RGB"))
            if pixels.std() > 8 and unique(pixels):
                yield PackItem(name, shrink(np.ascontiguousarray(pixels), PHOTO_SIDE))


# ------------------------------------------------------------------------------------------------ all of them


SWEET_HOME = "https://www.sweethome3d.com"
ANNY = "https://github.com/naver/anny"


def debian(name: str) -> str:
    return f"debian:{name}"


UNPACK = {"debian": unpack_debian, "npm": unpack_npm, "pypi": unpack_pypi}

SOURCES = (
    Source(
        "cutouts",
        debian("openclipart-png"),
        About("openclipart", "public domain", "openclipart.org contributors", "https://openclipart.org"),
        openclipart,
    ),
    Source(
        "cutouts",
        "npm:@lobehub/fluent-emoji-3d",
        About("fluent-emoji", "MIT", "Microsoft, LobeHub", "https://github.com/lobehub/fluent-emoji"),
        fluent_emoji,
    ),
    Source(
        "cutouts",
        debian("sweethome3d-furniture"),
        About("sweethome3d", "CC0-1.0, CC-BY-3.0", "see CREDITS.md", SWEET_HOME, "icons"),
        furniture_icons,
    ),
    Source(
        "cutouts",
        debian("freedoom"),
        About(
            "freedoom", "BSD-3-Clause", "Freedoom contributors", "https://freedoom.github.io", "sprites", cyclic=True
        ),
        freedoom_sprites,
    ),
    Source(
        "cutouts",
        debian("sweethome3d-furniture"),
        About("sweethome3d-turning", "CC0-1.0, CC-BY-3.0", "see CREDITS.md", SWEET_HOME, "rendered models"),
        furniture_turning,
    ),
    Source(
        "cutouts",
        "pypi:anny roma trimesh",
        About("people", "Apache-2.0, CC0-1.0, CC-BY-3.0", "see CREDITS.md", ANNY, "rendered people"),
        people,
    ),
    Source(
        "photos",
        debian("sweethome3d-furniture"),
        About("sweethome3d-rooms", "CC0-1.0, CC-BY-3.0", "see CREDITS.md", SWEET_HOME, "rendered rooms"),
        furnished_rooms,
    ),
    Source(
        "photos",
        debian("lomiri-wallpapers-16.04"),
        About("lomiri-wallpapers", "CC0-1.0, CC-BY-4.0", "see CREDITS.md", "https://gitlab.com/ubports"),
        lomiri_wallpapers,
    ),
    Source(
        "photos",
        "npm:@pmndrs/assets",
        About("pmndrs-hdri", "CC0-1.0", "Poly Haven", "https://polyhaven.com", "views in HDRIs"),
        hdri_views,
    ),
    Source(
        "textures",
        debian("sweethome3d-furniture"),
        About("sweethome3d", "CC0-1.0, CC-BY-3.0", "see CREDITS.md", SWEET_HOME, "textures"),
        furniture_textures,
    ),
    Source(
        "textures",
        debian("freedoom"),
        About("freedoom", "BSD-3-Clause", "Freedoom contributors", "https://freedoom.github.io", "textures"),
        freedoom_textures,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the packs, outside the repository")
    parser.add_argument("--only", help="names of sources, with commas")
    parser.add_argument("--downloads", type=Path, help="folder to keep downloaded packages in")
    parser.add_argument("--no-rendering", action="store_true", help="leave out what is rendered (a quarter of an hour)")
    options = parser.parse_args()
    rendered = {source.about.source for source in SOURCES if source.about.note.startswith("rendered")}
    wanted = set(options.only.split(",")) if options.only else {source.about.source for source in SOURCES}
    if options.no_rendering:
        wanted -= rendered
    elif wanted & rendered and not hasattr(cv2, "triangleRasterize"):
        raise SystemExit("rendering needs OpenCV 5 (pip install 'opencv-python-headless>=5'), or --no-rendering")
    unknown = wanted - {source.about.source for source in SOURCES}
    if unknown:
        parser.error(f"no source called {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    work = options.downloads or Path(tempfile.mkdtemp(prefix="masklet-sources-"))
    work.mkdir(parents=True, exist_ok=True)
    credits = Credits()
    try:
        for source in SOURCES:
            if source.about.source in wanted:
                manager, _, package = source.package.partition(":")
                root = UNPACK[manager](package, work)
                things, pictures = write_pack(options.output / source.file, source.read(root, credits), source.about)
                print(f"{source.file}: {things} things, {pictures} pictures", flush=True)
    finally:
        if options.downloads is None:
            shutil.rmtree(work, ignore_errors=True)
    _describe(options.output, credits)


def _describe(folder: Path, credits: Credits) -> None:
    """SOURCES.json and CREDITS.md for all that is in the folder; names from earlier runs are kept."""
    path = folder / "SOURCES.json"
    named: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))["credits"] if path.is_file() else {}
    named |= {source: sorted(names, key=str.lower) for source, names in credits.names.items()}
    packs = [(file.name, Pack(file)) for file in sorted(folder.glob("*.npz"))]
    table = [
        {"file": name, "things": len(pack), "pictures": sum(map(pack.views, range(len(pack)))), **asdict(pack.about)}
        for name, pack in packs
    ]
    text = json.dumps({"packs": table, "credits": named}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    lines = ["# Credits", ""]
    for source, names in sorted(named.items()):
        lines += [f"## {source}", "", *(f"- {name}" for name in names), ""]
    (folder / "CREDITS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
