"""`masklet studio`: the server for the page in the browser."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from masklet.errors import InputError

_WHERE, _HOW = "Where it listens", "How new projects are tracked"


def studio(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE|FOLDER]", help="A video, a picture, a clip.masklet, or a folder to choose from."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Nothing outside of this folder is opened.", show_default="that of FILE, or here"),
    ] = None,
    uploads: Annotated[str, typer.Option(help="Folder for uploads, below the root.")] = "uploads",
    upload_limit: Annotated[float, typer.Option(metavar="GB", min=0.001, help="Largest upload.")] = 20.0,
    host: Annotated[str, typer.Option(help="Address to listen at.", rich_help_panel=_WHERE)] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", rich_help_panel=_WHERE)] = 0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A name that the server is called by. May be repeated.", rich_help_panel=_WHERE
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.", rich_help_panel=_WHERE)
    ] = False,
    model: Annotated[str, typer.Option(help="nano, tiny, small, base_plus, large.", rich_help_panel=_HOW)] = "nano",
    resolution: Annotated[
        int | None,
        typer.Option(help="Side of the model's input.", show_default="the model's own", rich_help_panel=_HOW),
    ] = None,
    policy: Annotated[str, typer.Option(help="samurai or recency.", rich_help_panel=_HOW)] = "samurai",
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps.", show_default="the best there is", rich_help_panel=_HOW),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16, float16.", show_default="what suits the device", rich_help_panel=_HOW),
    ] = None,
) -> None:
    """Click objects in the browser, see them tracked, fix them, export them. Everything stays on this machine.

    \b
    Open a video:
      masklet studio clip.mp4
    Choose from a folder, without opening a browser:
      masklet studio footage/ --no-browser --port 8765
    """
    if missing := [name for name in ("fastapi", "uvicorn", "websockets") if find_spec(name) is None]:
        raise InputError(
            f"masklet studio needs {' and '.join(missing)}, which other commands don't: pip install 'masklet[studio]'"
        )
    from masklet.models import get_spec
    from masklet.project import TrackSettings
    from masklet.runtime import pick_device, pick_dtype
    from masklet.studio.app import Options
    from masklet.studio.server import Server
    from masklet.tracking import make_policy

    spec = get_spec(model)
    make_policy(policy, spec)
    if resolution is not None:
        spec.check_resolution(resolution)
    pick_dtype(dtype, pick_device(device))
    folder, wanted = _places(path, root)
    options = Options(
        root=folder,
        uploads=uploads,
        upload_limit=int(upload_limit * (1 << 30)),
        settings=TrackSettings(model=spec.name, resolution=resolution, policy=policy, dtype=dtype),
        device=device,
    )
    server = Server(options, host, port, names=allow_host or ())
    if wanted is not None:
        server.open(wanted)
    link = server.access.make_link()
    console = Console(highlight=False)
    console.print(f"The studio is at [bold]{link}[/]", soft_wrap=True)
    console.print(f"It opens files in {server.studio.root.folder}", soft_wrap=True, markup=False)
    console.print(f"Token for scripts: {server.access.token}", soft_wrap=True, markup=False)
    if not server.access.local:
        console.print(
            f"[yellow]Warning:[/] other machines can reach {host}. Whoever has the address or the token can open and "
            "write files in this folder, and nothing on the way is encrypted.",
            soft_wrap=True,
        )
    console.print("Ctrl-C ends it; everything is saved.")
    server.run(None if no_browser else lambda: _open_browser(link, console))


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
    from masklet.media.patterns import is_pattern

    path = path.expanduser()
    if path.is_dir() and root is None:
        return path.resolve(), None
    if not path.exists() and not (is_pattern(path.name) and path.parent.is_dir()):
        raise InputError(f"There is no file or folder {path}.")
    real = path.parent.resolve() / path.name
    folder = real.parent if root is None else root.expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    if folder not in real.parents:
        raise InputError(f"{path} is not in {folder}: choose a --root that holds it.")
    return folder, real.relative_to(folder).as_posix()
