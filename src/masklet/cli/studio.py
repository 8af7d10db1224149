"""`masklet studio`: the server for the page in the browser."""

from __future__ import annotations

import os
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from masklet.cli.options import (
    Device,
    Dtype,
    Group,
    InputShape,
    ModelName,
    PolicyName,
    PolicyOption,
    Resolution,
    grouped,
    read_settings,
)
from masklet.errors import InputError, SourceNotFoundError

if TYPE_CHECKING:
    from masklet.project import TrackSettings
    from masklet.studio.app import StudioOptions
    from masklet.studio.server import Server

_listens = partial(typer.Option, rich_help_panel="Where it listens")


@dataclass(frozen=True)
class Address(Group):
    """Where the studio listens, and who is let in."""

    host: Annotated[str, _listens(help="Address to listen at.")] = "127.0.0.1"
    port: Annotated[
        int | None,
        _listens(min=0, max=65535, help="Port; 0: a free one.", show_default="that of last time, or a free one"),
    ] = None
    allow_host: Annotated[
        list[str] | None, _listens(metavar="NAME", help="A name that the server is called by. May be repeated.")
    ] = None
    new_token: Annotated[
        bool, _listens("--new-token", help="Shut out every browser and script that was let in before.")
    ] = False
    no_browser: Annotated[bool, _listens("--no-browser", help="Only print the address.")] = False

    def serve(self, options: StudioOptions) -> Server:
        """A studio that has its port: the one that was asked for, that of last time, or any. It lets in whoever it let
        in last time, unless they are shut out.
        """
        from masklet.studio import login
        from masklet.studio.server import Server

        last = login.recall()
        token = login.new_token() if self.new_token else last.token
        server = None
        if self.port is None:
            with suppress(InputError):
                server = Server(options, self.host, last.port, token, self.allow_host or ())
        if server is None:
            server = Server(options, self.host, self.port or 0, token, self.allow_host or ())
        login.keep(login.Login(token, server.access.port))
        return server


@grouped
def studio(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|FOLDER]",
            help="A video, a picture, a clip.masklet, a folder to choose from, or one of masklet batch.",
        ),
    ] = None,
    *,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Nothing outside of this folder is opened.", show_default="that of FILE and its videos, or here"
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="Where the video of a clip.masklet is now, if it moved.")
    ] = None,
    uploads: Annotated[str, typer.Option(help="Folder for uploads, below the root.")] = "uploads",
    upload_limit: Annotated[float, typer.Option(metavar="GB", min=0.001, help="Largest upload.")] = 20.0,
    address: Address,
    model: ModelName = None,
    resolution: Resolution = None,
    shape: InputShape = None,
    policy: PolicyName = None,
    policy_option: PolicyOption = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Click objects in the browser, see them tracked, fix them, export them. Everything stays on this machine.

    \b
    Open a video:
      masklet studio clip.mp4
    Choose from a folder, without opening a browser:
      masklet studio footage/ --no-browser --port 8765
    Look through what `masklet batch` made:
      masklet studio out/
    """
    if missing := [name for name in ("fastapi", "uvicorn", "websockets") if find_spec(name) is None]:
        raise InputError(
            f"masklet studio needs {' and '.join(missing)}, which other commands don't: pip install 'masklet[studio]'"
        )
    from masklet.studio.app import StudioOptions

    settings = _settings(model, resolution, shape, policy, policy_option, device, dtype)
    folder, wanted = _places(path, root)
    if source is not None and (wanted is None or path is None or path.suffix != ".masklet"):
        raise InputError("--source says where the video of a project is: name the project, a clip.masklet, as well")
    moved = None if source is None else _below(source, folder)
    options = StudioOptions(
        root=folder,
        uploads=uploads,
        upload_limit=int(upload_limit * (1 << 30)),
        settings=settings,
        device=device,
    )
    server = address.serve(options)
    if wanted is not None:
        try:
            server.open(wanted, moved)
        except SourceNotFoundError as problem:
            raise SourceNotFoundError(f"{problem} Say where it is with --source FILE.") from problem
    link = server.access.make_link()
    console = Console(highlight=False)
    console.print(f"The studio is at [bold]{link}[/]", soft_wrap=True)
    console.print(f"It opens files in {server.studio.root.folder}", soft_wrap=True, markup=False)
    console.print(f"Token for scripts: {server.access.token}", soft_wrap=True, markup=False)
    if not server.access.local:
        console.print(
            f"[yellow]Warning:[/] other machines can reach {address.host}. Whoever has the address or the token "
            "can open and write files in this folder, and nothing on the way is encrypted.",
            soft_wrap=True,
        )
    console.print("Ctrl-C ends it; everything is saved.")
    server.run(None if address.no_browser else lambda: _open_browser(link, console))


def _settings(
    model: str | None,
    resolution: int | None,
    shape: str | None,
    policy: str | None,
    policy_option: list[str] | None,
    device: str | None,
    dtype: str | None,
) -> TrackSettings:
    """How new projects are tracked. Raises MaskletError for what can't be."""
    from masklet.models.specs import get_spec
    from masklet.project import TrackSettings
    from masklet.settings import known_shape
    from masklet.studio.workspace import check_settings

    usual = TrackSettings()
    settings = TrackSettings(
        model=get_spec(model or usual.model).name,
        policy=policy or usual.policy,
        policy_options=read_settings(policy_option, "--policy-option"),
        resolution=resolution,
        shape=known_shape(shape or usual.shape),
        dtype=dtype,
    )
    check_settings(settings, device)
    return settings


def _open_browser(link: str, console: Console) -> None:
    try:
        opened = webbrowser.open(link)
    except Exception:  # whatever the desktop's programs do, the address is on the screen
        opened = False
    if not opened:
        console.print("No browser could be opened: open the address above.")


def _places(path: Path | None, root: Path | None) -> tuple[Path, str | None]:
    """The root folder, and what to open in it."""
    if path is None:
        folder = Path.cwd() if root is None else root.expanduser()
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder}.")
        return folder.resolve(), None
    path = path.expanduser()
    if (path / "batch.sqlite").is_file():
        folder = _folder_of_batch(path) if root is None else root.expanduser().resolve()
        return folder, "" if folder == path.resolve() else _below(path, folder)
    if path.is_dir() and root is None:
        return path.resolve(), None
    folder = path.parent.resolve() if root is None else root.expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    return folder, _below(path, folder)


def _folder_of_batch(path: Path) -> Path:
    """The smallest folder that holds a batch and its videos."""
    from masklet.jobs.local import open_queue

    with open_queue(path, make=False) as queue:
        sources = {row.job.source for row in queue.rows()}
    folders = {Path(source).parent.resolve() for source in sources if "://" not in source}
    try:
        folder = Path(os.path.commonpath([path.resolve(), *folders]))
    except ValueError:  # several drives
        folder = Path(path.resolve().anchor)
    if folder == Path(folder.anchor):
        raise InputError(
            f"The videos of the batch {path} lie far from it: choose a --root that holds them and the batch"
        )
    return folder


def _below(path: Path, folder: Path) -> str:
    """How a client of the studio calls a file, folder or pattern."""
    from masklet.media.patterns import is_pattern

    path = path.expanduser()
    if not path.exists() and not (is_pattern(path.name) and path.parent.is_dir()):
        raise InputError(f"There is no file or folder {path}.")
    real = path.parent.resolve() / path.name
    if folder not in real.parents:
        raise InputError(f"{path} is not in {folder}: choose a --root that holds it.")
    return real.relative_to(folder).as_posix()
