"""`masklet evaluate`: run the tracker on a benchmark, or score results that exist."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from masklet.cli.display import progress_bar
from masklet.cli.options import (
    Device,
    Dtype,
    Group,
    PolicyOption,
    Resolution,
    Zoom,
    grouped,
    of_files,
    read_settings,
)
from masklet.errors import InputError
from masklet.settings import DEFAULT_MODEL, Shape, known_shape
from masklet.tracking.policies import DEFAULT_POLICY

if TYPE_CHECKING:
    from masklet.evaluation.layouts.base import BoxDataset, MaskDataset
    from masklet.evaluation.score import Evaluation
    from masklet.models.sam2 import SAM2


@dataclass(frozen=True)
class Benchmark(Group):
    """Which sequences to measure on."""

    data: Annotated[Path, typer.Option("--data", help="Folder that the data set was unpacked into.")]
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="davis2016, davis2017, mose, lvos, sav, youtube-vos (masks); lasot, lasot-ext, uav123, nfs, "
            "otb, got10k (boxes).",
        ),
    ]
    split: Annotated[str | None, typer.Option(help="Part of the data set: train, val, test …")] = None
    sequences: Annotated[str | None, typer.Option(help="Only these sequences, with commas.")] = None
    max_frames: Annotated[int | None, typer.Option(min=3, help="Cut every sequence after so many frames.")] = None

    @property
    def title(self) -> str:
        return f"{self.layout} {self.split}" if self.split else self.layout

    def open(self) -> MaskDataset | BoxDataset:
        """The sequences asked for, cut to the length asked for."""
        from masklet.evaluation import open_layout

        dataset = open_layout(self.layout, self.data, self.split)
        names = [sequence.name for sequence in dataset.sequences]
        wanted = names if self.sequences is None else _words(self.sequences)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise InputError(f"no sequence {unknown[0]!r} here; there are {', '.join(sorted(names)[:12])} …")
        known: dict[str, Any] = {sequence.name: sequence for sequence in dataset.sequences}
        cut = [known[name] if self.max_frames is None else known[name].limited(self.max_frames) for name in wanted]
        changes: dict[str, Any] = {"sequences": tuple(cut)}
        return replace(dataset, **changes)


@grouped
def evaluate(
    benchmark: Benchmark,
    *,
    prompt: Annotated[
        str,
        typer.Option(
            help="What an object's first frame tells the tracker: mask, box or click; several with commas.",
            show_default="mask, or box",
        ),
    ] = "",
    first_mask: Annotated[
        bool, typer.Option("--first-mask", help="Track nothing: score the first mask after a box and after clicks.")
    ] = False,
    policy: Annotated[str, typer.Option(help="Memory policies to compare, with commas.")] = DEFAULT_POLICY,
    policy_option: PolicyOption = None,
    model: Annotated[str, typer.Option(help="Models or weights files to compare, with commas.")] = DEFAULT_MODEL,
    results: Annotated[
        list[Path] | None,
        of_files("--results", help="Score this folder of results instead of tracking; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, of_files("--output", "-o", help="Folder for CSV files, plots and tracked results.")
    ] = None,
    plots: Annotated[
        bool, of_files("--plots", help="Draw scores through time into OUTPUT/plots (needs matplotlib).")
    ] = False,
    details: Annotated[bool, typer.Option("--details", help="Also print every object or sequence.")] = False,
    resume: Annotated[bool, of_files("--resume", help="Take sequences that OUTPUT already holds from there.")] = False,
    incomplete: Annotated[
        bool, of_files("--partial", help="With --results: leave out sequences that have none.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    resolution: Resolution = None,
    shape: Annotated[
        str,
        typer.Option(metavar="SHAPE,…", help="What the model sees: square, fit (the frames' proportions), both."),
    ] = "square",
    zoom: Zoom = None,
) -> None:
    """Measure tracking on a benchmark: J, F, J&F for masks; success, precision, AO and SR for boxes.

    Examples:

    `masklet evaluate --data DAVIS --layout davis2016 --prompt mask,click --policy recency,samurai,dam4sam,sam2long`

    `masklet evaluate --data DAVIS --layout davis2016 --first-mask --model nano,tiny`

    `masklet evaluate --data LaSOT --layout lasot --results raw_results/ -o scores/`
    """
    from masklet.evaluation.layouts.base import MaskDataset
    from masklet.evaluation.report import table

    if (plots or resume) and output is None:
        raise InputError("--plots and --resume need a folder: give one with --output")
    shapes = [known_shape(name) for name in _words(shape)]
    dataset = benchmark.open()
    console = Console(highlight=False)
    if first_mask:
        _first_masks(dataset, _load(_words(model), device, dtype), resolution, shapes, output, console)
        return
    if results:
        evaluations = _score(dataset, results, incomplete, console)
    else:
        evaluations = _track(
            dataset,
            _load(_words(model), device, dtype),
            _words(policy),
            output,
            console,
            prompts=_words(prompt or ("mask" if isinstance(dataset, MaskDataset) else "box")),
            shapes=shapes,
            policy_option=policy_option or [],
            resolution=resolution,
            zoom=bool(zoom),
            resume=resume,
        )
    console.print(table(evaluations, f"{benchmark.title}, {len(dataset.sequences)} sequences"))
    at_once = len(shapes) * len(_words(policy))
    _show(evaluations, at_once if at_once > 1 and not results else None, output, console, details=details, plots=plots)


def _show(
    evaluations: list[Evaluation],
    at_once: int | None,
    output: Path | None,
    console: Console,
    *,
    details: bool,
    plots: bool,
) -> None:
    """Print what is sure of the differences, and write everything into a folder.

    Shapes and policies, `at_once` of them, are compared where all else is the same; else all runs with the first.
    """
    from masklet.evaluation.report import difference_rows, table, table_of, write_reports

    if differences := difference_rows(evaluations, at_once):
        console.print(table_of(differences, list(differences[0]), "Differences of the same sequences"))
    if details:
        console.print(table(evaluations, details=True))
    if output is not None:
        paths = write_reports(output, evaluations, differences)
        if plots:
            from masklet.evaluation.plots import write_plots

            paths += write_plots(output / "plots", evaluations)
        console.print(f"{len(paths)} files written to {output}", markup=False, soft_wrap=True)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise InputError("a list of names is empty")
    return list(dict.fromkeys(words))


def _step(bar: Progress, task: TaskID, _sequence: str) -> None:
    bar.advance(task)


def _score(
    dataset: MaskDataset | BoxDataset, folders: list[Path], incomplete: bool, console: Console
) -> list[Evaluation]:
    from masklet.evaluation import score_results

    names = [folder.name or str(folder) for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    evaluations = []
    with _bar(console) as bar:
        for name, folder in zip(names, folders, strict=True):
            task = bar.add_task(name, total=len(dataset.sequences))
            evaluations.append(
                score_results(dataset, folder, name=name, partial=incomplete, finished=partial(_step, bar, task))
            )
    return evaluations


def _load(names: list[str], device: str | None, dtype: str | None) -> dict[str, SAM2]:
    from masklet.weights.loading import load_model

    models = {}
    for name in names:
        path = Path(name)
        if path.suffix in (".pt", ".pth", ".safetensors"):
            models[path.stem] = load_model(checkpoint=path, device=device, dtype=dtype)
        else:
            models[name] = load_model(name, device=device, dtype=dtype)
    return models


def _track(
    dataset: MaskDataset | BoxDataset,
    models: dict[str, SAM2],
    policies: list[str],
    output: Path | None,
    console: Console,
    *,
    prompts: list[str],
    shapes: list[Shape],
    policy_option: list[str],
    **how: Any,
) -> list[Evaluation]:
    from masklet.evaluation.run import EvaluationRun, evaluate_run

    evaluations = []
    settings = read_settings(policy_option, "--policy-option")
    with _bar(console) as bar:
        for model_name, prompt, shape, policy in product(models, prompts, shapes, policies):
            shown = [shape] if len(shapes) > 1 or shape != "square" else []
            name = " ".join([model_name, *shown, policy, prompt, *(["zoom"] if how["zoom"] else []), *policy_option])
            keep = output / "results" / name.replace(" ", "_") if output is not None else None
            how |= {"shape": shape, "keep": keep, "policy_settings": settings}
            run = EvaluationRun(name, models[model_name], policy, prompt, **how)
            task = bar.add_task(name, total=len(dataset.sequences))
            evaluations.append(evaluate_run(dataset, run, finished=partial(_step, bar, task)))
    return evaluations


def _first_masks(
    dataset: MaskDataset | BoxDataset,
    models: dict[str, SAM2],
    resolution: int | None,
    shapes: list[Shape],
    output: Path | None,
    console: Console,
) -> None:
    from masklet.evaluation.first_mask import first_masks
    from masklet.evaluation.layouts.base import MaskDataset
    from masklet.evaluation.report import Row, first_mask_rows, table_of, write_csv

    if not isinstance(dataset, MaskDataset):
        raise InputError(f"{dataset.name} has boxes and no masks: --first-mask needs masks to compare with")
    summary: list[Row] = []
    details: list[Row] = []
    with _bar(console) as bar:
        for (model_name, model), shape in product(models.items(), shapes):
            name = model_name if shapes == ["square"] else f"{model_name} {shape}"
            task = bar.add_task(name, total=len(dataset.sequences))
            step = partial(_step, bar, task)
            masks = first_masks(dataset, model, resolution=resolution, shape=shape, finished=step)
            means, rows = first_mask_rows(name, masks)
            summary.append(means)
            details += rows
    console.print(table_of(summary, list(summary[0]), f"{dataset.name}: IoU of the first mask"))
    if output is not None:
        write_csv(output / "first_masks.csv", details)
        console.print(f"{output / 'first_masks.csv'} written", markup=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    return progress_bar(MofNCompleteColumn(), TimeElapsedColumn(), console=console)
