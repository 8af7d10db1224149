"""The training loop: clips in, weights out; can be stopped, killed and gone on with at any time."""

from __future__ import annotations

import copy
import signal
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from masklet.errors import CheckpointError, DeviceMemoryError, InputError, MaskletError, MaskletWarning
from masklet.models.sam2 import SAM2, ImageFeatures
from masklet.models.specs import get_spec
from masklet.runtime import is_out_of_memory, pick_device, pick_dtype
from masklet.training.batches import ClipBatch, ClipBatches, ClipSource
from masklet.training.initialise import initialise
from masklet.training.losses import balanced_loss, total_loss
from masklet.training.optimisation import Average, Optimiser, cosine, freeze
from masklet.training.published_trunks import read_trunk
from masklet.training.record import Record
from masklet.training.run_folder import RunFolder
from masklet.training.settings import Stage, TrainSettings
from masklet.training.unroll import Unroller
from masklet.training.validation import Validation, validate
from masklet.weights.checkpoints import build, read_checkpoint, write_safetensors

#: Steps whose numbers are averaged for one report.
REPORT_EVERY = 20
#: Slow steps are reported on after so many seconds.
_REPORT_SECONDS = 30.0
#: So many steps in a row without finite gradients end the run.
_HOPELESS = 20


@dataclass(frozen=True)
class TrainReport:
    """How a run is doing.

    Attributes:
        step: steps done.
        steps: steps in all.
        stage: number of the stage, from 0.
        terms: averages since the last report: ``loss``, its terms, ``true_iou`` of the chosen candidates, ``gradient``.
            Empty in the report on the weights that a run begins with.
        steps_per_second, frames_per_second: throughput since the last report.
        validation: where one was made just now.
    """

    step: int
    steps: int
    stage: int
    terms: dict[str, float]
    steps_per_second: float
    frames_per_second: float
    validation: Validation | None = None


