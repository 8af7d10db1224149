"""What outlives a studio: its token and its port, so that pages and scripts find it again after the next start."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from masklet.atomic import atomic_path
from masklet.errors import MediaError


@dataclass(frozen=True)
class Login:
    """The token, for scripts, and what sessions of browsers are made from; the port, 0 before the first start."""

    token: str
    port: int = 0


def state_folder() -> Path:
    """The user's state folder; ``$MASKLET_HOME`` where that is set."""
    home = os.environ.get("MASKLET_HOME", "").strip()
    return Path(home).expanduser() if home else platformdirs.user_state_path("masklet", appauthor=False)


def recall() -> Login:
    """The login of this user's last studio. One that others could have read is not used again."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        with _file().open("rb") as file:
            about = os.fstat(file.fileno())
            private = os.name != "posix" or (about.st_uid == os.getuid() and not stat.S_IMODE(about.st_mode) & 0o077)
            kept = Login(**json.loads(file.read(4096)))
        if private and isinstance(kept.token, str) and len(kept.token) >= 32 and kept.port in range(1 << 16):
            return kept
    return Login(new_token())


def new_token() -> str:
    return secrets.token_urlsafe(24)


def keep(login: Login) -> None:
    """Remember a login; nobody but the user can read it. Where that can't be done, it ends with the server."""
    with contextlib.suppress(MediaError), atomic_path(_file()) as temporary:
        temporary.touch(0o600)
        temporary.write_text(json.dumps(asdict(login)), "utf-8")


def _file() -> Path:
    return state_folder() / "studio.json"
