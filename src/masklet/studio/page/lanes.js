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

/** Below this predicted IoU a mask is worth a look; training on tracked footage uses the same bound. */
export const DOUBT_IOU = 0.7;
/** An object score (a logit) this close to zero means that the model is not sure the object is there. */
export const DOUBT_SCORE = 1;
/** A mask that overlaps less than this with where motion expected it may have jumped to something else. */
export const DOUBT_MOTION = 0.25;

export class LaneData {
  /** @param {number} frames */
  constructor(frames) {
    this.state = new Uint8Array(frames);
    this.flags = new Uint8Array(frames);
    this.objectScore = new Float32Array(frames).fill(NaN);
    this.predictedIou = new Float32Array(frames).fill(NaN);
    this.motionScore = new Float32Array(frames).fill(NaN);
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
    if (frame < 0 || frame >= this.state.length) return;
    this.objectScore[frame] = objectScore ?? NaN;
    this.predictedIou[frame] = predictedIou ?? NaN;
    this.motionScore[frame] = motionScore ?? NaN;
    this.flags[frame] = flags;
    this.state[frame] = judge(objectScore, predictedIou, motionScore, flags);
  }

  /** @param {number} frame */
  clear(frame) {
    this.put(frame, null, null, null, 0);
    this.state[frame] = NONE;
  }

  /**
   * The worst state of some frames: what a pixel of the timeline shows that stands for all of them.
   * @param {number} first
   * @param {number} last  included
   */
  worst(first, last) {
    let worst = NONE;
    for (let frame = Math.max(first, 0); frame <= last && frame < this.state.length; frame++) {
      if (this.state[frame] > worst) worst = this.state[frame];
      if (worst === LOST) break;
    }
    return worst;
  }

  /** How many frames have a mask. */
  tracked() {
    let count = 0;
    for (const state of this.state) if (state !== NONE) count++;
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
 * @param {number | null} objectScore
 * @param {number | null} predictedIou
 * @param {number | null} motionScore
 * @param {number} flags
 */
function judge(objectScore, predictedIou, motionScore, flags) {
  if (flags & (FLAG_PAINTED | FLAG_PROMPT)) return GOOD;
  if (flags & FLAG_LOST) return LOST;
  const doubtful =
    (objectScore !== null && objectScore < DOUBT_SCORE) ||
    (predictedIou !== null && predictedIou < DOUBT_IOU) ||
    (motionScore !== null && motionScore < DOUBT_MOTION);
  return doubtful ? DOUBTFUL : GOOD;
}

/**
 * The next frame at which a stretch worth looking at begins, in some direction, going round at the end; -1: none.
 * @param {LaneData[]} lanes
 * @param {number} from
 * @param {1 | -1} step
 */
export function nextDoubtful(lanes, from, step) {
  const frames = lanes[0]?.state.length ?? 0;
  const bad = (/** @type {number} */ frame) => lanes.some((lane) => lane.state[frame] >= DOUBTFUL);
  for (let i = 1; i <= frames; i++) {
    const frame = (((from + step * i) % frames) + frames) % frames;
    // One stop for a whole stretch: its first frame.
    if (bad(frame) && (frame === 0 || !bad(frame - 1))) return frame;
  }
  return -1;
}
