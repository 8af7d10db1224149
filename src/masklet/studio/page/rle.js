/**
 * Masks as COCO's compressed run lengths: read, written, and turned into what a canvas draws.
 *
 * Runs go down the columns and the first one counts pixels outside the mask.
 */

/**
 * Plain run lengths out of compressed ones.
 * @param {string} text
 * @returns {Uint32Array}
 */
export function unpack(text) {
  const runs = new Uint32Array(text.length);
  let count = 0;
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let shift = 0;
    let group = 0;
    do {
      group = text.charCodeAt(at++) - 48;
      if (!(group >= 0 && group < 64)) throw new RangeError("A mask's run lengths are damaged.");
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) value -= 2 ** shift;
    if (count > 2) value += runs[count - 2];
    if (value < 0) throw new RangeError("A mask's run lengths are damaged.");
    runs[count++] = value;
  }
  return runs.slice(0, count);
}

/**
 * Compressed run lengths out of plain ones.
 * @param {ArrayLike<number>} runs
 * @returns {string}
 */
export function pack(runs) {
  let text = "";
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (;;) {
      const group = ((value % 32) + 32) % 32;
      value = Math.floor(value / 32);
      const more = group & 16 ? value !== -1 : value !== 0;
      text += String.fromCharCode(48 + group + (more ? 32 : 0));
      if (!more) break;
    }
  }
  return text;
}

/**
 * Run lengths of a mask that is given as bytes, row after row; all but 0 is inside.
 * @param {Uint8Array} pixels
 * @param {number} height
 * @param {number} width
 * @returns {Uint32Array}
 */
export function encode(pixels, height, width) {
  /** @type {number[]} */
  const runs = [];
  let inside = false;
  let run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, i = x; y < height; y++, i += width) {
      if (pixels[i] !== 0 === inside) run++;
      else {
        runs.push(run);
        inside = !inside;
        run = 1;
      }
    }
  }
  runs.push(run);
  return Uint32Array.from(runs);
}

/** One mask of the size of the source frame. */
export class Mask {
  /**
   * @param {Uint32Array} runs
   * @param {number} height
   * @param {number} width
   */
  constructor(runs, height, width) {
    this.runs = runs;
    this.height = height;
    this.width = width;
    /** Pixels inside. */
    this.area = 0;
    let total = 0;
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let i = 0; i < runs.length; i++) {
      const length = runs[i];
      if (i & 1 && length) {
        const last = total + length - 1;
        const [x1, x2] = [Math.floor(total / height), Math.floor(last / height)];
        left = Math.min(left, x1);
        right = Math.max(right, x2 + 1);
        top = Math.min(top, x1 === x2 ? total % height : 0);
        bottom = Math.max(bottom, x1 === x2 ? (last % height) + 1 : height);
        this.area += length;
      }
      total += length;
    }
    if (total !== height * width) throw new RangeError("A mask's run lengths don't fill its frame.");
    /** Box around what is inside: x1, y1, x2, y2, the last two exclusive; null where nothing is. */
    this.box = this.area ? /** @type {[number, number, number, number]} */ ([left, top, right, bottom]) : null;
  }

  /**
   * @param {{size: number[], counts: string}} rle
   */
  static parse(rle) {
    return new Mask(unpack(rle.counts), rle.size[0], rle.size[1]);
  }

  /**
   * Calls `visit(x, y1, y2)` for every stretch of a column that is inside, left to right and downwards.
   * @param {(x: number, y1: number, y2: number) => void} visit
   */
  columns(visit) {
    const { runs, height } = this;
    let at = 0;
    for (let i = 0; i < runs.length; i++) {
      const end = at + runs[i];
      if (i & 1) {
        while (at < end) {
          const x = Math.floor(at / height);
          const y = at - x * height;
          const length = Math.min(end - at, height - y);
          visit(x, y, y + length);
          at += length;
        }
      }
      at = end;
    }
  }

  /**
   * The mask as bytes, row after row, 1 inside.
   * @returns {Uint8Array}
   */
  pixels() {
    const { width, height } = this;
    const bytes = new Uint8Array(width * height);
    this.columns((x, y1, y2) => {
      for (let i = y1 * width + x, end = y2 * width + x; i < end; i += width) bytes[i] = 1;
    });
    return bytes;
  }

  /**
   * Whether a pixel is inside.
   * @param {number} x
   * @param {number} y
   */
  contains(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return false;
    const place = Math.floor(x) * this.height + Math.floor(y);
    let at = 0;
    for (let i = 0; i < this.runs.length; i++) {
      at += this.runs[i];
      if (place < at) return (i & 1) === 1;
    }
    return false;
  }

  /**
   * What is inside as pixels of one colour, as large as `box`; null for an empty mask.
   * @param {[number, number, number]} rgb
   */
  image([red, green, blue]) {
    if (!this.box) return null;
    const [left, top, right, bottom] = this.box;
    const width = right - left;
    const image = new ImageData(width, bottom - top);
    const words = new Uint32Array(image.data.buffer);
    // Canvas pixels are red, green, blue, alpha in memory, whatever the byte order of the machine.
    const word = new Uint32Array(Uint8Array.of(red, green, blue, 255).buffer)[0];
    this.columns((x, y1, y2) => {
      for (let i = (y1 - top) * width + x - left, end = (y2 - top) * width + x - left; i < end; i += width) {
        words[i] = word;
      }
    });
    return image;
  }

  /**
   * The edges between pixels inside and outside as line segments x1, y1, x2, y2, in pixels of the frame.
   * @returns {number[]}
   */
  edges() {
    const { width } = this;
    /** @type {number[][]} */
    const spans = [];
    this.columns((x, y1, y2) => (spans[x] ??= []).push(y1, y2));
    /** @type {number[]} */
    const lines = [];
    /** Upper and lower edges that go on in the next column, by row: where they began. @type {Map<number, number>} */
    let open = new Map();
    for (let x = 0; x <= width; x++) {
      const here = (x < width && spans[x]) || [];
      const before = (x > 0 && spans[x - 1]) || [];
      /** @type {Map<number, number>} */
      const next = new Map();
      for (const y of here) next.set(y, open.get(y) ?? x);
      for (const [y, began] of open) if (!next.has(y)) lines.push(began, y, x, y);
      open = next;
      // Between two columns there is an edge wherever exactly one of them is inside.
      const places = [...here, ...before].sort((a, b) => a - b);
      for (let i = 0; i < places.length; i += 2) {
        if (places[i] < places[i + 1]) lines.push(x, places[i], x, places[i + 1]);
      }
    }
    return lines;
  }
}
