"""One place that gives out networks: each is loaded once per weights, device and number format, and shared.

A network holds nothing of a picture or a video (see `masklet.models`), so any number of sessions can use the
same one.
"""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from masklet.errors import CheckpointError, DeviceMemoryError
from masklet.models.positions import rotary_table, sine_table
from masklet.models.sam2 import SAM2
from masklet.models.specs import WITHOUT_WEIGHTS, get_spec
from masklet.runtime import drop_caches, is_out_of_memory, pick_device, pick_dtype
from masklet.settings import DEFAULT_MODEL
from masklet.weights.cache import find_cached, how_to_get
from masklet.weights.checkpoints import build, read_checkpoint
from masklet.weights.registry import RELEASED, packaged_weights

# What a network is known by: its file (path, length, time of change), device, number format.
_Key = tuple[str, int, int, str, torch.dtype]

_models: dict[_Key, SAM2] = {}
_lock = threading.RLock()


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    checkpoint: Path | str | None = None,
    download: bool = True,
) -> SAM2:
    """Return a network with its weights, in evaluation mode and without gradients.

    The same weights on the same device in the same format are loaded once and shared: don't train or change
    what you get (use `masklet.weights.checkpoints.build` for a copy of your own).

    Args:
        name: ``nano`` (inside the package), ``tiny``, ``small``, ``base_plus``, ``large`` (SAM 2.1), or
            ``sam2-tiny`` … ``sam2-large`` (SAM 2). A released model that isn't in the cache is downloaded,
            with a progress bar.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None picks the best there is.
        dtype: ``float32``, ``bfloat16``, ``float16``; None picks what suits the device.
        checkpoint: a weights file to use instead; its size is recognised, ``name`` doesn't matter then.
        download: False (or ``$MASKLET_OFFLINE=1``) never touches the network.

    Raises:
        InputError: no model of this name.
        CheckpointError: the weights are missing, damaged, or another network's.
        DownloadError: the weights could not be fetched.
        DeviceError: the device or format isn't available; DeviceMemoryError: the network doesn't fit into it.
    """
    target = pick_device(device)
    number_format = pick_dtype(dtype, target)
    path = find_weights(name, download=download) if checkpoint is None else Path(checkpoint).expanduser()
    key = _key(path, target, number_format)
    with _lock:  # a second caller waits and then gets the same network
        if key not in _models:
            _models[key] = _load(path, target, number_format)
        return _models[key]


def resolve_model(
    model: SAM2 | str | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    checkpoint: str | Path | None,
) -> SAM2:
    """The network itself, or the one of that name or checkpoint, loaded and shared."""
    if isinstance(model, SAM2):
        return model
    return load_model(model or DEFAULT_MODEL, device=device, dtype=dtype, checkpoint=checkpoint)


def find_weights(name: str, *, download: bool = True) -> Path:
    """Return the path of a model's weights, fetching a released one that is missing.

    Raises `InputError` for an unknown name, `CheckpointError` for a wrong file or a missing one that must not
    be downloaded, `DownloadError` for one that could not be fetched.
    """
    spec = get_spec(name)
    if spec.name in WITHOUT_WEIGHTS:
        raise CheckpointError(f"There are no weights of {spec.name} to be had: name a file with --checkpoint FILE.")
    if spec.name not in RELEASED:
        return packaged_weights(spec.name)
    released = RELEASED[spec.name]
    path = find_cached(released)
    if path is not None:
        return path
    if not download:
        raise CheckpointError(f"The weights of {spec.name} aren't here. {how_to_get(released)}")
    from masklet.weights.download_bar import fetch_with_bar

    return fetch_with_bar(released)


def free_models() -> int:
    """Forget all shared networks and tables, and return how many networks there were.

    Their memory comes back when nobody else (a session, a predictor) holds them any more.
    """
    with _lock:
        devices = {model.device for model in _models.values()}
        count = len(_models)
        _models.clear()
    sine_table.cache_clear()
    rotary_table.cache_clear()
    for device in devices:
        drop_caches(device)
    return count


def _key(path: Path, device: torch.device, dtype: torch.dtype) -> _Key:
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    try:
        info = path.stat()
    except OSError:  # reading it will say what is wrong
        return str(path), -1, -1, str(device), dtype
    return str(path.resolve()), info.st_size, info.st_mtime_ns, str(device), dtype


def _load(path: Path, device: torch.device, dtype: torch.dtype) -> SAM2:
    name = path.name
    for attempt in range(2):
        try:
            checkpoint = read_checkpoint(path)
            name = checkpoint.spec.name
            return build(checkpoint, device, dtype)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # whose frames would hold the half-built network
        if attempt == 0:
            drop_caches(device)
    raise DeviceMemoryError(
        f"{name} doesn't fit into the memory of {device}. Use a smaller model (--model tiny, --model nano), "
        "a 16-bit format (--dtype bfloat16) or another device (--device cpu)."
    ) from failure
