// Made from src/masklet/studio/schemas.py by tests/page/api_types.py; don't edit.

export interface Problem {
  /** For programs, such as not_found, prompt, project_in_use, model_missing, bug */
  kind: string;
  /** A sentence for people */
  message: string;
}

export interface ProblemAnswer {
  error: Problem;
}

export interface Rle {
  /** [height, width] */
  size: number[];
  counts: string;
}

export interface PolicyInfo {
  name: string;
  /** What people call it */
  title: string;
  description: string;
  /** JSON schema of its settings */
  settings_schema: Record<string, any>;
}

export interface StudioInfo {
  version: string;
  /** Name of the root folder; paths are relative to it */
  root: string;
  root_path: string;
  device: string;
  default_dtype: string;
  dtypes: string[];
  /** Bound to this machine only; folders can be opened from the page */
  local: boolean;
  /** Bytes */
  upload_limit: number;
  policies: PolicyInfo[];
  /** JSON schema of the mask settings */
  mask_settings_schema: Record<string, any>;
  /** Id of the project that the command line asked for */
  open_at_start: string | null;
  /** Id of the batch that it asked for */
  batch_at_start: string | null;
}

export interface LoginLink {
  /** Opens the studio in another browser, once */
  address: string;
}

export interface FileEntry {
  name: string;
  /** Below the root, with forward slashes; what POST /api/projects takes */
  path: string;
  kind: "folder" | "batch" | "video" | "image" | "sequence" | "project";
  /** Bytes; of a sequence, of its first picture */
  size: number | null;
  /** Seconds since 1970 */
  modified: number | null;
  /** Pictures of a sequence */
  count: number | null;
}

export interface FileList {
  path: string;
  parent: string | null;
  entries: FileEntry[];
  truncated: boolean;
  /** This folder itself holds a batch */
  batch: boolean;
}

export interface Uploaded {
  path: string;
  kind: "video" | "image" | "project";
  size: number;
}

export interface RecentProject {
  path: string;
  name: string;
  modified: number;
  width: number;
  height: number;
  frame_count: number;
  objects: number;
  tracked_frames: number;
  source_there: boolean;
  /** Address of a JPEG, or null */
  thumbnail: string | null;
  /** Its id if it is open now */
  open_id: string | null;
}

export interface OpenRequest {
  /** A video, picture, folder or pattern of pictures, or a .masklet */
  path: string;
  /** Frames per second of pictures: 24, 30000/1001 */
  rate?: string | null;
  /** Whether one picture stands for its sequence; null decides */
  sequence?: boolean | null;
  /** Where the video of a project is now, if it moved */
  source?: string | null;
}

export interface MediaState {
  kind: "video" | "sequence" | "image";
  path: string;
  width: number;
  height: number;
  frame_count: number;
  /** Exact frames per second, such as 30000/1001 */
  rate: string;
  fps: number;
  /** Seconds */
  duration: number;
  /** Frames that one second of timecode counts */
  timecode_base: number;
  variable_rate: boolean;
  /** Seconds of every frame where the rate varies */
  times: number[] | null;
  pixel_aspect: number;
  has_audio: boolean;
  fingerprint: string;
  notes: string[];
}

export interface ObjectState {
  id: number;
  name: string;
  color: string;
  visible: boolean;
  locked: boolean;
  position: number;
  /** Its own, where they differ from the project's */
  mask_settings: Record<string, any> | null;
  /** All mask settings that hold for it */
  effective_settings: Record<string, any>;
  /** Its class in data sets; null: its name */
  category: string | null;
  /** What else data sets say of it */
  attributes: Record<string, boolean | number | string>;
}

export interface PromptState {
  id: number;
  frame: number;
  object: number;
  points: ([number, number])[];
  labels: number[];
  box: [number, number, number, number] | null;
  /** painted by hand; tracked: the mask that clicks correct; candidate: another candidate was chosen */
  mask: "painted" | "tracked" | "candidate" | null;
}

export interface Lane {
  object: number;
  /** First and last frame of stretches that have a mask */
  spans: ([number, number])[];
  /** Logit; below 0 is lost */
  object_score: (number | null)[];
  predicted_iou: (number | null)[];
  motion_score: (number | null)[];
  /** 1 lost, 2 prompt, 4 painted, 8 empty mask, 16 found again */
  flags: number[];
}

export interface TrackSettingsState {
  /** Name of the model */
  model?: string;
  /** File with other weights for the model */
  checkpoint?: string | null;
  /** How masks and memories are chosen */
  policy?: string;
  /** Thresholds and weights of the policy, where they differ from its own */
  policy_options?: Record<string, number | boolean | string>;
  /** Side of the model's input, the longer one */
  resolution?: number | null;
  /** square, or fit for the frames' own proportions */
  shape?: "square" | "fit";
  /** Look at small objects through a window around them */
  zoom?: boolean;
  /** Number format, such as float32 or bfloat16 */
  dtype?: string | null;
}

