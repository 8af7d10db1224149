#!/usr/bin/env python
"""Trains the small network that pulls the outlines of masks to the edges of pictures (masklet.masks.edges).

    python tools/fetch_training_sources.py --output ~/masklet-sources
    python tools/train_edges.py --sources ~/masklet-sources --output src/masklet/masks/edges.npz

Scenes are made, never annotated: a shape cut out of one picture lies on another, blurred, lit, shaded and
compressed as films are. Each comes with a mask as a tracker would give it, coarse and a bit off, and the network
learns what is right within the band in which that mask may be wrong. Two cores need about half an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from masklet.masks.edges import DILATIONS, WIDTH
from masklet.training.synthesis.packs import Pack, find_packs

SIDE = 112
CROP = 96
Random = np.random.Generator


# ------------------------------------------------------------------------------------------------ pictures


class Pictures:
    """What scenes are cut from: photos and textures, decoded once, and cut-outs, decoded when drawn."""

    def __init__(self, folder: Path, rng: Random) -> None:
        photos = [Pack(path) for path in find_packs(folder, "photos")]
        textures = [Pack(path) for path in find_packs(folder, "textures")]
        self.photos = [pack.read(i) for pack in photos for i in range(len(pack))]
        places = [(pack, i) for pack in textures for i in range(len(pack))]
        chosen = rng.permutation(len(places))[:400]
        self.textures = [places[k][0].read(places[k][1]) for k in chosen]
        self.cutouts = [Pack(path) for path in find_packs(folder, "cutouts")]
        if not self.photos or not self.cutouts:
            raise SystemExit(f"{folder} has no packs of photos and cut-outs; see tools/fetch_training_sources.py")

    def ground(self, rng: Random, side: int) -> np.ndarray:
        """A square of some picture at some scale, float32."""
        for _ in range(50):
            pool = self.textures if self.textures and rng.random() < 0.25 else self.photos
            image = pool[rng.integers(len(pool))][..., :3]
            scale = rng.uniform(0.5, 2.0)
            size = int(side * scale)
            if min(image.shape[:2]) <= size:
                continue
            y, x = rng.integers(image.shape[0] - size), rng.integers(image.shape[1] - size)
            part = image[y : y + size, x : x + size]
            if part.std() < 4 and rng.random() < 0.7:
                continue
            how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
            part = cv2.resize(part, (side, side), interpolation=how).astype(np.float32)
            part = part[:, ::-1] if rng.random() < 0.5 else part
            return part.transpose(1, 0, 2) if rng.random() < 0.3 else part
        return np.full((side, side, 3), rng.uniform(0, 255), np.float32)

    def cutout(self, rng: Random, side: int) -> tuple[np.ndarray, np.ndarray] | None:
        """A thing with its colours, turned and scaled so that its outline passes near the middle."""
        for _ in range(20):
            pack = self.cutouts[rng.integers(len(self.cutouts))]
            cutout = pack.read(int(rng.integers(len(pack))))
            if cutout.shape[2] != 4:  # opaque everywhere
                continue
            solid = cutout[..., 3] > 127
            rim = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
            ys, xs = np.nonzero(rim)
            if not ys.size or not 0.05 < solid.mean() < 0.97:
                continue
            scale = np.exp(rng.uniform(np.log(0.5), np.log(2.2))) * side / max(cutout.shape[:2])
            if scale > 2.5:
                continue
            k, angle = rng.integers(len(ys)), rng.uniform(-0.5, 0.5)
            turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            shift = side / 2 + rng.normal(0, side / 8, 2) - turn @ (xs[k], ys[k])
            matrix = np.column_stack((turn, shift)).astype(np.float32)
            how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
            placed = cv2.warpAffine(cutout, matrix, (side, side), flags=how).astype(np.float32)
            return placed[..., 3] / 255, placed[..., :3]
        return None


# -------------------------------------------------------------------------------------------------- scenes


def blob(rng: Random, side: int) -> np.ndarray:
    field, size = np.zeros((side, side), np.float32), rng.uniform(20, 90)
    for octave in range(3):
        coarse = rng.standard_normal((max(2, int(side / size) + 2),) * 2).astype(np.float32)
        field += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * 0.45**octave
        size /= 2.2
    return (field > np.quantile(field, rng.uniform(0.3, 0.7))).astype(np.float32)


def limbs(rng: Random, side: int) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 4)):
        joints = np.cumsum(rng.normal(0, side / 7, (rng.integers(4, 9), 2)), axis=0)
        joints += side / 2 + rng.normal(0, side / 8, 2) - joints.mean(axis=0)
        along = np.linspace(0, len(joints) - 1, 60)
        line = np.column_stack([np.interp(along, range(len(joints)), joints[:, k]) for k in (0, 1)])
        points = np.rint(cv2.blur(line, (1, 9)) * 8).astype(np.int32)
        cv2.polylines(mask, [points], False, 1, int(rng.integers(4, 34)), cv2.LINE_8, 3)
    return mask.astype(np.float32)


def polygon(rng: Random, side: int) -> np.ndarray:
    corners = int(rng.integers(3, 9))
    angle, radius = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(0.15, 0.7, corners) * side
    x, y = side / 2 + rng.normal(0, side / 5, 2)
    points = np.column_stack((x + radius * np.cos(angle), y + radius * np.sin(angle)))
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    if rng.random() < 0.5:
        return (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(2, 8)) > 0.5).astype(np.float32)
    return mask.astype(np.float32)


def shape(rng: Random, pictures: Pictures, side: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A mask that is neither empty nor full, and its own colours if it has any."""
    while True:
        kind, colours, cutout = rng.random(), None, None
        if kind < 0.45:
            cutout = pictures.cutout(rng, side)
        if cutout is not None:
            mask, colours = cutout
        else:
            mask = (blob, limbs, polygon)[int(rng.choice(3, p=(0.5, 0.25, 0.25)))](rng, side)
        if rng.random() < 0.4:
            other = (blob if rng.random() < 0.6 else polygon)(rng, side)
            mask = np.maximum(mask, other) if rng.random() < 0.5 else mask * (1 - other)
        if 0.05 < mask.mean() < 0.95:
            return mask, colours


