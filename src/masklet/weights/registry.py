"""The released checkpoints: where each is published, how long it is, and its hash.

Meta publishes the weights of SAM 2 (July 2024) and SAM 2.1 (September 2024) under Apache-2.0. ``nano`` is
masklet's own and lies inside the package, so it isn't in this table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from masklet.errors import CheckpointError

PUBLISHED_AT = "https://dl.fbaipublicfiles.com/segment_anything_2"


#: Where each family's files are: a folder for the month of its release.
_FOLDERS = {"sam2": "072824", "sam2.1": "092824"}


@dataclass(frozen=True, slots=True)
class ReleasedCheckpoint:
    """One published weights file.

    ``name`` is the model's name in `masklet.models.specs`, from which folder and file name follow; ``size`` is in bytes
    (None where it isn't published); ``values`` counts the numbers in it.
    """

    name: str
    size: int | None
    values: int
    sha256: str

    @property
    def filename(self) -> str:
        family, size = self.name.split("-", 1)
        return f"{family}_hiera_{size.replace('-', '_')}.pt"

    @property
    def _place(self) -> str:
        return f"{_FOLDERS[self.name.split('-', 1)[0]]}/{self.filename}"

    @property
    def url(self) -> str:
        """Where to fetch it: Meta's server, or the mirror in ``$MASKLET_MIRROR``.

        A mirror has the same layout of folders below its address. The hash is checked whatever the source.
        """
        mirror = os.environ.get("MASKLET_MIRROR", "").strip().rstrip("/")
        return f"{mirror}/{self._place}" if mirror else self.published_url

    @property
    def published_url(self) -> str:
        """Where Meta publishes it."""
        return f"{PUBLISHED_AT}/{self._place}"


_PUBLISHED: tuple[tuple[str, int | None, int, str], ...] = (
    ("sam2.1-tiny", 156_008_466, 38_962_754, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    ("sam2.1-small", 184_416_285, 46_060_610, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    ("sam2.1-base-plus", 323_606_802, 80_850_434, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    ("sam2.1-large", 898_083_611, 224_446_898, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
    ("sam2-tiny", 155_906_050, 38_946_242, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
    ("sam2-small", 184_309_650, 46_044_098, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
    ("sam2-base-plus", None, 80_833_922, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
    ("sam2-large", 897_952_466, 224_430_386, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
)
RELEASED = {row[0]: ReleasedCheckpoint(*row) for row in _PUBLISHED}


def packaged_weights(name: str) -> Path:
    """Path of weights that ship inside the package; `CheckpointError` where the installation lacks them."""
    path = Path(str(files("masklet"))) / "data" / f"{name}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: this installation of masklet is incomplete. Install it again.")
    return path
