"""A session outlives the server: the token is kept where only the user can read it, and changed on request."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from typer.testing import CliRunner

from masklet import cli
from masklet.studio import login
from masklet.studio.security import Access
from masklet.studio.server import Server, _bind


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MASKLET_STUDIO_TOKEN", raising=False)
    return tmp_path / "home"


@pytest.fixture
def start(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Access]:
    """`masklet studio`, which ends at once; who may come in at it."""
    served: list[Server] = []

    def run(server: Server, started: Any) -> None:
        served.append(server)
        server.studio.close()
        server._socket.close()

    monkeypatch.setattr(Server, "run", run)

    def start(*words: str) -> Access:
        result = CliRunner().invoke(cli.app, ["studio", str(tmp_path), "--no-browser", *words])
        assert result.exit_code == 0, result.output
        return served[-1].access

    return start


def cookie(access: Access) -> Headers:
    """What a browser sends that an address let in."""
    session = access.take_link(access.make_link().rpartition("=")[2])
    return Headers({"cookie": f"{access.cookie}={session}"})


def test_a_session_outlives_the_server(start: Callable[..., Access], home: Path) -> None:
    first = start()
    browser, script = cookie(first), Headers({"authorization": f"Bearer {first.token}"})
    second = start()
    assert second.port == first.port
    assert second.knows(browser) and second.knows(script)
    assert stat.S_IMODE((home / "studio.json").stat().st_mode) == 0o600

    third = start("--new-token")
    assert not third.knows(browser) and not third.knows(script)
    assert start().knows(cookie(third))


def test_a_session_is_one_of_its_port(start: Callable[..., Access]) -> None:
    """Cookies go to every port of a host, also to one that somebody else's program listens at."""
    first, other = Access("127.0.0.1", 1001, "t" * 32), Access("127.0.0.1", 1002, "t" * 32)
    session = first.take_link(first.make_link().rpartition("=")[2])
    assert first.knows(Headers({"cookie": f"{first.cookie}={session}"}))
    assert not other.knows(Headers({"cookie": f"{other.cookie}={session}"}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.chmod(0o644),
        lambda file: file.write_text("{}"),
        lambda file: file.write_text('{"token": "short", "port": 1}'),
        lambda file: file.write_text('{"token": ' * 2000),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.unlink(),
    ],
)
def test_a_token_that_others_could_know_is_not_used_again(
    start: Callable[..., Access], home: Path, spoil: Callable[[Path], Any]
) -> None:
    before = start().token
    spoil(home / "studio.json")
    after = start().token
    assert after != before and len(after) >= 32
    assert login.recall().token == after


def test_a_token_of_the_users_own_is_not_kept(
    start: Callable[..., Access], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKLET_STUDIO_TOKEN", "a-token-of-my-own-choice")
    assert start().token == "a-token-of-my-own-choice"
    assert "my-own-choice" not in (home / "studio.json").read_text()


def test_a_state_folder_that_can_not_be_written_ends_nothing(start: Callable[..., Access], home: Path) -> None:
    home.write_text("not a folder")
    assert len(start().token) >= 32


def test_a_port_that_is_taken_is_not_insisted_on(start: Callable[..., Access], home: Path) -> None:
    last = start()
    with _bind("127.0.0.1", last.port):
        assert start().port != last.port
