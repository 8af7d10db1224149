/** What an export would lack: frames on which objects have no mask, or can't be seen. */
import { plural } from "./format.js";
import { NONE } from "./lanes.js";

const LOST = 1;
const EMPTY = 8;

/** @typedef {[number, number]} Stretch  first and last frame */

/**
 * @param {import("./lanes.js").LaneData | undefined} lane
 * @param {number} first
 * @param {number} last
 * @returns {{missing: Stretch[], unseen: Stretch[]}}  without a mask; with one that says that it can't be seen
 */
export function gaps(lane, first, last) {
  /** @type {{missing: Stretch[], unseen: Stretch[]}} */
  const found = { missing: [], unseen: [] };
  for (let frame = first; frame <= last; frame++) {
    const there = lane?.there[frame] ?? NONE;
    if (there && !((lane?.flags[frame] ?? 0) & (LOST | EMPTY))) continue;
    const list = there ? found.unseen : found.missing;
    const open = list.at(-1);
    if (open && open[1] === frame - 1) open[1] = frame;
    else list.push([frame, frame]);
  }
  return found;
}

/** @param {Stretch[]} stretches */
const count = (stretches) => stretches.reduce((sum, [first, last]) => sum + last - first + 1, 0);

/** "0–9, 90–99 and 3 more stretches". @param {Stretch[]} stretches */
export function ranges(stretches) {
  const parts = stretches.slice(0, 4).map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  return parts.join(", ") + (stretches.length > 4 ? ` and ${plural(stretches.length - 4, "more stretch", "more stretches")}` : "");
}

/**
 * A sentence for every object that lacks something.
 * @param {{id: number, name: string}[]} objects
 * @param {Record<number, import("./lanes.js").LaneData>} lanes
 * @param {number} first
 * @param {number} last
 */
export function lacks(objects, lanes, first, last) {
  return objects.flatMap(({ id, name }) => {
    const { missing, unseen } = gaps(lanes[id], first, last);
    const none = count(missing);
    if (none === last - first + 1) return [`${name} has no mask on any of these frames.`];
    const parts = [
      none ? `has no mask on ${plural(none, "frame")} (${ranges(missing)})` : "",
      count(unseen) ? `can't be seen on ${plural(count(unseen), "frame")} (${ranges(unseen)})` : "",
    ].filter(Boolean);
    return parts.length ? [`${name} ${parts.join(" and ")}.`] : [];
  });
}
