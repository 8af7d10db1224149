"""A policy is one file and one name in a line: command line, projects, explanations and docs take the rest from it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from masklet.cli import app
from masklet.project import Project
from masklet.results import Scores
from masklet.runs import explain
from masklet.settings import Count, setting
from masklet.tracking.policies import DEFAULT_POLICY, POLICIES, Recency, Samurai
from masklet.tracking.policies.base import PastFrame

ROOT = Path(__file__).parents[2]


class Newest(Recency):
    """Recency with a word of its own."""

    name: ClassVar[str] = "newest"
    description: ClassVar[str] = "is for this test"
    patience: Count = setting(3, "Patience", "Frames that it waits.")

    def why_read(self, past: PastFrame) -> str:
        return f"Patience is {self.patience}, distance {past.distance}."


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "newest", Newest)


def test_nobody_outside_asks_for_a_policy_by_its_name() -> None:
    package = ROOT / "src" / "masklet"
    # The official packages' own config names mean a policy each.
    own = {package / "tracking" / "policies", package / "compat"}
    for path in package.rglob("*.py"):
        if not own & {*path.parents}:
            words = {
                node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
            }
            assert not words & {*POLICIES, *Samurai.model_fields}, path


def test_a_new_policy_reaches_the_command_line_and_explains_itself(newest: None, clip: Path, tmp_path: Path) -> None:
    place = tmp_path / "clip.masklet"
    words = [
        "track",
        str(clip),
        "--box",
        "40,15,80,60",
        "--resolution",
        "128",
        "--device",
        "cpu",
        "--project",
        str(place),
    ]
    wrong = CliRunner().invoke(app, [*words, "--policy", "newest", "--policy-option", "patience=0"])
    assert wrong.exit_code == 2 and "newest setting patience must be a whole number, 1 or more, not 0" in wrong.output
    wrong = CliRunner().invoke(app, [*words, "--policy", "newest", "--policy-option", "hurry=1"])
    assert wrong.exit_code == 2 and "no newest setting 'hurry'. There are: max_prompt_frames, patience" in wrong.output
    assert not place.exists()
    done = CliRunner().invoke(app, [*words, "--policy", "newest", "--policy-option", "patience=7"])
    assert done.exit_code == 0, done.output
    with Project.open(place, read_only=True) as project:
        assert project.track_settings.policy_options == {"patience": 7}
        why = explain.explain(project, 5, 1)
    assert why.policy == "newest"
    assert {memory.reason for memory in why.memories if memory.frame == 3} == {"Patience is 7, distance 2."}


@pytest.mark.parametrize("columns", [80, 120])
def test_help_shows_every_setting_in_full(columns: int) -> None:
    shown = CliRunner().invoke(app, ["track", "--help"], env={"COLUMNS": str(columns), "TERM": "dumb"}).output
    for name in Samurai.model_fields:
        assert f"--{name.replace('_', '-')} " in shown
    for kind in POLICIES.values():
        assert kind.name in shown


def test_the_docs_say_what_is_declared() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for name, declared in POLICIES[DEFAULT_POLICY].declared().items():
        default = "all" if declared["default"] is None else f"{declared['default']:g}".replace("-", "−")
        assert f"| `--{name.replace('_', '-')}` | {default} | {declared['description']} |" in page
    assert len({kind.title for kind in POLICIES.values()}) == len(POLICIES)
    for kind in POLICIES.values():
        assert f"`{kind.name}` {kind.description}" in page
    page = (ROOT / "docs" / "policies.md").read_text("utf-8")
    for kind in POLICIES.values():
        assert f"### `{kind.name}`" in page
        for name, declared in kind.declared().items() if kind.name != DEFAULT_POLICY else ():
            if name != "max_prompt_frames":
                assert f"| `{name}` | {declared['default']:g} | {declared['description']} |" in page


def test_samurai_says_why() -> None:
    policy = Samurai(kf_score_weight=0.4)
    [decided] = policy.explain_choice(1, [0.9, 0.8, 0.1], [0.0, 0.75, 0.0], False)
    assert decided.startswith("Motion decided, with a weight of 0.4: candidate 2") and "0.75" in decided
    assert "overlaps where motion expected it by 0.75" in policy.explain_choice(0, [0.9, 0.8], [0.75, 0.1], False)[0]
    assert "Motion had no say yet" in policy.explain_choice(0, [0.9, 0.8], None, False)[-1]
    assert len(policy.explain_choice(0, [0.9, 0.8], None, True)) == 1
    assert "always read" in policy.why_read(PastFrame(1)) and "good" in policy.why_read(PastFrame(2))
    assert (
        policy.why_not_read(PastFrame(2, scores=Scores(predicted_iou=0.4)))
        == "Its predicted IoU, 0.40, is not above 0.5."
    )
    assert "not above 0" in policy.why_not_read(PastFrame(2, scores=Scores(-0.5, 0.6)))
    assert "passed over" in policy.why_not_read(PastFrame(2, beside_prompt=True))
    assert "later frames were good" in policy.why_not_read(PastFrame(9, crowded_out=True))
    assert "after this frame" in policy.why_not_read(PastFrame(3))


def test_recency_says_why() -> None:
    policy = Recency()
    assert policy.explain_choice(0, [0.9], None, False) == []
    assert "highest predicted IoU, 0.90" in policy.explain_choice(0, [0.9, 0.8], None, False)[0]
    assert policy.explain_choice(1, [0.9, 0.8], None, True) == ["Candidate 2 of 2 was chosen."]
    assert "latest frames" in policy.why_read(PastFrame(3)) and "prompts" in policy.why_read(
        PastFrame(3, is_prompt=True)
    )
    assert "too long ago" in policy.why_not_read(PastFrame(9, scores=Scores(predicted_iou=0.1), crowded_out=True))
