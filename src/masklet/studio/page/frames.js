/** Pictures of frames: fetched when they are needed, a few ahead while playing, and never more than a limit kept. */
import { frameAddress, getFramePreview, getPicture, wasAborted } from "./api.js";
import { Lru } from "./lru.js";
import { frame, inStep, playing, project } from "./state.js";
import { effect, signal } from "./ui.js";

const KEPT_BYTES = 320 * 2 ** 20;
/** Few while somebody looks around: what was asked for before the latest frame must not hold it up for long. */
const AT_ONCE = 2;
const AT_ONCE_PLAYING = 4;
/** Frames further away than this may take a while, and are shown as their nearest key frame first. */
const NEAR = 12;
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
 * Asks for frames, most urgent first, in place of those that were asked for before and have not begun to come.
 * @param {number[]} indices
 * @param {number | undefined} width
 */
export function want(indices, width) {
  wanted = indices.filter((index) => !hasPicture(index, width)).map((index) => ({ index, width }));
  pump();
}

function pump() {
  const most = playing.peek() ? AT_ONCE_PLAYING : AT_ONCE;
  // A server that was started anew doesn't know the project by this id.
  while (inStep.peek() && going.size < most) {
    wanted = wanted.filter(({ index, width }) => !hasPicture(index, width) && !going.has(keyOf(index, width)));
    const next = wanted.shift();
    if (!next) return;
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
  const asked = performance.now();
  try {
    const picture = await getPicture(frameAddress(now.id, index, now.media.fingerprint, width), controller.signal);
    kept.set(key, picture);
    arrived(asked);
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

/** How frames came lately, in milliseconds: one after the other, and each from asking to its arrival. */
const lately = { each: 20, wait: 60, last: 0 };
export const pace = () => lately;

/** @param {number} asked */
function arrived(asked) {
  const now = performance.now();
  lately.each += 0.15 * (Math.min(500, now - Math.max(lately.last, asked)) - lately.each);
  lately.wait += 0.15 * (Math.min(1000, now - asked) - lately.wait);
  lately.last = now;
}

/** What is shown of a distant frame until it is here: another frame, near it. */
export const preview = signal(/** @type {{index: number, near: number, picture: ImageBitmap} | null} */ (null));
let previewing = false;

/** The frame itself is here. */
export function endPreview() {
  preview.peek()?.picture.close();
  preview.value = null;
}

/**
 * Sees to it that something is shown of the frame in view if that may take a while: one request at a time, then the
 * newest.
 * @param {number} shown  the frame whose picture is on the screen
 * @param {number | undefined} width
 */
export async function wantPreview(shown, width) {
  if (previewing) return;
  previewing = true;
  try {
    for (;;) {
      const now = project.peek();
      const index = frame.peek();
      const far = Math.abs(index - shown) > NEAR && preview.peek()?.index !== index && !pictureOf(index, width);
      if (!now || now.media.kind !== "video" || playing.peek() || !far) return;
      const { near, picture } = await getFramePreview(now.id, index, width);
      if (project.peek()?.id !== now.id || pictureOf(index, width)) return picture.close();
      if (near === index) {
        kept.set(keyOf(index, width), picture);
        framesArrived.value++;
      } else {
        endPreview();
        preview.value = { index, near, picture };
      }
    }
  } catch {
    // The frame itself is asked for too, and says what is wrong.
  } finally {
    previewing = false;
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
  endPreview();
}

/** Bytes of pictures that are kept, and the most there may be. */
export const pictureBytes = () => ({ used: kept.used, limit: kept.limit });
