"""Nobody but the studio's own page and scripts with the token gets in, and no path gets out."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.e2e.studio_client import TOKEN, Client, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from masklet.studio.app import Studio, StudioOptions, make_app
from masklet.studio.files import Root, clean_name
from masklet.studio.problems import NotFoundError, OutsideRootError, StudioError
from masklet.studio.security import Access, is_loopback

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    (folder / "secret.png").write_bytes(b"classified")
    (folder / "root" / "inside").mkdir(parents=True)
    (folder / "root" / "out").symlink_to(folder)
    (folder / "root" / "inside" / "loop").symlink_to(folder / "root" / "inside" / "loop")
    (folder / "root" / "in").symlink_to(folder / "root" / "inside")
    return folder / "root"


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Client]:
    with running(root) as client:
        yield client


@pytest.fixture
def stranger(client: Client) -> Iterator[httpx.Client]:
    """A client without token."""
    with httpx.Client(base_url=str(client.base_url), timeout=30) as stranger:
        yield stranger


def routes(client: Client) -> list[tuple[str, str]]:
    paths = client.get("/api/openapi.json").json()["paths"]
    found = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(found) > 40
    return found


def test_every_route_needs_the_token(client: Client, stranger: httpx.Client) -> None:
    for method, path in [*routes(client), ("get", "/"), ("get", "/index.html"), ("get", "/api/docs")]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": "a=b"}):
            answer = stranger.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
    assert client.get("/api/studio").status_code == 200


def test_icons_are_there_for_a_page_that_is_not_let_in(client: Client, stranger: httpx.Client) -> None:
    for path in ("/icons.svg", "/favicon.svg", "/favicon.ico"):
        assert stranger.get(path).status_code == 200
        assert stranger.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert stranger.get(path, headers={"Host": "evil.example"}).status_code == 403


def test_an_address_lets_one_browser_in_once(client: Client, stranger: httpx.Client) -> None:
    link = client.post("/api/login-links").json()["address"]
    welcome = stranger.get(link)
    assert welcome.status_code == 200
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and str(client.port) in cookie.split("=")[0]
    assert stranger.get("/api/studio").status_code == 200
    with httpx.Client(base_url=str(client.base_url), timeout=600) as second:
        assert second.get(link).status_code == 401
        assert second.get("/api/studio").status_code == 401
        assert second.get("/?token=wrong").status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", "127.0.0.1@e:{port}"],
)
def test_another_host_name_is_refused(client: Client, host: str) -> None:
    answer = client.get("/api/studio", headers={"Host": host.format(port=client.port)})
    assert answer.status_code == 403 and answer.json()["error"]["kind"] == "host"


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_its_own_names_are_not(client: Client, host: str) -> None:
    assert client.get("/api/studio", headers={"Host": host.format(port=client.port)}).status_code == 200


def test_other_sites_are_refused(client: Client) -> None:
    own = f"http://127.0.0.1:{client.port}"
    assert client.post("/api/login-links", headers={"Origin": own}).status_code == 201
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{client.port + 1}",
        f"http://localhost:{client.port}",
    ):
        answer = client.post("/api/login-links", headers={"Origin": origin})
        assert answer.status_code == 403 and answer.json()["error"]["kind"] == "origin", origin
    for site in ("cross-site", "same-site"):
        assert client.get("/api/studio", headers={"Sec-Fetch-Site": site}).status_code == 403
    # A link from elsewhere may open the page itself, which then asks for the cookie as always.
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=navigation).status_code in (200, 404)
    assert client.get("/", headers=navigation | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {**BEARER, "Origin": "http://evil.example"},
        {**BEARER, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_the_socket_is_guarded_too(client: Client, headers: dict[str, str]) -> None:
    address = f"ws://127.0.0.1:{client.port}/api/ws"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, additional_headers=headers, open_timeout=600).close()
    assert refused.value.response.status_code == 403
    with connect(
        address, additional_headers=BEARER, origin=f"http://127.0.0.1:{client.port}", open_timeout=600
    ) as news:
        assert json.loads(news.recv(timeout=600))["type"] == "hello"


# What a header may say; the names that somebody looks at.
NAMES = st.sampled_from(
    [
        "Host",
        "Origin",
        "Cookie",
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Range",
        "If-Range",
        "Accept",
        "If-None-Match",
        "If-Modified-Since",
        "Sec-Fetch-Site",
        "Transfer-Encoding",
        "Expect",
        "X-Forwarded-For",
        "Accept-Encoding",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
    ]
)
VALUES = st.binary(max_size=40) | st.sampled_from(
    [
        b"http://[bad",
        b"[bad",
        b"[::1]:99999999",
        b"\xb2\xb3",
        b"9" * 5000,
        b"-5",
        b"bytes=5-1",
        b"bytes=0-0,1-1",
        b"http://127.0.0.1:\xb2",
        b"Bearer \xff",
        b'a="\\400"; b=[]; ;=;',
        b"application/json;=;",
        b"99 Foo 99999 99:99",
        b"gzip;q=nan, *;q=",
        b"permessage-deflate; client_max_window_bits=99",
    ]
)


@given(headers=st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4), token=st.booleans(), page=st.booleans())
@example(headers=[("Origin", b"http://[bad")], token=False, page=False)
@example(headers=[("Content-Length", b"\xb2")], token=True, page=True)
@settings(max_examples=150, deadline=None)
def test_no_header_is_trusted(guarded: Callable[..., int], headers: list[tuple[str, bytes]], token: bool, page: bool):
    usual = {"Host": b"127.0.0.1:8000", "Authorization": f"Bearer {TOKEN}".encode()} if token else {}
    given = [(name.lower().encode(), value) for name, value in [*usual.items(), *headers]]
    status = guarded("GET" if page else "POST", "/main.js" if page else "/api/login-links", given)
    assert status < 500
    assert token or status in (401, 403)


@pytest.fixture(scope="module")
def guarded(client: Client) -> Callable[..., int]:
    """Asks the studio without a server between, which would sort out some of the headers."""
    app = make_app(Studio(StudioOptions(root=client.server.studio.root.folder), Access("127.0.0.1", 8000, TOKEN)))  # type: ignore[attr-defined]

    def ask(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> int:
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
        scope |= {"raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http", "headers": headers}
        sent: list[dict[str, Any]] = []
        bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(bodies, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        return sent[0]["status"]

    return ask


_LINES = (b"Origin", b"Host", b"Range", b"Content-Length", b"Cookie", b"If-None-Match", b"Sec-WebSocket-Key",
          b"Sec-WebSocket-Version", b"Sec-WebSocket-Extensions", b"Content-Type", b"Accept-Encoding")  # fmt: skip
_BROKEN = (
    b"\xff\xfe\x80",
    b"",
    b"9" * 5000,
    b"-5",
    b"http://[bad",
    b"bytes=5-1",
    b'a="\\400"; =;',
    b"gzip;q=nan, *;q=",
)


@pytest.mark.parametrize("name", _LINES)
@pytest.mark.parametrize("path", [b"/api/ws", b"/main.js", b"/api/projects"])
def test_no_broken_header_fails_the_server(
    client: Client, caplog: pytest.LogCaptureFixture, path: bytes, name: bytes
) -> None:
    """Over the wire, as no client would send it. (What the server takes for an unfinished request gets no answer.)"""
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    method, usual = {
        b"/api/ws": (b"GET", b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key),
        b"/api/projects": (b"POST", b"Content-Type: application/json\r\n"),
    }.get(path, (b"GET", b""))
    lines = b"Host: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n" % (client.port, TOKEN.encode()) + usual
    kept = b"".join(line for line in lines.splitlines(True) if not line.lower().startswith(name.lower() + b":"))
    for value in _BROKEN:
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
            wire.sendall(b"%s %s HTTP/1.1\r\n%s%s: %s\r\n\r\n{}" % (method, path, kept, name, value))
            wire.shutdown(socket.SHUT_WR)
            answer = wire.recv(64)
        assert not answer.startswith(b"HTTP/1.1 5"), (value, answer)
    assert client.get("/api/studio").status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR" or record.exc_info]


def test_headers_on_every_answer(client: Client, stranger: httpx.Client) -> None:
    for answer in (client.get("/api/studio"), client.get("/api/nothing"), stranger.get("/"), client.get("/nothing.js")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/api/studio").headers["cache-control"] == "no-store"


OUTSIDE = [
    *("..", "../secret.png", "inside/../../secret.png", "out", "out/secret.png", "/etc/passwd", "//etc/passwd"),
    *("~/x.mp4", "C:/x.mp4", "c:x.mp4", "\\\\server\\x", "in/../../secret.png", "a\x00b"),
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leaves_the_root(client: Client, path: str) -> None:
    assert client.get("/api/files", params={"path": path}).status_code == 403
    assert client.post("/api/projects", json={"path": path}).status_code == 403
    assert client.get("/api/recent/thumbnail.jpg", params={"path": path}).status_code == 403


@pytest.mark.parametrize("path", ["%2e%2e/secret.png", "..%2fsecret.png", "inside/loop", "....//secret.png", "nothing"])
def test_what_looks_like_a_way_out_is_none(client: Client, path: str) -> None:
    """Encoded twice, a path is just a name; a link to itself leads nowhere."""
    assert client.get("/api/files", params={"path": path}).status_code in (403, 404)
    assert client.get(f"/{path}").status_code == 404
    assert b"classified" not in client.get(f"/..%2f{path}").content


def test_links_are_followed_inside_and_not_shown_when_they_lead_out(client: Client) -> None:
    names = {entry["name"] for entry in client.ask("GET", "/api/files")["entries"]}
    assert names == {"inside", "in"}
    assert client.get("/api/files", params={"path": "in"}).status_code == 200


@given(
    path=st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "out", "in", "x", "/", "\\", "~"])).map("/".join)
)
@settings(max_examples=200, deadline=None)
def test_a_path_is_below_the_root_or_refused(root: Path, path: str) -> None:
    try:
        found = Root(root).path(path)
    except (OutsideRootError, NotFoundError):
        return
    except (ValueError, OSError):  # names that no file system takes
        return
    assert found == root or root in found.parents


@given(name=st.text(min_size=1, max_size=300))
@example(name=". a")
@example(name="a\xa0.")
@settings(max_examples=200, deadline=None)
def test_names_of_uploads_are_plain(name: str) -> None:
    try:
        clean = clean_name(name)
    except StudioError:
        return
    assert clean and "/" not in clean and "\\" not in clean and not clean.startswith(".")
    assert len(clean.encode()) <= 210 and clean == Path(clean).name
    assert clean_name(clean) == clean


def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    """Said at once by its length, and found out while it comes where it doesn't say."""
    large = b'{"path": "' + b"x" * (9 << 20) + b'"}'
    answer = client.post("/api/projects", content=large, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["error"]["kind"] == "too_large"
    pieces = (large[i : i + 65536] for i in range(0, len(large), 65536))
    answer = client.post("/api/projects", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["error"]["kind"] == "too_large"


def test_which_addresses_are_local() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
    everywhere = Access("0.0.0.0", 80, names=["studio.local"])
    assert everywhere.is_own_host("192.168.1.2") and everywhere.is_own_host("studio.local:80")
    assert not everywhere.is_own_host("evil.example") and not everywhere.is_own_host("studio.local:81")
