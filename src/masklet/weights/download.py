"""Fetches a released checkpoint into the cache.

The bytes go to ``<file>.part``, which a later call goes on with; only a file with the published SHA-256 gets
its real name. A lock keeps two processes from writing the same part.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from masklet.errors import DownloadError
from masklet.weights.cache import cached_path, find_cached, how_to_get, locked, mark_verified, part_path, sha256_of
from masklet.weights.registry import ReleasedCheckpoint

# Called with the bytes that are there and the length of the whole (None where the server doesn't say).
OnProgress = Callable[[int, "int | None"], None]
# Called with one line about something the user may wonder about, such as a pause.
OnNote = Callable[[str], None]

MAX_FAILURES = 5  # attempts in a row that bring nothing new
MAX_UNREACHABLE = 3  # of these, attempts that don't even reach the server: usually one is offline
_LONGEST_PAUSE = 30.0
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSALS = {
    401: "it asks for a login",
    403: "it refuses access, perhaps a proxy or a firewall does",
    404: "the file isn't there",
    407: "the proxy asks for a login",
    410: "the file isn't there any more",
    451: "it may not serve the file here",
}


class _TryAgainError(Exception):
    """The transfer stopped for a reason that may go away."""

    def __init__(self, reason: str, pause: float | None = None, *, most: int = MAX_FAILURES) -> None:
        super().__init__(reason)
        self.pause = pause
        self.most = most


def ensure_online(checkpoint: ReleasedCheckpoint) -> None:
    """Raise `DownloadError` where ``$MASKLET_OFFLINE`` forbids downloads."""
    if os.environ.get("MASKLET_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off"):
        raise DownloadError(
            f"The weights of {checkpoint.name} aren't here, and $MASKLET_OFFLINE forbids downloads. "
            f"{how_to_get(checkpoint)}"
        )


def fetch(
    checkpoint: ReleasedCheckpoint,
    *,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Return the checkpoint's path in the cache, fetching it first where it is missing.

    A cut connection is taken up again where it stopped, also by a later call (also after Ctrl-C). The SHA-256
    is checked before the file gets its name.

    Raises `DownloadError`, whose message says what went wrong and how to get the file by hand: no connection,
    refused or missing, another length or hash than published, no room on the disk, a folder that can't be
    written, or ``$MASKLET_OFFLINE`` set. Raises `CheckpointError` where a wrong file lies at the place
    already.
    """
    return _Download(checkpoint, on_progress, on_note, sleep).run()


