"""What the studio's API takes and gives, as pydantic models: the contract between server, page and scripts.

Frames count from 0. `start` and `end` of a range are both included. Coordinates are pixels of the source frame, x to
the right, y down, (0, 0) the outer corner of the first pixel. Colours are `#rrggbb`. Masks are COCO run lengths.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from masklet.jobs.queue import State
from masklet.project import TrackSettings
from masklet.project.edits import Edited
from masklet.project.review import NextClick, Stretch, Verdict
from masklet.prompts import Origin
from masklet.runs.explain import ExplainedCandidate

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
FrameIndex = Annotated[int, Field(ge=0, lt=2**31)]
ObjectId = Annotated[int, Field(ge=0, lt=2**31)]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
RelativePath = Annotated[str, StringConstraints(max_length=4096)]
Direction = Literal["forward", "backward", "both"]


class Given(BaseModel):
    """What a client sends: unknown fields are an error."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What went wrong, in a sentence for people; `kind` is for programs."""

    kind: str = Field(description="For programs, such as not_found, prompt, project_in_use, model_missing, bug")
    message: str = Field(description="A sentence for people")


class ProblemAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: Problem


class Rle(BaseModel):
    """COCO's compressed run lengths of one mask: runs down the columns, the first one outside."""

    model_config = ConfigDict(extra="forbid")

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[height, width]")]
    counts: Annotated[str, Field(max_length=4_000_000)]


# --- the studio itself, files ----------------------------------------------------------------------------------------


class PolicyInfo(BaseModel):
    name: str
    title: str = Field(description="What people call it")
    description: str
    settings_schema: dict[str, Any] = Field(description="JSON schema of its settings")


class StudioInfo(BaseModel):
    version: str
    root: str = Field(description="Name of the root folder; paths are relative to it")
    root_path: str
    device: str
    default_dtype: str
    dtypes: list[str]
    local: bool = Field(description="Bound to this machine only; folders can be opened from the page")
    upload_limit: int = Field(description="Bytes")
    policies: list[PolicyInfo]
    mask_settings_schema: dict[str, Any] = Field(description="JSON schema of the mask settings")
    open_at_start: str | None = Field(description="Id of the project that the command line asked for")
    batch_at_start: str | None = Field(description="Id of the batch that it asked for")


class LoginLink(BaseModel):
    address: str = Field(description="Opens the studio in another browser, once")


class FileEntry(BaseModel):
    name: str
    path: str = Field(description="Below the root, with forward slashes; what POST /api/projects takes")
    kind: Literal["folder", "batch", "video", "image", "sequence", "project"]
    size: int | None = Field(default=None, description="Bytes; of a sequence, of its first picture")
    modified: float | None = Field(default=None, description="Seconds since 1970")
    count: int | None = Field(default=None, description="Pictures of a sequence")


class FileList(BaseModel):
    path: str
    parent: str | None
    entries: list[FileEntry]
    truncated: bool = False
    batch: bool = Field(default=False, description="This folder itself holds a batch")


class Uploaded(BaseModel):
    path: str
    kind: Literal["video", "image", "project"]
    size: int


class RecentProject(BaseModel):
    path: str
    name: str
    modified: float
    width: int
    height: int
    frame_count: int
    objects: int
    tracked_frames: int
    source_there: bool
    thumbnail: str | None = Field(description="Address of a JPEG, or null")
    open_id: str | None = Field(description="Its id if it is open now")


class OpenRequest(Given):
    path: RelativePath = Field(description="A video, picture, folder or pattern of pictures, or a .masklet")
    rate: str | None = Field(default=None, max_length=40, description="Frames per second of pictures: 24, 30000/1001")
    sequence: bool | None = Field(default=None, description="Whether one picture stands for its sequence; null decides")
    source: RelativePath | None = Field(default=None, description="Where the video of a project is now, if it moved")


# --- projects --------------------------------------------------------------------------------------------------------


class MediaState(BaseModel):
    kind: Literal["video", "sequence", "image"]
    path: str
    width: int
    height: int
    frame_count: int
    rate: str = Field(description="Exact frames per second, such as 30000/1001")
    fps: float
    duration: float = Field(description="Seconds")
    timecode_base: int = Field(description="Frames that one second of timecode counts")
    variable_rate: bool
    times: list[float] | None = Field(description="Seconds of every frame where the rate varies")
    pixel_aspect: float
    has_audio: bool
    fingerprint: str
    notes: list[str]


class ObjectState(BaseModel):
    id: int
    name: str
    color: Color
    visible: bool
    locked: bool
    position: int
    mask_settings: dict[str, Any] | None = Field(description="Its own, where they differ from the project's")
    effective_settings: dict[str, Any] = Field(description="All mask settings that hold for it")
    category: str | None = Field(description="Its class in data sets; null: its name")
    attributes: dict[str, bool | int | float | str] = Field(description="What else data sets say of it")


