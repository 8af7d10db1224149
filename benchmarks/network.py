"""Seconds a frame of the network alone: the plain way against masklet's, formats, resolutions, numbers of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.straightforward import Straightforward
from benchmarks.timing import take_turns
from masklet.models.sam2 import FLOAT32_PARTS, SAM2, ImageFeatures, Memories
from masklet.models.shape import InputShape, input_shape
from masklet.models.specs import get_spec
from masklet.results import Scores
from masklet.runtime import cpu_has_fast_bfloat16
from masklet.settings import ABSENT
from masklet.tracking.engine import Engine
from masklet.tracking.memory import FrameMemory
from masklet.tracking.policies import SAM2Long
from masklet.tracking.policies.sam2long import STATE, Pathway, PathwayStep
from masklet.tracking.track import FrameSize, ObjectTrack

STAGES = ("encode_image", "attend_to_memory", "decode_masks", "encode_memory")


def random_model(name: str, dtype: torch.dtype) -> SAM2:
    """A network with made-up weights: they cost as much time as real ones."""
    torch.manual_seed(0)
    model = SAM2(get_spec(name)).eval().requires_grad_(False).to(dtype)
    for part, module in model.named_children():
        if f"{part}." in FLOAT32_PARTS:
            module.float()
    return model


def full_memories(model: SAM2, shape: InputShape, objects: int) -> Memories:
    """A steady state: every memory frame and pointer that the network reads."""
    spec = model.spec
    size = (objects, spec.memory_channels, shape.height // spec.stride, shape.width // spec.stride)
    frames = [torch.randn(size).to(torch.bfloat16) for _ in range(spec.num_memories)]
    slots = torch.arange(spec.num_memories)[None].expand(objects, -1)
    pointers = torch.randn(objects, spec.max_pointers, spec.width).to(model.dtype)
    return Memories(frames, slots, pointers, torch.rand(objects, spec.max_pointers))


class Frame:
    """One frame of tracking, stage by stage, for a network in its steady state."""

    def __init__(self, model: SAM2, size: int, objects: int = 1, shape: InputShape | None = None) -> None:
        shape = shape or InputShape.of(size, size)
        self.model, self.shape, self.objects = model, shape, objects
        self.pixels = torch.randn(1, 3, shape.height, shape.width)
        self.memories = full_memories(model, shape, objects)
        self.features: ImageFeatures = self.encode_image()
        self.embedding = self.attend_to_memory()
        self.logits = torch.randn(objects, 1, *shape.low_res)

    def encode_image(self) -> ImageFeatures:
        return self.model.encode_image(self.pixels, self.shape)

    def attend_to_memory(self) -> torch.Tensor:
        return self.model.attend_to_memory(self.features, self.memories)

    def decode_masks(self) -> None:
        found = self.model.decode_masks(self.features, self.embedding, batch=self.objects, multimask=True)
        self.model.object_pointer(found.tokens_bnc[:, 0], found.object_score_b1 > ABSENT)

    def encode_memory(self) -> torch.Tensor:
        visible = torch.ones(self.objects, 1, dtype=torch.bool)
        return self.model.encode_memory(self.features, self.logits, visible, binarize=False)

    def whole(self) -> None:
        for stage in STAGES:
            getattr(self, stage)()


def ways(name: str, size: int) -> dict[str, Frame]:
    """The plain way and masklet's own, in float32 and (where the CPU is made for it) bfloat16."""
    plain = Straightforward.of(random_model(name, torch.float32))
    frames = {
        "straightforward float32": Frame(plain, size),
        "masklet float32": Frame(random_model(name, torch.float32), size),
    }
    if cpu_has_fast_bfloat16():
        plain = Straightforward.of(random_model(name, torch.float32)).to(torch.bfloat16)
        frames["straightforward bfloat16"] = Frame(plain, size)
        frames["masklet bfloat16"] = Frame(random_model(name, torch.bfloat16), size)
    return frames


