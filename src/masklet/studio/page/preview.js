/** Mask settings that are being tried: masks made with them for the frame in view, and nothing kept. */
import { previewMasks, wasAborted } from "./api.js";
import { ShownMask } from "./masks.js";
import * as state from "./state.js";
import { effect, signal } from "./ui.js";

/** Settings that a slider stands at while it is moved; `object` null: those of the project. */
export const trial = signal(/** @type {{object: number | null, settings: Record<string, any>} | null} */ (null));
/** Masks with these settings. */
export const previewed = signal(/** @type {{frame: number, masks: Map<number, ShownMask>} | null} */ (null));
/** The same settings for views with soft edges, once the hard masks are there. */
export const previewAlphaSettings = signal(/** @type {{object: number, settings: Record<string, any>} | null} */ (null));

/** @type {AbortController | null} */
let going = null;
let again = false;

effect(() => {
  const now = trial.value;
  state.frame.value;
  if (!now) {
    going?.abort();
    previewed.value = null;
    previewAlphaSettings.value = null;
    return;
  }
  void ask();
});

/** One request at a time, and the newest settings after it: a slider moves faster than masks are made. */
async function ask() {
  if (going) {
    again = true;
    return;
  }
  const project = state.project.peek();
  if (!project) return;
  do {
    again = false;
    const now = trial.peek();
    if (!now) break;
    const index = state.frame.peek();
    going = new AbortController();
    try {
      const objects = now.object === null ? null : [now.object];
      const answer = await previewMasks(project.id, index, { settings: now.settings, objects }, going.signal);
      if (!trial.peek()) break;
      previewed.value = {
        frame: index,
        masks: new Map(answer.objects.map((mask) => [mask.object, new ShownMask(mask)])),
      };
      previewAlphaSettings.value = now.object === null ? null : { object: now.object, settings: now.settings };
    } catch (problem) {
      if (!wasAborted(problem)) console.warn(problem);
      break;
    } finally {
      going = null;
    }
  } while (again);
}

/** The trial is over; masks that were made with it stay until the kept ones are here. */
export function endTrial() {
  trial.value = null;
}
