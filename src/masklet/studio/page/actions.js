/** What the user can do: every button and key ends here, and here the answers change the state. */
import * as api from "./api.js";
import { forgetPictures } from "./frames.js";
import { nextDoubtful } from "./lanes.js";
import { entryOf, forgetMasks, forgetObject, maskOf, putMasks } from "./masks.js";
import { announce, attempt, complain, notify } from "./notices.js";
import { encode, pack } from "./rle.js";
import * as state from "./state.js";
import { refreshProject, takeProject } from "./sync.js";
import { batch } from "./ui.js";

/** @typedef {import("./api-types.js").NewPrompt} NewPrompt */
/** @typedef {import("./api-types.js").StartTracking} StartTracking */

/** The open project's id; throws where none is open, which no control allows. */
function projectId() {
  const id = state.project.peek()?.id;
  if (!id) throw new Error("No project is open.");
  return id;
}

/**
 * Shows that the server works, while it does.
 * @template V
 * @param {string} what
 * @param {() => Promise<V>} run
 */
export async function busy(what, run) {
  state.working.value = [...state.working.value, what];
  try {
    return await run();
  } finally {
    const names = [...state.working.value];
    names.splice(names.indexOf(what), 1);
    state.working.value = names;
  }
}

// --- projects

/** @param {import("./api-types.js").OpenRequest} given */
export async function open(given) {
  /** @type {state.ProjectState} */
  let opened;
  try {
    opened = await busy("Opening", () => api.openProject(given));
  } catch (problem) {
    if (problem instanceof api.ApiError && (problem.kind === "source_missing" || given.source)) {
      state.missing.value = { path: given.path, why: problem.message };
      state.dialog.value = "relink";
    } else complain(problem);
    return false;
  }
  closeLater(state.project.peek(), opened.id);
  batch(() => {
    forgetPictures();
    forgetMasks();
    state.frame.value = 0;
    state.currentObject.value = null;
    state.solo.value = null;
    state.markIn.value = null;
    state.markOut.value = null;
    state.candidates.value = null;
    state.corrections.value = [];
    state.retracked.value = null;
    state.playing.value = false;
    takeProject(opened);
    const first = state.promptFrames()[0];
    if (first !== undefined) state.frame.value = first;
  });
  showPlace("project", opened.path);
  for (const note of opened.media.notes) notify(note, { seconds: 10 });
  announce(`${opened.name} is open: ${opened.media.frame_count} frames.`);
  return true;
}

/**
 * The address of what is shown, so that back and forward in the browser go between places.
 * @param {"start" | "batch" | "project"} kind
 * @param {string} [path]  of the folder or the project
 */
export function showPlace(kind, path = "") {
  const named = path.split("/").map(encodeURIComponent).join("/");
  const place = { start: "", batch: `#batch/${named}`, project: `#/${named}` }[kind];
  if (location.hash !== place) history.pushState(null, "", place || location.pathname);
}

/**
 * Closes a video of a batch that was left, unless something goes on in it: there may be thousands, and the batch may
 * want to go on with it. A moment later, because answers about it may be on their way.
 * @param {state.ProjectState | null} left
 * @param {string} [next]
 */
function closeLater(left, next) {
  if (!left?.batch || left.id === next) return;
  setTimeout(() => {
    const active = Object.values(state.jobs.peek()).some((job) => job.project === left.id && state.isActive(job));
    if (!active && state.project.peek()?.id !== left.id) api.closeProject(left.id).catch(() => {});
  }, 3000);
}

/** Away from the project; the server keeps it open for other tabs, and nothing needs saving. */
export function leave() {
  closeLater(state.project.peek());
  batch(() => {
    state.playing.value = false;
    state.project.value = null;
    state.lanes.value = {};
    forgetPictures();
    forgetMasks();
  });
}

// --- where the user looks

/**
 * @param {number} index
 * @param {{user?: boolean, quiet?: boolean}} [options]  `user` ends going along with tracking
 */
export function seek(index, { user = true, quiet = false } = {}) {
  const next = state.clampFrame(index);
  batch(() => {
    if (user) state.following.value = false;
    if (next !== state.frame.value) {
      state.frame.value = next;
      if (state.candidates.value?.frame !== next) state.candidates.value = null;
    }
  });
  if (!quiet && !state.playing.peek()) announce(describeFrame(next));
}

/** @param {number} index */
function describeFrame(index) {
  const object = state.selected.peek();
  const mask = object && maskOf(index, object.id);
  const lane = object && state.lanes.peek()[object.id];
  const words = lane?.isFoundAgain(index) ? "found again" : ["", "tracked", "doubtful", "lost"][lane ? lane.at(index) : 0];
  return `Frame ${index}${object && (mask || words) ? `, ${object.name} ${words || "has a mask"}` : ""}`;
}

