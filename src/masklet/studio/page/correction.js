/** Corrections: clicks on a tracked frame change that frame only, until one key re-tracks the object from there. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { Lru } from "./lru.js";
import { ShownMask, maskOf } from "./masks.js";
import { attempt } from "./notices.js";
import * as state from "./state.js";
import { refreshProject } from "./sync.js";
import { Icon, IconButton, batch, computed, effect, html, signal } from "./ui.js";

const WEAK_IOU = 0.5; // the network itself doubts a mask whose predicted IoU is below
const AHEAD = 24; // frames after the one in view whose earlier masks are here in time
const BATCH = 64; // frames whose earlier masks are asked for at once

const before = signal(false);
/** The object that is shown as it was before it was re-tracked; null: everything is shown as it is. */
export const comparing = computed(() => (before.value ? (state.retracked.value?.object ?? null) : null));
/** Its masks from then by frame, null where it had none. */
const past = new Lru(32 * 2 ** 20, (/** @type {ShownMask | null} */ mask) => 16 + (mask?.bytes ?? 0));
export const pastMasksCame = signal(0);
let asking = false;
/** Ends when the latest re-track did. @type {Promise<void>} */
let going = Promise.resolve();

/** @param {number} index */
export const pastMask = (index) => past.get(index) ?? null;

/** The correction that is re-tracked next: that of the frame in view, else the latest. */
const waiting = computed(() => {
  const there = state.corrections.value;
  const here = there.find(({ frame, object }) => frame === state.frame.value && object === state.currentObject.value);
  return here ?? there.at(-1) ?? null;
});

/** The job that re-tracks, while it does. */
const running = computed(() => {
  const job = state.trackJob.value;
  return job?.id === state.retracked.value?.job ? job : null;
});

effect(() => {
  // What was taken back corrects nothing.
  const there = state.corrections.value;
  const left = there.filter(({ frame, object }) => state.promptsOn(frame, object).length);
  if (left.length < there.length) state.corrections.value = left;
});

effect(() => {
  const now = state.retracked.value;
  const step = state.project.value?.history.step;
  if (!now) before.value = false;
  if (!now || now.step === null || step === undefined || step === now.step) return;
  // Something was done since, or the re-track was taken back: then its correction is as it was.
  state.retracked.value = null;
  if (step < now.step) actions.offerRetrack(now);
});

const retrackJob = computed(() => state.retracked.value?.job);
effect(() => {
  retrackJob.value;
  past.clear();
});

effect(() => {
  pastMasksCame.value;
  const project = state.project.value;
  const now = state.retracked.value;
  if (!project || !now || comparing.value === null) return;
  const last = project.media.frame_count - 1;
  const here = state.frame.value;
  const missing = [here, Math.min(last, here + AHEAD), Math.max(0, here - 1)].find((index) => !past.has(index));
  if (missing === undefined || asking) return;
  const start = missing < here ? Math.max(0, missing - BATCH) : missing;
  void askForPast(project.id, now, start, Math.min(last, start + BATCH));
});

/**
 * @param {string} project
 * @param {NonNullable<typeof state.retracked.value>} now
 * @param {number} start
 * @param {number} end
 */
async function askForPast(project, now, start, end) {
  asking = true;
  try {
    const { frames } = await api.getMasksBefore(project, { start, end, before: now.since + 1 });
    if (retrackJob.peek() === now.job) {
      const found = new Map(frames.map(({ frame, objects }) => [frame, objects.find(({ object }) => object === now.object)]));
      for (let index = start; index <= end; index++) {
        const mask = found.get(index);
        past.set(index, mask ? new ShownMask(mask) : null);
      }
    }
    asking = false; // before the news of it, upon which more may be asked for
    pastMasksCame.value++;
  } catch (problem) {
    asking = false;
    console.warn(problem);
  }
}

/** Re-tracks from the frame that was corrected: a second to both sides first, then on until masks agree. */
export function retrack() {
  const here = { object: state.currentObject.peek(), frame: state.frame.peek() };
  return (going = attempt(() => carryOut(here)));
}

