/** Masks by frame: fetched when a frame is looked at, pushed in while tracking runs, and never too many kept. */
import { getMaskRange, getMasks, wasAborted } from "./api.js";
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
    const box = this.mask.box;
    return this.mask.runs.byteLength + 2000 + (box ? (box[2] - box[0]) * (box[3] - box[1]) * 4 : 0);
  }
}

/**
 * @typedef {object} FrameEntry
 * @property {Map<number, ShownMask>} masks  by object
 * @property {boolean} complete  whether all objects' masks are in it
 */

const KEPT_BYTES = 192 * 2 ** 20;
const BATCH = 24;

/** Rises when masks arrived or went. */
export const masksChanged = signal(0);

/** @type {Lru<number, FrameEntry>} */
const kept = new Lru(KEPT_BYTES, (entry) => {
  let bytes = 500;
  for (const mask of entry.masks.values()) bytes += mask.bytes;
  return bytes;
});
/** Answers that were asked for before the last change are old. */
let generation = 0;
/** @type {Map<number, AbortController>} */
const going = new Map();
/** @type {AbortController | null} */
let batch = null;
let batchEnd = -1;

/** @param {number} index */
export const entryOf = (index) => kept.get(index) ?? null;

/** @param {number} index @param {number} object */
export const maskOf = (index, object) => kept.get(index)?.masks.get(object) ?? null;

/** Sees to it that a frame's masks come. @param {number} index */
export async function wantMasks(index) {
  const now = project.peek();
  if (!now || kept.peek(index)?.complete || going.get(index)?.signal.aborted === false) return;
  for (const [other, controller] of going) if (other !== index) controller.abort();
  const controller = new AbortController();
  const asked = generation;
  going.set(index, controller);
  try {
    const answer = await getMasks(now.id, index, {}, controller.signal);
    if (asked === generation && project.peek()?.id === now.id) putFrame(answer);
  } catch (problem) {
    if (!wasAborted(problem)) console.warn(problem);
  } finally {
    if (going.get(index) === controller) going.delete(index);
    if (asked !== generation) masksChanged.value++; // whoever still looks at this frame asks again
  }
}

/** Fetches the masks of the next frames in one go, while playing. @param {number} index */
export async function wantMasksFrom(index) {
  const now = project.peek();
  if (!now) return;
  const last = Math.min(index + BATCH, now.media.frame_count) - 1;
  let first = index;
  while (first <= last && kept.peek(first)?.complete) first++;
  if (first > last || (batch && first <= batchEnd)) return;
  const controller = new AbortController();
  const asked = generation;
  batch = controller;
  batchEnd = first + BATCH - 1;
  const end = Math.min(batchEnd, now.media.frame_count - 1);
  try {
    const answer = await getMaskRange(now.id, first, end, controller.signal);
    if (asked !== generation || project.peek()?.id !== now.id) return;
    const there = new Map(answer.frames.map((entry) => [entry.frame, entry]));
    for (let i = first; i <= end; i++) putFrame(there.get(i) ?? { frame: i, objects: [] });
  } catch (problem) {
    if (!wasAborted(problem)) console.warn(problem);
  } finally {
    if (batch === controller) batch = null;
  }
}

/** @param {FrameMasksState} answer */
export function putFrame(answer) {
  const masks = new Map(answer.objects.map((state) => [state.object, new ShownMask(state)]));
  kept.set(answer.frame, { masks, complete: true });
  masksChanged.value++;
}

/**
 * Masks of some objects on a frame that are new.
 * @param {number} index
 * @param {ObjectMaskState[]} states
 */
export function putMasks(index, states) {
  const there = kept.peek(index);
  const masks = new Map(there?.masks);
  for (const state of states) masks.set(state.object, new ShownMask(state));
  kept.set(index, { masks, complete: there?.complete ?? false });
  masksChanged.value++;
}

/**
 * What is kept of these frames is old (of all frames: null). It is shown until the new masks are here.
 * @param {number[] | null} frames
 */
export function staleMasks(frames) {
  generation++;
  if (frames === null) {
    for (const entry of kept.entries.values()) entry.complete = false;
  } else {
    for (const index of frames) {
      const entry = kept.peek(index);
      if (entry) entry.complete = false;
    }
  }
  masksChanged.value++;
}

/** @param {number} object */
export function forgetObject(object) {
  for (const entry of kept.entries.values()) entry.masks.delete(object);
  masksChanged.value++;
}

export function forgetMasks() {
  generation++;
  for (const controller of going.values()) controller.abort();
  batch?.abort();
  batch = null;
  kept.clear();
  masksChanged.value++;
}
