/** Masks by frame: fetched when a frame is looked at, pushed in while tracking runs, and never too many kept. */
import { getMasks, streamMasks, wasAborted } from "./api.js";
import { Lru } from "./lru.js";
import { Mask } from "./rle.js";
import { project } from "./state.js";
import { signal } from "./ui.js";

/** @typedef {import("./api-types.js").ObjectMaskState} ObjectMaskState */
/** @typedef {import("./api-types.js").FrameMasksState} FrameMasksState */

/** A mask as it is drawn, with what is known of it. */
export class ShownMask {
  /** @param {ObjectMaskState} state */
  constructor(state) {
    this.state = state;
    this.mask = Mask.parse(state.rle);
    /** @type {{color: string, canvas: HTMLCanvasElement | null} | null} */
    this.painted = null;
    /** @type {Path2D | null} */
    this.path = null;
  }

  get bytes() {
    return this.mask.runs.byteLength + this.state.rle.counts.length + 2000;
  }
}

/** Masks that are ready to be drawn; what was drawn before many others is made anew when it is seen again. */
const drawn = new Lru(
  64 * 2 ** 20,
  (/** @type {ShownMask} */ { mask: { box } }) => (box ? (box[2] - box[0]) * (box[3] - box[1]) * 4 : 0),
  (mask) => (mask.painted = mask.path = null),
);

/** @param {ShownMask} mask  that is about to be drawn */
export const keepDrawn = (mask) => drawn.has(mask) || drawn.set(mask, mask);

/**
 * @typedef {object} FrameEntry
 * @property {Map<number, ShownMask>} masks  by object
 * @property {boolean} complete  whether all objects' masks are in it
 */

const KEPT_BYTES = 192 * 2 ** 20;
const BATCH = 64; // frames
const RETRY = 1000; // ms

/** Rises when masks arrived or went. */
export const masksChanged = signal(0);

/** @type {Lru<number, FrameEntry>} */
const kept = new Lru(KEPT_BYTES, (entry) => {
  let bytes = 500;
  for (const mask of entry.masks.values()) bytes += mask.bytes;
  return bytes;
});
/** Changes so far, and after which of them each frame's masks, and all frames', became old. */
let changes = 0;
let allOld = 0;
/** @type {Map<number, number>} */
const old = new Map();
/** @type {Map<number, AbortController>} */
const going = new Map();
/** The masks that are on their way for playing. @type {{start: number, end: number, controller: AbortController} | null} */
let stream = null;
let refusedUntil = 0;

/** @param {number} index */
export const entryOf = (index) => kept.get(index) ?? null;

/** @param {number} index @param {number} object */
export const maskOf = (index, object) => kept.get(index)?.masks.get(object) ?? null;

/** Whether an answer about a frame is older than what is known. @param {number} index @param {number} asked */
const isOld = (index, asked) => Math.max(allOld, old.get(index) ?? 0) > asked;

/** Sees to it that a frame's masks come. @param {number} index */
export async function wantMasks(index) {
  const now = project.peek();
  if (!now || kept.peek(index)?.complete || going.get(index)?.signal.aborted === false) return;
  for (const [other, controller] of going) if (other !== index) controller.abort();
  const controller = new AbortController();
  going.set(index, controller);
  await fetchMasks(index, controller.signal, () => going.get(index) === controller && going.delete(index));
}

/**
 * Fetches a frame's masks, whatever else is asked for.
 * @param {number} index
 * @param {AbortSignal} signal
 * @param {() => void} [ended]  before anybody is told that the answer came too late
 */
export async function fetchMasks(index, signal, ended = () => {}) {
  const id = project.peek()?.id;
  if (!id) return;
  const asked = changes;
  try {
    const answer = await getMasks(id, index, {}, signal);
    if (project.peek()?.id === id) putFrame(answer, asked);
  } catch (problem) {
    if (!wasAborted(problem)) console.warn(problem);
  }
  ended();
  if (isOld(index, asked)) masksChanged.value++; // whoever still looks at this frame asks again
}

/**
 * Sees to it that masks of coming frames are here in time.
 * @param {number[]} frames  in the order in which they will be shown
 * @param {boolean} backward
 */
export function wantMasksAhead(frames, backward) {
  const first = frames.find((index) => !kept.peek(index)?.complete);
  const now = project.peek();
  if (!now || first === undefined || performance.now() < refusedUntil) return;
  if (stream && first >= stream.start && first <= stream.end) return;
  stream?.controller.abort();
  const last = backward ? Math.max(0, first - BATCH + 1) : Math.min(now.media.frame_count, first + BATCH) - 1;
  const mine = { start: Math.min(first, last), end: Math.max(first, last), controller: new AbortController() };
  const asked = changes;
  stream = mine;
  const { width, height } = now.media;
  const wanted = { start: first, count: mine.end - mine.start + 1, backward };
  streamMasks(now.id, wanted, [height, width], (frame) => stream === mine && putFrame(frame, asked), mine.controller.signal)
    .catch((problem) => {
      if (wasAborted(problem)) return;
      console.warn(problem);
      refusedUntil = performance.now() + RETRY;
    })
    .finally(() => {
      if (stream === mine) stream = null;
    });
}

/** @param {FrameMasksState} answer @param {number} asked  changes when it was asked for */
function putFrame(answer, asked) {
  if (isOld(answer.frame, asked)) return;
  kept.set(answer.frame, { masks: shownMasks(answer.frame, answer.objects), complete: true });
  masksChanged.value++;
}

/**
 * Masks of some objects on a frame that are new.
 * @param {number} index
 * @param {ObjectMaskState[]} states
 */
export function putMasks(index, states) {
  old.set(index, ++changes);
  const there = kept.peek(index);
  const masks = new Map([...(there?.masks ?? []), ...shownMasks(index, states)]);
  kept.set(index, { masks, complete: there?.complete ?? false });
  masksChanged.value++;
}

/** What is drawn already stays so where the mask is the same. @param {number} index @param {ObjectMaskState[]} states */
function shownMasks(index, states) {
  const there = kept.peek(index)?.masks;
  return new Map(
    states.map((state) => {
      const before = there?.get(state.object);
      if (before?.state.rle.counts !== state.rle.counts) return [state.object, new ShownMask(state)];
      before.state = state;
      return [state.object, before];
    }),
  );
}

/** An object has no mask on a frame any more. @param {number} index @param {number} object */
export function dropMask(index, object) {
  old.set(index, ++changes);
  if (kept.peek(index)?.masks.delete(object)) masksChanged.value++;
}

/**
 * What is kept of these frames is old (of all frames: null). It is shown until the new masks are here.
 * @param {number[] | null} frames
 */
export function staleMasks(frames) {
  changes++;
  if (frames === null) allOld = changes;
  for (const index of frames ?? kept.entries.keys()) {
    if (frames) old.set(index, changes);
    const entry = kept.peek(index);
    if (entry) entry.complete = false;
  }
  masksChanged.value++;
}

/** @param {number} object */
export function forgetObject(object) {
  for (const entry of kept.entries.values()) entry.masks.delete(object);
  masksChanged.value++;
}

export function forgetMasks() {
  allOld = ++changes;
  old.clear();
  for (const controller of going.values()) controller.abort();
  stream?.controller.abort();
  stream = null;
  kept.clear();
  drawn.clear();
  masksChanged.value++;
}
