/** The clock of playing: which frame belongs on the screen now, whatever the page is able to show. */

/** Where the time comes from, in milliseconds; tests put their own in its place. */
export const time = { now: () => performance.now() };

/** @typedef {{frame_count: number, fps: number, times: number[] | null}} Timing  of the source */

/**
 * When a frame begins, in seconds; the frame after the last one stands for the end.
 * @param {Timing} timing
 * @param {number} index
 */
export function moment({ frame_count, fps, times }, index) {
  if (!times) return index / fps;
  return index < frame_count ? times[index] : times[frame_count - 1] + 1 / fps;
}

/**
 * The frame that is on the screen at a time.
 * @param {Timing} timing
 * @param {number} seconds
 */
export function frameAt(timing, seconds) {
  const { fps, times, frame_count: count } = timing;
  // A hair's breadth of rounding must not show the frame before.
  const late = seconds + 1e-6;
  if (!times) return Math.max(0, Math.min(count - 1, Math.floor(late * fps)));
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= late) low = middle;
    else high = middle - 1;
  }
  return low;
}

export class PlayClock {
  /**
   * @param {Timing} timing
   * @param {{first: number, last: number, loop: boolean}} range  frames, both included
   */
  constructor(timing, range) {
    this.timing = timing;
    this.range = range;
    this.begin = moment(timing, range.first);
    this.end = moment(timing, range.last + 1);
    /** Where it was when it was set last: milliseconds, seconds of the source, seconds per second. */
    this.anchor = { now: 0, seconds: this.begin, rate: 0 };
  }

  /**
   * @param {number} now
   * @param {number} seconds  of the source
   * @param {number} rate  1: as it was filmed; below 0: backwards
   */
  set(now, seconds, rate) {
    this.anchor = { now, seconds, rate };
  }

  /** Seconds of the source, as if the range had no end. @param {number} now */
  run(now) {
    return this.anchor.seconds + ((now - this.anchor.now) / 1000) * this.anchor.rate;
  }

  /** Seconds of the source: at its end, or round and round. @param {number} now */
  at(now) {
    const seconds = this.run(now);
    const length = this.end - this.begin;
    if (!this.range.loop) return Math.max(this.begin, Math.min(this.end - 1e-5, seconds));
    const round = (seconds - this.begin) % length;
    return this.begin + (round < 0 ? round + length : round);
  }

  /** @param {number} now */
  frame(now) {
    return Math.max(this.range.first, Math.min(this.range.last, frameAt(this.timing, this.at(now))));
  }

  /** Whether it came to the end of a range that doesn't begin again. @param {number} now */
  ended(now) {
    const seconds = this.run(now);
    return !this.range.loop && (this.anchor.rate < 0 ? seconds < this.begin : seconds >= this.end);
  }

  /**
   * The frame `steps` after another one in the direction of playing; null past the end.
   * @param {number} index
   * @param {number} steps
   */
  after(index, steps) {
    const { first, last, loop } = this.range;
    const next = index + steps * (this.anchor.rate < 0 ? -1 : 1);
    if (next >= first && next <= last) return next;
    const count = last - first + 1;
    return loop ? first + ((((next - first) % count) + count) % count) : null;
  }
}

/**
 * Frames to fetch: those that will be due, as densely as they come.
 * @param {PlayClock} clock
 * @param {number} now
 * @param {{each: number, wait: number, count: number}} pace  milliseconds that a frame took lately and from asking to
 *   its arrival, and how many frames to look ahead
 */
export function ahead(clock, now, { each, wait, count }) {
  const { timing, anchor } = clock;
  const due = (timing.fps * Math.abs(anchor.rate) * each) / 1000;
  // What comes just in time comes too late now and then: a tenth less is asked for.
  const stride = Math.max(1, Math.ceil(due * 1.1 - 0.5));
  const first = stride > 1 ? clock.frame(now + wait) : clock.frame(now);
  /** @type {number[]} */
  const frames = [];
  for (let i = 0; i < count; i++) {
    const next = clock.after(first, i * stride);
    if (next === null || (i > 0 && next === first)) break;
    frames.push(next);
  }
  return { frames, stride };
}

/**
 * The newest frame on the way to the one that is due whose picture and masks are here; null: none is.
 * @param {PlayClock} clock
 * @param {number} due
 * @param {number} shown
 * @param {(index: number) => boolean} ready
 */
export function newestReady(clock, due, shown, ready) {
  const back = clock.anchor.rate < 0 ? 1 : -1;
  const edge = back < 0 ? clock.range.first : clock.range.last;
  for (let index = due; index !== shown; index += back) {
    if (ready(index)) return index;
    if (index === edge) return null;
  }
  return null;
}

/** How many frames a second were shown lately. */
export class Meter {
  constructor(span = 1000) {
    this.span = span;
    /** @type {number[]} */
    this.marks = [];
  }

  /** @param {number} now */
  mark(now) {
    this.marks.push(now);
  }

  /** @param {number} now */
  rate(now) {
    while (this.marks.length && now - this.marks[0] > this.span) this.marks.shift();
    return (this.marks.length * 1000) / this.span;
  }
}
