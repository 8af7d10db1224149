"""The studio's server, killed while it is clicked at, painted in, edited, tracked in and exported from over its API.

Its worker, which runs the network, is a thread of the server, and dies with it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from tests.e2e.studio_client import DEMO, TOKEN, Client
from websockets.exceptions import WebSocketException

from benchmarks.kills import Ledger, Slot, Tally, summary
from masklet.masks import rle

WIDTH, HEIGHT, FRAMES = 128, 72, 120
BOX = [31, 15, 56, 56]  # the bunny on the frames from which it is tracked
# How it is tracked: which way, from which frame, and on which frame it is corrected with a click.
PLANS = {"forward": (0, 40), "both": (48, 90), "backward": (119, 30)}
TRACKED = "tracked"
OTHERS = 3  # objects that are edited meanwhile
LONGEST_START = 3.0  # seconds
OBJECT, PROMPT, MASK = "names and colours of objects", "prompts", "masks of prompts and edits"
SHOWN, FILE = "masks of tracks that were shown", "exports and uploads"
_GONE = (httpx.TransportError, WebSocketException, OSError, EOFError)


def measure_kills(times: int, seed: int = 0) -> dict[str, Any]:
    """Kills a studio so many times, and says what of all that it had said to be done was there afterwards."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        studio = KilledStudio(Path(folder), random.Random(seed))
        while tally.kills.total() < times:
            studio.live(tally)
        studio.end(tally)
    return summary(tally)


