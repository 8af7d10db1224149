"""The one place that decides where and how the network runs: device, number format, threads, memory trouble."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import cv2
import torch

from masklet.cores import usable_cores
from masklet.errors import DeviceError, MaskletWarning

#: Values of the finest level up to which frames overlap: see `threads_beside`.
_SMALL = 1 << 19

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def pick_device(device: str | torch.device | None = None, *, fall_back: bool = False) -> torch.device:
    """The device to run on: the one asked for, or (None, "auto") CUDA, then Apple's MPS, then the CPU.

    Args:
        fall_back: where the device isn't there, warn and use the CPU instead of raising.

    Raises:
        DeviceError: unknown name, or not available on this machine.
    """
    if device is None or device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {str(device)!r}; use cpu, cuda, cuda:1, mps or auto") from error
    missing = None
    if wanted.type == "cuda":
        if not torch.cuda.is_available():
            missing = "PyTorch finds no CUDA device here"
        elif wanted.index is not None and wanted.index >= torch.cuda.device_count():
            missing = f"there are only {torch.cuda.device_count()} CUDA devices"
    elif wanted.type == "mps" and not torch.backends.mps.is_available():
        missing = "PyTorch finds no Apple GPU (MPS) here"
    elif wanted.type not in ("cpu", "cuda", "mps"):
        missing = "masklet runs on cpu, cuda and mps"
    if missing is None:
        return wanted
    if fall_back:
        warnings.warn(f"{wanted} can't be used ({missing}): running on the CPU", MaskletWarning, stacklevel=3)
        return torch.device("cpu")
    raise DeviceError(f"the device {wanted} can't be used: {missing}. Leave the device out to use what there is")


def pick_dtype(dtype: str | torch.dtype | None = None, device: torch.device | None = None) -> torch.dtype:
    """The number format to compute in: the one asked for, or (None, "auto") the fastest that the device is made for.

    That is bfloat16 on CPUs with AMX or AVX512-BF16 and on CUDA devices that have it, float16 on other GPUs, else
    float32.

    Raises:
        DeviceError: unknown name, or float16 on a CPU.
    """
    device = device or torch.device("cpu")
    if dtype is None or dtype == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        if device.type == "mps":
            return torch.float16
        return torch.bfloat16 if cpu_has_fast_bfloat16() else torch.float32
    if isinstance(dtype, str):
        if dtype.lower() not in DTYPES:
            raise DeviceError(f"there is no number format {dtype!r}; use float32, bfloat16, float16 or auto")
        dtype = DTYPES[dtype.lower()]
    if dtype not in DTYPES.values():
        raise DeviceError(f"the network can't compute in {dtype}; use float32, bfloat16 or float16")
    if device.type == "cpu" and dtype == torch.float16:
        raise DeviceError("float16 is slow and incomplete on CPUs; use bfloat16 or float32")
    return dtype


@lru_cache(maxsize=1)
def cpu_has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def threads_beside(image_size: int, width: int, device: torch.device) -> int | None:
    """How many threads an operation should use where frames overlap, or None: all of them, one frame at a time.

    A small network's operations are too short to be split: waiting for each other, its threads lose what they gain,
    and they keep the cores from decoding and writing. Such a network takes two frames at once instead, one through the
    image encoder and the one before through the rest, each on a few threads of its own.

    Args:
        image_size: side of the network's input in pixels.
        width: channels of the image encoder's finest level.
    """
    cores = usable_cores()
    if device.type != "cpu" or cores < 2 or (image_size // 4) ** 2 * width > _SMALL:
        return None
    return max(1, min(torch.get_num_threads(), cores) // 4)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let this thread's operations use so many threads for a while (None: as many as before)."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def taking_turns() -> Iterator[None]:
    """For a block in which threads of Python work beside the network, in the whole process: they change places ten
    times as often as they would, and OpenCV leaves the cores to them, so that the network never waits for long.
    """
    interval, cv_threads = sys.getswitchinterval(), cv2.getNumThreads()
    sys.setswitchinterval(interval / 10)
    cv2.setNumThreads(max(1, usable_cores() // 4))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        cv2.setNumThreads(cv_threads)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device (or the machine) has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def drop_caches(device: torch.device) -> None:
    """Give memory that PyTorch holds but doesn't use back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
