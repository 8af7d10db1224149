/** Where the page begins. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { App, startFolding, startTheme } from "./app.js";
import { openBatch, startBatch } from "./batch.js";
import { startInspector } from "./inspector.js";
import { listenToKeys } from "./keyboard.js";
import { complain } from "./notices.js";
import { startPlayer } from "./player.js";
import { startReview } from "./review.js";
import * as state from "./state.js";
import { listen } from "./sync.js";
import { startWarming } from "./warming.js";
import { html, render } from "./ui.js";

/** What the address names; back and forward in the browser go between places. */
function placeInAddress() {
  const [, kind, path] = /^#(batch)?\/(.*)$/.exec(location.hash) ?? [];
  return path === undefined ? null : { isBatch: kind === "batch", path: path.split("/").map(decodeURIComponent).join("/") };
}

async function begin() {
  startTheme();
  startFolding();
  const root = /** @type {HTMLElement} */ (document.getElementById("app"));
  try {
    state.studio.value = await api.getStudio();
  } catch (problem) {
    complain(problem);
  }
  const place = placeInAddress();
  const { open_at_start: atStart, batch_at_start: batchAtStart } = state.studio.value ?? {};
  if (place) await (place.isBatch ? openBatch(place.path) : actions.open({ path: place.path }));
  else if (atStart) {
    const project = await api.getProject(atStart).catch(() => null);
    if (project) await actions.open({ path: project.path });
  } else if (batchAtStart) {
    const found = await api.getBatch(batchAtStart).catch(() => null);
    if (found) await openBatch(found.path);
  }
  render(html`<${App} />`, root);
  listen();
  listenToKeys();
  startPlayer();
  startInspector();
  startReview();
  startBatch();
  startWarming();
  addEventListener("popstate", () => {
    const next = placeInAddress();
    if (next?.isBatch) void openBatch(next.path);
    else if (!next) {
      actions.leave();
      state.batch.value = null;
    } else if (next.path !== state.project.peek()?.path) void actions.open({ path: next.path });
  });
}

void begin();
