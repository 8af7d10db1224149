"""The review queue: which stretches of frames deserve a look, worst first and why, and where one click helps most.

Everything here is computed from what a project keeps: scores, areas, boxes and candidates. No network runs. A verdict
(accepted, rejected) holds for the masks that were looked at: where they change, it is void.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import Field, TypeAdapter

from masklet.errors import InputError
from masklet.masks.boxes import box_overlap, centroid, mask_to_box
from masklet.masks.distance import deepest_point
from masklet.project.file import sound
from masklet.project.store import Project
from masklet.results import Box, Explanation, ObjectMask, Scores

Reason = Literal["rejected", "lost", "low score", "score drop", "motion", "area jump", "two near candidates", "edge"]
Verdict = Literal["accepted", "rejected"]

# The first three are what the studio's timeline marks as doubtful too, while masks still arrive (page/lanes.js); a test
# holds the two together.
#: An object score (a logit) this close to zero means that the model is not sure the object is there.
DOUBT_SCORE = 1.0
#: A predicted IoU below this share of what is usual for the object is doubtful, up to a bound that is fine for all.
DOUBT_SHARE, DOUBT_IOU = 0.8, 0.7
#: A mask that overlaps less than this with where motion expected it may have jumped to something else.
DOUBT_MOTION = 0.25
#: An area that grows or shrinks by more than this factor from one frame to the next.
AREA_JUMP = 1.6
#: A candidate that lies elsewhere and is ranked at least this close to the chosen one, as a share of its final score.
NEAR_CANDIDATE = 0.93
#: The least that is expected to be wrong of a frame, by reason. "Edge" alone is a hint, no doubt.
_LEAST_WRONG: dict[Reason, float] = {
    "rejected": 1.0,
    "lost": 0.9,
    "low score": 0.6,
    "score drop": 0.3,
    "motion": 0.5,
    "area jump": 0.4,
    "two near candidates": 0.3,
    "edge": 0.1,
}
#: What is expected to be wrong without a reason, measured with nano: a share of what the network lacks of a predicted
#: IoU of 1, and what masks lose on their way to frames this far from what a person decided, with the root of the way.
_OWN_SHARE, _DRIFT, _DRIFT_FRAMES = 0.5, 0.2, 40
#: Doubts that are this many frames apart are one stretch.
_GAP = 3
#: What a correction mends halves over this many frames: ahead, where tracking carries it on, and back, against the
#: direction in which the masks were tracked. Measured with nano, back it is nothing from six frames on.
_REACH_AHEAD, _REACH_BACK = 16.0, 2.0
#: Farther than this nothing is expected of a correction.
_FARTHEST = 128


@dataclass(frozen=True)
class FrameFacts:
    """What is known of one object on one frame, as far as a review goes.

    `area` counts pixels, `box` is x1, y1, x2, y2 in pixels. `decided`: a person prompted or painted it, or accepted it.
    `rival` is the best candidate that lies elsewhere: its final score as a share of the chosen one's. `step` is the
    direction in which the frame was tracked, +1 or -1.
    """

    frame: int
    scores: Scores = field(default_factory=Scores)
    area: int = 0
    box: Box | None = None
    lost: bool = False
    decided: bool = False
    rival: float | None = None
    step: int = 1


@dataclass(frozen=True)
class Stretch:
    """Frames of an object that deserve a look."""

    object_id: int
    first: int
    last: int
    worst: Annotated[int, Field(description="The frame to look at first")]
    expected: Annotated[float, Field(description="How many frames' worth of mask is expected to be wrong")]
    reasons: Annotated[tuple[Reason, ...], Field(description="Worst first")]
    words: Annotated[str, Field(description="The reasons in words")]

    @property
    def span(self) -> str:
        """Its frames as they are written: 7, or 7–12."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


@dataclass(frozen=True)
class Reviewed:
    """A verdict about frames `first` to `last` of an object; `masks` is the digest of the masks that it was about."""

    object_id: int
    first: int
    last: int
    verdict: Verdict
    masks: str


@dataclass(frozen=True)
class NextClick:
    """Where one click is expected to help most."""

    object_id: int
    frame: int
    point: Annotated[
        tuple[float, float] | None, Field(description="x, y in pixels; null: nothing says more than the frame")
    ]
    gain: Annotated[float, Field(description="How many frames' worth of mask it is expected to put right")]
    words: str


# --- what is doubtful, purely from numbers


def usual_iou(facts: Iterable[FrameFacts]) -> float | None:
    """The middle of an object's predicted IoUs where tracking found it: models differ in how sure of themselves they
    are, so an object's own frames are the measure."""
    known = [f.scores.predicted_iou for f in facts if not f.decided and not f.lost]
    return median([value for value in known if value is not None] or [0.0]) or None


