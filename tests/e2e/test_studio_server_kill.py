"""The server killed in the middle of a track: nothing that was found is lost, and the next one goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.studio_client import DEMO, TOKEN, Client, until

from masklet.project import Project

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")

_OPTIONS = ("--no-browser", "--device", "cpu", "--resolution", "128", "--dtype", "float32")


@contextmanager
def command(root: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Client, list[str]]]:
    """`masklet studio` in a process of its own."""
    environment = {**os.environ, "MASKLET_STUDIO_TOKEN": TOKEN, "MASKLET_HOME": str(root.parent / "home")}
    process = subprocess.Popen(
        [sys.executable, "-m", "masklet", "studio", *arguments, *_OPTIONS],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        port = int(said[0].split("127.0.0.1:")[1].split("/")[0])
        with Client(port) as client:
            client.wait_until_up()
            yield process, client, said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(600)
        assert process.stdout is not None
        process.stdout.close()


def test_kill_minus_nine_while_tracking(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(DEMO, root / "bunny.mp4")
    with command(root, "bunny.mp4") as (process, client, said):
        assert f"?token={TOKEN}" not in said[0]  # the address has a token of its own, which works once
        opened = client.ask("GET", "/api/studio")["open_at_start"]
        project = f"/api/projects/{opened}"
        object_id = client.ask("POST", f"{project}/objects", name="bunny")["id"]
        client.ask("POST", f"{project}/prompts", frame=0, object=object_id, box=[300, 150, 560, 560])
        with client.listen(opened) as news:
            client.ask("POST", f"{project}/track", end=45)
            seen = [m for m in until(news, lambda m: m["type"] == "masks" and m["frame"] >= 8) if m["type"] == "masks"]
            process.send_signal(signal.SIGKILL)
        process.wait(600)
    found = {m["frame"]: m["objects"][0]["rle"] for m in seen}

    # Opened again, by the next server: the lock of the killed one is in nobody's way.
    with command(root) as (process, client, _):
        [recent] = client.ask("GET", "/api/recent")
        state = client.ask("POST", "/api/projects", path=recent["path"])
        assert state["id"] == opened and [object_["name"] for object_ in state["objects"]] == ["bunny"]
        # Half a second of masks may be on its way to the disk; the run goes on from where the tracker was kept last.
        kept = {f["frame"]: f["objects"][0]["rle"] for f in client.ask("GET", f"{project}/masks")["frames"]}
        assert kept and set(kept) == set(range(max(kept) + 1))
        assert 0 <= state["run"]["frame"] <= max(kept) + 1
        client.wait(client.ask("POST", f"{project}/resume"))
        state = client.ask("GET", project)
        assert state["run"] is None and state["lanes"][0]["spans"] == [[0, 45]]
        done = {f["frame"]: f["objects"][0]["rle"] for f in client.ask("GET", f"{project}/masks")["frames"]}
        # The masks that had been shown are those that came out.
        assert {n: done[n] for n in found} == found
        # Ctrl-C in the middle of a track ends in order, and the run can be gone on with.
        with client.listen(opened) as news:
            client.ask("POST", f"{project}/track", direction="forward")
            until(news, lambda m: m["type"] == "masks" and m["frame"] >= 3)
            process.send_signal(signal.SIGINT)
        assert process.wait(600) in (0, 130)

    with Project.open(root / "bunny.masklet", read_only=True) as left:
        assert left.run is not None and 0 < left.run.frames_left < 100
