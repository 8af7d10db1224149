/** Plays in real time: the clock says which frame is due, and frames that aren't here by then are left out. */
import { seek } from "./actions.js";
import { getSound } from "./api.js";
import { zoom } from "./camera.js";
import { Meter, PlayClock, ahead, moment, newestReady, time } from "./clock.js";
import { hasPicture, pace, want, widthFor } from "./frames.js";
import { entryOf, wantMasksAhead } from "./masks.js";
import { Sound } from "./sound.js";
import * as state from "./state.js";
import { batch, effect, signal, untracked } from "./ui.js";

export const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
export const speed = state.remembered("speed", 1);
export const muted = state.remembered("muted", false);
const backward = signal(false);
/** Frames a second that are shown while playing can't keep up; 0: it can. */
export const shownRate = signal(0);

const BEGIN = 300; // ms that playing waits for its first frames
const AHEAD = 16; // frames

/** Plays at a speed in a direction; what plays that way already goes on twice as fast. @param {1 | -1} direction */
export function shuttle(direction) {
  batch(() => {
    const goesOn = state.playing.peek() && backward.peek() === direction < 0;
    speed.value = goesOn ? Math.min(2, speed.peek() * 2) : 1;
    backward.value = direction < 0;
    state.playing.value = true;
  });
}

export function togglePlay() {
  batch(() => {
    backward.value = false;
    state.playing.value = !state.playing.peek();
  });
}

export const stop = () => {
  state.playing.value = false;
};

export function startPlayer() {
  // What plays looks at much that changes while it plays; only `playing` begins and ends it.
  effect(() => (state.playing.value ? untracked(play) : undefined));
}

/** Plays until what it gives is called. */
function play() {
  const media = state.media.peek();
  const project = state.project.peek();
  if (!media || !project || media.frame_count < 2) {
    state.playing.value = false;
    return undefined;
  }
  const ends = { first: state.markIn.peek() ?? 0, last: state.markOut.peek() ?? media.frame_count - 1 };
  const clock = new PlayClock(media, { ...ends, loop: state.loop.peek() });
  const sound = media.has_audio ? new Sound((start, seconds) => getSound(project.id, start, seconds)) : null;
  const meter = new Meter();
  const began = time.now();
  let shown = state.frame.peek();
  let running = false;
  let asked = 0;

  /** From the frame on the screen, or from where the range begins. @param {number} now */
  const begin = (now) => {
    const { first, last } = ends;
    const rate = speed.peek() * (backward.peek() ? -1 : 1);
    if (rate < 0 && (shown <= first || shown > last)) shown = last;
    else if (rate > 0 && (shown < first || shown >= last)) shown = first;
    // Backwards, a frame is on the screen until the time comes to its beginning.
    clock.set(now, moment(media, rate < 0 ? shown + 1 : shown) - (rate < 0 ? 1e-5 : 0), rate);
  };
  begin(began);
  seek(shown, { user: true, quiet: true });

  const tick = () => {
    asked = requestAnimationFrame(tick);
    const now = time.now();
    if (state.frame.peek() !== shown) {
      shown = state.frame.peek(); // somebody moved the playhead
      begin(now);
      seek(shown, { user: true, quiet: true });
    }
    const width = widthFor(zoom.peek() * (devicePixelRatio || 1));
    const bare = !state.objects.peek().length;
    const ready = (/** @type {number} */ index) => hasPicture(index, width) && (bare || Boolean(entryOf(index)?.complete));
    const next = ahead(clock, now, { ...pace(), count: AHEAD });
    want(next.frames, width);
    if (!bare) wantMasksAhead(next.frames, clock.anchor.rate < 0);
    if (!running) {
      const second = next.frames[1] ?? shown;
      if (!(ready(shown) && ready(second)) && now - began < BEGIN) return begin(now);
      running = true;
      begin(now);
    }
    if (!muted.peek()) sound?.tick(clock, now);
    else sound?.stop();
    if (clock.ended(now)) {
      seek(clock.anchor.rate < 0 ? ends.first : ends.last, { user: true, quiet: true });
      state.playing.value = false;
      return;
    }
    const found = newestReady(clock, clock.frame(now), shown, ready);
    if (found !== null) {
      shown = found;
      meter.mark(now);
      seek(shown, { user: true, quiet: true });
    }
    if (now - began > meter.span) {
      const wanted = Math.min(60, media.fps * Math.abs(clock.anchor.rate));
      const rate = meter.rate(now);
      shownRate.value = rate < 0.9 * wanted - 1 ? Math.round(rate) : 0;
    }
  };
  // Another speed goes on from the frame on the screen.
  const unsubscribe = effect(() => {
    speed.value;
    backward.value;
    begin(time.now());
    sound?.stop();
  });
  asked = requestAnimationFrame(tick);
  return () => {
    cancelAnimationFrame(asked);
    unsubscribe();
    sound?.close();
    shownRate.value = 0;
  };
}