@torch.inference_mode()
def measure_ways(name: str, size: int, rounds: int) -> dict[str, Any]:
    """Every stage and the whole frame, each way in turn; ratios are to the straightforward float32 path."""
    frames = ways(name, size)
    result: dict[str, Any] = {"model": name, "size": size, "objects": 1, "seconds": {}, "speed-up": {}}
    for stage in (*STAGES, "whole"):
        runs: dict[str, Callable[[], object]] = {way: getattr(frame, stage) for way, frame in frames.items()}
        timings = take_turns(runs, rounds)
        base = timings["straightforward float32"].median
        result["seconds"][stage] = {way: timing.median for way, timing in timings.items()}
        result["speed-up"][stage] = {way: base / timing.median for way, timing in timings.items()}
    return result


@torch.inference_mode()
def measure_resolutions(name: str, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    model = random_model(name, dtype)
    timings = take_turns({str(size): Frame(model, size).whole for size in (1024, 512)}, rounds)
    ratio = timings["1024"].median / timings["512"].median
    seconds = {size: timing.median for size, timing in timings.items()}
    return {"model": name, "dtype": str(dtype), "seconds": seconds, "1024 costs": ratio}


@torch.inference_mode()
def measure_shapes(name: str, size: int, rounds: int) -> dict[str, Any]:
    """A whole frame of 16:9, squeezed into a square and in its own shape, against the plain square in float32."""
    shape = input_shape("fit", size, 16, 9)
    formats = [torch.float32, *([torch.bfloat16] if cpu_has_fast_bfloat16() else [])]
    plain = Straightforward.of(random_model(name, torch.float32))
    frames = {"straightforward square float32": Frame(plain, size)}
    for dtype in formats:
        model, called = random_model(name, dtype), str(dtype).removeprefix("torch.")
        frames[f"square {called}"] = Frame(model, size)
        frames[f"fit {called}"] = Frame(model, size, shape=shape)
    timings = take_turns({way: frame.whole for way, frame in frames.items()}, rounds)
    base = timings["straightforward square float32"].median
    return {
        "model": name,
        "size": size,
        "fit": [shape.height, shape.width],
        "seconds": {way: timing.median for way, timing in timings.items()},
        "speed-up": {way: base / timing.median for way, timing in timings.items()},
    }


@torch.inference_mode()
def measure_objects(name: str, size: int, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Cost of a frame for 1 to 16 objects, beside that many times one object."""
    model = random_model(name, dtype)
    timings = take_turns({str(n): Frame(model, size, n).whole for n in (1, 2, 4, 8, 16)}, rounds)
    one = timings["1"].median
    return {
        "model": name,
        "size": size,
        "dtype": str(dtype),
        "seconds": {n: timing.median for n, timing in timings.items()},
        "share of n times one": {n: timing.median / (int(n) * one) for n, timing in timings.items()},
    }


def steady_pathways(model: SAM2, size: int, count: int) -> tuple[Engine, ObjectTrack]:
    """An object with so many different histories, each of as many frames as it can read."""
    engine, track = Engine(model, SAM2Long(), image_size=size), ObjectTrack(1)
    spec, side, latest = model.spec, size // model.spec.stride, 100
    for frame in (0, *range(latest - spec.max_pointers + 1, latest + 1)):
        versions = count if frame else 1
        features = torch.randn(versions, spec.memory_channels, side, side).to(torch.bfloat16)
        pointers = torch.randn(versions, spec.width).to(model.dtype)
        track.bank.add(FrameMemory(frame, features, pointers, Scores(5.0, 0.9), is_prompt=frame == 0))
    frames = range(latest, latest - spec.max_pointers + 1, -1)
    steps = [tuple(PathwayStep(frame, version, 0.9, 5.0) for frame in frames) for version in range(count)]
    track.state = STATE.dump_json([Pathway(-0.1 * version, known) for version, known in enumerate(steps)])
    return engine, track


@torch.inference_mode()
def measure_pathways(name: str, size: int, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Cost of a whole frame, picture to memory, for an object with one history and with three."""
    model, image = random_model(name, dtype), np.zeros((size, size, 3), np.uint8)

    def frame(count: int) -> Callable[[], object]:
        engine, track = steady_pathways(model, size, count)
        place = FrameSize(size, size)
        return lambda: engine.track(engine.encode(image), place, 101, 1, [track])

    timings = take_turns({str(count): frame(count) for count in (1, 3)}, rounds)
    seconds = {count: timing.median for count, timing in timings.items()}
    return {
        "model": name,
        "size": size,
        "dtype": str(dtype),
        "seconds": seconds,
        "three cost": timings["3"].median / timings["1"].median,
    }