def reasons_of(
    facts: FrameFacts, before: FrameFacts | None, usual: float | None, size: tuple[int, int]
) -> dict[Reason, str]:
    """Why a frame deserves a look, in words; nothing for what a person decided. `size` is (height, width)."""
    if facts.decided:
        return {}
    if facts.lost:
        return {"lost": "lost"}
    found: dict[Reason, str] = {}
    scores = facts.scores
    if scores.object_score is not None and scores.object_score < DOUBT_SCORE:
        found["low score"] = f"low object score ({scores.object_score:.1f})"
    bound = 0.0 if usual is None else min(DOUBT_IOU, DOUBT_SHARE * usual)
    if scores.predicted_iou is not None and scores.predicted_iou < bound:
        found["score drop"] = f"predicted IoU drops to {scores.predicted_iou:.2f} (usually {usual:.2f})"
    if scores.motion_score is not None and scores.motion_score < DOUBT_MOTION:
        found["motion"] = "not where its motion led"
    if before is not None and before.frame == facts.frame - 1 and before.area and facts.area:
        factor = facts.area / before.area
        if not 1 / AREA_JUMP <= factor <= AREA_JUMP:
            found["area jump"] = f"area jumps to {factor:.0%} in one frame"
    if facts.rival is not None and facts.rival >= NEAR_CANDIDATE:
        found["two near candidates"] = "two candidates are almost equally good"
    if (
        facts.box is not None
        and _touches(facts.box, size)
        and not (before and before.box and _touches(before.box, size))
    ):
        found["edge"] = "reaches the edge of the frame"
    return found


def _touches(box: Box, size: tuple[int, int]) -> bool:
    height, width = size
    return box[0] <= 0 or box[1] <= 0 or box[2] >= width or box[3] >= height


def expected_errors(facts: Sequence[FrameFacts], reasons: Sequence[Mapping[Reason, str]]) -> np.ndarray:
    """How much of every frame's mask is expected to be wrong: float64 (frames,), 0 to 1; none of what was decided.

    The network's own estimate is hard to beat, but it is too dark, and it sees neither that masks get worse the farther
    they are from what a person decided, nor what the reasons say.
    """
    drifted = _DRIFT * np.sqrt(np.minimum(_away(facts) / _DRIFT_FRAMES, 1.0))
    return np.array(
        [
            0.0 if f.decided else max([_unsure(f.scores) + drift, *(_LEAST_WRONG[reason] for reason in why)])
            for f, why, drift in zip(facts, reasons, drifted, strict=True)
        ]
    )


def _unsure(scores: Scores) -> float:
    return _OWN_SHARE * (0.5 if scores.predicted_iou is None else 1.0 - min(max(scores.predicted_iou, 0.0), 1.0))


def _away(facts: Sequence[FrameFacts]) -> np.ndarray:
    """How far every frame is from the nearest that was decided: float64 (frames,), infinite where none was."""
    frames = np.array([f.frame for f in facts])
    there = np.array([-np.inf, *(f.frame for f in facts if f.decided), np.inf])
    after = np.searchsorted(there, frames)
    nearest: np.ndarray = np.minimum(there[after] - frames, frames - there[after - 1])
    return nearest


def stretches(
    object_id: int,
    facts: Sequence[FrameFacts],
    reasons: Sequence[Mapping[Reason, str]],
    errors: np.ndarray,
) -> list[Stretch]:
    """The stretches of an object that deserve a look, worst first."""
    doubtful = [i for i, why in enumerate(reasons) if why]
    groups: list[list[int]] = []
    for i in doubtful:
        if groups and facts[i].frame - facts[groups[-1][-1]].frame <= _GAP:
            groups[-1].append(i)
        else:
            groups.append([i])
    found = []
    for group in groups:
        worst = max(group, key=lambda i: errors[i])
        words = {reason: text for i in group for reason, text in reasons[i].items()} | dict(reasons[worst])
        told = tuple(sorted(words, key=lambda reason: -_LEAST_WRONG[reason]))
        first, last = facts[group[0]].frame, facts[group[-1]].frame
        expected = sum(float(errors[i]) for i in range(group[0], group[-1] + 1))
        sentence = ", ".join(words[reason] for reason in told)
        found.append(Stretch(object_id, first, last, facts[worst].frame, round(expected, 2), told, sentence))
    return sorted(found, key=rank)


def rank(stretch: Stretch) -> tuple[bool, float, int, int]:
    """What stretches are sorted by, so that the worst comes first."""
    return "rejected" not in stretch.reasons, -stretch.expected, stretch.first, stretch.object_id


