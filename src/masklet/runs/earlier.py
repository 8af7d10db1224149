"""A run that was stopped, read back from its masklets.json so that it can be gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.media import MediaReader
from masklet.prompts import Prompt
from masklet.runs.masklets_file import FrameSpool, read_masklets
from masklet.runs.objects import TrackedObject
from masklet.runs.plan import Range
from masklet.runs.request import TrackRequest
from masklet.runs.track_files import MASKLETS, OVERLAY
from masklet.sources import refuse_source


class EarlierRun:
    """What an earlier run left in a folder."""

    def __init__(self, folder: Path, reader: MediaReader) -> None:
        """Raises InputError where there is none, it is damaged, or it is about another video."""
        self._folder = folder
        path = folder / MASKLETS
        if not path.exists():
            raise InputError(f"there is nothing to go on with: {path} doesn't exist. Leave --resume out to start")
        content = read_masklets(path)
        if content["source"].get("fingerprint") != reader.fingerprint():
            raise InputError(f"{path} is about another video, {content['source'].get('path')}; give that one")
        self._frames: list[dict[str, Any]] = content["frames"]
        try:
            self._settings: dict[str, Any] = content["settings"]
            self.kept = Range(int(self._settings["first_frame"]), int(self._settings["last_frame"]))
            self.folders = {thing["id"]: str(thing["folder"]) for thing in content["objects"]}
            self.objects = [_object(thing) for thing in content["objects"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged: {error}. Start again with --overwrite") from error

    def fill_in(self, request: TrackRequest) -> TrackRequest:
        """The request with what it leaves open taken from the earlier run."""
        settings = dict(self._settings)
        if request.model is None and request.checkpoint is None:
            checkpoint = settings.get("checkpoint")
            request = replace(
                request,
                model=settings.get("model"),
                checkpoint=None if checkpoint is None else Path(checkpoint),
                resolution=request.resolution or settings.get("resolution"),
                dtype=request.dtype or settings.get("dtype"),
            )
        if request.policy in (None, settings.get("policy")):
            own: Mapping[str, Any] = settings.get("policy_settings") or {}
            request = replace(
                request, policy=settings.get("policy"), policy_settings={**own, **request.policy_settings}
            )
        return replace(request, direction=request.direction or settings.get("direction"))

    def move_into(self, spool: FrameSpool, kept: Range, again_from: int | None) -> None:
        """Hand the frames that stay to a new run, and remove the mask files of those that don't."""
        for entry in self._frames:
            frame = entry["frame"]
            if frame in kept and (again_from is None or frame < again_from):
                spool.put(entry)
            else:
                _remove_masks(self._folder, self.folders, entry)
        self._frames = []


def remove_earlier(folder: Path) -> None:
    """Remove the files that an earlier run wrote to a folder, and nothing else."""
    with contextlib.suppress(InputError):  # a file of another kind, or a damaged one: replaced, but not followed
        content = read_masklets(folder / MASKLETS)
        folders = {thing["id"]: thing["folder"] for thing in content["objects"]}
        for entry in content["frames"]:
            _remove_masks(folder, folders, entry)
    for name in (MASKLETS, OVERLAY):
        refuse_source(folder / name)
        (folder / name).unlink(missing_ok=True)


def _remove_masks(folder: Path, folders: Mapping[int, str], entry: Mapping[str, Any]) -> None:
    for thing in entry["objects"]:
        for path in (folder / folders[thing["id"]]).glob(f"*{entry['frame']}.png"):
            if path.stem.isdecimal() and int(path.stem) == entry["frame"]:
                refuse_source(path)
                path.unlink(missing_ok=True)


def _object(kept: Mapping[str, Any]) -> TrackedObject:
    prompts: dict[int, tuple[Prompt, ...]] = {}
    for prompt in kept["prompts"]:
        frame = int(prompt["frame"])
        prompts[frame] = (*prompts.get(frame, ()), Prompt.from_json(prompt))
    return TrackedObject(kept["id"], kept["name"], prompts)