export interface SettingsState {
  track: TrackSettingsState;
  /** Mask settings of the project, where they differ from the defaults */
  masks: Record<string, any>;
}

export interface ChangeSettings {
  track?: TrackSettingsState | null;
  masks?: Record<string, any> | null;
}

export interface HistoryState {
  /** What undo would take back; null: nothing */
  undo: string | null;
  redo: string | null;
  /** The newest step that is done; 0: none. Later ones have larger numbers */
  step: number;
}

export interface RunState {
  label: string;
  frame: number;
  frames_left: number;
  frames_total: number;
}

export interface JobState {
  id: string;
  kind: "track" | "export" | "download";
  title: string;
  project: string | null;
  state: "waiting" | "running" | "paused" | "done" | "failed" | "cancelled";
  /** Frames, or bytes of a download */
  done: number;
  total: number | null;
  /** Per second, lately */
  rate: number | null;
  seconds_left: number | null;
  /** The frame that a track has come to */
  frame: number | null;
  notes: string[];
  error: Problem | null;
  /** What an export wrote, below the root (first 200) */
  files: string[];
  /** Where an export is, below the root */
  folder: string | null;
  model: string | null;
}

export interface BatchPlace {
  /** Of the batch */
  id: string;
  /** Of the batch */
  name: string;
  /** Folder of the batch below the root; empty: the root itself */
  path: string;
  /** Of the video */
  number: number;
}

export interface ProjectState {
  id: string;
  name: string;
  path: string;
  /** Rises with every change, even if the studio is started anew; news carry it too */
  revision: number;
  media: MediaState;
  objects: ObjectState[];
  prompts: PromptState[];
  lanes: Lane[];
  settings: SettingsState;
  history: HistoryState;
  run: RunState | null;
  /** Jobs of this project that wait, run or pause */
  jobs: JobState[];
  /** Which video of a batch it is; null: of none */
  batch: BatchPlace | null;
}

export interface NewObject {
  name?: string | null;
  color?: string | null;
}

export interface ChangeObject {
  name?: string | null;
  color?: string | null;
  visible?: boolean | null;
  locked?: boolean | null;
  position?: number | null;
  /** Replaces its own settings; null takes them away */
  mask_settings?: Record<string, any> | null;
  /** Its class in data sets; null: its name */
  category?: string | null;
  /** Replaces all of them */
  attributes?: Record<string, boolean | number | string> | null;
}

export interface Clicks {
  frame: number;
  points?: ([number, number])[] | null;
  /** 1 on it (default), 0 not */
  labels?: (0 | 1)[] | null;
  /** x1, y1, x2, y2 */
  box?: [number, number, number, number] | null;
}

export interface NewPrompt {
  frame: number;
  points?: ([number, number])[] | null;
  /** 1 on it (default), 0 not */
  labels?: (0 | 1)[] | null;
  /** x1, y1, x2, y2 */
  box?: [number, number, number, number] | null;
  object: number;
  /** Painted by hand; tracking never changes it */
  mask?: Rle | null;
  /** Forget what was said on this frame about the object before */
  clear?: boolean;
}

export interface HoverPrompt {
  frame: number;
  points?: ([number, number])[] | null;
  /** 1 on it (default), 0 not */
  labels?: (0 | 1)[] | null;
  /** x1, y1, x2, y2 */
  box?: [number, number, number, number] | null;
  /** Preview of one more click on this object */
  object?: number | null;
}

export interface ChooseCandidate {
  frame: number;
  object: number;
  candidate: number;
}

export interface ScoresState {
  object_score: number | null;
  predicted_iou: number | null;
  motion_score: number | null;
}

export interface ObjectMaskState {
  object_score: number | null;
  predicted_iou: number | null;
  motion_score: number | null;
  object: number;
  rle: Rle;
  candidate: number;
  lost: boolean;
  prompt: boolean;
  painted: boolean;
  /** The edge is softer than the run lengths say: see …/alpha.png */
  soft: boolean;
}

export interface FrameMasksState {
  frame: number;
  objects: ObjectMaskState[];
}

export interface MasksBatch {
  start: number;
  end: number;
  /** Frames that have a mask, rising */
  frames: FrameMasksState[];
}

export interface CandidateState {
  index: number;
  rle: Rle;
  predicted_iou: number;
  final_score: number | null;
  chosen: boolean;
}

