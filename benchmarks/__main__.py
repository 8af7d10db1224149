"""``python -m benchmarks``: measure this machine, print a table, write JSON and a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import (
    agreement,
    batch,
    kills_batch,
    kills_studio,
    network,
    report,
    review,
    roofline,
    studio,
    tuning,
    video,
)
from masklet.runtime import cpu_has_fast_bfloat16, pick_dtype

PARTS = (
    "roofline",
    "ways",
    "resolutions",
    "shapes",
    "objects",
    "pathways",
    "track",
    "agreement",
    "start-up",
    "long",
    "review",
    "tuning",
    "studio",
    "batch",
    "kills",
)
VICTIMS = ("studio", "batch")


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"What to measure: {', '.join(PARTS)} (all).")] = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder in DAVIS layout, for agreement (besides the packaged clip), review, tuning, batch and kills "
            "(instead of it). May be repeated."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Size for the heavy parts.")] = "tiny",
    size: Annotated[int, typer.Option(help="Input side for the heavy parts.")] = 1024,
    rounds: Annotated[int, typer.Option(help="Timed runs of each candidate.")] = 5,
    against: Annotated[
        Path | None, typer.Option(help="Another checkout, whose studio is measured in turn with this one's.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames of the long video.")] = 2000,
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON to write.")] = Path(
        "benchmarks/results/latest.json"
    ),
    of: Annotated[str, typer.Option(help=f"What is killed: {' or '.join(VICTIMS)}.")] = "studio",
    times: Annotated[int, typer.Option(help="How often it is killed.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments when it is killed.")] = 0,
    picture: Annotated[Path | None, typer.Option(help="Plot to write (PNG).")] = None,
) -> None:
    """Measure masklet on this machine. Run it on a quiet one: nothing else should compete for the cores.

    Examples:

        python -m benchmarks

        python -m benchmarks ways --model small --rounds 3

        python -m benchmarks long --frames 500

        python -m benchmarks agreement --clips DAVIS

        python -m benchmarks review --clips DAVIS

        python -m benchmarks tuning --clips DAVIS

        python -m benchmarks kills --of studio --times 200

        python -m benchmarks kills --of batch --times 30

        python -m benchmarks studio --against ../masklet-before --rounds 1 -o studio.json
    """
    unknown = set(parts or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}; choose from: {', '.join(PARTS)}")
    if of not in VICTIMS:
        raise typer.BadParameter(f"{of} can't be killed; choose from: {', '.join(VICTIMS)}")
    wanted = parts or PARTS
    console = Console()
    results: dict[str, Any] = {"machine": report.machine()}
    if parts and output.exists():  # parts of a run may be measured one after the other
        results = json.loads(output.read_text()) | results
    console.print(results["machine"])
    fast = pick_dtype("auto")
    dtypes = ["float32", *(["bfloat16"] if cpu_has_fast_bfloat16() else [])]
    killed = {
        "studio": lambda: kills_studio.measure_kills(times, seed),
        "batch": lambda: kills_batch.measure_kills(clips or (), times, 24, console.print, seed),
    }
    measures = {
        "roofline": lambda: [roofline.measure_roofline(model, size, rounds)],
        "ways": lambda: [network.measure_ways(model, size, rounds), network.measure_ways("nano", 320, 4 * rounds)],
        "shapes": lambda: [
            network.measure_shapes(model, size, rounds),
            network.measure_shapes("nano", 320, 4 * rounds),
        ],
        "resolutions": lambda: [network.measure_resolutions(model, fast, rounds)],
        "objects": lambda: [
            network.measure_objects("nano", 320, fast, 3 * rounds),
            network.measure_objects(model, 512, fast, max(1, rounds // 2)),
        ],
        "pathways": lambda: [
            network.measure_pathways("nano", 512, fast, 2 * rounds),
            network.measure_pathways(model, 512, fast, max(1, rounds // 2)),
        ],
        "track": lambda: [video.measure_track_command(dtype, min(3, rounds)) for dtype in dtypes],
        "agreement": lambda: agreement.measure_agreement("nano", clips or ()),
        "start-up": lambda: video.measure_start_up(rounds),
        "long": lambda: [video.measure_long_video(frames)],
        "review": lambda: review.measure_review(clips or (), output.with_name(f"{output.stem}_review.csv")),
        "tuning": lambda: tuning.measure_tuning(clips or ()),
        "studio": lambda: studio.measure_studio(
            ({"before": against.resolve()} if against else {}) | {"now": studio.HERE.parent}, rounds
        ),
        "batch": lambda: batch.measure_batch(clips or (), min(3, rounds)),
        "kills": lambda: results.get("kills", {}) | {of: killed[of]()},
    }
    for part in PARTS:
        if part in wanted:
            with console.status(f"measuring {part} …"):
                results[part] = measures[part]()
            report.show({part: results[part]}, console)
            report.write_json(output, results)
    console.print(f"written: {output}")
    if "studio" in wanted:
        words = output.with_suffix(".md")
        words.write_text(studio.table(results["studio"]))
        console.print(f"written: {words}")
    if picture is not None:
        report.plot(results, picture)
        console.print(f"written: {picture}")


if __name__ == "__main__":
    typer.run(main)
