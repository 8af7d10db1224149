/** Where the page begins. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { App, startFolding, startTheme } from "./app.js";
import { startInspector } from "./inspector.js";
import { listenToKeys } from "./keyboard.js";
import { complain } from "./notices.js";
import { startPlayer } from "./player.js";
import { startReview } from "./review.js";
import * as state from "./state.js";
import { listen } from "./sync.js";
import { startWarming } from "./warming.js";
import { html, render } from "./ui.js";

/** The project that the address names; back and forward in the browser go between them. */
function pathInAddress() {
  return location.hash.startsWith("#/") ? location.hash.slice(2).split("/").map(decodeURIComponent).join("/") : "";
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
  const path = pathInAddress();
  const atStart = state.studio.value?.open_at_start;
  if (path) await actions.open({ path });
  else if (atStart) {
    const project = await api.getProject(atStart).catch(() => null);
    if (project) await actions.open({ path: project.path });
  }
  render(html`<${App} />`, root);
  listen();
  listenToKeys();
  startPlayer();
  startInspector();
  startReview();
  startWarming();
  addEventListener("popstate", () => {
    const next = pathInAddress();
    if (next && next !== state.project.peek()?.path) void actions.open({ path: next });
    else if (!next) state.project.value = null;
  });
}

void begin();