def gains(facts: Sequence[FrameFacts], errors: np.ndarray) -> np.ndarray:
    """How many frames' worth of mask a correction on each frame is expected to put right: float64 (frames,).

    What was wrong on the corrected frame and is still wrong on another is what is mended there. Tracking carries it on
    in its direction, and hardly back, so the frame to correct is where an error begins. It ends at what a person
    decided, and beside that, what is still wrong is what can't be mended.
    """
    mendable = errors * (1 - 0.5 ** _away(facts))
    frames, steps = np.array([f.frame for f in facts]), np.array([f.step for f in facts])
    between = np.cumsum([f.decided for f in facts])
    gained: np.ndarray = mendable.copy()
    for apart in range(1, min(_FARTHEST, len(facts))):
        left, right = slice(None, -apart), slice(apart, None)
        shared = np.minimum(mendable[left], mendable[right]) * (between[left] == between[right])
        away = frames[right] - frames[left]
        gained[left] += shared * 0.5 ** (away / np.where(steps[right] > 0, _REACH_AHEAD, _REACH_BACK))
        gained[right] += shared * 0.5 ** (away / np.where(steps[left] < 0, _REACH_AHEAD, _REACH_BACK))
    return gained


# --- where on a frame


def heat_map(mask_hw: np.ndarray, neighbours: Sequence[np.ndarray], explanation: Explanation | None) -> np.ndarray:
    """Where a mask is likely to be wrong: float32 (height, width), 0 to 1.

    What is compared: the mask with those of the frames around it, moved along with their centres, and with the boxes
    of the candidates that were not chosen, by how near they came.
    """
    heat: np.ndarray = np.zeros(mask_hw.shape, np.float32)
    voters = [other for other in (_moved_onto(near, mask_hw) for near in neighbours) if other is not None]
    for other in voters:
        heat += (other != mask_hw) / np.float32(len(voters))
    if explanation is not None and explanation.candidate_boxes and max(explanation.final_scores) > 0:
        best = max(explanation.final_scores)
        own = mask_to_box(mask_hw)
        for box, score in zip(explanation.candidate_boxes, explanation.final_scores, strict=True):
            if box is None or score <= 0 or box_overlap(box, own) > 0.7:
                continue
            x1, y1, x2, y2 = (max(0, round(side)) for side in box)
            part = np.zeros(mask_hw.shape, bool)
            part[y1:y2, x1:x2] = True
            heat += np.float32(0.5 * score / best) * (part & ~mask_hw)
    sigma = max(1.0, 0.25 * float(np.sqrt(max(int(mask_hw.sum()), 64))))
    heat = cv2.GaussianBlur(heat, (0, 0), min(sigma, 24.0))
    most = float(heat.max())
    return heat / most if most > 1e-3 else np.zeros_like(heat)


def hottest(heat_hw: np.ndarray) -> tuple[float, float] | None:
    """The place (x, y) deepest inside the hot part of a heat map; None where nothing is hot."""
    if not heat_hw.any():
        return None
    (x, y), _ = deepest_point(heat_hw > 0.6)
    return x + 0.5, y + 0.5


