/** Plays at the frame rate of the source; frames that aren't here in time are left out. */
import { seek } from "./actions.js";
import { hasPicture, widthFor } from "./frames.js";
import { zoom } from "./camera.js";
import { wantMasksFrom } from "./masks.js";
import * as state from "./state.js";
import { effect } from "./ui.js";

const PATIENCE = 400; // ms that playing waits for a picture before it goes on without

export function startPlayer() {
  effect(() => {
    if (!state.playing.value) return undefined;
    const media = state.media.peek();
    if (!media || media.frame_count < 2) {
      state.playing.value = false;
      return undefined;
    }
    const [first, last] = [state.markIn.peek() ?? 0, state.markOut.peek() ?? media.frame_count - 1];
    let index = state.frame.peek();
    if (index < first || index >= last) index = first;
    /** When the frame on show began, on the clock of the animation. */
    let since = -1;
    let asked = 0;
    let waiting = -1;
    /** @param {number} at  seconds of a frame's beginning */
    const moment = (at) => (media.times ? media.times[at] : at / media.fps);
    seek(index, { user: true, quiet: true });

    /** @param {number} now */
    const tick = (now) => {
      asked = requestAnimationFrame(tick);
      void wantMasksFrom(state.frame.peek());
      if (state.frame.peek() !== index) index = state.frame.peek(); // somebody moved the playhead
      if (since < 0) since = now;
      let next = index;
      let passed = (now - since) / 1000;
      while (next < last && moment(next + 1) - moment(next) <= passed) {
        passed -= moment(next + 1) - moment(next);
        next++;
      }
      const atEnd = next >= last && passed >= 1 / media.fps;
      if (atEnd && !state.loop.peek()) {
        seek(last, { quiet: true });
        state.playing.value = false;
        return;
      }
      if (atEnd) next = first;
      if (next === index) return;
      const width = widthFor(zoom.peek() * (devicePixelRatio || 1));
      if (!hasPicture(next, width)) {
        if (waiting < 0) waiting = now;
        if (now - waiting < PATIENCE) {
          // The newest picture that is here, so that a slow connection still moves.
          while (next > index && !hasPicture(next, width)) next--;
          if (next <= index) return;
        }
      }
      waiting = -1;
      since = atEnd ? now : now - Math.min(passed, 0.1) * 1000;
      index = next;
      seek(index, { user: true, quiet: true });
    };
    asked = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(asked);
  });
}
