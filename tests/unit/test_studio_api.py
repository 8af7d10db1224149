"""Whatever is sent to the API, its answer is one that it documents, and never a bug."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.e2e.studio_client import DEMO, TOKEN, Client, running

pytestmark = pytest.mark.slow

CHECKS = (content_type_conformance, response_schema_conformance, status_code_conformance)
# These wait for the outside world, or end what the other requests need.
_LEFT_OUT = {("POST", "/api/models/{name}/download"), ("DELETE", "/api/projects/{project}")}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("studio") / "root"
    root.mkdir()
    rows = np.linspace(0, 255, 48, dtype=np.uint8)[:, None, None]
    for number in range(4):
        Image.fromarray(np.broadcast_to(rows + number, (48, 64, 3)).copy()).save(root / f"a.{number:03}.png")
    with running(root) as client:
        yield client


@pytest.fixture(scope="module")
def project(client: Client) -> str:
    """A project with an object that was tracked."""
    state = client.ask("POST", "/api/projects", path="a.###.png")
    address = f"/api/projects/{state['id']}"
    client.ask("POST", f"{address}/objects")
    client.ask("POST", f"{address}/prompts", frame=0, object=1, box=[5, 5, 40, 40])
    client.wait(client.ask("POST", f"{address}/track"))
    return state["id"]


def operations() -> list[tuple[str, str]]:
    from masklet.studio.app import Studio, StudioOptions, make_app
    from masklet.studio.security import Access

    studio = Studio(StudioOptions(root=Path(__file__).parent, recent=Path("nowhere")), Access("127.0.0.1", 1))
    document = make_app(studio).app.openapi()  # type: ignore[attr-defined]
    studio.close()
    found = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    return [route for route in found if route not in _LEFT_OUT]


@pytest.fixture(scope="module")
def schema(client: Client) -> Any:
    return schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize(("method", "path"), operations())
def test_answers_are_those_that_are_documented(
    client: Client, project: str, schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    @given(case=schema[path][method].as_strategy(generation_mode=mode), data=st.data())
    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any, data: st.DataObject) -> None:
        steer(case, project, data)
        answer = case.call(base_url=str(client.base_url), headers={"Authorization": f"Bearer {TOKEN}"}, timeout=600)
        assert answer.status_code < 500, (answer.text, case.as_curl_command())
        case.validate_response(answer, checks=CHECKS)

    try:
        run()
    except Unsatisfiable:  # what takes nothing can't be asked wrongly
        assert mode is GenerationMode.NEGATIVE


def steer(case: Any, project: str, data: st.DataObject) -> None:
    """Mostly to what there is: random numbers of objects, frames and jobs would meet nothing but 404."""
    there = {"project": project, "object": 1, "frame": 2, "job": "1", "start": 1, "end": 3, "path": "a.###.png"}
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict):
            for name in set(values) & set(there):
                if name == "project" or data.draw(st.integers(0, 3)):
                    values[name] = there[name]


@given(text=st.text(max_size=60) | st.binary(max_size=60))
@settings(max_examples=25, deadline=None)
def test_the_socket_shrugs_at_nonsense(client: Client, text: str | bytes) -> None:
    with client.listen() as news:
        news.send(text)
        if isinstance(text, str):
            news.send('{"type": "ping"}')
            while json.loads(news.recv(timeout=30))["type"] != "pong":
                pass
    assert client.get("/api/studio").status_code == 200


def test_an_export_does_not_take_the_place_of_a_source(client: Client) -> None:
    root = client.server.studio.root.folder  # type: ignore[attr-defined]
    (root / "dog.mp4").write_bytes(DEMO.read_bytes())
    (root / "link.mp4").symlink_to(root / "dog.mp4")
    state = client.ask("POST", "/api/projects", path="dog.mp4")
    exports = f"/api/projects/{state['id']}/exports"
    client.ask("POST", f"/api/projects/{state['id']}/objects")
    for path in ("dog.mp4", "link.mp4", "nowhere/../dog.mp4"):
        answer = client.post(exports, json={"format": "h264-matte", "path": path, "overwrite": True})
        assert answer.status_code == 409 and answer.json()["error"]["kind"] == "source", answer.text
    assert (root / "dog.mp4").read_bytes() == DEMO.read_bytes()


def test_an_export_that_can_not_be_written_is_refused_at_once(client: Client, project: str) -> None:
    exports = f"/api/projects/{project}/exports"
    before = len(client.ask("GET", "/api/jobs"))
    for export, says in (
        ({"format": "h264-matte", "path": "mask.png"}, "wrong suffix: the format h264-matte writes .mp4"),
        ({"format": "cutout", "path": "a.001.tif"}, "wrong suffix"),
        ({"format": "cutout", "path": "a.001.png"}, "is a source"),
        ({"format": "png-mask", "path": "a.001.png"}, "is a source"),
    ):
        answer = client.post(exports, json=export)
        assert answer.is_client_error and says in answer.json()["error"]["message"], answer.text
    assert len(client.ask("GET", "/api/jobs")) == before
