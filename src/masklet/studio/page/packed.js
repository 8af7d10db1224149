/** Masks of many frames out of the bytes that the server streams; studio/packed.py tells what they mean. */

/** @typedef {import("./api-types.js").FrameMasksState} FrameMasksState */
/** @typedef {import("./api-types.js").ObjectMaskState} ObjectMaskState */

const FRAME = 8;
const MASK = 22;

/** Takes bytes as they come and gives frames as soon as they are whole. */
export class MaskUnpacker {
  /** @param {[number, number]} size  height and width of the source */
  constructor(size) {
    this.size = size;
    this.rest = new Uint8Array(0);
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {FrameMasksState[]}
   */
  take(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    /** @type {FrameMasksState[]} */
    const frames = [];
    let at = 0;
    for (;;) {
      const found = this.frame(all, at);
      if (!found) break;
      frames.push(found.masks);
      at = found.end;
    }
    this.rest = all.slice(at);
    return frames;
  }

  /** A frame that begins at a byte, and where it ends; null while bytes are missing. @param {Uint8Array} all @param {number} at */
  frame(all, at) {
    const view = new DataView(all.buffer);
    if (at + FRAME > all.length) return null;
    const frame = view.getUint32(at, true);
    const count = view.getUint32(at + 4, true);
    at += FRAME;
    /** @type {ObjectMaskState[]} */
    const objects = [];
    for (let i = 0; i < count; i++) {
      if (at + MASK > all.length) return null;
      const end = at + MASK + view.getUint32(at + 18, true);
      if (end > all.length) return null;
      const flags = view.getUint8(at + 17);
      objects.push({
        object: view.getUint32(at, true),
        object_score: known(view.getFloat32(at + 4, true)),
        predicted_iou: known(view.getFloat32(at + 8, true)),
        motion_score: known(view.getFloat32(at + 12, true)),
        candidate: view.getUint8(at + 16),
        lost: (flags & 1) !== 0,
        prompt: (flags & 2) !== 0,
        painted: (flags & 4) !== 0,
        soft: (flags & 8) !== 0,
        rle: { size: this.size, counts: decoder.decode(all.subarray(at + MASK, end)) },
      });
      at = end;
    }
    return { masks: { frame, objects }, end: at };
  }
}

const decoder = new TextDecoder("latin1");

/** @param {number} score */
const known = (score) => (Number.isNaN(score) ? null : score);
