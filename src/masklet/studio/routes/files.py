"""The studio itself, files below its root, uploads, recent projects."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from masklet import __version__
from masklet.masks.settings import MaskSettings
from masklet.studio import schemas
from masklet.studio.routes.common import PROBLEMS, StudioOf

router = APIRouter(responses=PROBLEMS, tags=["studio and files"])


@router.get("/api/studio")
def get_studio(studio: StudioOf) -> schemas.StudioInfo:
    """What this studio is, and what its projects can be set to."""
    from masklet.runtime import pick_device, pick_dtype
    from masklet.tracking.policies import POLICIES

    device = pick_device(studio.options.device)
    dtypes = ["float32", "bfloat16"] + ["float16"] * (device.type != "cpu")
    return schemas.StudioInfo(
        version=__version__,
        root=studio.root.folder.name or str(studio.root.folder),
        root_path=str(studio.root.folder),
        device=str(device),
        default_dtype=str(pick_dtype(None, device)).removeprefix("torch."),
        dtypes=dtypes,
        local=studio.access.local,
        upload_limit=studio.root.upload_limit,
        policies=[
            schemas.PolicyInfo(
                name=name, title=kind.title, description=kind.description, settings_schema=kind.model_json_schema()
            )
            for name, kind in POLICIES.items()
        ],
        mask_settings_schema=MaskSettings.model_json_schema(),
        open_at_start=studio.open_at_start,
        batch_at_start=studio.batch_at_start,
    )


@router.post("/api/login-links", status_code=201)
def make_login_link(studio: StudioOf) -> schemas.LoginLink:
    """An address that lets one more browser in, once."""
    return schemas.LoginLink(address=studio.access.make_link())


@router.get("/api/files")
def list_files(studio: StudioOf, path: Annotated[str, Query(max_length=4096)] = "") -> schemas.FileList:
    """What there is to open in a folder below the root."""
    return studio.root.listing(path)


@router.post(
    "/api/uploads",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    request: Request,
    studio: StudioOf,
    name: Annotated[str, Query(min_length=1, max_length=255, description="clip.mp4")],
    folder: Annotated[str, Query(max_length=255, description="Puts pictures of a sequence together")] = "",
) -> schemas.Uploaded:
    """Takes in a video, a picture or a project: the file's bytes are the body."""
    return await studio.root.upload(name, folder, request.stream())


@router.get("/api/recent")
def list_recent(studio: StudioOf) -> list[schemas.RecentProject]:
    """The projects that were opened last, the latest first."""
    return studio.recent.projects(studio.root, studio.workspace.open_ids())


@router.get("/api/recent/thumbnail.jpg", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def recent_thumbnail(studio: StudioOf, path: Annotated[str, Query(max_length=4096)]) -> Response:
    """A small picture of a project."""
    place = studio.root.existing(path)
    jpeg = studio.recent.thumbnail(place, studio.root)
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


@router.get("/api/docs", response_class=HTMLResponse, include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Every route of the API on one page, without any script."""
    document = request.app.openapi()
    rows = []
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            parameters = ", ".join(
                parameter["name"] for parameter in about.get("parameters", []) if parameter["in"] == "query"
            )
            rows.append(
                f"<tr><td><code>{method.upper()}</code><td><code>{escape(path)}</code>"
                f"<td>{escape(about.get('description', ''))}<td>{escape(parameters)}<td>{_model_of(about)}"
            )
    models = "".join(
        f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(model.get("description", ""))}<ul>'
        + "".join(
            f"<li><code>{escape(key)}</code>: {escape(_kind(field))} {escape(field.get('description', ''))}"
            for key, field in model.get("properties", {}).items()
        )
        + "</ul>"
        for name, model in sorted(document["components"]["schemas"].items())
    )
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>masklet studio: API</title>'
        "<style>body{font:15px/1.5 system-ui;max-width:80rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
        "td{padding:.2rem .6rem;vertical-align:top}</style><h1>The studio's API</h1>"
        '<p>As a document for programs: <a href="/api/openapi.json">openapi.json</a>'
        f"<table>{''.join(rows)}</table><h2>Bodies and answers</h2>{models}</html>"
    )


def _model_of(about: dict[str, Any]) -> str:
    found = []
    content = about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for schema in (content, *(answer.get("schema", {}) for _, answer in _answers(about))):
        if name := _kind(schema):
            found.append(f'<a href="#{escape(name.split()[-1])}">{escape(name)}</a>')
    return " → ".join(found)


def _answers(about: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (code, answer.get("content", {}).get("application/json", {}))
        for code, answer in about.get("responses", {}).items()
        if code.startswith("2")
    ]


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, options))
    return str(schema.get("type", ""))
