"""Fetches a checkpoint and shows it: a bar on a terminal, single lines in a log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from masklet.weights.cache import cached_path
from masklet.weights.download import ensure_online, fetch
from masklet.weights.registry import ReleasedCheckpoint


def fetch_with_bar(checkpoint: ReleasedCheckpoint) -> Path:
    """Fetch a checkpoint with a progress bar on standard error and return its path. Raises what `fetch`
    raises.
    """
    ensure_online(checkpoint)
    console = Console(stderr=True, highlight=False)
    size = f"{decimal(checkpoint.size)} " if checkpoint.size else ""
    console.print(f"Fetching {checkpoint.name}: {size}from {checkpoint.url}", soft_wrap=True, markup=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(checkpoint.filename, total=checkpoint.size)
        path = fetch(
            checkpoint,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            on_note=lambda text: console.print(text, soft_wrap=True, markup=False),
        )
    console.print(f"Checked and kept in {cached_path(checkpoint)}", soft_wrap=True, markup=False)
    return path