export interface PromptAnswer {
  frame: number;
  object: number;
  /** null: the frame has no prompt and no mask now */
  mask: ObjectMaskState | null;
  candidates: CandidateState[];
  /** What the network took, encoding the frame included if it was needed */
  seconds: number;
  revision: number;
}

export interface HoverAnswer {
  frame: number;
  rle: Rle;
  predicted_iou: number;
  object_score: number;
}

export interface Encoded {
  frame: number;
  seconds: number;
}

export interface PreviewMasks {
  /** On top of those that hold for the object */
  settings: Record<string, any>;
  /** null: all visible ones */
  objects?: number[] | null;
}

export interface StartTracking {
  /** `frame` tracks the frame `start` alone */
  direction?: "forward" | "backward" | "both" | "frame";
  /** First frame to keep; null: where prompts begin */
  start?: number | null;
  /** Last frame to keep */
  end?: number | null;
  /** null: all that have prompts */
  objects?: number[] | null;
}

export interface Correct {
  frame: number;
  object: number;
  direction?: "forward" | "backward" | "both";
  /** End where the new masks are as the old ones were */
  until_agrees?: boolean;
}

export interface ExplainedMemory {
  object_score: number | null;
  predicted_iou: number | null;
  motion_score: number | null;
  frame: number;
  used: boolean;
  kind: "prompt" | "recent";
  /** Temporal slot in memory attention, where used */
  slot: number | null;
  /** Whether its object pointer was read */
  pointer: boolean;
  /** Why it was used or not, for people */
  reason: string;
}

export interface ExplanationState {
  frame: number;
  object: number;
  /** Sentences for people */
  summary: string[];
  direction: "forward" | "backward" | "prompt" | "painted" | "unknown";
  policy: string;
  object_score: number | null;
  lost: boolean;
  candidates: ExplainedCandidate[];
  /** Where motion expected it */
  motion_box: [number, number, number, number] | null;
  memories: ExplainedMemory[];
}

export interface FormatState {
  name: string;
  title: string;
  description: string;
  group: string;
  /** Empty: it writes a folder */
  extensions: string[];
  /** JSON schema of its options */
  options_schema: Record<string, any>;
}

export interface StartExport {
  format: string;
  /** File or folder below the root; null: by the source */
  path?: string | null;
  options?: Record<string, any>;
  /** null: all visible ones */
  objects?: number[] | null;
  start?: number | null;
  end?: number | null;
  overwrite?: boolean;
}

export interface ModelState {
  name: string;
  short: string;
  parameters: number;
  bytes: number | null;
  fetched_bytes: number | null;
  state: "packaged" | "ready" | "unchecked" | "partial" | "wrong size" | "missing";
  path: string;
  image_size: number;
  /** Defaults of each policy's settings where they depend on the model */
  policy_defaults: Record<string, Record<string, any>>;
  /** Id of the download that is going on */
  job: string | null;
}

export interface EditAnswer {
  /** Of the step of undo */
  label: string;
  /** How many frames were changed */
  frames: number;
  /** The objects that it was about; one that was made comes last */
  objects: number[];
  revision: number;
}

export interface ReviewState {
  /** Worst first */
  queue: Stretch[];
  next: NextClick | null;
  /** How many stretches were accepted */
  accepted: number;
  revision: number;
}

export interface Judge {
  object: number;
  first: number;
  last: number;
  verdict: "accepted" | "rejected" | null;
}

export interface OpenBatch {
  /** The folder of a batch, which holds its batch.sqlite */
  path: string;
}

export interface BatchCounts {
  waiting: number;
  running: number;
  done: number;
  failed: number;
}

export interface BatchState {
  id: string;
  name: string;
  /** Its folder below the root; empty: the root itself */
  path: string;
  counts: BatchCounts;
  frames_done: number;
  /** Of the videos whose length is known */
  frames_total: number;
  /** How many work on it right now */
  workers: number;
}

export interface VideoReview {
  stretches: number;
  /** Frames of these stretches */
  frames: number;
  /** null: nothing deserves a look */
  worst: Stretch | null;
  /** Name of the object that the worst stretch is of */
  object: string | null;
}

export interface BatchVideo {
  number: number;
  name: string;
  state: "waiting" | "running" | "done" | "failed";
  /** An earlier try failed, or ended with its process */
  retried: boolean;
  /** It was begun, but nobody works on it now: the same command goes on with it */
  silent: boolean;
  /** Frames that are tracked */
  done: number;
  /** 0 until that is known */
  total: number;
  /** What tracking took, once it is done */
  seconds: number | null;
  /** Why it failed */
  reason: string | null;
  /** What is exported of it */
  formats: string[];
  /** What POST /api/projects takes; null: it can't be opened (yet) */
  project: string | null;
  /** Id of its project if that is open now */
  open_id: string | null;
  /** Address of a JPEG, or null */
  thumbnail: string | null;
  /** null: nobody looked yet, or it can't be read */
  review: VideoReview | null;
  /** Its project was corrected after its exports were written */
  outdated: boolean;
}