class PromptState(BaseModel):
    id: int
    frame: int
    object: int
    points: list[tuple[float, float]]
    labels: list[int]
    box: tuple[float, float, float, float] | None
    mask: Origin | None = Field(
        description="painted by hand; tracked: the mask that clicks correct; candidate: another candidate was chosen"
    )


class Lane(BaseModel):
    """What the timeline shows of one object. Lists run over all frames of all spans, in order."""

    object: int
    spans: list[tuple[int, int]] = Field(description="First and last frame of stretches that have a mask")
    object_score: list[float | None] = Field(description="Logit; below 0 is lost")
    predicted_iou: list[float | None]
    motion_score: list[float | None]
    flags: list[int] = Field(description="1 lost, 2 prompt, 4 painted, 8 empty mask, 16 found again")


class TrackSettingsState(TrackSettings, Given):
    """The settings of a project, as it keeps them; here the path of other weights is below the root."""


class SettingsState(BaseModel):
    track: TrackSettingsState
    masks: dict[str, Any] = Field(description="Mask settings of the project, where they differ from the defaults")


class ChangeSettings(Given):
    track: TrackSettingsState | None = None
    masks: dict[str, Any] | None = Field(default=None, max_length=50)


class HistoryState(BaseModel):
    undo: str | None = Field(description="What undo would take back; null: nothing")
    redo: str | None
    step: int = Field(description="The newest step that is done; 0: none. Later ones have larger numbers")


class RunState(BaseModel):
    """A tracking run that was stopped, paused or killed, and can be gone on with."""

    label: str
    frame: int
    frames_left: int
    frames_total: int


class JobState(BaseModel):
    id: str
    kind: Literal["track", "export", "download"]
    title: str
    project: str | None
    state: Literal["waiting", "running", "paused", "done", "failed", "cancelled"]
    done: int = Field(description="Frames, or bytes of a download")
    total: int | None
    rate: float | None = Field(description="Per second, lately")
    seconds_left: float | None
    frame: int | None = Field(default=None, description="The frame that a track has come to")
    notes: list[str] = Field(default_factory=list)
    error: Problem | None = None
    files: list[str] = Field(default_factory=list, description="What an export wrote, below the root (first 200)")
    folder: str | None = Field(default=None, description="Where an export is, below the root")
    model: str | None = None


class BatchPlace(BaseModel):
    """Which video of which batch a project is."""

    id: str = Field(description="Of the batch")
    name: str = Field(description="Of the batch")
    path: str = Field(description="Folder of the batch below the root; empty: the root itself")
    number: int = Field(description="Of the video")


class ProjectState(BaseModel):
    id: str
    name: str
    path: str
    revision: int = Field(description="Rises with every change, even if the studio is started anew; news carry it too")
    media: MediaState
    objects: list[ObjectState]
    prompts: list[PromptState]
    lanes: list[Lane]
    settings: SettingsState
    history: HistoryState
    run: RunState | None
    jobs: list[JobState] = Field(description="Jobs of this project that wait, run or pause")
    batch: BatchPlace | None = Field(description="Which video of a batch it is; null: of none")


# --- objects, prompts, masks -----------------------------------------------------------------------------------------


class NewObject(Given):
    name: Name | None = None
    color: Color | None = None


class ChangeObject(Given):
    name: Name | None = None
    color: Color | None = None
    visible: bool | None = None
    locked: bool | None = None
    position: int | None = Field(default=None, ge=0, lt=100_000)
    mask_settings: dict[str, Any] | None = Field(
        default=None, max_length=50, description="Replaces its own settings; null takes them away"
    )
    category: Name | None = Field(default=None, description="Its class in data sets; null: its name")
    attributes: dict[Name, bool | int | float | Name] | None = Field(
        default=None, max_length=50, description="Replaces all of them"
    )


class Clicks(Given):
    """Clicks, a box, or clicks in a box, on one frame: what `masklet.prompts.Prompt.make` takes."""

    frame: FrameIndex
    points: list[tuple[Number, Number]] | None = Field(default=None, max_length=1000)
    labels: list[Literal[0, 1]] | None = Field(default=None, max_length=1000, description="1 on it (default), 0 not")
    box: tuple[Number, Number, Number, Number] | None = Field(default=None, description="x1, y1, x2, y2")


class NewPrompt(Clicks):
    """Clicks, a box, clicks in a box, or a painted mask. Clicks add to those that the frame has."""

    object: ObjectId
    mask: Rle | None = Field(default=None, description="Painted by hand; tracking never changes it")
    clear: bool = Field(default=False, description="Forget what was said on this frame about the object before")


class HoverPrompt(Clicks):
    object: ObjectId | None = Field(default=None, description="Preview of one more click on this object")


