"""The formats, one idea per module. `masklet.export.registry` says which there are."""

from __future__ import annotations