export interface BatchVideos {
  batch: BatchState;
  /** How many come before */
  start: number;
  videos: BatchVideo[];
  /** There are more after these */
  more: boolean;
  /** Projects are being looked into: ask again for what they say */
  pending: boolean;
}

export interface NextDoubtful {
  /** Its `review.worst` is the place; null: none was found */
  video: BatchVideo | null;
  /** There are more videos than one search looks through: search again after this one */
  go_on_after: number | null;
}

export interface Done {
  ok: true;
  revision: number | null;
}

export interface UndoAnswer {
  /** What was taken back or done again; null: nothing */
  label: string | null;
  revision: number;
}

export interface Hello {
  type: "hello";
  version: string;
  jobs: JobState[];
}

export interface ChangedParts {
  /** All objects; null: as they were */
  objects: ObjectState[] | null;
  /** Those on the frames and objects named */
  prompts: PromptState[] | null;
  /** Those on the frames and objects named, without mask settings */
  masks: FrameMasksState[] | null;
  /** Mask settings leave these masks as they are */
  plain: boolean;
  history: HistoryState;
  run: RunState | null;
}

export interface ProjectChanged {
  type: "changed";
  project: string;
  revision: number;
  what: ("objects" | "prompts" | "masks" | "settings" | "history" | "run" | "review")[];
  /** Where masks or prompts changed; null: anywhere */
  frames: number[] | null;
  objects: number[] | null;
  /** The parts named as they are now; null: ask for them */
  now: ChangedParts | null;
}

export interface ProjectClosed {
  type: "closed";
  project: string;
}

export interface MasksArrived {
  type: "masks";
  project: string;
  job: string;
  frame: number;
  objects: ObjectMaskState[];
  /** Mask settings leave these masks as they are, so they can be shown at once */
  plain: boolean;
}

export interface JobChanged {
  type: "job";
  job: JobState;
}

export interface Missed {
  type: "missed";
}

export interface ExplainedCandidate {
  index: number;
  chosen: boolean;
  predicted_iou: number;
  /** Overlap of its box with the predicted one */
  motion_iou: number | null;
  final_score: number;
  /** In pixels of the frame, where the policy looked at it */
  box: [number, number, number, number] | null;
}

export interface Stretch {
  object_id: number;
  first: number;
  last: number;
  /** The frame to look at first */
  worst: number;
  /** How many frames' worth of mask is expected to be wrong */
  expected: number;
  /** Worst first */
  reasons: ("rejected" | "lost" | "low score" | "score drop" | "motion" | "area jump" | "two near candidates" | "edge")[];
  /** The reasons in words */
  words: string;
}

export interface NextClick {
  object_id: number;
  frame: number;
  /** x, y in pixels; null: nothing says more than the frame */
  point: [number, number] | null;
  /** How many frames' worth of mask it is expected to put right */
  gain: number;
  words: string;
}

export interface DeleteMasks {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame, included; null: the last of the video */
  end?: number | null;
  kind: "delete";
}

export interface CopyMask {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame, included; null: the last of the video */
  end?: number | null;
  kind: "copy";
  /** Where the mask is copied from */
  frame: number;
  /** The object that gets it; null: the same one */
  onto?: number | null;
}

export interface Interpolate {
  /** The object that is edited */
  object: number;
  /** First frame, which has a mask */
  start: number;
  /** Last frame, included, which has a mask */
  end: number;
  kind: "interpolate";
}

export interface NotHere {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame; null: before the next prompt that shows it */
  end?: number | null;
  kind: "absent";
}

export interface Merge {
  /** The object that is edited */
  object: number;
  start?: null;
  end?: null;
  kind: "merge";
  /** The object that is merged into it, and goes */
  other: number;
}

export interface Swap {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame, included; null: the last of the video */
  end?: number | null;
  kind: "swap";
  /** The object that it is swapped with */
  other: number;
}

export interface Reassign {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame, included; null: the last of the video */
  end?: number | null;
  kind: "reassign";
  /** The object that gets them; null: a new one */
  other?: number | null;
}

export interface Split {
  /** The object that is edited */
  object: number;
  /** First frame; null: the first of the video */
  start?: number | null;
  /** Last frame, included; null: the last of the video */
  end?: number | null;
  kind: "split";
  /** COCO run lengths {size, counts} of the part */
  region: Record<string, any>;
}

export type Edit = DeleteMasks | CopyMask | Interpolate | NotHere | Merge | Swap | Reassign | Split;