/** @param {1 | -1} step */
export function seekDoubtful(step) {
  const ids = state.shown.peek().map((object) => object.id);
  const index = nextDoubtful(ids.map((id) => state.laneOf(id)), state.frame.peek(), step);
  if (index < 0) notify("No frame is doubtful or lost.");
  else seek(index);
}

/** @param {1 | -1} step */
export function seekPrompt(step) {
  const frames = state.promptFrames();
  const now = state.frame.peek();
  const next = step > 0 ? frames.find((index) => index > now) : frames.filter((index) => index < now).at(-1);
  if (next === undefined) notify(step > 0 ? "There is no prompt after this frame." : "There is no prompt before this frame.");
  else seek(next);
}

/** @param {"in" | "out"} which */
export function mark(which) {
  const now = state.frame.peek();
  const [first, last] = [state.markIn.peek(), state.markOut.peek()];
  batch(() => {
    if (which === "in") {
      state.markIn.value = first === now ? null : now;
      if (last !== null && last < now) state.markOut.value = null;
    } else {
      state.markOut.value = last === now ? null : now;
      if (first !== null && first > now) state.markIn.value = null;
    }
  });
  announce(which === "in" ? `Range begins at frame ${now}` : `Range ends at frame ${now}`);
}

export function clearMarks() {
  batch(() => {
    state.markIn.value = null;
    state.markOut.value = null;
  });
}

// --- objects

/** The object that is being added, until it is there. @type {Promise<state.ObjectState | null> | null} */
let added = null;

/** What is said from now on is for the new object, also before the server has made it. */
export function addObject() {
  const task = makeObject();
  added = task;
  void task.finally(() => {
    if (added === task) added = null;
  });
  return task;
}

/** The object that is being added, else the selected one: what is said now is for it. */
export const objectMeant = () => added ?? state.selected.peek();

async function makeObject() {
  const made = await attempt(() => api.addObject(projectId(), {}));
  if (!made) return null;
  const now = state.project.peek();
  batch(() => {
    if (now && !now.objects.some((object) => object.id === made.id)) {
      state.project.value = { ...now, objects: [...now.objects, made] };
    }
    state.currentObject.value = made.id;
  });
  announce(`${made.name} added`);
  return made;
}

/**
 * @param {number} id
 * @param {import("./api-types.js").ChangeObject} changes
 */
export async function changeObject(id, changes) {
  const now = state.project.peek();
  if (now) {
    // Shown at once; the answer, or the news after a refusal, puts it right.
    const objects = now.objects.map((object) =>
      object.id === id
        ? { ...object, .../** @type {Partial<typeof object>} */ (changes), mask_settings: changes.mask_settings === undefined ? object.mask_settings : changes.mask_settings }
        : object,
    );
    state.project.value = { ...now, objects };
  }
  const answer = await attempt(() => api.changeObject(projectId(), id, changes));
  if (!answer) await refreshProject();
}

/** @param {number} id */
export async function removeObject(id) {
  const object = state.objects.peek().find((candidate) => candidate.id === id);
  if (!object) return;
  if (!(await attempt(() => api.removeObject(projectId(), id)))) return;
  batch(() => {
    forgetObject(id);
    if (state.currentObject.value === id) state.currentObject.value = null;
    if (state.solo.value === id) state.solo.value = null;
  });
  notify(`${object.name} was removed.`, { action: { label: "Undo", run: () => void undo() } });
}

/** @param {1 | -1} step */
export function selectNext(step) {
  const list = state.objects.peek();
  if (!list.length) return;
  const at = list.findIndex((object) => object.id === state.currentObject.peek());
  const next = list[(at + step + list.length) % list.length];
  state.currentObject.value = next.id;
  announce(`${next.name} selected`);
}

// --- prompts

/** What is said and taken back goes one after the other, in the order it was done. @type {Promise<unknown>} */
let queue = Promise.resolve();

/** @param {string | undefined} path  of a project */
const isOpen = (path) => state.project.peek()?.path === path;

/** Ends when everything that was said has been answered. */
export const promptsDone = () => queue;

/** @param {() => Promise<void>} run */
function inTurn(run) {
  const path = state.project.peek()?.path;
  const task = queue.then(() => (isOpen(path) ? run() : notify("The project was left before all that was said could be done.")));
  queue = task.catch(complain);
  return task;
}

