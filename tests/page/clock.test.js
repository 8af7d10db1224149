import assert from "node:assert/strict";
import { test } from "node:test";
import { Meter, PlayClock, ahead, frameAt, moment, newestReady } from "../../src/masklet/studio/page/clock.js";

const steady = { frame_count: 150, fps: 25, times: null };
const uneven = { frame_count: 4, fps: 25, times: [0, 0.04, 0.5, 0.52] };

const playing = (range = {}, rate = 1, from = 0, timing = steady) => {
  const clock = new PlayClock(timing, { first: 0, last: timing.frame_count - 1, loop: false, ...range });
  clock.set(1000, moment(timing, from), rate);
  return clock;
};

test("six seconds of video take six seconds, whatever could be shown", () => {
  const clock = playing();
  assert.deepEqual([1000, 1039, 1040, 3000, 6999].map((now) => clock.frame(now)), [0, 0, 1, 50, 149]);
  assert.equal(clock.ended(6999), false);
  assert.equal(clock.ended(7000), true);
  assert.equal(clock.frame(99_999), 149);
});

test("speeds are kept, forwards and backwards", () => {
  assert.equal(playing({}, 2).frame(2000), 50);
  assert.equal(playing({}, 0.25).frame(5000), 25);
  const back = playing({}, -1);
  back.set(1000, moment(steady, 101) - 1e-5, -1); // frame 100 is on the screen
  assert.deepEqual([1000, 1039, 1041, 2001].map((now) => back.frame(now)), [100, 100, 99, 75]);
  assert.equal(back.ended(5000), false);
  assert.equal(back.ended(5050), true);
});

test("a marked range goes round and round", () => {
  const clock = playing({ first: 10, last: 19, loop: true }, 1, 10);
  assert.deepEqual([1000, 1399, 1400, 1440, 5040].map((now) => clock.frame(now)), [10, 19, 10, 11, 11]);
  assert.equal(clock.ended(1e6), false);
  assert.deepEqual([clock.after(18, 1), clock.after(18, 2), clock.after(18, 13)], [19, 10, 11]);
  const back = playing({ first: 10, last: 19, loop: true }, -1, 10);
  assert.equal(back.frame(1010), 19);
  assert.equal(back.after(10, 1), 19);
});

test("frames of uneven length stay as long as they should", () => {
  assert.deepEqual([0, 0.039, 0.04, 0.49, 0.5, 0.53, 9].map((at) => frameAt(uneven, at)), [0, 0, 1, 1, 2, 3, 3]);
  assert.equal(moment(uneven, 4), 0.56);
  for (let i = 0; i < 150; i++) assert.equal(frameAt(steady, moment(steady, i)), i);
  const film = { frame_count: 100_000, fps: 24000 / 1001, times: null };
  for (let i = 0; i < 100_000; i += 7) assert.equal(frameAt(film, moment(film, i)), i);
});

test("all frames are asked for where they come quickly, and fewer where they don't", () => {
  const clock = playing();
  assert.deepEqual(ahead(clock, 1000, { each: 20, wait: 60, count: 4 }), { frames: [0, 1, 2, 3], stride: 1 });
  // A frame in 100 ms: every third, from the one that is due when it arrives.
  assert.deepEqual(ahead(clock, 1000, { each: 100, wait: 200, count: 3 }), { frames: [5, 8, 11], stride: 3 });
  assert.deepEqual(ahead(clock, 6900, { each: 20, wait: 60, count: 9 }).frames, [147, 148, 149]);
});

test("the newest frame that is here is shown, and none that is past", () => {
  const clock = playing();
  const here = (...frames) => (index) => frames.includes(index);
  assert.equal(newestReady(clock, 10, 5, here(3, 6, 8, 12)), 8);
  assert.equal(newestReady(clock, 10, 5, here(3, 12)), null);
  assert.equal(newestReady(clock, 10, 10, here(10)), null);
  const round = playing({ first: 0, last: 9, loop: true });
  assert.equal(newestReady(round, 2, 8, here(0, 9)), 0); // the range began again
  const back = playing({}, -1, 20);
  assert.equal(newestReady(back, 10, 15, here(12, 14, 9)), 12);
});

test("frames a second are those of the last second", () => {
  const meter = new Meter();
  for (let now = 0; now < 3000; now += 100) meter.mark(now);
  assert.equal(meter.rate(3000), 10);
});
