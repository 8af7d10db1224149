import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, duration, size, timecode } from "../../src/masklet/studio/page/format.js";
import { DOUBTFUL, GOOD, LOST, LaneData, NONE, nextDoubtful } from "../../src/masklet/studio/page/lanes.js";
import { Lru } from "../../src/masklet/studio/page/lru.js";

test("a cache keeps to its limit and throws away what was not used for longest", () => {
  const dropped = [];
  const cache = new Lru(10, (value) => value, (value) => dropped.push(value));
  cache.set("a", 4);
  cache.set("b", 5);
  cache.get("a");
  cache.set("c", 3);
  assert.deepEqual(dropped, [5]);
  assert.equal(cache.used, 7);
  cache.set("c", 1);
  assert.equal(cache.used, 5);
  cache.set("huge", 50); // the newest stays, however large
  assert.deepEqual([...cache.entries.keys()], ["huge"]);
  cache.clear();
  assert.equal(cache.used, 0);
});

/** A lane of frames with a predicted IoU each. */
const laneOf = (ious, extra = {}) => {
  const scores = (value) => ious.map(() => value);
  return LaneData.from(
    { object: 1, spans: [[2, 1 + ious.length]], object_score: scores(9), predicted_iou: ious, motion_score: scores(null), flags: scores(0), ...extra },
    ious.length + 4,
  );
};

test("doubt is measured by what is usual for the object", () => {
  const unsure = laneOf([0.4, 0.42, 0.41, 0.2, 0.43, 0.4]);
  assert.deepEqual([0, 2, 5, 6].map((frame) => unsure.at(frame)), [NONE, GOOD, DOUBTFUL, GOOD]);
  const sure = laneOf([0.95, 0.94, 0.72, 0.6, 0.95, 0.96]);
  assert.deepEqual([4, 5].map((frame) => sure.at(frame)), [GOOD, DOUBTFUL]);
});

test("lost, painted and unlikely frames are told apart", () => {
  const lane = laneOf([0.9, 0.9, 0.9, 0.1, 0.9], {
    flags: [0, 1, 0, 4, 0],
    object_score: [9, -3, 0.2, null, 9],
    motion_score: [null, null, null, null, 0.05],
  });
  assert.deepEqual([2, 3, 4, 5, 6].map((frame) => lane.at(frame)), [GOOD, LOST, DOUBTFUL, GOOD, DOUBTFUL]);
  assert.equal(lane.worst(2, 6), LOST);
  assert.equal(lane.tracked(), 5);
  assert.ok(lane.isPainted(5) && !lane.isPainted(2));
  lane.clear(3);
  assert.equal(lane.at(3), NONE);
  assert.equal(lane.tracked(), 4);
});

test("an object is found again that was lost, and seen before that", () => {
  const lane = laneOf([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], { flags: [1, 0, 1, 1, 0, 0, 1] });
  const back = [...Array(11).keys()].filter((frame) => lane.isFoundAgain(frame));
  assert.deepEqual(back, [6]); // on frame 3 it was seen for the first time
  lane.clear(4);
  assert.ok(!lane.isFoundAgain(6)); // nobody knows what was on frame 4
});

test("the next doubtful stretch is found in both directions, one stop for each", () => {
  const lane = laneOf([0.9, 0.3, 0.3, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9]);
  assert.equal(nextDoubtful([lane], 0, 1), 3);
  assert.equal(nextDoubtful([lane], 3, 1), 7);
  assert.equal(nextDoubtful([lane], 7, 1), 3); // round the end
  assert.equal(nextDoubtful([lane], 7, -1), 3);
  assert.equal(nextDoubtful([laneOf([0.9, 0.9])], 0, 1), -1);
  assert.equal(nextDoubtful([], 0, 1), -1);
});

test("new scores of a frame replace the old ones", () => {
  const lane = new LaneData(50);
  for (let frame = 0; frame < 50; frame++) lane.put(frame, 9, 0.3, null, 0);
  for (let frame = 0; frame < 50; frame++) lane.put(frame, 9, 0.9, null, 0);
  assert.equal(lane.counted, 50);
  assert.ok(Math.abs(lane.bound() - 0.7) < 1e-9);
});

const media = (rate, base) => ({ rate, timecode_base: base, variable_rate: false, times: null });

test("timecode counts frames, with dropped labels at 29.97", () => {
  assert.equal(timecode(0, media("25", 25)), "00:00:00:00");
  assert.equal(timecode(25 * 3661 + 24, media("25", 25)), "01:01:01:24");
  assert.equal(timecode(1799, media("30000/1001", 30)), "00:00:59;29");
  assert.equal(timecode(1800, media("30000/1001", 30)), "00:01:00;02");
  assert.equal(timecode(17982, media("30000/1001", 30)), "00:10:00;00");
  assert.equal(timecode(107892, media("30000/1001", 30)), "01:00:00;00");
  assert.equal(timecode(3600, media("60000/1001", 60)), "00:01:00;04");
  assert.equal(timecode(24, media("24000/1001", 24)), "00:00:01:00");
  assert.equal(timecode(2, { ...media("25", 25), variable_rate: true, times: [0, 0.04, 61.5] }), "00:01:01.500");
});

test("numbers are written for people", () => {
  assert.equal(clock(3725.25), "01:02:05.250");
  assert.equal(duration(200), "3 min 20 s");
  assert.equal(duration(null), "");
  assert.equal(size(155_906_050), "156 MB");
  assert.equal(size(670_976), "671 kB");
});
