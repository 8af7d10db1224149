/** What the timeline knows of one object: a few bytes for every frame, however long the video is. */

/** @typedef {import("./api-types.js").Lane} Lane */
/** @typedef {import("./api-types.js").ObjectMaskState} ObjectMaskState */

/** What a frame is, for one object. */
export const NONE = 0;
export const GOOD = 1;
export const DOUBTFUL = 2;
export const LOST = 3;

const FLAG_LOST = 1;
const FLAG_PROMPT = 2;
const FLAG_PAINTED = 4;

/**
 * A predicted IoU this far below what is usual for the object is worth a look. Models differ in how sure of themselves
 * they are, so the middle of an object's own frames is the measure, up to a bound that is fine for any model.
 */
export const DOUBT_SHARE = 0.8;
export const DOUBT_IOU = 0.7;
/** An object score (a logit) this close to zero means that the model is not sure the object is there. */
export const DOUBT_SCORE = 1;
/** A mask that overlaps less than this with where motion expected it may have jumped to something else. */
export const DOUBT_MOTION = 0.25;

const BINS = 64;

export class LaneData {
  /** @param {number} frames */
  constructor(frames) {
    this.length = frames;
    this.there = new Uint8Array(frames);
    this.flags = new Uint8Array(frames);
    this.objectScore = new Float32Array(frames).fill(NaN);
    this.predictedIou = new Float32Array(frames).fill(NaN);
    this.motionScore = new Float32Array(frames).fill(NaN);
    /** How often which predicted IoU came, so that the middle one is known without sorting. */
    this.histogram = new Uint32Array(BINS);
    this.counted = 0;
  }

  /**
   * @param {Lane} lane
   * @param {number} frames
   */
  static from(lane, frames) {
    const data = new LaneData(frames);
    let at = 0;
    for (const [first, last] of lane.spans) {
      for (let frame = first; frame <= last; frame++, at++) {
        data.put(frame, lane.object_score[at], lane.predicted_iou[at], lane.motion_score[at], lane.flags[at]);
      }
    }
    return data;
  }

  /**
   * @param {number} frame
   * @param {ObjectMaskState} mask
   */
  putMask(frame, mask) {
    const flags =
      (mask.lost ? FLAG_LOST : 0) | (mask.prompt ? FLAG_PROMPT : 0) | (mask.painted ? FLAG_PAINTED : 0);
    this.put(frame, mask.object_score ?? null, mask.predicted_iou ?? null, mask.motion_score ?? null, flags);
  }

  /**
   * @param {number} frame
   * @param {number | null} objectScore
   * @param {number | null} predictedIou
   * @param {number | null} motionScore
   * @param {number} flags
   */
  put(frame, objectScore, predictedIou, motionScore, flags) {
    if (frame < 0 || frame >= this.length) return;
    this.count(frame, -1);
    this.objectScore[frame] = objectScore ?? NaN;
    this.predictedIou[frame] = predictedIou ?? NaN;
    this.motionScore[frame] = motionScore ?? NaN;
    this.flags[frame] = flags;
    this.there[frame] = 1;
    this.count(frame, 1);
  }

  /** @param {number} frame */
  clear(frame) {
    this.put(frame, null, null, null, 0);
    this.there[frame] = 0;
  }

  /** @param {number} frame @param {1 | -1} step */
  count(frame, step) {
    const value = this.predictedIou[frame];
    if (!this.there[frame] || Number.isNaN(value) || this.flags[frame] & (FLAG_PROMPT | FLAG_PAINTED | FLAG_LOST)) return;
    this.histogram[Math.max(0, Math.min(BINS - 1, Math.floor(value * BINS)))] += step;
    this.counted += step;
  }

  /** The predicted IoU below which a frame is doubtful. */
  bound() {
    let below = 0;
    for (let bin = 0; bin < BINS; bin++) {
      below += this.histogram[bin];
      if (2 * below >= this.counted) return this.counted ? Math.min(DOUBT_IOU, (DOUBT_SHARE * (bin + 0.5)) / BINS) : 0;
    }
    return 0;
  }

  /**
   * What a frame is.
   * @param {number} frame
   * @param {number} [bound]
   */
  at(frame, bound = this.bound()) {
    if (!this.there[frame]) return NONE;
    const flags = this.flags[frame];
    if (flags & (FLAG_PAINTED | FLAG_PROMPT)) return GOOD;
    if (flags & FLAG_LOST) return LOST;
    // Comparisons with a number that isn't there (NaN) are false.
    const doubtful =
      this.objectScore[frame] < DOUBT_SCORE || this.predictedIou[frame] < bound || this.motionScore[frame] < DOUBT_MOTION;
    return doubtful ? DOUBTFUL : GOOD;
  }

  /**
   * The worst state of some frames: what a pixel of the timeline shows that stands for all of them.
   * @param {number} first
   * @param {number} last  included
   * @param {number} [bound]
   */
  worst(first, last, bound = this.bound()) {
    let worst = NONE;
    for (let frame = Math.max(first, 0); frame <= last && frame < this.length; frame++) {
      worst = Math.max(worst, this.at(frame, bound));
      if (worst === LOST) break;
    }
    return worst;
  }

  /** @param {number} frame  Whether the object is back here, after it was lost and seen before that. */
  isFoundAgain(frame) {
    const bound = this.bound();
    if (this.at(frame, bound) === LOST || !this.there[frame]) return false;
    let before = frame - 1;
    while (before >= 0 && this.at(before, bound) === LOST) before--;
    return before < frame - 1 && before >= 0 && this.there[before] === 1;
  }

  /** How many frames have a mask. */
  tracked() {
    let count = 0;
    for (const there of this.there) count += there;
    return count;
  }

  /** @param {number} frame */
  isPrompt(frame) {
    return (this.flags[frame] & (FLAG_PROMPT | FLAG_PAINTED)) !== 0;
  }

  /** @param {number} frame */
  isPainted(frame) {
    return (this.flags[frame] & FLAG_PAINTED) !== 0;
  }
}

/**
 * The next frame at which a stretch worth looking at begins, in some direction, going round at the end; -1: none.
 * @param {LaneData[]} lanes
 * @param {number} from
 * @param {1 | -1} step
 */
export function nextDoubtful(lanes, from, step) {
  const frames = lanes[0]?.length ?? 0;
  const bounds = lanes.map((lane) => lane.bound());
  const bad = (/** @type {number} */ frame) => lanes.some((lane, i) => lane.at(frame, bounds[i]) >= DOUBTFUL);
  for (let i = 1; i <= frames; i++) {
    const frame = (((from + step * i) % frames) + frames) % frames;
    // One stop for a whole stretch: its first frame.
    if (bad(frame) && (frame === 0 || !bad(frame - 1))) return frame;
  }
  return -1;
}
