/** Lets the network look at the frame in view before somebody clicks, so that the click is answered at once. */
import { encodeFrame } from "./api.js";
import * as state from "./state.js";
import { computed, effect } from "./ui.js";

const PAUSE = 350; // ms that the playhead rests before the network is bothered

export function startWarming() {
  const id = computed(() => state.project.value?.id);
  const model = computed(() => state.project.value?.settings.track.model);
  effect(() => {
    const project = id.value;
    const index = state.frame.value;
    const points = state.tool.value === "point" || state.tool.value === "box";
    const idle = !state.playing.value && !state.trackJob.value && state.online.value;
    if (!project || !model.value || !points || !idle) return undefined;
    const timer = setTimeout(() => {
      // A click encodes the frame itself; failing here is nobody's business.
      encodeFrame(project, index).catch(() => {});
    }, PAUSE);
    return () => clearTimeout(timer);
  });
}
