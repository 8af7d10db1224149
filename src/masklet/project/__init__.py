"""Saved sessions: one SQLite file with the prompts, masks, scores and settings of one video.

| module | what it does |
| --- | --- |
| `store` | `Project`: read and edit one `clip.masklet` |
| `edits` | edits by hand over many frames: copy, interpolate, swap, merge … |
| `file` | making, opening and closing it |
| `run` | a tracking run: the way through the video, and how far it has come |
| `review` | which frames deserve a look, and where a click helps most |
| `finishing` | its masks as the mask settings want them, for every export and preview |
| `records` | what a project holds, as checked dataclasses |
| `history` | undo and redo of every edit |
| `source` | which video the project is about, and where it went when it moved |
| `schema`, `database`, `lock` | tables and their versions, durable commits, one writer at a time |

Tracking into a project is `masklet.runs.actions`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masklet.project.records import TrackSettings
    from masklet.project.store import Project

__all__ = ["Project", "TrackSettings"]

_LAZY = {"Project": "masklet.project.store", "TrackSettings": "masklet.project.records"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'masklet.project' has no attribute {name!r}")