/**
 * The object that a prompt is for, or a new one where there is none.
 * @param {number | null} meant  the object that was selected when it was said
 */
async function objectForPrompt(meant) {
  const known = state.objects.peek();
  const none = meant === null || !known.length;
  const object = none ? (state.selected.peek() ?? (await addObject())) : known.find(({ id }) => id === meant);
  if (object?.locked) {
    notify(`${object.name} is locked. Unlock it to change its mask.`);
    return null;
  }
  if (object === undefined) notify("The object that this was for is gone.");
  else if (object && !state.shown.peek().some(({ id }) => id === object.id)) notify(`${object.name} is hidden. Show it to see its mask.`);
  return object;
}

/**
 * @param {Partial<NewPrompt>} given  what is said; frame and object are those in view unless named
 */
function prompt(given) {
  const index = given.frame ?? state.frame.peek();
  const coming = given.object === undefined ? added : null;
  const meant = given.object ?? state.currentObject.peek();
  const path = state.project.peek()?.path;
  return inTurn(async () => {
    const fresh = await coming;
    if (coming && !fresh) return;
    const object = fresh ?? (await objectForPrompt(meant));
    if (!object) return;
    const sent = { ...given, frame: index, object: object.id };
    const trackedBefore = isTrackedAround(index, object.id);
    const since = state.project.peek()?.history.step ?? 0;
    showPromptAtOnce(sent);
    try {
      const answer = await busy("Looking", () => api.addPrompt(projectId(), sent));
      if (!isOpen(path)) return;
      takeAnswer(answer);
      // An older answer may have taken its mark away; what follows needs to see it.
      if (!state.promptsOn(index, object.id).length) showPromptAtOnce(sent);
      if (trackedBefore) offerRetrack({ frame: index, object: object.id, since });
    } catch (problem) {
      complain(problem);
      await refreshProject();
    }
  });
}

/** A mark where the click was, before the server has answered. @param {NewPrompt} sent */
function showPromptAtOnce(sent) {
  const now = state.project.peek();
  if (!now) return;
  const labels = sent.labels ?? (sent.points ?? []).map(() => /** @type {0 | 1} */ (1));
  state.project.value = {
    ...now,
    prompts: [
      ...now.prompts,
      { id: -1, frame: sent.frame, object: sent.object, points: sent.points ?? [], labels, box: sent.box ?? null, mask: sent.mask ? "painted" : null },
    ],
  };
}

/** @param {import("./api-types.js").PromptAnswer} answer */
function takeAnswer(answer) {
  batch(() => {
    if (answer.mask) {
      putMasks(answer.frame, [answer.mask]);
      state.laneOf(answer.object).putMask(answer.frame, answer.mask);
    } else {
      entryOf(answer.frame)?.masks.delete(answer.object);
      state.laneOf(answer.object).clear(answer.frame);
    }
    state.lanesChanged.value++;
    state.candidates.value =
      answer.candidates.length > 1
        ? { frame: answer.frame, object: answer.object, list: answer.candidates }
        : null;
  });
  if (answer.mask) {
    const share = answer.mask.predicted_iou;
    announce(`Mask on frame ${answer.frame}${share == null ? "" : `, predicted IoU ${share.toFixed(2)}`}`);
  }
}

/**
 * @param {[number, number]} point
 * @param {0 | 1} label
 */
export const click = ([x, y], label) => prompt({ points: [[x, y]], labels: [label] });

/** @param {[number, number, number, number]} box */
export const drawBox = (box) => prompt({ box });

/**
 * A painted mask for the frame.
 * @param {Uint8Array} pixels
 * @param {{frame: number, object: number}} where
 */
export function paint(pixels, { frame, object }) {
  const now = state.media.peek();
  if (!now) return Promise.resolve();
  const counts = pack(encode(pixels, now.height, now.width));
  return prompt({ frame, object, mask: { size: [now.height, now.width], counts } });
}

export function clearFrame() {
  const object = state.selected.peek();
  const index = state.frame.peek();
  if (!object) return Promise.resolve();
  return inTurn(async () => {
    if (!state.promptsOn(index, object.id).length) {
      notify(`${object.name} has no prompt on this frame.`);
      return;
    }
    const answer = await attempt(() => api.clearPrompts(projectId(), index, object.id));
    if (answer) takeAnswer(answer);
  });
}

/** @param {1 | -1} [step] */
export function flipCandidate(step = 1) {
  return inTurn(async () => {
    const now = state.candidates.peek() ?? (await findCandidates());
    if (!now) {
      notify("A single click has other candidates. There is none on this frame.");
      return;
    }
    const at = now.list.findIndex((candidate) => candidate.chosen);
    await choose(now.list[(at + step + now.list.length) % now.list.length].index);
  });
}

