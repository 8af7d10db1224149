"""Runs the tracker on a data set as its benchmark asks: told once about each object, then on its own."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from masklet.atomic import atomic_path
from masklet.errors import ExportError, InputError
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, MaskDataset, MaskSequence
from masklet.evaluation.result_files import MaskResults, find_box_files, read_boxes
from masklet.evaluation.score import Evaluation, PredictedMask, by_frame_name, score_dataset
from masklet.masks import rle
from masklet.masks.boxes import mask_to_box, to_xywh
from masklet.masks.distance import deepest_point
from masklet.masks.palette import davis_palette_bytes
from masklet.settings import Shape
from masklet.sources import Sources, refuse_source
from masklet.tracking.policies import DEFAULT_POLICY

if TYPE_CHECKING:
    from masklet.models.sam2 import SAM2
    from masklet.results import FrameMasks

PROMPTS = ("mask", "box", "click")


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """One way to track: a network, a policy, a kind of prompt.

    Attributes:
        name: what tables and folders call it.
        model: a loaded network.
        policy: name of a policy.
        prompt: what the tracker is told on an object's first frame: its mask, its box, or one click at the
            point of the mask that is farthest from its outline.
        resolution: side of the network's input, None for the model's own.
        shape: ``square`` or ``fit``.
        zoom: look at small objects through windows.
        keep: folder for the results as files, None to keep none.
        resume: take sequences that `keep` already holds from there.
        policy_settings: settings of the policy, where they are not the usual ones.
    """

    name: str
    model: SAM2
    policy: str = DEFAULT_POLICY
    prompt: str = "mask"
    resolution: int | None = None
    shape: Shape = "square"
    zoom: bool = False
    keep: Path | None = None
    resume: bool = False
    policy_settings: Mapping[str, Any] = field(default_factory=dict)


Finished = Callable[[str], None]


def evaluate_run(
    dataset: MaskDataset | BoxDataset, run: EvaluationRun, *, finished: Finished | None = None
) -> Evaluation:
    """Tracks and scores every sequence.

    Args:
        finished: called with each sequence's name when it is done.

    Raises:
        InputError: an unknown prompt, or one that this data set can't give (a mask where there are boxes).
        SourceError: results would be written over pictures or annotations of the data set.
        MediaError: a picture can't be read.
    """
    if run.prompt not in PROMPTS:
        raise InputError(f"unknown prompt '{run.prompt}'; known are {', '.join(PROMPTS)}")
    if isinstance(dataset, BoxDataset) and run.prompt == "mask":
        raise InputError(f"{dataset.name} has boxes and no masks: use --prompt box or --prompt click")
    clock = _Clock()
    predict: Callable[[Any], Iterator[Any]] = partial(_masks, dataset.name, run, clock)
    if isinstance(dataset, BoxDataset):
        predict = partial(_boxes, dataset.protocol.average_overlap, run, clock)
    with Sources(*{file.parent for sequence in dataset.sequences for file in sequence.files()}):
        return score_dataset(dataset, run.name, predict, finished, lambda: clock.frames_per_second)


def _masks(dataset: str, run: EvaluationRun, clock: _Clock, sequence: MaskSequence) -> Iterator[PredictedMask]:
    if not sequence.targets:
        raise InputError(
            f"{sequence.name}: the annotations show no object as {dataset} numbers them. Is it of another "
            "layout (--layout davis2016 for masks of 0 and 255)? Or leave it out with --sequences."
        )
    if run.keep is not None and run.resume and (run.keep / sequence.name).is_dir():
        yield by_frame_name(sequence, MaskResults(run.keep, sequence.name, merged=sequence.merged))
        return
    predicted = _packed(clock.of(track_masks(sequence, run)))
    yield predicted
    if run.keep is not None:
        _keep_masks(run.keep, sequence, predicted)


def _boxes(numbered: bool, run: EvaluationRun, clock: _Clock, sequence: BoxSequence) -> Iterator[np.ndarray]:
    resumes = run.resume and run.keep is not None and run.keep.is_dir()
    if run.keep is not None and resumes and (kept := find_box_files(run.keep, [sequence.name])):
        yield read_boxes(kept[0])
        return
    boxes = np.zeros_like(sequence.boxes)
    for frame, box in clock.of(track_boxes(sequence, run)):
        boxes[frame] = box
    if run.keep is not None:
        _keep_boxes(run.keep, sequence, boxes, numbered=numbered)
    yield boxes


def track_masks(sequence: MaskSequence, run: EvaluationRun) -> Iterator[tuple[int, dict[int, np.ndarray]]]:
    """Tracks a sequence's objects, each from the frame on which the benchmark shows it.

    Yields:
        (frame index, {object id: (H, W) bool}); objects appear from their prompt frame on. In label-map data
        sets a pixel that several objects claim goes to the one with the highest logit.
    """
    waiting = sorted(sequence.targets, key=lambda target: (target.prompt_frame, target.object_id))
    if not waiting:
        return
    first = waiting[0].prompt_frame
    with _session(sequence.image_paths(), run) as session:

        def introduce(frame: int) -> None:
            while waiting and waiting[0].prompt_frame == frame:
                target = waiting.pop(0)
                truth = sequence.truth(frame, target.object_id)
                session.add_prompt(frame, target.object_id, **prompt_of(truth, run.prompt, sequence.name))

        introduce(first)
        for result in session.propagate(start=first, direction="forward"):
            yield result.index, _separate(result) if sequence.exclusive else result.masks
            introduce(result.index + 1)


def track_boxes(sequence: BoxSequence, run: EvaluationRun) -> Iterator[tuple[int, np.ndarray]]:
    """Tracks a sequence's target from its first box.

    Yields:
        (frame index, (4,) float64 left, top, width, height of the mask's box); zeros while it is empty.
    """
    left, top, width, height = sequence.boxes[0].tolist()
    prompt: dict[str, Any] = {"box": (left, top, left + width, top + height)}
    if run.prompt == "click":
        prompt = {"points": [(left + width / 2, top + height / 2)], "labels": [1]}
    with _session(sequence.image_paths(), run) as session:
        session.add_prompt(0, 1, **prompt)
        for result in session.propagate(start=0, direction="forward"):
            box = result[1].box_xyxy
            yield result.index, np.zeros(4) if box is None else np.array(to_xywh(box))


def prompt_of(truth_hw: np.ndarray, kind: str, name: str) -> dict[str, Any]:
    box = mask_to_box(truth_hw)
    if box is None:
        raise InputError(f"{name}: the annotation of an object's first frame is empty")
    if kind == "mask":
        return {"mask": truth_hw}
    if kind == "box":
        return {"box": box}
    return {"points": [deepest_point(truth_hw)[0]], "labels": [1]}


def _separate(result: FrameMasks) -> dict[int, np.ndarray]:
    masks = result.masks
    if len(masks) < 2:
        return masks
    contested = np.sum([mask.astype(np.uint8) for mask in masks.values()], axis=0, dtype=np.uint8) > 1
    if not contested.any():
        return masks
    ids = list(masks)
    winner = np.argmax([result[i].logits for i in ids], axis=0)
    return {i: mask & (~contested | (winner == k)) for k, (i, mask) in enumerate(masks.items())}


def _session(images: list[Path], run: EvaluationRun) -> Any:
    from masklet.tracking.session import Session

    how = {"resolution": run.resolution, "shape": run.shape, "zoom": run.zoom, **run.policy_settings}
    return Session(images, model=run.model, policy=run.policy, **how)


class _Clock:
    """Frames and seconds spent in the tracker (not in scoring)."""

    def __init__(self) -> None:
        self._frames, self._seconds = 0, 0.0

    def of(self, frames: Iterable[Any]) -> Iterator[Any]:
        start = time.perf_counter()
        for item in frames:
            self._seconds += time.perf_counter() - start
            self._frames += 1
            yield item
            start = time.perf_counter()

    @property
    def frames_per_second(self) -> float | None:
        return self._frames / self._seconds if self._frames else None


def _packed(frames: Iterable[tuple[int, dict[int, np.ndarray]]]) -> PredictedMask:
    """A sequence's masks, kept as run lengths: a long video's masks fit into memory."""
    packed = {(frame, number): rle.encode(mask) for frame, masks in frames for number, mask in masks.items()}
    height, width = next((found["size"] for found in packed.values()), (0, 0))

    def mask(frame: int, object_id: int) -> np.ndarray:
        found = packed.get((frame, object_id))
        return np.zeros((height, width), bool) if found is None else rle.decode(found)

    return mask


def _keep_masks(folder: Path, sequence: MaskSequence, predicted: PredictedMask) -> None:
    """Writes a sequence's PNGs into a hidden folder, then gives it its name: a kept sequence is complete."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{sequence.name}."))
        try:
            temporary.chmod(0o755)
            ids = [target.object_id for target in sequence.targets]
            for index, frame in enumerate(sequence.frames):
                masks = {object_id: predicted(index, object_id) for object_id in ids}
                if sequence.exclusive:
                    labels = np.zeros(masks[ids[0]].shape, np.uint8)
                    for object_id, mask in masks.items():
                        labels[mask] = object_id
                    picture = Image.fromarray(labels).convert("P")
                    picture.putpalette(davis_palette_bytes())
                    picture.save(temporary / f"{frame}.png")
                    continue
                for object_id, mask in masks.items():
                    place = temporary / f"{object_id:03d}"
                    place.mkdir(exist_ok=True)
                    Image.fromarray(mask).convert("L").save(place / f"{frame}.png")
            final = folder / sequence.name
            for kept in final.rglob("*"):
                refuse_source(kept)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise ExportError(f"the results of {sequence.name} can't be written to {folder}: {error}") from error


def _keep_boxes(folder: Path, sequence: BoxSequence, boxes: np.ndarray, *, numbered: bool) -> None:
    name = sequence.name
    path = folder / name / f"{name}_001.txt" if numbered else folder / f"{name}.txt"
    lines = (",".join(f"{value:.3f}" for value in box) + "\n" for box in boxes)
    with atomic_path(path, error=ExportError) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