class ChooseCandidate(Given):
    frame: FrameIndex
    object: ObjectId
    candidate: int = Field(ge=0, le=8)


class ScoresState(BaseModel):
    """The scores of a mask, as `masklet.results.Scores` gives them."""

    object_score: float | None
    predicted_iou: float | None
    motion_score: float | None


class ObjectMaskState(ScoresState):
    """One object's mask on one frame, as `masklet.results.ObjectMask` gives it."""

    object: int
    rle: Rle
    candidate: int
    lost: bool
    prompt: bool
    painted: bool
    soft: bool = Field(description="The edge is softer than the run lengths say: see …/alpha.png")


class FrameMasksState(BaseModel):
    frame: int
    objects: list[ObjectMaskState]


class MasksBatch(BaseModel):
    start: int
    end: int
    frames: list[FrameMasksState] = Field(description="Frames that have a mask, rising")


class CandidateState(BaseModel):
    index: int
    rle: Rle
    predicted_iou: float
    final_score: float | None = None
    chosen: bool


class PromptAnswer(BaseModel):
    """The mask that a prompt gave, at once."""

    frame: int
    object: int
    mask: ObjectMaskState | None = Field(description="null: the frame has no prompt and no mask now")
    candidates: list[CandidateState]
    seconds: float = Field(description="What the network took, encoding the frame included if it was needed")
    revision: int


class HoverAnswer(BaseModel):
    frame: int
    rle: Rle
    predicted_iou: float
    object_score: float


class Encoded(BaseModel):
    frame: int
    seconds: float


class PreviewMasks(Given):
    """Mask settings to look at without keeping them."""

    settings: dict[str, Any] = Field(max_length=50, description="On top of those that hold for the object")
    objects: list[ObjectId] | None = Field(default=None, max_length=1000, description="null: all visible ones")


# --- tracking, explanation -------------------------------------------------------------------------------------------


class StartTracking(Given):
    direction: Direction | Literal["frame"] = Field(
        default="forward", description="`frame` tracks the frame `start` alone"
    )
    start: FrameIndex | None = Field(default=None, description="First frame to keep; null: where prompts begin")
    end: FrameIndex | None = Field(default=None, description="Last frame to keep")
    objects: list[ObjectId] | None = Field(default=None, max_length=10_000, description="null: all that have prompts")


class Correct(Given):
    """Track again from a frame that was prompted: a second to each side first, then until the new masks agree with the
    old ones, up to the next frame that was prompted or accepted, or as far as it was tracked."""

    frame: FrameIndex
    object: ObjectId
    direction: Direction = "both"
    until_agrees: bool = Field(default=True, description="End where the new masks are as the old ones were")


class ExplainedMemory(ScoresState):
    frame: int
    used: bool
    kind: Literal["prompt", "recent"]
    slot: int | None = Field(description="Temporal slot in memory attention, where used")
    pointer: bool = Field(description="Whether its object pointer was read")
    reason: str = Field(description="Why it was used or not, for people")


class ExplanationState(BaseModel):
    frame: int
    object: int
    summary: list[str] = Field(description="Sentences for people")
    direction: Literal["forward", "backward", "prompt", "painted", "unknown"]
    policy: str
    object_score: float | None
    lost: bool
    candidates: list[ExplainedCandidate]
    motion_box: tuple[float, float, float, float] | None = Field(description="Where motion expected it")
    memories: list[ExplainedMemory]


# --- exports, models -------------------------------------------------------------------------------------------------


class FormatState(BaseModel):
    name: str
    title: str
    description: str
    group: str
    extensions: list[str] = Field(description="Empty: it writes a folder")
    options_schema: dict[str, Any] = Field(description="JSON schema of its options")


class StartExport(Given):
    format: str = Field(max_length=100)
    path: RelativePath | None = Field(default=None, description="File or folder below the root; null: by the source")
    options: dict[str, Any] = Field(default_factory=dict, max_length=100)
    objects: list[ObjectId] | None = Field(default=None, max_length=10_000, description="null: all visible ones")
    start: FrameIndex | None = None
    end: FrameIndex | None = None
    overwrite: bool = False


class ModelState(BaseModel):
    name: str
    short: str
    parameters: int
    bytes: int | None
    fetched_bytes: int | None = None
    state: Literal["packaged", "ready", "unchecked", "partial", "wrong size", "missing"]
    path: str
    image_size: int
    policy_defaults: dict[str, dict[str, Any]] = Field(
        description="Defaults of each policy's settings where they depend on the model"
    )
    job: str | None = Field(description="Id of the download that is going on")


class EditAnswer(Edited):
    """What an edit did, which one undo takes back."""

    revision: int


# --- review ----------------------------------------------------------------------------------------------------------


class ReviewState(BaseModel):
    """The review queue of a project, without locked objects; those that were accepted are out of it."""

    queue: list[Stretch] = Field(description="Worst first")
    next: NextClick | None
    accepted: int = Field(description="How many stretches were accepted")
    revision: int


