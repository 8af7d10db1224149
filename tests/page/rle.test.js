import assert from "node:assert/strict";
import { test } from "node:test";
import { Mask, encode, pack, unpack } from "../../src/masklet/studio/page/rle.js";

/** Random numbers that are the same in every run. */
function* numbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

function randomMask(seed) {
  const random = numbers(seed);
  const next = () => random.next().value;
  const height = 1 + Math.floor(next() * 24);
  const width = 1 + Math.floor(next() * 24);
  const share = next();
  return { height, width, pixels: Uint8Array.from({ length: height * width }, () => (next() < share ? 1 : 0)) };
}

test("a mask comes back from its run lengths, packed and unpacked", () => {
  for (let seed = 1; seed < 200; seed++) {
    const { height, width, pixels } = randomMask(seed);
    const mask = new Mask(unpack(pack(encode(pixels, height, width))), height, width);
    assert.deepEqual(mask.pixels(), pixels);
    assert.equal(mask.area, pixels.reduce((sum, value) => sum + value, 0));
    const inside = [...pixels.keys()].filter((i) => pixels[i]);
    if (!inside.length) assert.equal(mask.box, null);
    else {
      const xs = inside.map((i) => i % width);
      const ys = inside.map((i) => Math.floor(i / width));
      assert.deepEqual(mask.box, [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1]);
    }
    for (let i = 0; i < pixels.length; i += 7) {
      assert.equal(mask.contains((i % width) + 0.5, Math.floor(i / width) + 0.5), pixels[i] === 1);
    }
  }
});

test("edges are exactly the lines between inside and outside", () => {
  for (let seed = 1; seed < 100; seed++) {
    const { height, width, pixels } = randomMask(seed);
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : pixels[y * width + x]);
    const expected = new Set();
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        if (at(x, y) !== at(x - 1, y)) expected.add(`| ${x} ${y}`);
        if (at(x, y) !== at(x, y - 1)) expected.add(`- ${x} ${y}`);
      }
    }
    const found = new Set();
    const lines = new Mask(encode(pixels, height, width), height, width).edges();
    for (let i = 0; i < lines.length; i += 4) {
      const [x1, y1, x2, y2] = lines.slice(i, i + 4);
      for (let x = x1; x < x2; x++) found.add(`- ${x} ${y1}`);
      for (let y = y1; y < y2; y++) found.add(`| ${x1} ${y}`);
    }
    assert.deepEqual([...found].sort(), [...expected].sort());
  }
});

test("damaged run lengths are refused", () => {
  assert.throws(() => unpack("\u0001"), RangeError);
  assert.throws(() => unpack("P"), RangeError); // ends in the middle of a number
  assert.throws(() => new Mask(Uint32Array.of(3, 2), 2, 2), RangeError);
});