class KilledStudio:
    """A studio over one clip. One object is tracked and corrected again and again; others are edited meanwhile."""

    def __init__(self, folder: Path, chance: random.Random, seconds: float = 3.5) -> None:
        """`seconds` is how long it lives at most once it has started."""
        self.root, self.chance, self.seconds = folder / "footage", chance, seconds
        self.root.mkdir()
        make_clip(self.root / "clip.mkv")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.ledger = Ledger(newer=frozenset({SHOWN, FILE}))
        self.doing = "starting"
        self._asked = _nothing
        self._calm = False
        self._job: str | None = None
        self._ended: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)
        self._whole: dict[tuple[str, bool], Any] = {}  # masks that nobody killed, by plan, and whether it was corrected
        self._carry_out_plans(folder / "whole")
        self.ledger = Ledger(newer=frozenset({SHOWN, FILE}))

    def live(self, tally: Tally) -> None:
        """Starts it, looks whether everything is there, gives it work, and kills it at a random moment."""
        self._check_files(tally)
        self.doing, self._job, self._ended = "starting", None, {}
        up = threading.Event()
        self._calm = self.chance.random() < 0.5  # no edit, which saves what was tracked as well
        early = self.chance.random() < 0.15
        seconds = self.chance.random() * (LONGEST_START if early else self.seconds)
        killed = []

        def kill() -> None:
            if not early:
                up.wait()
            time.sleep(seconds)
            tally.kills[self.doing] += 1
            killed.append(time.monotonic())
            process.send_signal(signal.SIGKILL)

        process = self._start(self.root)
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with suppress(*_GONE), self._client(process, self.root) as client:
                self._look(client, tally)
                with client.listen(client.project) as news:
                    listener = threading.Thread(target=self._listen, args=(news,))
                    listener.start()
                    up.set()
                    try:
                        while process.poll() is None:
                            self._act(client, tally)
                    finally:
                        killer.join()
                        listener.join()
        finally:
            up.set()
            killer.join()
            process.wait()
        self.ledger.kill(killed[0])
        if process.returncode != -signal.SIGKILL:
            tally.wrong.append(f"the server ended by itself: {_log(self.root)}")

    def end(self, tally: Tally) -> None:
        """Looks whether everything is there, for the last time."""
        self._check_files(tally)
        with self._process(self.root) as client:
            self._look(client, tally)

    # --- the server ------------------------------------------------------------------------------------------------

    def _start(self, root: Path) -> subprocess.Popen[bytes]:
        home = str(root.parent / f"{root.name}-home")
        environment = os.environ | {"MASKLET_STUDIO_TOKEN": TOKEN, "MASKLET_HOME": home, "OMP_NUM_THREADS": "1"}
        options = ["--no-browser", "--port", str(self.port), "--resolution", "128", "--dtype", "float32"]
        command = [sys.executable, "-m", "masklet", "studio", str(root), "--device", "cpu", *options]
        with root.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @contextmanager
    def _client(self, process: subprocess.Popen[bytes], root: Path) -> Iterator[Any]:
        """Once it answers, and has its project open. Raises ConnectionError where it was killed before."""
        with Client(self.port) as client:
            while True:
                with suppress(httpx.ConnectError):
                    client.get("/api/studio")
                    break
                if process.poll() is not None:
                    raise ConnectionResetError(_log(root))
                time.sleep(0.02)
            self.doing = "opening the project"
            path = "clip.masklet" if (root / "clip.masklet").exists() else "clip.mkv"
            client.project = client.ask("POST", "/api/projects", path=path)["id"]
            client.address = f"/api/projects/{client.project}"
            yield client

    @contextmanager
    def _process(self, root: Path) -> Iterator[Any]:
        """One that is not killed before it is through."""
        process = self._start(root)
        try:
            with self._client(process, root) as client:
                yield client
        finally:
            process.kill()
            process.wait()

    def _listen(self, news: Any) -> None:
        """Notes every mask that a track shows, and the jobs that ended."""
        with suppress(*_GONE):
            for text in news:
                message = json.loads(text)
                if message["type"] == "masks":
                    for mask in message["objects"]:
                        self.ledger.say((SHOWN, mask["object"], message["frame"]), mask["rle"]["counts"])
                elif message["type"] == "job" and message["job"]["state"] in ("done", "failed", "cancelled"):
                    for path in message["job"]["files"]:
                        self.ledger.say((FILE, 0, path), True)
                    self._ended[message["job"]["id"]] = message["job"]

    # --- what is there ---------------------------------------------------------------------------------------------

    def _look(self, client: Any, tally: Tally) -> None:
        self.ledger.look(self._there(client, range(FRAMES)), self._asked, tally)
        self._asked = _nothing

    def _there(self, client: Any, frames: range) -> dict[Slot, Any]:
        """Everything that can be lost; masks and prompts of some frames."""
        state = client.ask("GET", f"{client.address}?lanes=false")
        query = f"raw=true&start={frames[0]}&end={frames[-1]}"
        masks = client.ask("GET", f"{client.address}/masks?{query}")["frames"]
        there: dict[Slot, Any] = {(OBJECT, known["id"]): _without(known, "position") for known in state["objects"]}
        tracked = {known["id"] for known in state["objects"] if known["name"].startswith(TRACKED)}
        for said in state["prompts"]:
            if said["frame"] in frames:
                there.setdefault((PROMPT, said["object"], said["frame"]), []).append(_without(said, "id"))
        for frame in masks:
            for mask in frame["objects"]:
                kind = SHOWN if mask["object"] in tracked else MASK
                there[kind, mask["object"], frame["frame"]] = mask["rle"]["counts"]
        return there | {(FILE, 0, path.relative_to(self.root).as_posix()): True for path in self._written()}

    def _written(self) -> list[Path]:
        return [*self.root.glob("exports/[!.]*"), *self.root.glob("uploads/[!.]*")]

    def _check_files(self, tally: Tally) -> None:
        """What a killed server left behind is whole."""
        project, copy = self.root / "clip.masklet", self.root.parent / "copy.masklet"
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{project}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as database:
            if (told := database.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                tally.wrong.append(f"clip.masklet: {told}")
        for path in copy.parent.glob("copy.masklet*"):
            path.unlink()
        for path in self._written():
            if path.parent.name == "uploads":
                whole = path.read_bytes() == (self.root / "clip.mkv").read_bytes()
            else:
                with av.open(str(path)) as container:
                    whole = sum(1 for _ in container.decode(video=0)) == FRAMES
            if not whole:
                tally.wrong.append(f"{path.name} is not whole")

    # --- what is asked for -----------------------------------------------------------------------------------------

    def _act(self, client: Any, tally: Tally) -> None:
        """One thing to do: the next step of the plan, or, while a track runs, something else."""
        if self._job is not None and self._job not in self._ended:
            self.doing = "tracking"
            if not self._calm:
                self._edit(client)
            time.sleep(self.chance.random() * 0.2)
            return
        self.doing = "at rest"
        if self._job is not None and self._ended[self._job]["state"] != "done":
            tally.wrong.append(str(self._ended[self._job]))
        self._go_on(client, tally)

    @contextmanager
    def _asking(self, client: Any, number: int | None, frames: range = range(1)) -> Iterator[None]:
        """Asks for a change of an object (None: a new one) on some frames, and notes what is there then."""

        def among(slot: Slot) -> bool:
            if number is None:
                return slot[0] == OBJECT and slot[1] not in known
            return slot[0] != FILE and slot[1] == number and (len(slot) < 3 or slot[2] in frames)

        known = {slot[1] for slot in self.ledger.latest if slot[0] == OBJECT}
        self._asked = among
        yield
        when = time.monotonic()
        self.ledger.say_all(self._there(client, frames), among, when)
        self._asked = _nothing

    def _prompt(self, client: Any, number: int, frame: int, **said: Any) -> None:
        with self._asking(client, number, range(frame, frame + 1)):
            client.ask("POST", f"{client.address}/prompts", object=number, frame=frame, **said)

    def _edit(self, client: Any) -> None:
        """Something random with objects that aren't tracked, and files."""
        chance, address = self.chance, client.address
        objects = {slot[1]: known["name"] for slot, known in self.ledger.latest.items() if slot[0] == OBJECT}
        others = [number for number, name in objects.items() if not name.startswith(TRACKED)]
        if len(others) < OTHERS:
            with self._asking(client, None):
                client.ask("POST", f"{address}/objects")
            return
        number, frame = chance.choice(others), chance.randrange(FRAMES - 20)
        at = [chance.randrange(WIDTH - 20), chance.randrange(HEIGHT - 20)]
        what = chance.choice(
            ["name", "color", "click", "click", "paint", "paint", "copy", "delete", "export", "upload"]
        )
        if what in ("name", "color"):
            value = f"{chance.randrange(1000)}" if what == "name" else f"#{chance.randrange(1 << 24):06x}"
            with self._asking(client, number):
                client.ask("PATCH", f"{address}/objects/{number}", **{what: value})
        elif what == "click":
            self._prompt(client, number, frame, points=[at], labels=[1])
        elif what == "paint":
            mask = np.zeros((HEIGHT, WIDTH), np.bool_)
            mask[at[1] : at[1] + 20, at[0] : at[0] + 20] = True
            self._prompt(client, number, frame, mask=rle.encode(mask))
        elif what == "delete":
            with self._asking(client, number, range(frame, frame + 20)):
                client.post(
                    f"{address}/edits", json={"kind": what, "object": number, "start": frame, "end": frame + 19}
                )
        elif what == "copy":
            known = [slot[2] for slot in self.ledger.latest if slot[:2] == (MASK, number)]
            if known:
                edit = {"kind": what, "object": number, "frame": known[0], "start": frame, "end": frame + 19}
                with self._asking(client, number, range(frame, frame + 20)):
                    client.post(f"{address}/edits", json=edit)
        elif what == "export":
            path = f"exports/{next(self._numbers)}-{time.time_ns()}.mp4"
            client.ask("POST", f"{address}/exports", format="overlay", path=path)
        else:
            answer = client.post("/api/uploads?name=clip.mkv", content=(self.root / "clip.mkv").read_bytes())
            self.ledger.say((FILE, 0, answer.json()["path"]), True)

    # --- the object that is tracked --------------------------------------------------------------------------------

    def _carry_out_plans(self, root: Path) -> None:
        """All of them once, without a kill, to compare with."""
        root.mkdir()
        shutil.copy(self.root / "clip.mkv", root)
        tally = Tally()
        with self._process(root) as client:
            while len(self._whole) < 2 * len(PLANS):
                self._go_on(client, tally)
                if self._job is not None:
                    client.wait({"id": self._job})
        assert not tally.wrong, tally.wrong

    def _go_on(self, client: Any, tally: Tally) -> None:
        """The next step of a plan, by what is there: make the object, prompt, track, correct, re-track, remove it."""
        ended, self._job = self._job is not None, None
        state = client.ask("GET", client.address)
        found = next((known for known in state["objects"] if known["name"].startswith(TRACKED)), None)
        if found is None:
            plan = list(PLANS)[next(self._numbers) % len(PLANS)]
            with self._asking(client, None):
                client.ask("POST", f"{client.address}/objects", name=f"{TRACKED} {plan}")
            return
        plan, number = found["name"].split()[1], found["id"]
        start, corrected = PLANS[plan]
        prompted = {said["frame"] for said in state["prompts"] if said["object"] == number}
        [spans] = [lane["spans"] for lane in state["lanes"] if lane["object"] == number]
        if state["run"] is not None:
            self._job = client.ask("POST", f"{client.address}/resume")["id"]
        elif start not in prompted:
            self._prompt(client, number, start, box=BOX)
        elif spans != [[0, FRAMES - 1]]:
            if spans != [[start, start]]:
                tally.wrong.append(f"the run of frames {spans} is gone")
            self._job = client.ask("POST", f"{client.address}/track", direction=plan, objects=[number])["id"]
        elif corrected not in prompted:
            self._compare(client, number, (plan, False), tally)
            self._prompt(client, number, corrected, points=[[8, 8]], labels=[0])
        elif not ended and self._masks(client, number) != self._whole.get((plan, True)):
            self._job = client.ask("POST", f"{client.address}/correct", object=number, frame=corrected)["id"]
        else:
            self._compare(client, number, (plan, True), tally)
            with self._asking(client, number, range(FRAMES)):
                client.ask("DELETE", f"{client.address}/objects/{number}")

    def _compare(self, client: Any, number: int, which: tuple[str, bool], tally: Tally) -> None:
        """The masks of a track that came to its end with those that nobody killed, which are the first ones."""
        masks = self._masks(client, number)
        if masks != self._whole.setdefault(which, masks):
            tally.wrong.append(f"{which}: other masks than without a kill")
        tally.runs += 1

    def _masks(self, client: Any, number: int) -> list[Any]:
        frames = client.ask("GET", f"{client.address}/masks?raw=true")["frames"]
        return [_without(mask, "object") for frame in frames for mask in frame["objects"] if mask["object"] == number]


def make_clip(path: Path) -> None:
    """The packaged clip there and back again, small, as FFV1."""
    with av.open(str(DEMO)) as container:
        pictures = [frame.reformat(WIDTH, HEIGHT, "yuv420p") for frame in container.decode(video=0)]
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, picture in enumerate([*pictures[: FRAMES // 2], *reversed(pictures[: FRAMES // 2])]):
            picture.pts = number
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def _nothing(slot: Slot) -> bool:
    return False


def _without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def _log(root: Path) -> str:
    return root.with_suffix(".log").read_text()[-2000:]
