"""Weights files in and out: reads ``.pt`` and ``.safetensors``, recognises the size, loads strictly.

A file is judged by its content, not by its name. Pickles are only ever read as plain tensors
(``weights_only``), so a file from a stranger can't run code.
"""

from __future__ import annotations

import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from masklet.atomic import atomic_path
from masklet.errors import CheckpointError
from masklet.models.sam2 import FLOAT32_PARTS, SAM2
from masklet.models.specs import ModelSpec
from masklet.sources import Sources, refuse_source
from masklet.weights.recognise import check_keys, recognise
from masklet.weights.registry import RELEASED

# Where training scripts keep the weights inside their checkpoint; Meta's files use the first.
_ENTRIES = ("model", "state_dict", "model_state_dict")
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that fit their network: ``state`` has exactly the keys and shapes of ``SAM2(spec)``.

    The tensors may be mapped from the file; `build` copies them.
    """

    spec: ModelSpec
    state: dict[str, Tensor]
    path: Path


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a weights file and recognise its network.

    Takes a ``.pt`` of a bare state dict or of a dict with a ``model`` entry, and ``.safetensors``.

    Raises `CheckpointError`: missing, cut off or damaged file, a pickle that holds code, another network's
    weights.
    """
    path = Path(path).expanduser()
    state = _without_prefix(read_tensors(path), "module.")
    try:
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        spec = recognise(shapes)
        check_keys(_expected_shapes(spec), shapes, spec.name)
    except CheckpointError as error:
        raise CheckpointError(f"{path} can't be used: {error}.") from None
    return Checkpoint(spec, state, path)


def build(
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SAM2:
    """Make the network with these weights, in evaluation mode and without gradients.

    The weights are copied, so the file may change afterwards. Raises `CheckpointError` where a weight isn't
    finite (as float32, or in the requested ``dtype``).
    """
    model = _without_weights(checkpoint.spec)
    state = {
        key: _copied(checkpoint, key, torch.float32 if key.startswith(FLOAT32_PARTS) else dtype, device)
        for key in checkpoint.state
    }
    model.load_state_dict(state, strict=True, assign=True)
    # A buffer that isn't in the checkpoint would have to be computed after this point.
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    return model.eval().requires_grad_(False)


def _copied(checkpoint: Checkpoint, key: str, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    tensor = checkpoint.state[key]
    copy = tensor.to(device=device, dtype=dtype, copy=True, memory_format=torch.contiguous_format)
    if not bool(torch.isfinite(copy).all()):
        if bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{checkpoint.path}: {key} is too large for {dtype}; use float32 or bfloat16.")
        raise CheckpointError(f"{checkpoint.path} is damaged: {key} holds values that aren't numbers.")
    return copy


def convert(source: Path | str, target: Path | str, *, half: bool = False) -> Checkpoint:
    """Write the weights of ``source`` as safetensors: without pickle, and with ``half`` in half the bytes.

    Raises `CheckpointError`: ``source`` can't be read, a weight doesn't fit into float16, ``target`` can't be
    written; `SourceError`: ``target`` is ``source``.
    """
    checkpoint = read_checkpoint(source)
    target = Path(target).expanduser()
    with Sources(source):
        refuse_source(target)
    state = {key: _copied(checkpoint, key, torch.float16 if half else torch.float32) for key in checkpoint.state}
    write_safetensors(state, checkpoint.spec, target)
    return checkpoint


def write_safetensors(state: Mapping[str, Tensor], spec: ModelSpec, target: Path) -> None:
    """Write weights under official key names to ``target``; a failure leaves what was there before.

    Raises `CheckpointError` where the file can't be written.
    """
    with atomic_path(target, error=CheckpointError) as temporary:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            save_file(dict(state), temporary, metadata={"format": "pt", "model": spec.name})
        except SafetensorError as error:
            raise CheckpointError(f"{target} can't be written: {error}.") from error
        temporary.chmod(mode)  # safetensors lets nobody else read it, whatever the user's files are like


def _expected_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in _without_weights(spec).state_dict().items()}


class _NoInitialValues(TorchFunctionMode):
    """Leaves out the drawing of initial weights: loading overwrites them all.

    The "meta" device alone would draw nothing either, but the first drawing there imports sympy, which takes
    a second.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


_DRAWING = (Tensor.uniform_, Tensor.normal_)


def _without_weights(spec: ModelSpec) -> SAM2:
    """The network as shapes only: its tensors hold no memory until weights are assigned."""
    with torch.device("meta"), _NoInitialValues():
        return SAM2(spec)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, whatever network they are of. Raises as `read_checkpoint`."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder; name the weights file in it.") from None
    except FileNotFoundError:
        raise CheckpointError(f"There is no weights file at {path}.") from None
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from error
    if start.startswith(b"PK"):
        return _read_pickle(path, zipped=True)
    if start.startswith(b"\x80"):  # the format of torch.save before 1.6
        return _read_pickle(path, zipped=False)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    raise CheckpointError(f"{path} isn't a weights file: {_what_starts_with(start)}.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is cut off or damaged ({error}).{_published_size(path)}") from error


def _is_whole(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of several disks, it says
        return False


def _read_pickle(path: Path, *, zipped: bool) -> dict[str, Tensor]:
    if zipped and not _is_whole(path):
        raise CheckpointError(f"{path} is cut off: its table of contents at the end is missing.{_published_size(path)}")
    try:
        with warnings.catch_warnings():  # PyTorch's doubts about old files; what matters is what comes out
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if match := _REFUSED_GLOBAL.search(str(error)):
            raise CheckpointError(
                f"{path} was refused: it is a pickle that wants to run {match[1]} when it is "
                "opened, and masklet reads plain tensors only. If you trust it, save its state dict alone "
                "with torch.save."
            ) from None
        raise CheckpointError(f"{path} is damaged, or not a file of torch.save.{_published_size(path)}") from error
    except Exception as error:  # an unpickler on arbitrary bytes raises almost anything
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} can't be read as weights ({why}).{_published_size(path)}") from error
    return _state_in(content, path)


def _state_in(content: Any, path: Path) -> dict[str, Tensor]:
    state = content
    if isinstance(content, dict):
        state = next((content[key] for key in _ENTRIES if isinstance(content.get(key), dict)), content)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not the weights of a network.")
    strangers = [str(key) for key, value in state.items() if not isinstance(value, Tensor) or not isinstance(key, str)]
    if strangers:
        raise CheckpointError(
            f"{path} holds no state dict: {strangers[0]!r} isn't a tensor, and there is no entry called 'model'."
        )
    # A batch norm counts its batches in whole numbers.
    whole = [k for k, v in state.items() if not v.is_floating_point() and not k.endswith(".num_batches_tracked")]
    if whole:
        raise CheckpointError(
            f"{path} can't be used: {whole[0]} holds {state[whole[0]].dtype}. Quantised weights don't load; "
            "use float32, float16 or bfloat16."
        )
    return state


def _without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Drop what data-parallel training puts before every key."""
    if state and all(key.startswith(prefix) for key in state):
        return {key[len(prefix) :]: tensor for key, tensor in state.items()}
    return state


def _published_size(path: Path) -> str:
    """A sentence about how long this file should be, where its name is that of a released checkpoint."""
    for released in RELEASED.values():
        if released.filename == path.name and released.size is not None:
            return f" The published file has {released.size:,} bytes, this one has {path.stat().st_size:,}."
    return ""


def _what_starts_with(start: bytes) -> str:
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, so the download went wrong"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run `git lfs pull` to get the file itself"
    return f"it begins with {start[:12]!r}, and neither torch.save nor safetensors writes that"
