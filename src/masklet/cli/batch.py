"""`masklet batch`: many videos with one command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.table import Table
from typer.core import TyperGroup

from masklet.cli.display import Stoppable, program, progress_bar
from masklet.cli.options import AsJson, Group, MaskLooks, Network, PolicyOptions, Zoom, grouped, of_files, read_settings
from masklet.errors import InputError, MediaError

if TYPE_CHECKING:
    from masklet.jobs.driver import BatchProgress, Team
    from masklet.jobs.job import JobExport, VideoJob
    from masklet.jobs.places import Place
    from masklet.jobs.queue import Queue


class _Batch(TyperGroup):
    """`masklet batch JOBS` is `masklet batch run JOBS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Batch,
    help="Track many videos with one command: `masklet batch JOBS -o DIR`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: `masklet batch init footage/`, `masklet batch footage/batch.csv -o out/ --format coco`, "
    "`masklet batch status out/`. `masklet batch run --help` lists the options.",
)

of_cluster = partial(typer.Option, rich_help_panel="Many machines (Ray)")


@dataclass(frozen=True)
class Cluster(Group):
    """Which cluster works, and what each video gets of it."""

    ray: Annotated[
        str | None,
        of_cluster(metavar="ADDRESS|auto", help="Let a Ray cluster do the work: its head's address, or auto."),
    ] = None
    ray_cpus: Annotated[float, of_cluster(metavar="N", min=0.1, help="Cores for each video.")] = 1
    ray_gpus: Annotated[
        float, of_cluster(metavar="N", min=0.01, help="GPUs for each video with --device cuda; 0.5 lets two share one.")
    ] = 1
    ray_memory: Annotated[float, of_cluster(metavar="GB", min=0, help="Memory for each video.")] = 2
    ray_save: Annotated[
        float, of_cluster(metavar="SECONDS", min=0.1, help="How much work a node may take with it when it dies.")
    ] = 30

    def check(self, network: Network) -> None:
        """Raises DeviceError: this machine, if it is the one that works, has no such device or number format."""
        if self.ray is None:
            from masklet.runtime import pick_device, pick_dtype

            pick_dtype(network.dtype, pick_device(network.device))

    def team(self, place: Place, workers: int | None, defaults: Mapping[str, Any]) -> Team:
        """Who does the work. Raises BatchError."""
        if self.ray is None and place.folder is not None:
            from masklet.jobs.local import Processes

            return Processes(place.folder, workers, defaults)
        if self.ray is None:
            raise InputError(f"only workers of a cluster write to {place.address}: add --ray auto, or choose a folder")
        from masklet.jobs.ray_cluster import Needs, RayTasks

        needs = Needs(self.ray_cpus, self.ray_gpus, int(self.ray_memory * 2**30), self.ray_save)
        return RayTasks(place, self.ray, needs=needs, workers=workers, defaults=defaults)


@app.command("run")
@grouped
def run(
    jobs: Annotated[Path, typer.Argument(metavar="JOBS", help="A table (.csv, .jsonl, .yaml), or a folder of videos.")],
    *,
    output: Annotated[
        str, of_files("--output", "-o", metavar="DIR", help="Folder for all that is made; s3://… with --ray.")
    ],
    formats: Annotated[
        list[str] | None,
        of_files(
            "--format",
            "-f",
            metavar="NAME[,OPTION=VALUE…]",
            help="Write this format of every video (`masklet formats`); may be repeated.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos at a time.", show_default="by cores and memory")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="shots", help="Track every shot that has a prompt as a video of its own.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try the videos again that failed before.")] = False,
    overwrite: Annotated[
        bool, of_files("--overwrite", help="Track videos anew whose prompts or settings have changed.")
    ] = False,
    network: Network,
    zoom: Zoom = None,
    policy: PolicyOptions,
    looks: MaskLooks,
    cluster: Cluster,
) -> None:
    """Track all videos of a table or a folder, and write what the next tool needs.

    A folder holds videos with their prompts beside them: clip.mp4 and clip.prompts.json. A table has a line for every
    prompt. `masklet batch init` writes one to fill in; docs/batch.md says what may stand in it. Options given here are
    for the videos that don't say otherwise.

    \b
    Begin with a table of the videos in a folder:
      masklet batch init footage/
    Track what it asks for, with mattes for compositing and one COCO file over all videos:
      masklet batch footage/batch.csv -o out/ --format prores4444 --format coco
    See how far it is, from another terminal:
      masklet batch status out/
    Let all machines of a Ray cluster work on it (pip install 'masklet[ray]'; docs/cluster.md):
      masklet batch footage/batch.csv -o s3://bucket/out --ray auto

    Stop with Ctrl-C whenever you like, or pull the plug: the same command goes on where it was. It also writes
    the files of videos again that you corrected meanwhile (`masklet studio out/`).
    """
    from masklet.jobs.batch import finish_batch
    from masklet.jobs.driver import QueueHome, drive, open_queue
    from masklet.jobs.places import Place

    defaults = {**vars(network), "zoom": zoom, **vars(policy), **vars(looks)}
    defaults = {name: value for name, value in defaults.items() if value not in (None, {})}
    cluster.check(network)
    listed = _checked(jobs, formats or (), defaults, split)
    place = Place(output)
    team = cluster.team(place, workers, defaults)
    home = QueueHome(place)
    with open_queue(home.folder) as queue:
        queue.add(listed, again=overwrite)
        if retry:
            queue.retry()
        _mind_corrections(place, queue)
    with _BatchDisplay() as display:
        counts = drive(home, team, display.show, display.asked)
    if not display.stopped:
        with open_queue(home.folder) as queue:
            for written in finish_batch(place, queue):
                typer.echo(f"  {written}")
            _outcome(queue)
    home.keep(now=True)
    if display.stopped:
        typer.echo(f"Stopped. {counts['waiting']} of {sum(counts.values())} videos are left; the same command goes on.")
        raise typer.Exit(130)
    if counts["failed"]:
        typer.echo(f"Once they are mended: add --retry. What is wrong with them: {program()} batch status {output}")
        raise typer.Exit(2)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of videos.")],
    output: Annotated[
        Path | None,
        of_files("--output", "-o", metavar="FILE.csv", help="The table to write.", show_default="FOLDER/batch.csv"),
    ] = None,
    overwrite: Annotated[bool, of_files("--overwrite", help="Replace a table that is there.")] = False,
) -> None:
    """Write a table with a line for every video of a folder, and a page of pictures to read places from.

    Example: `masklet batch init footage/`
    """
    from masklet.jobs.blank import write_blank

    table = output or folder / "batch.csv"
    blank = write_blank(folder, table, overwrite=overwrite)
    for path in blank.written:
        typer.echo(f"  {path}")
    for reason in blank.left_out:
        typer.echo(f"Left out: {reason}")
    typer.echo(
        f"Click or drag on a picture of {blank.written[1].name} to read a point or a box. Fill in one for every video, "
        "then:\n"
        f"  {program()} batch {table} -o out/"
    )


@app.command()
def status(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a batch, or its address.")],
    as_json: AsJson = False,
) -> None:
    """Show how far a batch is, also while it runs. Example: `masklet batch status out/`"""
    from masklet.jobs.driver import look_at_queue
    from masklet.jobs.places import Place

    with look_at_queue(Place(folder)) as queue:
        if as_json:
            rows = [
                {
                    "name": row.job.name,
                    "source": row.job.source,
                    "state": row.state,
                    "tries": row.attempts,
                    "retried": row.retried,
                    "done": row.done,
                    "total": row.total,
                    "reason": row.reason,
                    "result": None if row.result is None else row.result.model_dump(),
                }
                for row in queue.rows()
            ]
            typer.echo(json.dumps({"counts": queue.counts(), "videos": rows}, indent=2))
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("video", "state", "tries", "frames", "lost", "why"):
            table.add_column(heading, overflow="fold")
        for row in queue.rows():
            lost = ", ".join(name for name, stretches in (row.result.lost if row.result else {}).items() if stretches)
            frames = f"{row.done}/{row.total}" if row.total else ""
            state = "waiting (retried)" if row.retried and row.state == "waiting" else row.state
            table.add_row(row.job.name, state, str(row.attempts or ""), frames, lost, row.reason or "")
        Console(highlight=False, markup=False).print(table)
        _outcome(queue)


def _checked(place: Path, formats: Iterable[str], defaults: Mapping[str, Any], split: str | None) -> list[VideoJob]:
    """The jobs of a table or folder, with a bar while they are checked. Raises InputError."""
    from masklet.jobs.table import read_jobs

    if split not in (None, "shots"):
        raise InputError("--split takes the word shots")
    with progress_bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("checking", total=None)

        def seen(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = read_jobs(place, exports=[_format(text) for text in formats], defaults=defaults, checked=seen)
        if split:
            bar.update(task, description="looking for cuts", completed=0)
            found = list(_shots(found, seen))
    for name, (first, last) in (shot for job in found for shot in job.unprompted.items()):
        typer.echo(f"{name}, frames {first} to {last}, has no prompt and isn't tracked.")
    return found


def _shots(jobs: Sequence[VideoJob], seen: Callable[[int, int], None]) -> Iterator[VideoJob]:
    """Jobs for the shots of every video. A video that can't be read stays as it is."""
    from masklet.jobs.shots import find_shots, split_job

    for number, job in enumerate(jobs, 1):
        try:
            shots = find_shots(job.source, rate=job.settings.rate)
        except MediaError:  # it fails alone when its turn comes
            shots = []
        try:
            yield from split_job(job, shots)
        except InputError as problem:
            raise InputError(f"{job.name}: {problem}") from problem
        seen(number, len(jobs))


def _mind_corrections(place: Place, queue: Queue) -> None:
    """Lets files be written again of videos that were corrected since."""
    from masklet.jobs.work import export_corrected

    if place.folder is not None and (corrected := export_corrected(place.folder, queue)):
        typer.echo(f"Files are written again of videos that were corrected meanwhile: {corrected}.")


def _outcome(queue: Queue) -> None:
    """How many videos are in which state, in one line."""
    said = [f"{count} {state}" for state, count in queue.counts().items() if count]
    typer.echo(", ".join(said) or "There is no video in this batch.")


def _format(text: str) -> JobExport:
    """`coco` or `coco,every=10,segmentation=polygons`."""
    from masklet.jobs.job import JobExport

    name, *options = text.split(",")
    return JobExport(format=name.strip(), options=read_settings(options, "--format"))


class _BatchDisplay(Stoppable):
    """A line for every worker and one for all, while a batch runs."""

    def __init__(self) -> None:
        super().__init__(
            progress_bar(MofNCompleteColumn()),
            "Finishing the frames that are being tracked …  Ctrl-C again stops at once.",
        )
        self._tasks: dict[int, Any] = {}
        self._all: Any = None

    def asked(self) -> bool:
        return self.stopped

    def show(self, state: BatchProgress) -> None:
        if self._all is None:
            self.listen()
            self._bar.start()
            self._all = self._bar.add_task("all videos", total=None)
        ended = state.counts["done"] + state.counts["failed"]
        failed = f", {state.counts['failed']} failed" if state.counts["failed"] else ""
        words = f"all videos ({ended} of {sum(state.counts.values())}{failed})"
        done, total = _frames_ahead(state)
        self._bar.update(self._all, description=words, completed=done, total=total)
        for number, (name, now, length) in state.working.items():
            if number not in self._tasks:
                self._tasks[number] = self._bar.add_task(name)
            self._bar.update(
                self._tasks[number], description=f"  {name[:40]}", completed=now, total=length, visible=True
            )
        for number in self._tasks.keys() - state.working.keys():
            self._bar.update(self._tasks[number], visible=False)


def _frames_ahead(state: BatchProgress) -> tuple[int, int | None]:
    """Frames done, and how many there may be in all: videos that wait are taken to be as long as the others."""
    done, known = state.frames
    begun = sum(state.counts.values()) - state.counts["waiting"]
    if not begun or not known:
        return done, None
    return done, round(known * (1 + state.counts["waiting"] / begun))