def _moved_onto(mask_hw: np.ndarray, onto_hw: np.ndarray) -> np.ndarray | None:
    """A mask with its centre where another one's is; as it is where that one is empty."""
    if not mask_hw.any():
        return None
    if not onto_hw.any():
        return mask_hw
    x, y = centroid(onto_hw) - centroid(mask_hw)
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(mask_hw.view(np.uint8), move, mask_hw.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved.astype(bool)


# --- of a project


def facts_of(project: Project, object_id: int, accepted: Container[int] = ()) -> list[FrameFacts]:
    """What the project keeps of an object, by rising frame; `accepted` are frames that a person accepted."""
    why = project.explanations(object_id)
    facts = []
    for mask in project.masks([object_id]):
        box = mask.box_xyxy
        facts.append(
            FrameFacts(
                mask.frame,
                mask.scores,
                mask.area,
                None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                mask.lost,
                mask.is_prompt or mask.painted or mask.frame in accepted,
                _rival(mask, why.get(mask.frame)),
                why[mask.frame].step or 1 if mask.frame in why else 1,
            )
        )
    return facts


def _rival(mask: ObjectMask, why: Explanation | None) -> float | None:
    if why is None or not why.candidate_boxes or mask.candidate >= len(why.final_scores):
        return None
    own, best = why.candidate_boxes[mask.candidate], why.final_scores[mask.candidate]
    if own is None or best <= 0:
        return None
    others = zip(why.candidate_boxes, why.final_scores, strict=True)
    return max((score / best for box, score in others if box is not None and box_overlap(box, own) < 0.5), default=None)


@dataclass(frozen=True)
class ObjectReview:
    """What a review found out about one object: of every tracked frame its facts, reasons and expected error.

    `belief`, 0 to 1, is how far doubts about it are believed: the less, the more of them turned out to be none.
    """

    object_id: int
    facts: list[FrameFacts]
    reasons: list[dict[Reason, str]]
    errors: np.ndarray
    belief: float


def review_object(project: Project, object_id: int) -> ObjectReview:
    """Looks at all frames of an object. Raises ProjectError where the file is damaged."""
    verdicts = reviewed(project, object_id)
    accepted = [kept for kept in verdicts if kept.verdict == "accepted"]
    facts = facts_of(project, object_id, {frame for kept in accepted for frame in range(kept.first, kept.last + 1)})
    usual = usual_iou(facts)
    befores = [None, *facts[:-1]]
    reasons = [reasons_of(f, before, usual, project.source.size) for f, before in zip(facts, befores, strict=False)]
    for kept in verdicts:
        for i, known in enumerate(facts):
            if kept.verdict == "rejected" and kept.first <= known.frame <= kept.last:
                reasons[i] = {"rejected": "rejected by you", **reasons[i]}
    wrong = 1 + len(project.said(object_id))
    belief = wrong / (wrong + len(accepted))
    return ObjectReview(object_id, facts, reasons, expected_errors(facts, reasons), belief)


def review_objects(project: Project, objects: Iterable[int] | None = None) -> list[ObjectReview]:
    """Looks at all frames of some objects, or of all; locked ones too. `queue` and `next_click` are read from it.

    Raises UnknownObjectError, or ProjectError where the file is damaged.
    """
    ids = [known.id for known in project.objects()] if objects is None else objects
    return [review_object(project, project.get_object(known).id) for known in ids]


def queue(reviews: Iterable[ObjectReview]) -> list[Stretch]:
    """All stretches that deserve a look, worst first, without those that were accepted."""
    found = [
        stretch for seen in reviews for stretch in stretches(seen.object_id, seen.facts, seen.reasons, seen.errors)
    ]
    return sorted(found, key=rank)


def next_click(project: Project, reviews: Iterable[ObjectReview]) -> NextClick | None:
    """Where one click is expected to help most; None where nothing was tracked or all of it was decided."""
    best: NextClick | None = None
    for seen in reviews:
        gained = seen.belief * gains(seen.facts, seen.errors)
        if not len(gained) or not gained.max() > (best.gain if best else 0):
            continue
        at = int(gained.argmax())
        words = ", ".join(seen.reasons[at].values()) or "far from everything that you said"
        best = NextClick(seen.object_id, seen.facts[at].frame, None, round(float(gained[at]), 2), words)
    if best is None:
        return None
    point = hottest(heat_of(project, best.object_id, best.frame))
    return replace(best, point=point)


def heat_of(project: Project, object_id: int, frame: int) -> np.ndarray:
    """`heat_map` of an object on a frame. Raises InputError: it has no mask there."""
    mask = project.mask(frame, object_id)
    if mask is None:
        raise InputError(f"{project.get_object(object_id).name} has no mask on frame {frame}.")
    around = [project.mask(near, object_id) for near in (frame - 2, frame - 1, frame + 1, frame + 2)]
    shown = [near.mask for near in around if near is not None]
    return heat_map(mask.mask, shown, project.explanation(frame, object_id))


# --- verdicts

_VERDICTS = TypeAdapter(list[Reviewed])


def reviewed(project: Project, object_id: int, verdict: Verdict | None = None) -> list[Reviewed]:
    """The verdicts about an object that still hold: its masks there are those that were looked at."""
    return [
        kept
        for kept in sound(lambda row: _VERDICTS.validate_python(row["all"]), {"all": project.verdicts})
        if kept.object_id == object_id
        and verdict in (None, kept.verdict)
        and kept.masks == _digest(project, object_id, kept.first, kept.last)
    ]


def judge(project: Project, object_id: int, first: int, last: int, verdict: Verdict | None) -> None:
    """Accepts or rejects the masks of an object on some frames, or takes that back (None), as one step of undo.

    Raises UnknownObjectError; InputError: the object has no mask on these frames.
    """
    name = project.get_object(object_id).name
    if not any(first <= frame <= last for frame in project.tracked_frames(object_id)):
        raise InputError(f"{name} has no mask on frames {first} to {last}: there is nothing to judge.")
    kept: list[Reviewed] = []
    for known in project.objects():
        kept += [
            old for old in reviewed(project, known.id)
            if known.id != object_id or old.last < first or old.first > last
        ]  # fmt: skip
    if verdict is not None:
        kept.append(Reviewed(object_id, first, last, verdict, _digest(project, object_id, first, last)))
    did = {"accepted": "Accept", "rejected": "Reject", None: "Judge anew"}[verdict]
    with project.edit(f"{did} {name}, frames {first} to {last}"[:200]):
        project.set_verdicts([asdict(row) for row in kept])


def _digest(project: Project, object_id: int, first: int, last: int) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for mask in project.masks([object_id], first, last + 1):
        digest.update(f"{mask.frame} {mask.lost} {mask.rle['counts']}\n".encode())
    return digest.hexdigest()
