/** What the page knows, as signals: components that read one are drawn anew when it changes. */
import { LaneData } from "./lanes.js";
import { computed, signal } from "./ui.js";

/** @typedef {import("./api-types.js").ProjectState} ProjectState */
/** @typedef {import("./api-types.js").ObjectState} ObjectState */
/** @typedef {import("./api-types.js").JobState} JobState */
/** @typedef {import("./api-types.js").PromptState} PromptState */
/** @typedef {import("./api-types.js").CandidateState} CandidateState */
/** @typedef {"overlay" | "outline" | "matte" | "cutout" | "screen" | "original"} View */
/** @typedef {"point" | "box" | "brush" | "eraser" | "lasso" | "polygon" | "hand"} Tool */
/** @typedef {"objects" | "review" | "edit" | "edges" | "why"} Tab */
/** @typedef {"export" | "settings" | "keys" | "relink"} DialogName */

/** @type {{name: View, label: string, icon: string}[]} */
export const VIEWS = [
  { name: "overlay", label: "Overlay", icon: "overlay" },
  { name: "outline", label: "Outline", icon: "outline" },
  { name: "matte", label: "Matte", icon: "matte" },
  { name: "cutout", label: "Cut-out", icon: "cutout" },
  { name: "screen", label: "Green screen", icon: "screen" },
  { name: "original", label: "Original", icon: "original" },
];

/** @type {{name: Tool, label: string, icon: string, keys: string}[]} */
export const TOOLS = [
  { name: "point", label: "Point: click adds, right click removes, drag draws a box", icon: "click", keys: "V" },
  { name: "box", label: "Box", icon: "box", keys: "B" },
  { name: "brush", label: "Brush: paint the mask", icon: "brush", keys: "P" },
  { name: "eraser", label: "Eraser", icon: "eraser", keys: "E" },
  { name: "lasso", label: "Lasso: draw around what belongs to the mask", icon: "lasso", keys: "Q" },
  { name: "polygon", label: "Polygon: click its corners, double-click closes it", icon: "polygon", keys: "Shift+Q" },
  { name: "hand", label: "Hand: move the picture", icon: "hand", keys: "H" },
];

// The studio
export const studio = signal(/** @type {import("./api-types.js").StudioInfo | null} */ (null));
export const online = signal(true);
/** The project is open at the server that answers now: not so from its end until it has opened the project again. */
export const inStep = signal(true);
export const dialog = signal(/** @type {DialogName | null} */ (null));
/** The project that can't be opened because its video moved, and why. */
export const missing = signal(/** @type {{path: string, why: string} | null} */ (null));
export const jobs = signal(/** @type {Record<string, JobState>} */ ({}));
/** The batch whose list is shown while no project is open. */
export const batch = signal(/** @type {import("./api-types.js").BatchState | null} */ (null));

// The open project, without its lanes
export const project = signal(/** @type {ProjectState | null} */ (null));
export const media = computed(() => project.value?.media ?? null);
export const objects = computed(() => project.value?.objects ?? []);
export const prompts = computed(() => project.value?.prompts ?? []);
export const lanes = signal(/** @type {Record<number, LaneData>} */ ({}));
/** Rises whenever something in `lanes` changes. */
export const lanesChanged = signal(0);

// Where the user is
export const frame = signal(0);
export const currentObject = signal(/** @type {number | null} */ (null));
export const solo = signal(/** @type {number | null} */ (null));
export const view = signal(/** @type {View} */ ("overlay"));
export const tool = signal(/** @type {Tool} */ ("point"));
export const tab = signal(/** @type {Tab} */ ("objects"));
export const panelOpen = signal(true);
export const markIn = signal(/** @type {number | null} */ (null));
export const markOut = signal(/** @type {number | null} */ (null));
export const playing = signal(false);
/** The playhead goes along with tracking until the user moves it. */
export const following = signal(false);
/** Candidates of the latest click. */
export const candidates = signal(
  /** @type {{frame: number, object: number, list: CandidateState[]} | null} */ (null),
);
export const explanation = signal(/** @type {import("./api-types.js").ExplanationState | null} */ (null));
/** Names of what the server is working on right now, in the order they were asked for. */
export const working = signal(/** @type {string[]} */ ([]));
/**
 * Corrected frames that were not re-tracked yet. `since` is the step of the history that came before the correction.
 * @typedef {{frame: number, object: number, since: number}} Correction
 */
export const corrections = signal(/** @type {Correction[]} */ ([]));
/**
 * The latest re-track, as long as nothing was done since. `job` runs it; `step` is its step of the history once it ended.
 */
export const retracked = signal(/** @type {(Correction & {job: string, step: number | null}) | null} */ (null));

// Choices that this browser remembers
export const theme = remembered("theme", /** @type {"auto" | "dark" | "light"} */ ("auto"));
export const opacity = remembered("opacity", 0.5);
export const brushSize = remembered("brush", 24);
export const hoverPreview = remembered("hover", false);
export const loop = remembered("loop", true);

/** The object that clicks are for. */
export const selected = computed(() => objects.value.find((object) => object.id === currentObject.value) ?? null);
/** Objects that are shown, in the order they are drawn. */
export const shown = computed(() =>
  objects.value.filter((object) => (solo.value === null ? object.visible : object.id === solo.value)),
);
/** The tracking job of this project that waits, runs or pauses. */
export const trackJob = computed(
  () =>
    Object.values(jobs.value).find(
      (job) => job.kind === "track" && job.project === project.value?.id && isActive(job),
    ) ?? null,
);

/** @param {JobState} job */
export const isActive = (job) => job.state === "waiting" || job.state === "running" || job.state === "paused";

/** @param {number} index */
export const clampFrame = (index) => Math.max(0, Math.min((media.value?.frame_count ?? 1) - 1, Math.round(index)));

/** @param {number} object */
export function laneOf(object) {
  const count = media.value?.frame_count ?? 0;
  return (lanes.value[object] ??= new LaneData(count));
}

/** @param {number} index @param {number} object */
export const promptsOn = (index, object) =>
  prompts.value.filter((prompt) => prompt.frame === index && prompt.object === object);

/**
 * Frames that have a prompt of an object (or of any), rising.
 * @param {number | null} [object]
 */
export function promptFrames(object = null) {
  const frames = prompts.value.filter((prompt) => object === null || prompt.object === object);
  return [...new Set(frames.map((prompt) => prompt.frame))].sort((a, b) => a - b);
}

/**
 * A signal whose value this browser keeps.
 * @template V
 * @param {string} name
 * @param {V} initial
 */
export function remembered(name, initial) {
  const key = `masklet.${name}`;
  let value = initial;
  try {
    const kept = localStorage.getItem(key);
    if (kept !== null) value = JSON.parse(kept);
  } catch {
    // A browser that keeps nothing, or something that isn't ours: the default will do.
  }
  const made = signal(value);
  made.subscribe((now) => {
    try {
      localStorage.setItem(key, JSON.stringify(now));
    } catch {
      // Nothing is lost but the choice itself.
    }
  });
  return made;
}