class _ForegroundHead(nn.Module):
    """Tells any object from the background at three scales; only there to get an untrained encoder going."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in widths)

    def forward(self, features: ImageFeatures, batch: ClipBatch) -> Tensor:
        shown = batch.shown_bthw.float().flatten(0, 1)[:, None]
        known = torch.zeros_like(batch.shown_bthw[..., 0, 0], dtype=torch.bool)
        known[batch.owner_k] = batch.known_kt
        loss = shown.new_zeros(())
        for head, level in zip(self.heads, (*features.high_res_bchw, features.embedding_bchw), strict=True):
            logits = head(level.float())
            each = balanced_loss(logits, F.interpolate(shown, logits.shape[-2:], mode="area"))[:, 0]
            loss = loss + (each * known.flatten()).sum() / known.sum().clamp(min=1)
        return loss / len(self.heads)


class Trainer:
    """One run.

    Args:
        settings: see :class:`~masklet.training.settings.TrainSettings`.
        folder: where it lives; a run that is there already goes on, with these settings.
        source: gives the clips of a stage.
        validation: clips with ``frames_thwc`` and ``labels_thw`` that aren't learned from.
        device: as everywhere.
        workers: processes that make clips (0: the training process does).
        anew: mirror, reverse and colour the clips by chance; not for a source that does so itself.

    Raises:
        InputError, CheckpointError, DeviceError: the settings, weights or device can't be used.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: RunFolder,
        source: Callable[[Stage], ClipSource],
        validation: Sequence[Any] = (),
        *,
        device: str | torch.device | None = None,
        workers: int = 1,
        anew: bool = True,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.source = source
        self.validation = validation
        self.workers = workers
        self.anew = anew
        self.device = pick_device(device)
        self.dtype = _precision(settings.precision, self.device)
        state = folder.read_state()
        self.model = _begin(settings, going_on=state is not None).to(self.device).train()
        self.size = self.model.spec.check_resolution(settings.resolution or self.model.spec.image_size)
        freeze(self.model, settings.freeze)
        self.unroller = Unroller(self.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            widths = (*self.model.spec.high_res, self.model.spec.width)
            self.foreground = _ForegroundHead(widths).to(self.device) if settings.aid else None
        self.optimiser = Optimiser(self.model, settings, self.foreground)
        self.average = Average(self.model, settings.ema)
        self.judge = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.step = 0
        self.best = -1.0
        self._load(state)

    # --- state -----------------------------------------------------------------------------------------------------

    def _load(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            try:
                self.model.load_state_dict(state["model"])
                self.average.load_state_dict(state["average"])
                self.optimiser.load_state_dict(state["optimiser"])
                if self.foreground is not None and state["foreground"] is not None:
                    self.foreground.load_state_dict(state["foreground"])
                self.step, self.best = state["step"], state["best"]
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                why = str(error).strip().partition("\n")[0].rstrip(":") or type(error).__name__
                raise CheckpointError(
                    f"the run in {self.folder.path} can't go on with these settings ({why}): another network, "
                    "optimiser or choice of what is frozen needs a run of its own. It can begin with the weights in "
                    f"{self.folder.weights}"
                ) from error
        self.folder.write_settings(self.settings)

    def save(self) -> None:
        """Write everything that going on needs, and the averaged weights for use."""
        self.folder.write_state(
            {
                "step": self.step,
                "best": self.best,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "foreground": None if self.foreground is None else self.foreground.state_dict(),
            }
        )
        self._write_weights(self.folder.weights)

    def _write_weights(self, path: Any) -> None:
        state = {key: value.float().contiguous().cpu() for key, value in self.average.state.items()}
        write_safetensors(state, self.model.spec, path)

    # --- the loop --------------------------------------------------------------------------------------------------

    def run(self, report: Callable[[TrainReport], None], stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``stop()``; the state is saved either way. Return whether the end was reached.

        Raises:
            CheckpointError: the gradients stopped being finite.
        """
        settings = self.settings
        record = Record(self.folder.events, self.step)
        sums: dict[str, float] = defaultdict(float)
        since = saved = time.monotonic()
        frames, hopeless, begun = 0, 0, self.step

        def tell(passed: float, validated: Validation | None) -> None:
            count = sums.pop("steps", 0)
            means = {name: value / count for name, value in sums.items()}
            stage = settings.stage_at(max(0, self.step - 1))[0]
            speeds = count / passed, frames / passed
            said = TrainReport(self.step, settings.steps, stage, means, *speeds, validated)
            record.write(said, settings.learning_rate * self._share())
            report(said)
            sums.clear()

        try:
            if not self.step and settings.start is not None and self.validation:
                tell(1.0, self._validate(record))
            for batch in self._batches():
                if self.step == begun:  # the loader's processes take a while to start
                    since = time.monotonic()
                terms = self._learned(batch) if len(batch.owner_k) else {}
                hopeless = 0 if np.isfinite(terms.get("gradient", np.nan)) else hopeless + 1
                if hopeless >= _HOPELESS:
                    raise CheckpointError(
                        f"the training in {self.folder.path} has learned nothing in the {hopeless} steps before "
                        f"{self.step}: if the clips show objects, it has diverged; go on from the last save with a "
                        "lower learning rate"
                    )
                self.step += 1
                frames += batch.frames_bthwc.shape[0] * batch.frames_bthwc.shape[1]
                for name, value in terms.items():
                    sums[name] += value
                last, validated = self.step >= settings.steps, None
                if self.step % settings.validate_every == 0 or last:
                    begin = time.monotonic()
                    validated = self._validate(record)
                    since += time.monotonic() - begin
                passed = max(time.monotonic() - since, 1e-9)
                due = self.step % REPORT_EVERY == 0 or self.step == begun + 1 or passed > _REPORT_SECONDS
                if due or last or validated is not None:
                    tell(passed, validated)
                    since, frames = time.monotonic(), 0
                if time.monotonic() - saved > settings.save_minutes * 60:
                    self.save()
                    saved = time.monotonic()
                if stop():
                    break
        finally:
            record.close()
        self.save()
        return self.step >= settings.steps

    def _share(self) -> float:
        return cosine(self.step, self.settings.steps, self.settings.warm_up)

    def _learned(self, batch: ClipBatch) -> dict[str, float]:
        try:
            return self._learn(batch.to(self.device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            clips, frames, side = batch.frames_bthwc.shape[:3]
            raise DeviceMemoryError(
                f"{self.device} has too little memory for {clips} clips of {frames} frames of {side}x{side} "
                f"and {len(batch.owner_k)} objects: take fewer or shorter clips, fewer objects, or a lower resolution"
            ) from error

    def _learn(self, batch: ClipBatch) -> dict[str, float]:
        """One step: its loss terms and the norm of its ``gradient``."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed & 0xFFFFFFFF, 2, self.step])
        aid = max(0.0, 1 - self.step / (settings.aid * settings.steps)) if settings.aid else 0.0
        plan, losses = settings.prompts, settings.losses
        if batch.frames_bthwc.shape[1] == 1:  # there, a mask prompt asks nothing
            plan = plan.model_copy(update={"mask": min(plan.mask, 0.1)})
        weights = dict(losses) | {"focal": losses.focal * (1 - aid), "balanced": aid}
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            features = self.unroller.encode(batch.frames_bthwc)
            said = self.unroller(features, batch, plan, rng, trust_truth=aid).together()
        loss = torch.zeros((), device=self.device)
        terms: dict[str, float] = defaultdict(float)
        whole = sum(len(guess.truth_khw) for guess in said)
        for guess in said:
            part, record = total_loss(guess, weights, guess.truth_khw.shape[-1] // losses.stride)
            share = len(guess.truth_khw) / whole
            loss = loss + share * part
            for name, value in record.items():
                terms[name] += share * float(value)
        if self.foreground is not None and aid:
            loss = loss + aid * self.foreground(features, batch)
        loss.backward()
        norm = self.optimiser.step(settings.learning_rate * self._share(), settings.clip_norm)
        self.average.update(self.model)
        return {"loss": float(loss.detach()), "gradient": norm, "steps": 1.0, **terms}

    def _validate(self, record: Record) -> Validation | None:
        if not self.validation:
            return None
        self.judge.load_state_dict(self.average.state)
        result = validate(self.judge, self.validation, resolution=self.size)
        if result.mean > self.best:
            self.best = result.mean
            self._write_weights(self.folder.best)
        record.strips(self.step, self.judge, self.validation[:4], self.size)
        return result

    def _batches(self) -> Iterator[ClipBatch]:
        """The batches from the current step to the end, stage by stage."""
        settings = self.settings
        while self.step < settings.steps:
            number, stage = settings.stage_at(self.step)
            batches = ClipBatches(
                self.source(stage),
                stage.clips,
                stage.objects,
                settings.seed + number,
                echo=settings.echo,
                anew=self.anew,
            )
            first = settings.batches_before(self.step)
            for batch in _loaded(batches, first, self.workers, pinned=self.device.type == "cuda"):
                if isinstance(batch, MaskletError):
                    self.save()
                    raise batch
                yield batch
                if self.step >= settings.steps or settings.stage_at(self.step)[0] != number:
                    break


class _Reported(Dataset["ClipBatch | MaskletError"]):
    """Hands errors over instead of raising them: PyTorch would put the loader process's traceback into the message."""

    def __init__(self, batches: ClipBatches) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> ClipBatch | MaskletError:
        try:
            return self.batches[number]
        except MaskletError as error:
            # One of masklet.errors, which are made of their message alone and so can be sent.
            kind = next(kind for kind in type(error).__mro__ if kind.__module__ == MaskletError.__module__)
            return kind(str(error))


def _loaded(batches: ClipBatches, first: int, workers: int, *, pinned: bool) -> Iterator[ClipBatch | MaskletError]:
    """Batches from number ``first`` on, made ahead by other processes."""
    loader: DataLoader[ClipBatch | MaskletError] = DataLoader(
        _Reported(batches),
        batch_size=None,
        sampler=range(first, sys.maxsize // 2),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_settle_worker,
        pin_memory=pinned,
        # A forked process would inherit the threads' locks of OpenCV and OpenMP, but not the threads that free them.
        multiprocessing_context="spawn" if workers else None,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        yield MaskletError(f"a process that makes clips was ended from outside, perhaps for want of memory ({error})")


def _as_a_note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
    if issubclass(category, MaskletWarning):
        return f"note: {message}\n"
    return _PYTHON_WAY(message, category, *place, **more)


_PYTHON_WAY = warnings.formatwarning


def _settle_worker(_: int) -> None:
    warnings.formatwarning = _as_a_note
    # Ctrl-C is the training process's to handle; OpenCV's own threads would crowd it out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _begin(settings: TrainSettings, *, going_on: bool) -> SAM2:
    if settings.start is not None and settings.start_trunk is not None:
        raise InputError("start brings a trunk already: leave out start_trunk, or start")
    # A run that goes on has all weights in its state; what it began with may be gone.
    if settings.start is None or going_on:
        model = initialise(SAM2(get_spec(settings.model)), settings.seed)
        if settings.start_trunk is not None and not going_on:
            model.image_encoder.trunk.load_state_dict(read_trunk(settings.start_trunk, model.spec))
        return model
    checkpoint = read_checkpoint(settings.start)
    wanted = get_spec(settings.model).name
    if checkpoint.spec.name != wanted:
        raise InputError(f"{settings.start} holds weights of {checkpoint.spec.name}, not of {wanted}")
    return build(checkpoint)


def _precision(name: str, device: torch.device) -> torch.dtype:
    dtype = pick_dtype(name, device)
    # float16 would need its losses scaled; where there is no quick bfloat16, float32 does.
    return torch.float32 if dtype == torch.float16 else dtype
