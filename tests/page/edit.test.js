import assert from "node:assert/strict";
import { test } from "node:test";
import { gaps, lacks, ranges } from "../../src/masklet/studio/page/coverage.js";
import { LaneData } from "../../src/masklet/studio/page/lanes.js";

/** A lane with these flags from frame 2 on; null: no mask. @param {(number | null)[]} flags */
const laneOf = (flags) => {
  const lane = new LaneData(flags.length + 4);
  flags.forEach((flag, i) => flag !== null && lane.put(i + 2, 5, 0.9, null, flag));
  return lane;
};

test("frames without a mask and frames where nothing can be seen are told apart", () => {
  const lane = laneOf([0, 0, null, 1, 9, 4, 0]);
  assert.deepEqual(gaps(lane, 0, 10), { missing: [[0, 1], [4, 4], [9, 10]], unseen: [[5, 6]] });
  assert.deepEqual(gaps(lane, 2, 3), { missing: [], unseen: [] });
  assert.deepEqual(gaps(undefined, 3, 5), { missing: [[3, 5]], unseen: [] });
});

test("what an export lacks is said for each object", () => {
  const lanes = { 1: laneOf([0, 0, null, 1, 9, 4, 0]), 2: laneOf([0, 0, 0, 0, 0, 0, 0]) };
  const objects = [{ id: 1, name: "rex" }, { id: 2, name: "bello" }, { id: 3, name: "cat.01" }];
  assert.deepEqual(lacks(objects, lanes, 2, 8), [
    "rex has no mask on 1 frame (4) and can't be seen on 2 frames (5–6).",
    "cat.01 has no mask on any of these frames.",
  ]);
  assert.deepEqual(lacks(objects.slice(0, 2), lanes, 2, 3), []);
  assert.equal(ranges([[0, 1], [4, 4], [6, 7], [9, 9], [11, 12], [14, 14]]), "0–1, 4, 6–7, 9 and 2 more stretches");
});
