"""Errors of the studio, and how every error becomes an HTTP answer with a sentence."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from masklet import errors
from masklet.errors import MaskletError

log = logging.getLogger("masklet.studio")


class StudioError(MaskletError):
    """A request that the studio turns down; `kind` is for programs, `status` the HTTP status."""

    status, kind = 400, "input"


class NotFoundError(StudioError):
    """There is no such project, job, file or object."""

    status, kind = 404, "not_found"


class OutsideRootError(StudioError):
    """A path that leaves the root folder."""

    status, kind = 403, "outside_root"


class BusyError(StudioError):
    """Not now: something else is going on that must end first."""

    status, kind = 409, "busy"


class SupersededError(StudioError):
    """A newer request took this one's place, or nobody waits for its answer any more."""

    status, kind = 409, "superseded"


class ModelMissingError(StudioError):
    """The model's weights have to be downloaded first."""

    status, kind = 409, "model_missing"


class TooLargeError(StudioError):
    """A body, file or picture that is larger than allowed."""

    status, kind = 413, "too_large"


#: Words that sentences of masklet begin with, which the command line puts after "error:".
_BEGINNINGS = frozenset(
    (
        *("a", "all", "an", "another", "frame", "frames", "give", "it", "labels", "no", "nothing", "objects"),
        *("only", "points", "say", "several", "the", "there", "this", "with"),
    )
)

_KINDS: tuple[tuple[type[MaskletError], int, str], ...] = (
    # The first that fits, so the more special come first.
    (errors.UnknownObjectError, 404, "not_found"),
    (errors.PromptError, 400, "prompt"),
    (errors.InputError, 400, "input"),
    (errors.ProjectInUseError, 409, "in_use"),
    (errors.SourceNotFoundError, 409, "source_missing"),
    (errors.ProjectError, 400, "project"),
    (errors.BatchError, 400, "batch"),
    (errors.MediaError, 400, "media"),
    (errors.ExportError, 400, "export"),
    (errors.SourceError, 409, "source"),
    (errors.DownloadError, 400, "download"),
    (errors.CheckpointError, 400, "checkpoint"),
    (errors.DeviceError, 400, "device"),
    (errors.CancelledError, 409, "cancelled"),
)


def describe(error: BaseException) -> tuple[int, dict[str, str]]:
    """HTTP status, and kind and message for the client. Bugs are logged; the client learns only that there was one."""
    if isinstance(error, StudioError):
        return error.status, {"kind": error.kind, "message": _sentence(error)}
    if isinstance(error, MaskletError):
        for kind, status, name in _KINDS:
            if isinstance(error, kind):
                return status, {"kind": name, "message": _sentence(error)}
        return 400, {"kind": "masklet", "message": _sentence(error)}
    log.error("An unexpected error in the studio", exc_info=error)
    return 500, {
        "kind": "bug",
        "message": f"masklet did not expect this ({type(error).__name__}). Your work is saved; the log says more.",
    }


def answer(error: BaseException) -> JSONResponse:
    """The error as an HTTP answer."""
    status, body = describe(error)
    return JSONResponse({"error": body}, status)


def install(app: FastAPI) -> None:
    """Make every error of an app a JSON answer with a sentence."""

    @app.exception_handler(MaskletError)
    async def on_masklet_error(request: Request, error: MaskletError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def on_wrong_fields(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": {"kind": "fields", "message": _first(error)}}, 422)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, MaskletError):  # a body that was too large while it was read
            return answer(error.__cause__)
        kind = {404: "not_found", 405: "method", 413: "too_large"}.get(error.status_code, "http")
        if error.status_code == 404:
            message = f"There is nothing at {request.url.path}."
        elif error.status_code == 405:
            message = f"{request.method} does not work at {request.url.path}."
        else:
            message = str(error.detail)
        return JSONResponse({"error": {"kind": kind, "message": message}}, error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def on_hang_up(request: Request, error: ClientDisconnect) -> JSONResponse:
        return answer(StudioError("The request broke off."))  # nobody is there to read it

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        return answer(error)


def _first(error: RequestValidationError) -> str:
    found: list[dict[str, Any]] = jsonable_encoder(error.errors(), custom_encoder={bytes: lambda _: "…"})
    first = found[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if text.split(" ", 1)[0] in _BEGINNINGS:  # anything else may be the name of a file or an object
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…)" else f"{text}."