/** @param {{object: number | null, frame: number}} here  the place where nothing waits to be re-tracked */
async function carryOut(here) {
  await actions.promptsDone();
  await refreshProject();
  const project = state.project.peek();
  const chosen = waiting.peek() ?? here;
  if (!project || chosen.object === null) return;
  const { step } = project.history;
  const correction = { since: step, ...chosen, object: chosen.object };
  const { frame, object } = correction;
  const other = state.trackJob.peek();
  // A paused run steps aside by itself; one that goes on is ended first.
  if (other && other.state !== "paused") {
    await attempt(() => api.jobAction(other.id, "cancel"));
    await ended(other.id);
  }
  const said = actions.promptsDone();
  const job = await attempt(() => api.correct(project.id, { frame, object }));
  if (!job) return;
  batch(() => {
    state.corrections.value = state.corrections.peek().filter((known) => known.frame !== frame || known.object !== object);
    state.retracked.value = { ...correction, job: job.id, step: null };
    actions.started(job, `Re-tracking from frame ${frame}`);
  });
  await ended(job.id);
  await refreshProject();
  const now = state.retracked.peek();
  if (now?.job !== job.id) return;
  const newest = state.project.peek()?.history.step ?? 0;
  const found = newest > step && actions.promptsDone() === said;
  state.retracked.value = found ? { ...now, step: newest } : null;
  if (newest === step) actions.offerRetrack(correction);
}

/** Ends when a job does. @param {string} id @returns {Promise<void>} */
function ended(id) {
  return new Promise((resolve) => {
    const stop = state.jobs.subscribe((jobs) => {
      if (jobs[id] && state.isActive(jobs[id])) return;
      resolve();
      queueMicrotask(() => stop()); // the first call comes before there is anything to stop
    });
  });
}

/** Takes the last step back. A re-track that is under way is stopped and taken back. */
export async function undo() {
  if (running.peek()) {
    await actions.cancelTrack();
    await going;
    if (!state.retracked.peek()) return; // it had changed nothing yet
  }
  await actions.undo();
}

export const flipBefore = () => (before.value = !before.peek());

/** @type {import("./keyboard.js").Binding[]} */
export const CORRECTING = [
  { group: "Track", keys: ["r"], label: "Re-track from the corrected frame, until masks agree", run: retrack },
  { group: "Track", keys: ["Enter"], label: "The same, once a frame was corrected", run: retrack, when: () => waiting.peek() !== null },
];

/** What waits to be re-tracked, how far that is, and how it was before. */
export function RetrackBar() {
  const next = waiting.value;
  const done = state.retracked.value;
  const job = running.value;
  if (!next && !done) return null;
  return html`<div class="float retrack" role="group" aria-label="Correction">
    ${job && done ? html`<${Going} job=${job} from=${done.frame} />` : next && html`<${Waiting} correction=${next} />`}
    ${done &&
    html`${!job && html`<span class="small dim">${doneWords(done.job)}</span>`}
      <button type="button" class="icon-button" aria-pressed=${String(comparing.value !== null)} title="Show the masks from before the re-track (7)" onClick=${flipBefore}>
        <${Icon} name="eye" /><span>Before</span><kbd class="hide-small">7</kbd>
      </button>
      <${IconButton} icon="undo" label=${job ? "Take back the re-track, which is stopped first" : "Take back the re-track"} text="Take back" keys="Ctrl+Z" onClick=${undo} />`}
    ${!job &&
    html`<${IconButton} icon="close" class="tiny" label=${next ? "Don't re-track" : "Keep the new masks"} onClick=${dismiss} />`}
  </div>`;
}

function dismiss() {
  const next = waiting.peek();
  if (next) state.corrections.value = state.corrections.peek().filter((known) => known !== next);
  else state.retracked.value = null;
}

/** @param {string} id */
function doneWords(id) {
  const job = state.jobs.value[id];
  return job ? `${plural(job.done, "frame")} re-tracked` : "Re-tracked";
}

/** @param {{correction: state.Correction}} props */
function Waiting({ correction: { frame, object } }) {
  const iou = frame === state.frame.value ? maskOf(frame, object)?.state.predicted_iou : null;
  return html`<button type="button" class="icon-button on" id="retrack" title="A second to both sides first, then on until the new masks agree with the old ones (Enter, R)" onClick=${retrack}>
      <${Icon} name="retrack" /><span>Re-track from frame ${frame}</span><kbd>Enter</kbd>
    </button>
    ${iou != null && iou < WEAK_IOU && html`<span class="small warn">weak mask, IoU ${iou.toFixed(2)}: click once more first</span>`}`;
}

/** @param {{job: state.JobState, from: number}} props */
function Going({ job, from }) {
  const second = Math.round(state.media.value?.fps ?? 0);
  const near = job.frame === null || Math.abs(job.frame - from) <= second;
  return html`<span class="spinner"></span>
    <span class="small">${near ? "Preview: a second to both sides" : "On, until the new masks agree with the old"}</span>`;
}