class Judge(Given):
    """What was thought of an object's masks on frames `first` to `last`; null takes back what was said."""

    object: ObjectId
    first: FrameIndex
    last: FrameIndex
    verdict: Verdict | None


# --- batches ---------------------------------------------------------------------------------------------------------


class OpenBatch(Given):
    path: RelativePath = Field(description="The folder of a batch, which holds its batch.sqlite")


class BatchCounts(BaseModel):
    """Videos by state."""

    waiting: int
    running: int
    done: int
    failed: int


class BatchState(BaseModel):
    id: str
    name: str
    path: str = Field(description="Its folder below the root; empty: the root itself")
    counts: BatchCounts
    frames_done: int
    frames_total: int = Field(description="Of the videos whose length is known")
    workers: int = Field(description="How many work on it right now")


class VideoReview(BaseModel):
    """What deserves a look in a video of a batch."""

    stretches: int
    frames: int = Field(description="Frames of these stretches")
    worst: Stretch | None = Field(description="null: nothing deserves a look")
    object: str | None = Field(description="Name of the object that the worst stretch is of")


class BatchVideo(BaseModel):
    """A video of a batch."""

    number: int
    name: str
    state: State
    retried: bool = Field(description="An earlier try failed, or ended with its process")
    silent: bool = Field(description="It was begun, but nobody works on it now: the same command goes on with it")
    done: int = Field(description="Frames that are tracked")
    total: int = Field(description="0 until that is known")
    seconds: float | None = Field(description="What tracking took, once it is done")
    reason: str | None = Field(description="Why it failed")
    formats: list[str] = Field(description="What is exported of it")
    project: str | None = Field(description="What POST /api/projects takes; null: it can't be opened (yet)")
    open_id: str | None = Field(description="Id of its project if that is open now")
    thumbnail: str | None = Field(description="Address of a JPEG, or null")
    review: VideoReview | None = Field(description="null: nobody looked yet, or it can't be read")
    outdated: bool = Field(description="Its project was corrected after its exports were written")


class BatchVideos(BaseModel):
    """A part of the list of videos, in the order of the batch."""

    batch: BatchState
    start: int = Field(description="How many come before")
    videos: list[BatchVideo]
    more: bool = Field(description="There are more after these")
    pending: bool = Field(description="Projects are being looked into: ask again for what they say")


class NextDoubtful(BaseModel):
    """Where to look next in a batch."""

    video: BatchVideo | None = Field(description="Its `review.worst` is the place; null: none was found")
    go_on_after: int | None = Field(
        default=None, description="There are more videos than one search looks through: search again after this one"
    )


# --- short answers ---------------------------------------------------------------------------------------------------


class Done(BaseModel):
    """Something was done that has no other answer."""

    ok: Literal[True] = True
    revision: int | None = None


class UndoAnswer(BaseModel):
    label: str | None = Field(description="What was taken back or done again; null: nothing")
    revision: int


# --- WebSocket -------------------------------------------------------------------------------------------------------


class Hello(BaseModel):
    type: Literal["hello"] = "hello"
    version: str
    jobs: list[JobState]


class ChangedParts(BaseModel):
    """What a change left, after the change."""

    objects: list[ObjectState] | None = Field(default=None, description="All objects; null: as they were")
    prompts: list[PromptState] | None = Field(default=None, description="Those on the frames and objects named")
    masks: list[FrameMasksState] | None = Field(
        default=None, description="Those on the frames and objects named, without mask settings"
    )
    plain: bool = Field(default=True, description="Mask settings leave these masks as they are")
    history: HistoryState
    run: RunState | None


class ProjectChanged(BaseModel):
    """Something in a project changed, by whatever tab or script."""

    type: Literal["changed"] = "changed"
    project: str
    revision: int
    what: list[Literal["objects", "prompts", "masks", "settings", "history", "run", "review"]]
    frames: list[int] | None = Field(default=None, description="Where masks or prompts changed; null: anywhere")
    objects: list[int] | None = None
    now: ChangedParts | None = Field(default=None, description="The parts named as they are now; null: ask for them")


class ProjectClosed(BaseModel):
    type: Literal["closed"] = "closed"
    project: str


class MasksArrived(BaseModel):
    """Masks of one frame, as tracking found them (without mask settings)."""

    type: Literal["masks"] = "masks"
    project: str
    job: str
    frame: int
    objects: list[ObjectMaskState]
    plain: bool = Field(description="Mask settings leave these masks as they are, so they can be shown at once")


class JobChanged(BaseModel):
    type: Literal["job"] = "job"
    job: JobState


class Missed(BaseModel):
    """This client was too slow and missed news: ask for the whole state again."""

    type: Literal["missed"] = "missed"
