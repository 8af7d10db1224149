/** The whole page: the first screen or the editor, dialogs and messages. */
import * as actions from "./actions.js";
import { BatchScreen, leaveProject, nextDoubtful } from "./batch.js";
import { beside, onion } from "./compare.js";
import { undo } from "./correction.js";
import { Edges } from "./edges.js";
import { Editing } from "./editing.js";
import { ExportDialog } from "./export.js";
import { Inspector } from "./inspector.js";
import { KeySheet } from "./keyboard.js";
import { Spoken, StatusLine } from "./notices.js";
import { Objects } from "./objects.js";
import { showTab } from "./panel.js";
import { Review } from "./review.js";
import { OpenScreen, RelinkDialog } from "./open.js";
import { SettingsDialog } from "./settings.js";
import * as state from "./state.js";
import { refused } from "./sync.js";
import { Timeline } from "./timeline.js";
import { Transport } from "./transport.js";
import { Icon, IconButton, html } from "./ui.js";
import { Busy, Viewer } from "./viewer.js";

export function App() {
  const open = state.project.value !== null;
  return html`
    <div class="page">
      ${!(state.online.value && state.inStep.value) && html`<${Away} />`}
      ${open ? html`<${Editor} key=${state.project.value?.path} />` : state.batch.value ? html`<${BatchScreen} />` : html`<${OpenScreen} />`}
      ${state.dialog.value ? html`<div class="status"></div>` : html`<${StatusLine}><${Busy} /><//>`}
    </div>
    ${state.dialog.value === "export" && open && html`<${ExportDialog} />`}
    ${state.dialog.value === "settings" && html`<${SettingsDialog} />`}
    ${state.dialog.value === "keys" && html`<${KeySheet} />`}
    ${state.dialog.value === "relink" && html`<${RelinkDialog} />`}
    <${Spoken} />
  `;
}

function Away() {
  return html`<div class="away" role="alert">
    ${refused.value ? html`<${Icon} name="warning" />` : html`<span class="spinner"></span>`}
    <span>
      ${refused.value
        ? "The studio was started with a new token. Open the address that it printed; this page goes on by itself then."
        : "The studio doesn't answer. Everything up to here is saved; the page goes on when it is back."}
    </span>
  </div>`;
}

function Editor() {
  return html`<div class="editor">
    <${TopBar} />
    <${Tools} />
    <${Viewer} />
    <${Panel} />
    <section class="time" aria-label="Time">
      <${Transport} />
      ${(state.media.value?.frame_count ?? 1) > 1 && html`<${Timeline} />`}
    </section>
  </div>`;
}

function TopBar() {
  const project = state.project.value;
  const history = project?.history;
  const media = state.media.value;
  const batch = project?.batch;
  return html`<header class="topbar">
    ${batch
      ? html`<button type="button" class="icon-button brand" title=${`Back to the batch ${batch.name} (Shift+U)`} aria-label=${`${batch.name}: back to the batch`} onClick=${leaveProject}>
            <${Icon} name="batch" /><span class="ellipsis">${batch.name}</span>
          </button>
          <${IconButton} icon="doubt-next" class="next-video" label="Next doubtful: the next such video of the batch" text="Next doubtful" keys="Shift+V" onClick=${nextDoubtful} />`
      : html`<button type="button" class="icon-button brand" title="Back to the projects" aria-label="masklet: back to the projects" onClick=${leaveProject}>
          <${Icon} name="logo" /><span>masklet</span>
        </button>`}
    <span class="divider hide-small"></span>
    <h1 class="name ellipsis" title=${media ? `${project?.path}: ${media.width} × ${media.height}, ${media.rate} fps` : ""}>${project?.name}</h1>
    <span class="saved hide-small" title="Every change is in the project file at once"><${Icon} name="check" /><span>saved</span></span>
    <${IconButton} icon="undo" label=${history?.undo ? `Undo: ${history.undo}` : "Undo"} keys="Ctrl+Z" disabled=${!history?.undo} onClick=${undo} />
    <${IconButton} icon="redo" label=${history?.redo ? `Redo: ${history.redo}` : "Redo"} keys="Ctrl+Shift+Z" disabled=${!history?.redo} onClick=${actions.redo} />
    <div class="grow"></div>
    <div class="segments" role="group" aria-label="View">
      ${state.VIEWS.map(
        (entry, i) => html`<${IconButton}
          key=${entry.name}
          icon=${entry.icon}
          label=${entry.label}
          keys=${String(i + 1)}
          pressed=${state.view.value === entry.name}
          onClick=${() => (state.view.value = entry.name)}
        />`,
      )}
    </div>
    <div class="grow"></div>
    <${IconButton} icon="keyboard" class="hide-small" label="Keyboard" keys="?" onClick=${() => (state.dialog.value = "keys")} />
    <${IconButton} icon=${isLight() ? "moon" : "sun"} class="hide-small" label=${isLight() ? "Dark colours" : "Light colours"} onClick=${flipTheme} />
    <${IconButton} icon="settings" label="Settings" keys="Shift+S" onClick=${() => (state.dialog.value = "settings")} />
    <${IconButton} icon="panel" label="Panel" keys="\\" pressed=${state.panelOpen.value} onClick=${() => (state.panelOpen.value = !state.panelOpen.value)} />
    <button type="button" class="button primary" id="export" title="Export (Shift+E)" onClick=${() => (state.dialog.value = "export")}>
      <${Icon} name="export" /> Export
    </button>
  </header>`;
}

const prefersLight = matchMedia("(prefers-color-scheme: light)");
const isLight = () => (state.theme.value === "auto" ? prefersLight.matches : state.theme.value === "light");

function flipTheme() {
  state.theme.value = isLight() ? "dark" : "light";
}

/** The panel folds where there is no room for it, and is there again where there is. */
export function startFolding() {
  const small = matchMedia("(max-width: 920px)");
  const fold = () => (state.panelOpen.value = !small.matches);
  small.addEventListener("change", fold);
  fold();
}

/** Keeps `data-theme` as chosen, or as the system has it. */
export function startTheme() {
  const apply = () => {
    document.documentElement.dataset.theme = isLight() ? "light" : "dark";
  };
  prefersLight.addEventListener("change", apply);
  state.theme.subscribe(apply);
}

function Tools() {
  return html`<nav class="tools" aria-label="Tools">
    ${state.TOOLS.map(
      (entry) => html`<${IconButton}
        key=${entry.name}
        icon=${entry.icon}
        label=${entry.label}
        keys=${entry.keys}
        pressed=${state.tool.value === entry.name}
        onClick=${() => (state.tool.value = entry.name)}
      />`,
    )}
    <hr />
    <${IconButton}
      icon="hover"
      label="Show what a click would give"
      pressed=${state.hoverPreview.value}
      onClick=${() => (state.hoverPreview.value = !state.hoverPreview.value)}
    />
    <${IconButton} icon="onion" label="Onion skin: outlines before and after" keys="Shift+O" pressed=${onion.value} onClick=${() => (onion.value = !onion.value)} />
    <${IconButton} icon="beside" label="Side by side" keys="Shift+B" pressed=${beside.value} onClick=${() => (beside.value = !beside.value)} />
  </nav>`;
}

/** @type {{name: state.Tab, label: string, icon: string, body: () => any}[]} */
const TABS = [
  { name: "objects", label: "Objects", icon: "objects", body: Objects },
  { name: "review", label: "Review", icon: "doubt-next", body: Review },
  { name: "edit", label: "Edit", icon: "edit", body: Editing },
  { name: "edges", label: "Mask", icon: "sliders", body: Edges },
  { name: "why", label: "Why", icon: "why", body: Inspector },
];

function Panel() {
  const now = TABS.find((entry) => entry.name === state.tab.value) ?? TABS[0];
  /** @type {(event: KeyboardEvent) => void} */
  const keys = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = TABS[(TABS.indexOf(now) + step + TABS.length) % TABS.length];
    state.tab.value = next.name;
    document.getElementById(`tab-${next.name}`)?.focus();
  };
  if (!state.panelOpen.value) {
    return html`<nav class="panel folded" aria-label="Panel">
      ${TABS.map((entry) => html`<${IconButton} key=${entry.name} icon=${entry.icon} label=${entry.label} onClick=${showTab(entry.name)} />`)}
    </nav>`;
  }
  return html`<aside class="panel" aria-label="Panel">
    <div class="tabs" role="tablist" aria-label="Panel">
      ${TABS.map(
        (entry) => html`<button
          type="button"
          role="tab"
          key=${entry.name}
          id=${`tab-${entry.name}`}
          aria-selected=${String(entry === now)}
          aria-controls="tab-body"
          tabindex=${entry === now ? 0 : -1}
          onClick=${() => (state.tab.value = entry.name)}
          onKeyDown=${keys}
        >
          ${entry.label}
        </button>`,
      )}
    </div>
    <div class="tab-body" role="tabpanel" id="tab-body" aria-labelledby=${`tab-${now.name}`}><${now.body} /></div>
  </aside>`;
}
