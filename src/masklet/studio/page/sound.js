/** The sound of what plays, in time with the clock: fetched in parts and laid one after the other. */

/** @typedef {import("./clock.js").PlayClock} PlayClock */

const PART = 5; // seconds of the source
const AHEAD = 3; // seconds of the source that lie ready
const DRIFT = 0.04; // seconds that sound and picture may part

export class Sound {
  /**
   * @param {(start: number, seconds: number) => Promise<ArrayBuffer>} fetchPart  WAV
   * @param {() => AudioContext} [makeContext]
   */
  constructor(fetchPart, makeContext = () => new AudioContext()) {
    this.fetchPart = fetchPart;
    this.context = makeContext();
    /** Where sound and clock were at the same time; null: silent. @type {{at: number, run: number, rate: number} | null} */
    this.anchor = null;
    /** Seconds of the clock up to which there is sound. */
    this.until = 0;
    this.fetching = false;
    /** @type {Set<AudioBufferSourceNode>} */
    this.nodes = new Set();
    void this.context.resume();
  }

  /** Keeps sound ready for what comes. @param {PlayClock} clock @param {number} now */
  tick(clock, now) {
    const { rate } = clock.anchor;
    if (rate <= 0) return this.stop();
    const run = clock.run(now);
    const heard = this.anchor && this.anchor.run + (this.context.currentTime - this.anchor.at) * rate;
    if (heard === null || this.anchor?.rate !== rate || Math.abs(heard - run) > DRIFT) {
      this.stop();
      this.anchor = { at: this.context.currentTime, run, rate };
      this.until = run;
    }
    if (!this.fetching && this.until < run + AHEAD * rate) void this.lay(clock);
  }

  /** Fetches the next part and lays it behind what there is. @param {PlayClock} clock */
  async lay(clock) {
    const { anchor, until: run } = this;
    if (!anchor) return;
    // Parts end where the range begins again.
    const length = clock.end - clock.begin;
    const rounds = clock.range.loop ? Math.floor((run - clock.begin) / length + 1e-9) : 0;
    const start = run - rounds * length;
    const seconds = Math.min(PART, clock.end - start);
    if (seconds < 1e-3) return;
    this.fetching = true;
    this.until = run + seconds;
    try {
      const bytes = await this.fetchPart(start, seconds);
      const buffer = bytes.byteLength > 100 ? await this.context.decodeAudioData(bytes) : null; // shorter: silence
      if (buffer && this.anchor === anchor) this.play(buffer, anchor, run);
    } catch (problem) {
      console.warn(problem); // pictures go on without it
    } finally {
      this.fetching = false;
    }
  }

  /**
   * @param {AudioBuffer} buffer
   * @param {{at: number, run: number, rate: number}} anchor
   * @param {number} run  when it begins, on the clock
   */
  play(buffer, anchor, run) {
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.playbackRate.value = anchor.rate;
    node.connect(this.context.destination);
    // What is heard was given to the loudspeakers a moment before.
    const when = anchor.at + (run - anchor.run) / anchor.rate - (this.context.outputLatency || 0);
    const late = Math.max(0, this.context.currentTime - when);
    if (late * anchor.rate >= buffer.duration) return;
    node.onended = () => this.nodes.delete(node);
    this.nodes.add(node);
    node.start(when + late, late * anchor.rate);
  }

  stop() {
    this.anchor = null;
    for (const node of this.nodes) node.stop();
    this.nodes.clear();
  }

  close() {
    this.stop();
    void this.context.close();
  }
}
