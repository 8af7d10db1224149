"""Which weights a network has."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch

from masklet.models.sam2 import SAM2

_known: WeakKeyDictionary[SAM2, str] = WeakKeyDictionary()


def weights_hash(model: SAM2) -> str:
    """A short text that is the same for the same weights in the same number format, and differs for any others.

    Computed when it is first asked for (half a second for the largest network) and then remembered: not for a network
    that is being trained.
    """
    if model not in _known:
        digest = hashlib.blake2b(digest_size=8)
        for name, tensor in model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
        _known[model] = digest.hexdigest()
    return _known[model]
