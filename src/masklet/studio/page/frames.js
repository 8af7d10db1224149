/** Pictures of frames: fetched when they are needed, a few ahead while playing, and never more than a limit kept. */
import { frameAddress, getPicture, wasAborted } from "./api.js";
import { Lru } from "./lru.js";
import { frame, inStep, project } from "./state.js";
import { effect, signal } from "./ui.js";

const KEPT_BYTES = 320 * 2 ** 20;
const AT_ONCE = 4;
const RETRY = 2000; // ms
/** A picture is shown at most this wide until somebody zooms in: a 4K frame costs four times as much. */
const PROXY_WIDTH = 1920;

/** Rises when a picture arrived. */
export const framesArrived = signal(0);
/** The sentence about the last frame that could not be had. */
export const frameProblem = signal("");

/** @type {Lru<string, ImageBitmap>} */
const kept = new Lru(KEPT_BYTES, (picture) => picture.width * picture.height * 4, (picture) => picture.close());
/** @type {Map<string, AbortController>} */
const going = new Map();
/** What is wanted, most urgent first. @type {{index: number, width: number | undefined}[]} */
let wanted = [];

/** @param {number} index @param {number | undefined} width */
const keyOf = (index, width) => `${project.peek()?.id}/${index}@${width ?? "full"}`;

/**
 * The width to ask for: that of the source, or less where the source is very large and seen as a whole.
 * @param {number} scale  device pixels for a pixel of the source
 */
export function widthFor(scale) {
  const source = project.peek()?.media.width ?? 0;
  return source > PROXY_WIDTH && source * scale <= PROXY_WIDTH ? PROXY_WIDTH : undefined;
}

/**
 * The picture of a frame if it is here, in the width asked for or any other.
 * @param {number} index
 * @param {number | undefined} width
 */
export function pictureOf(index, width) {
  return (
    kept.get(keyOf(index, width)) ?? kept.get(keyOf(index, undefined)) ?? kept.get(keyOf(index, PROXY_WIDTH)) ?? null
  );
}

/**
 * Asks for frames, most urgent first; what was asked for before and isn't in the list is given up.
 * @param {number[]} indices
 * @param {number | undefined} width
 */
export function want(indices, width) {
  wanted = indices.filter((index) => !kept.has(keyOf(index, width))).map((index) => ({ index, width }));
  const keys = new Set(indices.map((index) => keyOf(index, width)));
  for (const [key, controller] of going) if (!keys.has(key)) controller.abort();
  pump();
}

function pump() {
  // A server that was started anew doesn't know the project by this id.
  while (inStep.peek() && going.size < AT_ONCE) {
    const next = wanted.find(({ index, width }) => !going.has(keyOf(index, width)));
    if (!next) return;
    wanted.splice(wanted.indexOf(next), 1);
    void fetchOne(next.index, next.width);
  }
}

effect(() => {
  if (inStep.value) pump();
});

/** @param {number} index @param {number | undefined} width */
async function fetchOne(index, width) {
  const now = project.peek();
  if (!now) return;
  const key = keyOf(index, width);
  const controller = new AbortController();
  going.set(key, controller);
  try {
    const picture = await getPicture(frameAddress(now.id, index, now.media.fingerprint, width), controller.signal);
    kept.set(key, picture);
    framesArrived.value++;
    frameProblem.value = "";
  } catch (problem) {
    if (!wasAborted(problem)) {
      frameProblem.value = problem instanceof Error ? problem.message : String(problem);
      again(index, width);
    }
  } finally {
    going.delete(key);
    pump();
  }
}

/** Asks once more for a frame that could not be had, if it still is the one to look at. @param {number} index @param {number | undefined} width */
function again(index, width) {
  setTimeout(() => {
    if (frame.peek() !== index || going.has(keyOf(index, width))) return;
    wanted.unshift({ index, width });
    pump();
  }, RETRY);
}

/** Whether a frame's picture is here. @param {number} index @param {number | undefined} width */
export const hasPicture = (index, width) => kept.has(keyOf(index, width));

export function forgetPictures() {
  for (const controller of going.values()) controller.abort();
  wanted = [];
  kept.clear();
}

/** Bytes of pictures that are kept, and the most there may be. */
export const pictureBytes = () => ({ used: kept.used, limit: kept.limit });
