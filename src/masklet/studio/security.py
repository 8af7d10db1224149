"""Who may talk to the studio: token or cookie, Host, Origin; and the headers and limits that every answer has.

The studio opens files and writes them, so no page but its own may use it. Other pages in the same browser are kept out
by the cookie's SameSite, by Origin and Sec-Fetch-Site, and by the Host header, which a rebound DNS name can't fake.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from masklet.studio.login import new_token
from masklet.studio.problems import TooLargeError

JSON_LIMIT = 8 << 20
UPLOADS = "/api/uploads"

#: The page's icons, which it also shows while it isn't let in.
_PUBLIC = {"/favicon.ico", "/favicon.svg", "/icons.svg"}

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# A page, not a redirect: the next request comes from this site itself, so that a strict cookie goes with it.
_WELCOME = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<title>masklet studio</title><p><a href="/">Open the studio</a>'
)
_REFUSED = (
    '<!doctype html><meta charset="utf-8"><title>masklet studio</title><h1>This browser is not let in yet</h1>'
    "<p>Open the address that <code>masklet studio</code> printed; it works once. Run the command again for a new one."
)


class Access:
    """The secrets of one server, and the names it goes by.

    Args:
        host, port: what it is bound to.
        token: for scripts; made up unless given. Sessions of browsers are made from it, so that a server that is
            started again with the same token and port goes on with them.
        names: more host names that it may be called by.
    """

    def __init__(self, host: str, port: int, token: str | None = None, names: Iterable[str] = ()) -> None:
        self.host, self.port = host, port
        self.token = token or new_token()
        self._names = {name.lower() for name in names}
        # Of this port alone: a cookie goes to every port of a host, and what listens there may not be ours.
        self._session = hmac.digest(self.token.encode(), f"session {port}".encode(), "sha256").hex()
        self._links: set[str] = set()
        self._mutex = threading.Lock()

    @property
    def cookie(self) -> str:
        """Its name: cookies don't know ports, and two studios may run side by side."""
        return f"masklet_studio_{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def make_link(self) -> str:
        """An address that lets one browser in, once."""
        link = secrets.token_urlsafe(24)
        with self._mutex:
            self._links.add(link)
        return f"{self.address}/?token={link}"

    @property
    def address(self) -> str:
        """Where the studio is, without a token."""
        host = self.host
        if host in ("0.0.0.0", "::", ""):
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def take_link(self, link: str) -> str | None:
        """The session's secret for a link that was not used yet."""
        with self._mutex:
            known = next((kept for kept in self._links if hmac.compare_digest(kept.encode(), link.encode())), None)
            if known is None:
                return None
            self._links.discard(known)
            return self._session

    def knows(self, headers: Headers) -> bool:
        """Whether a request has the cookie or the token."""
        given = headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token.encode()):
            return True
        try:
            cookies = SimpleCookie("; ".join(headers.getlist("cookie")))
        except CookieError:
            return False
        found = cookies.get(self.cookie)
        return found is not None and hmac.compare_digest(found.value.encode(), self._session.encode())

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header names this server, and no name that somebody else may have made point here."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self.port or parts.path or parts.query or parts.username is not None:
            return False
        if name in ("localhost", self.host.lower()) or name in self._names:
            return True
        try:
            ip = ipaddress.ip_address(name)
        except ValueError:
            return False
        # Bound to all addresses, any of them may be meant; a number can't be rebound.
        return ip.is_loopback if self.local else True

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether an Origin header is the studio's own page as seen under that Host."""
        return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach a server that is bound to this host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: lets in who may come in, and puts limits and headers on everything."""

    def __init__(self, app: ASGIApp, access: Access, upload_limit: int) -> None:
        self.app, self.access, self.upload_limit = app, access, upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is not None:
                # Closed before it was accepted: the client sees 403.
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "not allowed"})
                return
            await self.app(scope, receive, send)
            return
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send, scope["path"]))
            return
        limit = self.upload_limit if scope["path"] == UPLOADS else JSON_LIMIT
        if _number(headers.get("content-length")) > limit:
            await _too_large(limit)(scope, receive, _with_headers(send, scope["path"]))
            return
        await self.app(scope, _limited(receive, limit), _with_headers(send, scope["path"]))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        access = self.access
        host = headers.get("host", "")
        if not access.is_own_host(host):
            return _refuse(403, "host", f"The studio is at {access.address}, not at {host[:100]!r}.")
        origin = headers.get("origin")
        if origin is not None and not access.is_own_origin(origin, host):
            return _refuse(403, "origin", "Another site can't use the studio.")
        is_page = scope["type"] == "http" and scope["path"] == "/" and scope.get("method") == "GET"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (
            is_page and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        ):
            return _refuse(403, "origin", "Another site can't use the studio.")
        if is_page:
            given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
            session = access.take_link(given[0]) if given else None
            if session is not None:
                response = HTMLResponse(_WELCOME)
                response.set_cookie(access.cookie, session, httponly=True, samesite="strict", path="/")
                return response
            if given and access.knows(headers):
                return HTMLResponse(_WELCOME)  # a used address, reloaded
        if access.knows(headers) or scope["path"] in _PUBLIC:
            return None
        if is_page:
            return HTMLResponse(_REFUSED, 401)
        return _refuse(401, "token", "This needs the studio's token: send it as Authorization: Bearer TOKEN.")


def _refuse(status: int, kind: str, message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": {"kind": kind, "message": message}}, status, headers=headers)


def _too_large(limit: int) -> Response:
    return _refuse(413, "too_large", f"This is larger than the {limit >> 20} MB that are allowed.")


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:  # the server itself says what is wrong with it, or counts what comes
        return 0


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLargeError(f"This is larger than the {limit >> 20} MB that are allowed.")
        return message

    return limited


def _with_headers(send: Send, path: str) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if path.startswith("/api/"):
                headers.setdefault("Cache-Control", "no-store")
            elif path == "/":
                headers["Cache-Control"] = "no-store"
        await send(message)

    return with_headers
