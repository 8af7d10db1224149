"""What the studio stands on: bounded pictures, news, listings, prompts and explanations that a project keeps."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from masklet.cli import app
from masklet.errors import InputError, PromptError
from masklet.masks import rle
from masklet.media import open_media
from masklet.project import Project, TrackSettings
from masklet.results import ObjectMask, stretches
from masklet.runs import actions, explain, prompting
from masklet.runs.prompting import Prompter
from masklet.runs.sessions import add_prompts, open_session
from masklet.studio.files import Root
from masklet.studio.frames import ByteCache, FrameStore, Kept
from masklet.studio.problems import describe
from masklet.studio.schemas import Missed
from masklet.studio.server import _bind
from masklet.studio.sockets import _WAITING, _Client

SETTINGS = TrackSettings(resolution=128, dtype="float32", policy_options={"stable_frames_threshold": 2})
BOX = (40.0, 15.0, 80.0, 60.0)


@pytest.fixture
def project(tmp_path: Path, clip: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "clip.masklet", clip, settings=SETTINGS) as project:
        project.add_object(1, "bunny")
        yield project


# --- connections


def test_small_answers_are_sent_at_once() -> None:
    """Otherwise the second packet of an answer waits for the receipt of the first, which takes some 40 ms."""

    async def delays() -> bool:
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            options = writer.get_extra_info("socket")
            accepted.set_result(not options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = _bind("127.0.0.1", 0)
        async with await asyncio.start_server(look, sock=listening):
            _, client = await asyncio.open_connection(*listening.getsockname())
            client.close()
            return await accepted

    assert not asyncio.run(delays())


# --- pictures


@given(sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_a_cache_keeps_within_its_bytes(sizes: list[tuple[int, int]]) -> None:
    cache: ByteCache[int, int] = ByteCache(100)
    for key, size in sizes:
        cache.put(key, size, size)
        assert cache.get(key) == size
        assert cache.size <= 100 or cache.size == size


def test_pictures_are_those_of_the_source(clip: Path) -> None:
    with open_media(clip) as reader:
        wanted = [frame.image_hwc for frame in reader]
        kept = Kept(picture_bytes=wanted[0].nbytes * 3)
        frames = FrameStore(reader, kept)
        for n in (0, 5, 2, 2, 7):
            assert np.array_equal(frames.picture(n), wanted[n])
        assert kept.pictures.size <= wanted[0].nbytes * 3
        assert frames.jpeg(1, 64) is frames.jpeg(1, 64)
        near, preview = frames.preview(6, 64)
        assert near == reader.entry_near(6) and preview == frames.jpeg(near, 64)
        before = frames.thumbnail(3)
        assert frames.thumbnail(3) is before
        with pytest.raises(InputError):
            frames.picture(8)
        frames.close()


def test_all_sources_share_what_may_be_kept(clip: Path) -> None:
    with open_media(clip) as first, open_media(clip) as other:
        size = first.read(0).image_hwc.nbytes
        kept = Kept(picture_bytes=size * 3)
        stores = FrameStore(first, kept), FrameStore(other, kept)
        for n in range(4):
            for store, reader in zip(stores, (first, other), strict=True):
                assert np.array_equal(store.picture(n), reader.read(n).image_hwc)
        assert kept.pictures.size == size * 3
        stores[0].jpeg(0)
        stores[1].jpeg(0)
        both = kept.jpegs.size
        stores[0].close()
        assert 0 < kept.pictures.size <= size * 2
        assert kept.jpegs.size * 2 == both  # the other's is still there
        stores[1].close()
        assert kept.pictures.size == kept.jpegs.size == 0


# --- news


def test_a_page_that_is_too_slow_is_told_so() -> None:
    client = _Client(None)
    for n in range(_WAITING + 5):
        client.put(str(n))
    waiting = [client.waiting.get_nowait() for _ in range(client.waiting.qsize())]
    assert json.loads(waiting[0])["type"] == Missed().type
    assert waiting[1:] == [str(n) for n in range(_WAITING, _WAITING + 5)]


# --- files


def test_a_listing_puts_sequences_together_and_hides_the_rest(tmp_path: Path) -> None:
    for number in range(9, 12):
        Image.new("RGB", (8, 8)).save(tmp_path / f"shot.{number:04}.png")
    for name in ("photo.jpg", "IMG_2.jpg", "only.0001.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "b.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    listing = Root(tmp_path).listing("")
    assert [(entry.kind, entry.name) for entry in listing.entries] == [
        ("folder", "folder"),
        ("video", "b.mp4"),
        ("sequence", "shot.####.png"),
        ("image", "IMG_2.jpg"),
        ("image", "only.0001.png"),
        ("image", "photo.jpg"),
    ]
    assert listing.parent is None and Root(tmp_path).listing("folder").parent == ""
    assert len(open_media(tmp_path / "shot.####.png")) == listing.entries[2].count


@given(frames=st.sets(st.integers(0, 60)))
def test_spans_hold_every_frame_once(frames: set[int]) -> None:
    spans = stretches(sorted(frames))
    assert [n for first, last in spans for n in range(first, last + 1)] == sorted(frames)
    assert all(b > a + 1 for (_, a), (b, _) in itertools.pairwise(spans))


# --- prompts that are answered at once


@settings(max_examples=8, deadline=None)
@given(clicks=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 71), st.integers(0, 1)), min_size=1, max_size=3))
def test_tracking_sees_a_prompt_as_it_was_answered(tmp_path_factory, clip: Path, clicks) -> None:
    """The session of a track that replays the clicks comes to the very mask that was shown at once."""
    place = tmp_path_factory.mktemp("replay") / "clip.masklet"
    with Project.create(place, clip, settings=SETTINGS) as project:
        project.add_object(1)
        prompter = Prompter(project)
        answer = prompter.add(3, 1, box=BOX)
        for x, y, label in clicks:
            answer = prompter.add(3, 1, points=[(x, y)], labels=[label])
        with open_session(project, "cpu") as session:
            add_prompts(session, project, [1])
            assert answer.mask is not None
            assert rle.encode(session.masks(3)[1].mask) == answer.mask.rle
        # A prompter that remembers nothing comes to it, too.
        fresh = Prompter(project)
        assert rle.encode(fresh.preview(3, 1, points=[(60, 30)]).mask) == rle.encode(
            prompter.preview(3, 1, points=[(60, 30)]).mask
        )


def test_undo_and_redo_of_clicks_meet_no_stale_answers(project: Project) -> None:
    prompter = Prompter(project)
    prompter.add(3, 1, box=BOX)
    first = prompter.add(3, 1, points=[(60, 30)])
    project.undo()
    other = prompter.add(3, 1, points=[(10, 10)], labels=[0])  # has the number that the click before had
    assert first.mask is not None and other.mask is not None
    wanted = rle.encode(Prompter(project).preview(3, 1, points=[(50, 50)]).mask)
    assert rle.encode(prompter.preview(3, 1, points=[(50, 50)]).mask) == wanted
    project.undo()
    project.redo()
    assert project.mask(3, 1).rle == other.mask.rle
    with pytest.raises(PromptError):
        prompter.add(5, 1, points=[(10, 10)], labels=[0])
    with pytest.raises(InputError):
        prompter.add(8, 1, points=[(10, 10)])
    assert project.prompts(5) == [] and project.mask(5, 1) is None


def test_a_prompt_that_fails_changes_nothing(project: Project) -> None:
    prompter = Prompter(project)
    prompter.add(3, 1, box=BOX)
    before = project.prompts(), project.mask(3, 1), project.history()
    for wrong in ({"points": [(500, 5)]}, {"box": (5, 5, 5, 5)}, {"points": [(1, 1)], "labels": [1, 0]}, {}):
        with pytest.raises(PromptError):
            prompter.add(3, 1, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        prompter.paint(3, 1, np.zeros((5, 5), bool))
    assert (project.prompts(), project.mask(3, 1), project.history()) == before


def test_features_are_bounded(project: Project) -> None:
    prompter = Prompter(project, feature_bytes=1)
    for frame in range(4):
        prompter.session.encode(frame)
    assert list(prompter.session._features) == [(2, None), (3, None)]


def test_no_more_answers_are_remembered_than_a_few(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompting, "_ANSWERS_KEPT", 2)
    prompter = Prompter(project)
    for frame in range(4):
        prompter.add(frame, 1, box=BOX)
    assert prompter.session.prompt_frames(1) == [2, 3]
    wanted = Prompter(project).preview(0, 1, points=[(60, 30)])
    again = prompter.add(0, 1, points=[(60, 30)]).mask
    assert again is not None and again.rle == wanted.rle


def test_the_tracked_mask_comes_back_whatever_was_said_on_top_of_it(project: Project) -> None:
    prompter = Prompter(project)
    prompter.add(0, 1, box=BOX)
    actions.track(project, device="cpu")
    tracked = project.mask(4, 1)
    assert tracked is not None and tracked.area
    everything = np.ones(project.source.size, bool)
    for say in (
        lambda: prompter.paint(4, 1, everything),
        lambda: prompter.add(4, 1, points=[(10, 10)], labels=[0]),
        lambda: (prompter.add(4, 1, points=[(10, 10)]), prompter.paint(4, 1, ~everything)),
    ):
        say()
        assert project.mask(4, 1) != tracked
        prompter.clear(4, 1)
        found = project.mask(4, 1)
        assert found is not None and (found.rle, found.lost, found.painted) == (tracked.rle, False, False)
        assert project.prompts(4, 1) == []


def test_a_preview_on_a_tracked_frame_is_what_the_click_gives(project: Project) -> None:
    prompter = Prompter(project)
    prompter.add(0, 1, box=BOX)
    actions.track(project, device="cpu")
    shown = prompter.preview(4, 1, points=[(10, 10)], labels=[0])
    given_ = prompter.add(4, 1, points=[(10, 10)], labels=[0]).mask
    assert given_ is not None and given_.rle == shown.rle


def test_an_empty_mask_says_that_it_is_not_here_whenever_it_was_painted(project: Project) -> None:
    prompter = Prompter(project)
    prompter.paint(6, 1, np.zeros(project.source.size, bool))
    prompter.add(2, 1, box=BOX)
    report = actions.track(project, device="cpu")
    assert report.complete and project.tracked_frames(1) == [2, 3, 4, 5, 6, 7]
    assert project.scores(1)[4]["empty"] and project.scores(1)[4]["painted"]


# --- why


def test_explanations_come_and_go_with_their_masks(project: Project) -> None:
    prompter = Prompter(project)
    prompter.add(0, 1, box=BOX)
    actions.track(project, device="cpu")
    first = explain.explain(project, 5, 1)
    assert first.direction == "forward" and len(first.candidates) == 3
    assert first.memories and all(memory.frame < 5 for memory in first.memories)
    assert {memory.frame for memory in first.memories if memory.used} >= {0, 4}
    prompter.add(7, 1, box=BOX)
    actions.track(project, direction="backward", device="cpu")
    assert explain.explain(project, 5, 1).direction == "backward"
    project.undo()
    assert explain.explain(project, 5, 1) == first
    assert explain.explain(project, 0, 1).direction == "prompt"
    with pytest.raises(InputError):
        explain.explain(project, 99, 1)


def test_a_mask_that_came_from_elsewhere_has_no_explanation(project: Project) -> None:
    record = ObjectMask(1, 2, rle.encode(np.ones(project.source.size, bool)))
    project.put_masks([record])
    assert explain.explain(project, 2, 1).direction == "unknown"


# --- the source stays below the root


def test_a_source_outside_is_not_looked_at(tmp_path: Path) -> None:
    from masklet.errors import ProjectError

    (tmp_path / "root").mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "outside.png")
    Project.create(tmp_path / "root" / "a.masklet", tmp_path / "outside.png").close()
    with Project.open(tmp_path / "root" / "a.masklet") as opened:
        with pytest.raises(ProjectError, match="not found"):
            opened.open_source(within=tmp_path / "root")
        assert opened.open_source().info.width == 16


# --- the command


@pytest.mark.parametrize(
    "arguments",
    [["nothing.mp4"], ["--root", "nowhere"], ["--model", "huge"], ["--resolution", "100"], ["--host", "1.2.3.4"]],
)
def test_the_command_says_what_is_wrong(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["studio", "--no-browser", *arguments])
    assert result.exit_code == 2, result.output


def test_a_weak_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKLET_STUDIO_TOKEN", "short")
    assert CliRunner().invoke(app, ["studio", "--no-browser"]).exit_code == 2


# --- messages


def test_names_keep_their_letters_in_messages() -> None:
    for text, said in [
        ("clip.mp4 can't be read.", "clip.mp4 can't be read."),
        ("bunny is locked", "bunny is locked."),
        ("there is no frame 9", "There is no frame 9."),
    ]:
        assert describe(InputError(text))[1]["message"] == said
