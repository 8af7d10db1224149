/** What the benchmark puts into the studio's page: it notes when what was drawn, and when which answer came. */
window.probe = { draws: [], answers: [], input: 0 };
(() => {
  const { probe } = window;
  const json = Response.prototype.json;
  Response.prototype.json = async function () {
    const value = await json.call(this);
    probe.answers.push({ path: new URL(this.url).pathname, at: performance.now() });
    return value;
  };
  for (const type of ["pointerup", "keydown"]) {
    addEventListener(type, (event) => (probe.input = event.timeStamp), true);
  }
  probe.watch = async () => {
    const [masks, state] = await Promise.all([import("/masks.js"), import("/state.js")]);
    probe.state = state;
    state.playing.subscribe((playing) => (probe[playing ? "began" : "ended"] = performance.now()));
    const canvas = document.querySelector("#picture");
    new MutationObserver(() => {
      const { frame, preview } = canvas.dataset;
      const shown = Number(frame);
      const complete = Boolean(masks.entryOf(shown)?.complete);
      probe.draws.push({ at: performance.now(), frame: shown, preview: preview === undefined ? -1 : Number(preview), complete });
    }).observe(canvas, { attributes: true, attributeFilter: ["data-drawn"] });
  };
  probe.clear = () => {
    probe.draws.length = probe.answers.length = 0;
    probe.input = 0;
  };
  /** Milliseconds from letting go of the button to the drawing of the mask that the click gave. */
  probe.click = () => {
    const answer = probe.answers.find(({ path }) => path.endsWith("/prompts"));
    const draw = answer && probe.draws.find(({ at }) => at > answer.at);
    return draw ? draw.at - probe.input : null;
  };
  probe.count = () => {
    performance.setResourceTimingBufferSize(10_000);
    performance.clearResourceTimings();
  };
  /** Kilobytes that came since then, but for pictures and answers to clicks. */
  probe.fetched = () =>
    performance
      .getEntriesByType("resource")
      .filter(({ name }) => name.includes("/api/") && !/\.jpg|\/prompts$|\/encode$/.test(name))
      .reduce((sum, { transferSize }) => sum + transferSize / 1000, 0);
  /** Milliseconds since `probe.since` to the first drawing of a kind. */
  probe.first = (fits) => {
    const draw = probe.draws.find(fits);
    return draw ? draw.at - probe.since : null;
  };
  /** Milliseconds from a moment to the picture of a frame with its masks. */
  probe.shown = (frame, since) => {
    const draw = probe.draws.find((entry) => entry.at > since && entry.frame === frame && entry.complete);
    return draw ? draw.at - since : null;
  };
})();
