import assert from "node:assert/strict";
import { test } from "node:test";
import { PlayClock } from "../../src/masklet/studio/page/clock.js";
import { Sound } from "../../src/masklet/studio/page/sound.js";

/** An audio context whose time stands until it is set, and that notes what is to be heard when. */
class Loudspeaker {
  currentTime = 5;
  outputLatency = 0;
  destination = {};
  laid = [];
  async resume() {}
  async close() {}
  async decodeAudioData(bytes) {
    return { duration: bytes.seconds };
  }
  createBufferSource() {
    const node = {
      playbackRate: { value: 1 },
      connect() {},
      start: (when, offset) => this.laid.push({ part: node.buffer.duration, when, offset, rate: node.playbackRate.value, node }),
      stop: () => (node.stopped = true),
    };
    return node;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

function playing({ rate = 1, range = {}, frames = 1000 } = {}) {
  const speaker = new Loudspeaker();
  const asked = [];
  const sound = new Sound(
    async (start, seconds) => {
      asked.push([start, seconds]);
      return { byteLength: 1000, seconds };
    },
    () => speaker,
  );
  const clock = new PlayClock({ frame_count: frames, fps: 25, times: null }, { first: 0, last: frames - 1, loop: false, ...range });
  clock.set(0, clock.begin, rate);
  /** Both clocks go on by some milliseconds. */
  const later = async (now, drift = 0) => {
    speaker.currentTime = 5 + now / 1000 + drift;
    sound.tick(clock, now);
    await settle();
  };
  return { speaker, asked, sound, clock, later };
}

test("parts follow each other without a gap, on time", async () => {
  const { speaker, asked, later } = playing();
  await later(0);
  for (const now of [1000, 2500, 6000, 9000]) await later(now);
  assert.deepEqual(asked, [[0, 5], [5, 5], [10, 5]]);
  assert.deepEqual(speaker.laid.map(({ when, offset }) => [when, offset]), [[5, 0], [10, 0], [15, 0]]);
});

test("at another speed the sound has it too", async () => {
  const { speaker, later } = playing({ rate: 2 });
  await later(0);
  await later(1);
  assert.deepEqual(speaker.laid.map(({ when, rate }) => [when, rate]), [[5, 2], [7.5, 2]]);
});

test("what comes late begins where the picture is", async () => {
  const { speaker, sound, clock } = playing();
  sound.tick(clock, 0);
  speaker.currentTime = 5.25; // the server took a quarter of a second
  await settle();
  assert.deepEqual(speaker.laid.map(({ when, offset }) => [when, offset]), [[5.25, 0.25]]);
});

test("sound that parts from the picture begins anew", async () => {
  const { speaker, asked, later } = playing();
  await later(0);
  await later(1000, 0.02);
  assert.equal(speaker.laid.length, 1);
  await later(2000, 0.2);
  assert.ok(speaker.laid[0].node.stopped);
  assert.deepEqual(asked.at(-1), [2, 5]);
});

test("a range that goes round ends its parts where it begins again", async () => {
  const { asked, later } = playing({ range: { first: 25, last: 99, loop: true } });
  for (const now of [0, 100, 2000, 3500]) await later(now);
  assert.deepEqual(asked, [[1, 3], [1, 3], [1, 3]]);
});

test("backwards it is silent", async () => {
  const { speaker, asked, clock, later } = playing();
  clock.set(0, 10, -1);
  await later(0);
  assert.equal(asked.length + speaker.laid.length, 0);
});
