"""Parts of a network turned into machine code of their own by ``torch.compile``: an option, for its price is minutes.

Compiled are the parts that see the same shapes frame after frame and consist of many short operations. Memory attention
is left as it is: its shapes change with the number of memories, and its products are as quick as they get.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import torch

from masklet.errors import DeviceError
from masklet.models import SAM2

#: What is compiled, by attribute.
COMPILED = ("image_encoder", "sam_mask_decoder", "memory_encoder")


def require_compiler(device: torch.device) -> None:
    """Raise :class:`DeviceError` where `torch.compile` would miss a tool halfway, and say what to install."""
    if device.type == "mps":
        raise DeviceError("--compile is for cpu and cuda; leave it out on mps")
    named = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++", "cl"])):
        wanted = f"$CXX is {named}, which isn't there" if named else "neither g++ nor clang++ is there"
        raise DeviceError(f"--compile needs a C++ compiler: {wanted}. Install one (apt install g++), or leave it out")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise DeviceError(f"--compile needs Python's headers: {header} is missing. apt install python3-dev brings them")
    if device.type == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError as error:
            raise DeviceError("--compile needs Triton on CUDA: pip install triton, or leave it out") from error


def compile_parts(model: SAM2) -> SAM2:
    """Have the parts compiled when they first run with each shape. Changes ``model``, and returns it.

    Raises:
        DeviceError: there is no compiler.
    """
    require_compiler(model.device)
    for name in COMPILED:
        # Freezing: the weights become constants, which may be folded and laid out anew.
        model.get_submodule(name).compile(options={"freezing": True} if model.device.type == "cpu" else None)
    return model