def graded(rng: Random, picture: np.ndarray) -> np.ndarray:
    picture = (picture - 128) * rng.uniform(0.6, 1.25) + 128 + rng.normal(0, 18) + rng.normal(0, 10, 3)
    if rng.random() < 0.15:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    return picture.astype(np.float32)


def scene(rng: Random, pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (SIDE, SIDE, 3), and its true mask, uint8 0..255."""
    side = 2 * SIDE
    mask, colours = shape(rng, pictures, side)
    front, back = pictures.ground(rng, side), pictures.ground(rng, side)
    if colours is not None and rng.random() < 0.45:
        share = rng.uniform(0, 0.35)
        front = colours * (1 - share) + front * share
    front, back = graded(rng, front), graded(rng, back)
    if rng.random() < 0.35:  # camouflage
        front = front + rng.uniform(0.4, 1) * (back.mean((0, 1)) - front.mean((0, 1)))
    if rng.random() < 0.4:  # round things are darker or lighter towards their edge
        inner = cv2.GaussianBlur(mask, (0, 0), rng.uniform(3, 25))
        front = front * (1 + rng.uniform(-0.6, 0.4) * (1 - inner))[..., None]
    if rng.random() < 0.35:  # and throw shadows
        dy, dx = rng.integers(-14, 15, 2)
        shadow = cv2.GaussianBlur(np.roll(mask, (dy, dx), (0, 1)), (0, 0), rng.uniform(2, 12))
        back = back * (1 - rng.uniform(0.2, 0.7) * shadow)[..., None]
    if rng.random() < 0.6:  # what lies behind is out of focus
        back = cv2.GaussianBlur(back, (0, 0), rng.uniform(0.5, 4))
    alpha = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 2.2)) if rng.random() < 0.4 else mask
    image = np.clip(front * alpha[..., None] + back * (1 - alpha[..., None]), 0, 255).astype(np.float32)
    if rng.random() < 0.15:  # motion
        size = int(rng.integers(3, 10))
        kernel = np.zeros((size, size), np.float32)
        cv2.line(kernel, (0, int(rng.integers(size))), (size - 1, int(rng.integers(size))), 1)
        image, alpha = (cv2.filter2D(part, -1, kernel / kernel.sum()) for part in (image, alpha))
    small = (SIDE, SIDE)
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(alpha.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1))
    if rng.random() < 0.15:  # a film that was scaled up
        half = cv2.resize(image, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        image = cv2.resize(half, small, interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + rng.normal(0, rng.uniform(0, 4), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image, np.rint(alpha * 255).astype(np.uint8)


def make_scenes(rng: Random, pictures: Pictures, count: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    done = 0
    while done < count:
        image, mask = scene(rng, pictures)
        if 0.03 < (mask > 127).mean() < 0.97:
            images[done], masks[done] = image, mask
            done += 1
    return images, masks


# -------------------------------------------------------------------------------------------- coarse masks


def coarse_depth(rng: Random, mask: np.ndarray) -> np.ndarray:
    """What the network is told: depth in a coarse, slightly wrong mask, in radii, cut at 2 and halved to -1..1."""
    side = mask.shape[0]
    cell = np.exp(rng.uniform(np.log(1.2), np.log(8)))
    stretch = np.exp(rng.uniform(-0.35, 0.35))  # frames are wide, the network's masks square
    cells = [max(6, round(side / (cell * k))) for k in (stretch, 1 / stretch)]
    places = max(2, int(side / (rng.uniform(1.5, 4) * cell)) + 2)
    bend = rng.standard_normal((places, places, 2)).astype(np.float32)
    most = 0.55 if rng.random() < 0.8 else 0.9
    bend = cv2.resize(bend, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(rng.uniform(0, most) * cell)
    grid = np.stack(np.meshgrid(*2 * [np.arange(side, dtype=np.float32)]), axis=-1) + bend
    given = cv2.remap(mask, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if cell > 1.5:
        shift = np.array([[1, 0, rng.uniform(0, cell)], [0, 1, rng.uniform(0, cell)]])
        given = cv2.warpAffine(given, shift, (side, side), borderMode=cv2.BORDER_REPLICATE)
        given = cv2.resize(given, cells, interpolation=cv2.INTER_AREA)
        blur = rng.uniform(0, 1)
        if blur > 0.25:
            given = cv2.GaussianBlur(given, (0, 0), blur)
        if rng.random() < 0.3:
            given = given + rng.normal(0, 0.05, given.shape)
        given = np.clip(given + rng.uniform(-0.12, 0.12), 1e-3, 1 - 1e-3).astype(np.float32)
        given = np.log(given / (1 - given)) if rng.random() < 0.6 else given - 0.5
        given = cv2.resize(given, (side, side), interpolation=cv2.INTER_CUBIC)
        shift[:, 2] *= -1
        inside = cv2.warpAffine(given, shift, (side, side), borderMode=cv2.BORDER_REPLICATE) > 0
    else:
        inside = given > 0.5
    radius = max(1.0, cell * np.exp(rng.uniform(np.log(0.9), np.log(1.7))))
    if rng.random() < 0.2:  # a mask that is better than it is said to be
        radius = max(radius, rng.uniform(2, 9))
    distances = [cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (inside, ~inside)]
    depth = np.where(inside, distances[0] - 0.5, 0.5 - distances[1])
    return np.clip(depth / radius, -2, 2).astype(np.float32) / 2


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def make_batch(rng: Random, images: np.ndarray, masks: np.ndarray, size: int) -> Batch:
    """Inputs (n, 4, CROP, CROP), true masks and weights (n, 1, CROP, CROP)."""
    inputs = np.zeros((size, 4, CROP, CROP), np.float32)
    truth, weights = np.zeros((2, size, 1, CROP, CROP), np.float32)
    for k in range(size):
        i = rng.integers(len(images))
        y, x = rng.integers(SIDE - CROP + 1, size=2)
        image, mask = (stack[i][y : y + CROP, x : x + CROP] for stack in (images, masks))
        flips = int(rng.integers(8))
        if flips & 1:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if flips & 2:
            image, mask = image[::-1], mask[::-1]
        if flips & 4:
            image, mask = image.transpose(1, 0, 2), mask.T
        if rng.random() < 0.04:  # night, fog, white walls: nothing to be seen
            image = np.clip(rng.uniform(0, 255) + rng.normal(0, rng.uniform(0, 3), image.shape), 0, 255)
        share = np.ascontiguousarray(mask).astype(np.float32) / 255
        share = 1 - share if rng.random() < 0.5 else share  # object and ground are alike to it
        inputs[k, :3] = (image.transpose(2, 0, 1)[rng.permutation(3)] / 255 - 0.5) * 4
        inputs[k, 3] = coarse_depth(rng, share)
        truth[k, 0] = share
        weights[k, 0] = np.where(np.abs(inputs[k, 3]) < 0.9, 1, 0.05) * np.sqrt(np.abs(share - 0.5) * 2)
        weights[k, 0] /= weights[k, 0].mean() + 0.02
    return torch.from_numpy(inputs), torch.from_numpy(truth), torch.from_numpy(weights)


# ------------------------------------------------------------------------------------------------ training


class EdgeNet(nn.Module):
    """The network that `masklet.masks.edges` runs in numpy. Works on a grid of half the size inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=d, dilation=d) for d in DILATIONS)
        self.last = nn.Conv2d(WIDTH, 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, 4, h, w): RGB -2..2 and halved depth -1..1; to logits (n, 1, h, w). Sides must be even."""
        hidden = functional.relu(self.first(functional.pixel_unshuffle(inputs, 2)))
        for block in self.blocks:
            hidden = functional.relu(block(hidden) + hidden)
        return functional.pixel_shuffle(self.last(hidden), 2) + 4 * inputs[:, 3:]


def remaining_error(net: EdgeNet, batches: Sequence[Batch]) -> float:
    """Wrong pixels in the band after, as a share of those before."""
    after = before = 0
    with torch.no_grad():
        for inputs, truth, _ in batches:
            band, right = inputs[:, 3:].abs() < 0.95, truth > 0.5
            after += int((((net(inputs) > 0) != right) & band).sum())
            before += int((((inputs[:, 3:] > 0) != right) & band).sum())
    return after / max(before, 1)


def save(net: EdgeNet, path: Path, about: dict[str, object]) -> None:
    layers = [net.first, *net.blocks, net.last]
    arrays: dict[str, np.ndarray] = {"about": np.array(json.dumps(about))}
    for k, layer in enumerate(layers):
        arrays[f"weight{k}"] = layer.weight.detach().numpy().astype(np.float16)
        arrays[f"bias{k}"] = layer.bias.detach().numpy().astype(np.float16)
    np.savez_compressed(path, **arrays)


def load(net: EdgeNet, path: Path) -> None:
    with np.load(path) as stored, torch.no_grad():
        for k, layer in enumerate([net.first, *net.blocks, net.last]):
            layer.weight.copy_(torch.from_numpy(stored[f"weight{k}"].astype(np.float32)))
            layer.bias.copy_(torch.from_numpy(stored[f"bias{k}"].astype(np.float32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True, help="folder of packs")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    images, masks = make_scenes(rng, Pictures(arguments.sources, rng), arguments.scenes)
    print(f"{len(images)} scenes", flush=True)
    held_out = max(1, len(images) // 20)
    checks = [make_batch(rng, images[-held_out:], masks[-held_out:], 32) for _ in range(8)]
    net = EdgeNet()
    if arguments.start is not None:
        load(net, arguments.start)
    optimizer = torch.optim.AdamW(net.parameters(), arguments.rate, weight_decay=1e-4)
    losses, begin = [], time.monotonic()
    for step in range(arguments.steps):
        for group in optimizer.param_groups:
            warm, left = min(1.0, (step + 1) / 100), 1 - step / arguments.steps
            group["lr"] = arguments.rate * warm * max(0.01, left)
        inputs, truth, weights = make_batch(rng, images[:-held_out], masks[:-held_out], arguments.batch)
        every = functional.binary_cross_entropy_with_logits(net(inputs), truth, reduction="none")
        loss = (every * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 250 == 0 or step + 1 == arguments.steps:
            left_over = remaining_error(net, checks)
            spent = time.monotonic() - begin
            print(f"{step + 1} {spent:.0f}s loss {np.mean(losses[-250:]):.4f} left {left_over:.4f}", flush=True)
            about = {"steps": step + 1, "scenes": len(images), "seed": arguments.seed, "error_left": left_over}
            save(net, arguments.output, about)


if __name__ == "__main__":
    main()