class _Download:
    def __init__(
        self,
        checkpoint: ReleasedCheckpoint,
        on_progress: OnProgress | None,
        on_note: OnNote | None,
        sleep: Callable[[float], None],
    ) -> None:
        self.checkpoint = checkpoint
        self.part = part_path(checkpoint)
        self.total = checkpoint.size
        self.etag: str | None = None  # of the answer that the part's bytes came from, where this run knows it
        self.progress = on_progress or (lambda done, total: None)
        self.note = on_note or (lambda text: None)
        self.sleep = sleep

    def run(self) -> Path:
        target = cached_path(self.checkpoint)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.checkpoint, self._say_waiting):
                if find_cached(self.checkpoint) is None:
                    ensure_online(self.checkpoint)
                    self._fetch()
                    with self.part.open("rb+") as file:
                        os.fsync(file.fileno())
                    self.part.replace(target)
                    mark_verified(self.checkpoint)
        except OSError as error:
            raise self._cannot_write(error) from error
        return target

    def _fetch(self) -> None:
        """Fill the part file with the published bytes."""
        resumed = self._part_size() > 0
        self._transfer()
        found = sha256_of(self.part)
        if found != self.checkpoint.sha256 and resumed:
            # Perhaps the two halves came from different files: once more, from the start.
            self.note("The resumed file has the wrong hash; fetching it again from the start.")
            self.part.unlink()
            self._transfer()
            found = sha256_of(self.part)
        if found != self.checkpoint.sha256:
            self.part.unlink()
            raise self._error(
                f"What {self.checkpoint.url} sent is not the published {self.checkpoint.filename}: its "
                f"SHA-256 is {found}, it should be {self.checkpoint.sha256}. The file was deleted."
            )

    # -- one connection after the other ----------------------------------------------------------------------

    def _transfer(self) -> None:
        """Fill the part file, over as many connections as it takes while they bring something new."""
        failures = 0
        best = self._part_size()
        try:
            client = httpx.Client(timeout=httpx.Timeout(30.0, connect=10.0), follow_redirects=True)
        except (ValueError, ImportError, OSError) as error:  # proxies or certificates of the environment
            raise self._error(f"The network settings can't be used: {error}.") from error
        with client:
            while True:
                try:
                    self._connect_once(client)
                    return
                except _TryAgainError as error:
                    reached = self._part_size()
                    failures = 1 if reached > best else failures + 1
                    best = max(best, reached)
                    if failures >= error.most:
                        raise self._gave_up(str(error)) from error
                    pause = min(error.pause or 0.5 * 2**failures, _LONGEST_PAUSE)
                    self.note(f"{error}; trying again in {pause:.0f} s.")
                    self.sleep(pause)

    def _connect_once(self, client: httpx.Client) -> None:
        offset = self._part_size()
        if self.total is not None and offset > self.total:
            self.part.unlink()
            offset = 0
        if offset and offset == self.total:
            return
        # Compressed answers would make ranges and lengths mean something else.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self.etag:
                headers["If-Range"] = self.etag
        try:
            with client.stream("GET", self.checkpoint.url, headers=headers) as response:
                self._receive(response, offset)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise self._error(f"{self.checkpoint.url} can't be fetched: {error}.") from error
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._error(
                    f"The certificate of {self.checkpoint.url} isn't trusted here ({error}). Behind a "
                    "company proxy, point $SSL_CERT_FILE to its certificates."
                ) from error
            raise _trouble(error) from error

    def _receive(self, response: httpx.Response, offset: int) -> None:
        status = response.status_code
        if status == 206:
            start, total = _content_range(response)
            if start != offset:
                self.part.unlink()
                raise _TryAgainError("The server answered with another range than asked for")
            self._expect_length(total)
        elif status == 200:  # the whole file: first request, ranges ignored, or the file changed
            length = response.headers.get("Content-Length", "")
            self._expect_length(int(length) if length.isdigit() else None)
            if offset:
                self.note("The server can't go on from the middle; starting again.")
            offset = 0
        elif status == 416:
            _, total = _content_range(response)
            if total is not None and total == offset and self.total in (None, total):
                return
            self.part.unlink()
            raise _TryAgainError("The server has no such range")
        elif status == 429 or status >= 500:
            after = response.headers.get("Retry-After", "")
            raise _TryAgainError(
                f"The server answered {status} {response.reason_phrase}",
                float(after) if after.isdigit() else None,
            )
        else:
            why = _REFUSALS.get(status, response.reason_phrase or "no reason given")
            raise self._error(f"{self.checkpoint.url} can't be fetched: the server answered {status} ({why}).")
        etag = response.headers.get("ETag", "")
        self.etag = etag if etag.startswith('"') else None  # a weak one says nothing about bytes
        self._write(response, offset)

    def _expect_length(self, length: int | None) -> None:
        if self.checkpoint.size is not None and length is not None and length != self.checkpoint.size:
            raise self._error(
                f"{self.checkpoint.url} offers {length:,} bytes; the published {self.checkpoint.filename} "
                f"has {self.checkpoint.size:,}. It was replaced, or something between here and the server "
                "answered in its place (a login page?)."
            )
        if self.checkpoint.size is None:
            self.total = length

    def _write(self, response: httpx.Response, offset: int) -> None:
        if self.total is not None and (free := shutil.disk_usage(self.part.parent).free) < self.total - offset:
            raise self._no_room(f"{self.total - offset:,} more bytes are needed, {free:,} are free")
        done = offset
        with self.part.open("ab" if offset else "wb") as file:
            self.progress(done, self.total)
            # As it comes in: blocks of a fixed size would lose the begun one when the connection breaks.
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                if self.total is not None and done > self.total:
                    break
                self.progress(done, self.total)
        if self.total is None or done == self.total:
            return
        if done > self.total:
            self.part.unlink()
            raise self._error(f"{self.checkpoint.url} sends more than the {self.total:,} bytes it should have.")
        raise _TryAgainError(f"The connection ended after {done:,} of {self.total:,} bytes")

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    # -- what to tell ----------------------------------------------------------------------------------------

    def _say_waiting(self) -> None:
        self.note(f"Another process is fetching {self.checkpoint.filename}; waiting for it.")

    def _error(self, what: str) -> DownloadError:
        return DownloadError(f"{what} {how_to_get(self.checkpoint)}")

    def _gave_up(self, reason: str) -> DownloadError:
        kept = self._part_size()
        go_on = f" {kept:,} bytes are kept and the next try goes on from there." if kept else ""
        return self._error(
            f"{self.checkpoint.url} can't be fetched: {reason[:1].lower()}{reason[1:]}. Is this machine online?{go_on}"
        )

    def _no_room(self, detail: str) -> DownloadError:
        return DownloadError(
            f"There is no room for {self.checkpoint.filename} in {self.part.parent} ({detail}). Make room, "
            "or set $MASKLET_HOME to a folder on another disk; what is fetched already is kept. Meanwhile "
            "`--model nano` works without any download."
        )

    def _cannot_write(self, error: OSError) -> DownloadError:
        if error.errno in _NO_ROOM:
            return self._no_room(error.strerror or "the disk is full")
        return DownloadError(
            f"{error.filename or self.part.parent} can't be written ({error.strerror or error}). Set "
            "$MASKLET_HOME to a folder you can write to. Meanwhile `--model nano` works without any download."
        )


def _trouble(error: httpx.TransportError) -> _TryAgainError:
    """What a failed connection is called."""
    detail = str(error) or type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        return _TryAgainError(f"There is no connection to {error.request.url.host} ({detail})", most=MAX_UNREACHABLE)
    if isinstance(error, httpx.TimeoutException):
        return _TryAgainError("The server has stopped answering")
    return _TryAgainError(f"The connection was cut ({detail})")


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Start of the range and length of the whole file, from a Content-Range header; None for what it doesn't
    say.
    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    start, _, total = match.groups()
    return (int(start) if start else None), (int(total) if total != "*" else None)