/** The candidates of a click that was made earlier, perhaps before the project was opened. */
export async function findCandidates() {
  const object = state.currentObject.peek();
  const index = state.frame.peek();
  if (object === null || !state.promptsOn(index, object).length) return null;
  const answer = await attempt(() => busy("Looking", () => api.getCandidates(projectId(), index, object)));
  if (!answer || answer.candidates.length < 2) return null;
  return (state.candidates.value = { frame: index, object, list: answer.candidates });
}

/** @param {number} candidate */
export const pickCandidate = (candidate) => inTurn(() => choose(candidate));

/** @param {number} candidate */
async function choose(candidate) {
  const now = state.candidates.peek();
  if (!now) return;
  const answer = await attempt(() =>
    busy("Looking", () => api.chooseCandidate(projectId(), { frame: now.frame, object: now.object, candidate })),
  );
  if (!answer) return;
  takeAnswer(answer);
  if (answer.candidates.length <= 1) {
    const list = now.list.map((entry) => ({ ...entry, chosen: entry.index === candidate }));
    state.candidates.value = { ...now, list };
  }
  const place = now.list.findIndex((entry) => entry.index === candidate) + 1;
  announce(`Candidate ${place} of ${now.list.length}`);
}

// --- tracking

/**
 * Whether the frames beside this one have a tracked mask, so that a prompt here corrects something.
 * @param {number} index
 * @param {number} object
 */
function isTrackedAround(index, object) {
  const lane = state.lanes.peek()[object];
  return Boolean(lane && (lane.there[index - 1] || lane.there[index + 1]));
}

/** A correction stays on its frame until the user has it re-tracked. @param {state.Correction} correction */
export function offerRetrack(correction) {
  const there = state.corrections.peek();
  if (there.some(({ frame, object }) => frame === correction.frame && object === correction.object)) return;
  state.corrections.value = [...there, correction];
}

/** @param {"forward" | "backward" | "both" | "frame" | "range"} how */
export async function track(how) {
  const now = state.frame.peek();
  const frames = state.media.peek()?.frame_count ?? 1;
  await queue;
  if (!state.prompts.peek().length) {
    notify("Say first what to track: click on an object.");
    return;
  }
  /** @type {StartTracking} */
  let given;
  if (how === "forward") given = { direction: "forward", start: now };
  else if (how === "backward") given = { direction: "backward", end: now };
  else if (how === "frame") given = { direction: "frame", start: now };
  else if (how === "both") given = { direction: "both" };
  else {
    const [start, end] = [state.markIn.peek(), state.markOut.peek()];
    if (start === null && end === null) {
      notify("Mark a range first: I sets where it begins, O where it ends.");
      return;
    }
    given = { direction: "both", start: start ?? 0, end: end ?? frames - 1 };
  }
  const job = await attempt(() => api.startTracking(projectId(), given));
  if (!job) return;
  started(job, "Tracking");
  if (how !== "frame") state.corrections.value = [];
}

/** @param {state.JobState} job @param {string} text */
export function started(job, text) {
  const known = state.jobs.peek()[job.id] ?? job; // its news may have come before this answer
  batch(() => {
    state.jobs.value = { ...state.jobs.value, [job.id]: known };
    state.following.value = state.isActive(known);
    state.playing.value = false;
  });
  announce(text);
}

export async function resumeRun() {
  const job = await attempt(() => api.resumeRun(projectId()));
  if (job) started(job, "Tracking goes on");
}

/** Pauses what tracks, or lets it go on. */
export async function togglePause() {
  const job = state.trackJob.peek();
  if (job) await attempt(() => api.jobAction(job.id, job.state === "paused" ? "resume" : "pause"));
}

export async function cancelTrack() {
  const job = state.trackJob.peek();
  if (!job) return;
  await attempt(() => api.jobAction(job.id, "cancel"));
  announce("Tracking cancelled; what was tracked stays");
}

// --- history

export const undo = () => step("undo");
export const redo = () => step("redo");

/** @param {"undo" | "redo"} which */
function step(which) {
  return inTurn(async () => {
    const answer = await attempt(() => (which === "undo" ? api.undo(projectId()) : api.redo(projectId())));
    if (!answer) return;
    await refreshProject(); // what is said next is about what is there now
    state.candidates.value = null;
    const done = which === "undo" ? "Undone" : "Done again";
    const text = answer.label === null ? `There is nothing to ${which}.` : `${done}: ${answer.label}`;
    notify(text, { seconds: 2.5 });
  });
}
