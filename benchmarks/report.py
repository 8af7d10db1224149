"""Results as a table, a JSON file and a plot."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import kills, review, studio
from masklet.runtime import cpu_has_fast_bfloat16


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    flags: list[str] = []
    if cpuinfo.exists():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        lines = {key.strip(): value.strip() for key, value in lines.items()}
        name = lines.get("model name", name)
        wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_vnni")
        flags = [flag for flag in wanted if flag in lines.get("flags", "").split()]
    return {
        "cpu": name,
        "features": flags,
        "threads": torch.get_num_threads(),
        "bfloat16 in hardware": cpu_has_fast_bfloat16(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def write_json(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def show(results: dict[str, Any], console: Console) -> None:
    """Print every part of the results that is there."""
    for ways in results.get("ways", []):
        table = Table(title=f"{ways['model']} at {ways['size']}², one object: seconds a frame (speed-up)")
        table.add_column("stage")
        names = list(ways["seconds"]["whole"])
        for name in names:
            table.add_column(name, justify="right")
        for stage, seconds in ways["seconds"].items():
            speed = ways["speed-up"][stage]
            table.add_row(stage, *(f"{seconds[name]:.3f} ({speed[name]:.2f}×)" for name in names))
        console.print(table)
    for part in results.get("roofline", []):
        for dtype, bound in part["bounds"].items():
            console.print(
                f"{part['model']} at {part['size']}², {dtype}: {part['gflop'][dtype]:.0f} GFLOP at "
                f"{part['gflop/s'][dtype]:.0f} GFLOP/s = {bound['products']:.2f} s, "
                f"exponentials {bound['softmax']:.2f} s:  "
                f"at most {bound['most']:.2f}× as fast as straightforward float32 ({part['straightforward']:.2f} s); "
                f"measured {part['seconds'][dtype]:.2f} s = {bound['reached']:.2f}×, {bound['share']:.0%} of the bound"
            )
    for part in results.get("resolutions", []):
        console.print(f"{part['model']} {part['dtype']}: 1024² costs {part['1024 costs']:.2f}× as much as 512²")
    for part in results.get("shapes", []):
        height, width = part["fit"]
        table = Table(title=f"{part['model']}, a frame of 16:9 at {part['size']}² and at {width}×{height}")
        for column in ("way", "seconds a frame", "speed-up"):
            table.add_column(column, justify="left" if column == "way" else "right")
        for way, seconds in part["seconds"].items():
            table.add_row(way, f"{seconds:.3f}", f"{part['speed-up'][way]:.2f}×")
        console.print(table)
    for part in results.get("objects", []):
        table = Table(title=f"{part['model']} at {part['size']}², {part['dtype']}: objects")
        for column in ("objects", "seconds a frame", "share of n times one"):
            table.add_column(column, justify="right")
        for n, seconds in part["seconds"].items():
            table.add_row(n, f"{seconds:.3f}", f"{part['share of n times one'][n]:.0%}")
        console.print(table)
    for part in results.get("pathways", []):
        console.print(
            f"{part['model']} at {part['size']}², {part['dtype']}: "
            f"three pathways cost {part['three cost']:.2f}× as much as one"
        )
    for part in results.get("track", []):
        console.print(f"masklet track, nano, 720p, {part['dtype']}: {part['fps']:.1f} frames/s")
    if results.get("review"):
        table = Table(title="nano, corrections with clicks: mean J")
        for column in ("frames chosen", "sequences", "tracked", "after 3", "after 5", "after 10", "all"):
            table.add_column(column, justify="left" if column == "frames chosen" else "right")
        for part in results["review"]:
            scores = [part[f"J{count}"] for count in (0, *review.COUNTS, review.MOST_FRAMES)]
            shown = ("–" if score is None else f"{score:.1f}" for score in scores)
            table.add_row(part["chooser"], str(part["sequences"]), *shown)
        console.print(table)
    if results.get("tuning"):
        table = Table(title="nano, fine-tuned on ten frames of a clip: mean J of the others")
        for column in results["tuning"][0]:
            table.add_column(column, justify="left" if column == "sequence" else "right")
        for part in results["tuning"]:
            numbers = [f"{part[c.header]:.1f}" for c in table.columns[2:]]
            table.add_row(part["sequence"], str(part["frames"]), *numbers)
        console.print(table)
    if "batch" in results:
        part = results["batch"]
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in part["seconds"].items())
        console.print(f"batch, nano, {part['clips']} clips of {part['frames']} frames: {spent}")
        loop, batch = part["queue"]["loop"], part["queue"]["batch"]
        console.print(
            f"from the first clip to the last: {batch:.1f} s, a bare loop {loop:.1f} s ({batch / loop - 1:+.1%})"
        )
        (first, before), *_, (last, after) = part["memory"]
        console.print(f"its driver: {before:.1f} MB after job {first}, {after:.1f} MB after job {last}")
    if "agreement" in results:
        table = Table(title="nano: IoU of bfloat16 masks with float32 masks")
        for column in ("clip", "frames", "mean", "worst", "same memories, mean", "same memories, worst"):
            table.add_column(column, justify="left" if column == "clip" else "right")
        for part in results["agreement"]:
            numbers = [f"{part[c.header]:.4f}" for c in table.columns[2:]]
            table.add_row(part["clip"], str(part["frames"]), *numbers)
        console.print(table)
    if "start-up" in results:
        for name, seconds in results["start-up"].items():
            console.print(f"start-up, {name}: {seconds:.2f} s")
    if "studio" in results:
        console.print(studio.table(results["studio"]), soft_wrap=True)
    if "studio" in results.get("kills", {}):
        console.print(kills.table(results["kills"]["studio"]), soft_wrap=True)
    if "batch" in results.get("kills", {}):
        counts = results["kills"]["batch"].items()
        console.print("batch: " + ", ".join(f"{name} {count}" for name, count in counts))
    for part in results.get("long", []):
        console.print(
            f"{part['objects']} object(s): resident memory at frame {part['late']} against {part['early']}: "
            f"{part['growth']:+.1%}"
        )


def plot(results: dict[str, Any], path: Path) -> None:
    """The main results as one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [name for name in ("ways", "objects", "long") if results.get(name)]
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 4), layout="constrained")
    for axis, panel in zip([axes] if len(panels) == 1 else axes, panels, strict=True):
        part = results[panel][0]
        if panel == "ways":
            _plot_ways(axis, part)
        elif panel == "objects":
            for part in results[panel]:
                counts = [int(n) for n in part["seconds"]]
                seconds = list(part["seconds"].values())
                axis.plot(counts, [s / seconds[0] for s in seconds], "o-", label=f"{part['model']} at {part['size']}²")
            axis.plot(counts, counts, "--", color="gray", label="n times one")
            axis.set(title="Cost of n objects", xlabel="objects", ylabel="times the cost of one", xticks=counts)
            axis.legend()
        else:
            axis.plot(part["frames"], part["resident MB"], color="#2a6f97")
            axis.set(title="Resident memory (nano)", xlabel="frame", ylabel="MB")
            axis.set_ylim(0, 1.25 * max(part["resident MB"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_ways(axis: Any, part: dict[str, Any]) -> None:
    names = list(part["seconds"]["whole"])
    stages = [stage for stage in part["seconds"] if stage != "whole"]
    left = [0.0] * len(names)
    colours = ("#2a6f97", "#e07a5f", "#81b29a", "#f2cc8f")
    for stage, colour in zip(stages, colours, strict=True):
        values = [part["seconds"][stage][name] for name in names]
        axis.barh(names, values, left=left, label=stage.replace("_", " "), color=colour)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for name, total in zip(names, left, strict=True):
        axis.text(total, name, f" {part['speed-up']['whole'][name]:.1f}×", va="center")
    axis.invert_yaxis()
    axis.set(title=f"{part['model']} at {part['size']}², one object", xlabel="seconds a frame")
    axis.set_xlim(0, 1.15 * max(left))
    axis.legend(fontsize="small", loc="lower right")
