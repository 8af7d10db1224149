/** "Edit": masks of many frames at once, and objects that became mixed up. Each edit is one step of undo. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { maskOf, masksChanged } from "./masks.js";
import { attempt, notify } from "./notices.js";
import { does } from "./shape.js";
import * as state from "./state.js";
import { refreshProject } from "./sync.js";
import { Icon, classes, computed, html, signal } from "./ui.js";

/** @typedef {import("./api-types.js").Edit} Edit */
/** @typedef {"frame" | "on" | "marked"} Reach  this frame, from it on, or the marked range */

const wanted = signal(/** @type {Reach} */ ("frame"));
/** The mask that was copied. */
const copied = signal(/** @type {{project: string, frame: number, object: number, name: string} | null} */ (null));
/** The object that the selected one is swapped or merged with; null: a new one. */
const partner = signal(/** @type {number | null} */ (null));

const marked = computed(() => state.markIn.value !== null || state.markOut.value !== null);
const reach = computed(() => (wanted.value === "marked" && !marked.value ? "frame" : wanted.value));

/** First and last frame of the edit. @param {Reach} [how] */
function range(how = reach.value) {
  const now = state.frame.value;
  const last = (state.media.value?.frame_count ?? 1) - 1;
  if (how === "marked") return { start: state.markIn.value ?? 0, end: state.markOut.value ?? last };
  return { start: now, end: how === "on" ? last : now };
}

/** @param {Edit} given */
async function edit(given) {
  await actions.promptsDone();
  const project = state.project.peek();
  if (!project) return;
  const done = await attempt(() => api.edit(project.id, given));
  if (!done) return;
  state.candidates.value = null;
  if (done.objects.length > 1 && !("other" in given && given.other)) {
    await refreshProject(); // older news don't know the new object, and would select another
    state.currentObject.value = done.objects[done.objects.length - 1];
  }
  notify(`${done.label}: ${plural(done.frames, "frame")}.`, { action: { label: "Undo", run: () => void actions.undo() } });
}

/** Does something with the selected object, or says that there is none. @param {(object: state.ObjectState) => unknown} run */
const withObject = (run) => () => {
  const object = state.selected.peek();
  if (object) void run(object);
  else notify("Select an object first.");
};

const notVisible = (/** @type {state.ObjectState} */ object, how = reach.peek()) => {
  const { start, end } = range(how);
  return edit({ kind: "absent", object: object.id, start, end: how === "on" ? null : end });
};

const copy = (/** @type {state.ObjectState} */ object) => {
  const frame = state.frame.peek();
  if (!maskOf(frame, object.id)?.mask.area) return notify(`${object.name} has no mask on this frame.`);
  copied.value = { project: state.project.peek()?.id ?? "", frame, object: object.id, name: object.name };
  notify(`Mask of ${object.name} on frame ${frame} copied.`, { seconds: 3 });
};

const paste = (/** @type {state.ObjectState} */ object, how = reach.peek()) => {
  const from = copied.peek();
  if (!from || from.project !== state.project.peek()?.id) return notify("Copy a mask first.");
  return edit({ kind: "copy", object: from.object, frame: from.frame, onto: object.id === from.object ? null : object.id, ...range(how) });
};

const interpolate = (/** @type {state.ObjectState} */ object) => {
  const { start, end } = marked.peek() ? range("marked") : aroundKeys(object.id);
  if (end - start < 2) return notify("Mark a range with I and O, or go between two frames with prompts.");
  return edit({ kind: "interpolate", object: object.id, start, end });
};

/** The frames with prompts on both sides of this one. @param {number} object */
function aroundKeys(object) {
  const now = state.frame.peek();
  const keys = state.promptFrames(object);
  return { start: keys.filter((frame) => frame < now).at(-1) ?? now, end: keys.find((frame) => frame > now) ?? now };
}

/**
 * The part of the selected object's mask in a region becomes an object of its own.
 * @param {import("./api-types.js").Rle} region
 */
export function split(region) {
  const now = state.frame.peek();
  withObject((object) => edit({ kind: "split", object: object.id, region, start: now, end: now }))();
}

const noText = () => getSelection()?.isCollapsed ?? true;

/** @type {import("./keyboard.js").Binding[]} */
export const EDITING = [
  { group: "Edit", keys: ["Ctrl+c"], shown: ["Ctrl+C"], label: "Copy the mask of this frame", run: withObject(copy), when: noText },
  { group: "Edit", keys: ["Ctrl+v"], shown: ["Ctrl+V"], label: "Paste it on this frame", run: withObject((object) => paste(object, "frame")) },
  { group: "Edit", keys: ["Shift+g"], label: "Interpolate the marked range, or from prompt to prompt", run: withObject(interpolate) },
  { group: "Edit", keys: ["Shift+h"], label: "Not visible from this frame to the next prompt", run: withObject((object) => notVisible(object, "on")) },
  { group: "Edit", keys: ["Shift+Delete"], label: "Delete masks and prompts (see the panel for the range)", run: withObject((object) => edit({ kind: "delete", object: object.id, ...range() })) },
];

// --- the panel

/** @param {{icon: string, text: string, keys?: string, hint: string, run: () => unknown, off?: boolean}} props */
function Button({ icon, text, keys, hint, run, off }) {
  return html`<button type="button" class="button edit" title=${hint} disabled=${off} onClick=${run}>
    <${Icon} name=${icon} /><span class="grow">${text}</span>${keys && html`<kbd>${keys}</kbd>`}
  </button>`;
}

export function Editing() {
  masksChanged.value;
  const object = state.selected.value;
  if (!object) return html`<p class="dim">Select an object to edit its masks over many frames.</p>`;
  const { start, end } = range();
  const frames = start === end ? `frame ${start}` : `frames ${start} to ${end}`;
  const others = state.objects.value.filter((other) => other.id !== object.id);
  const other = others.find((entry) => entry.id === partner.value) ?? others[0] ?? null;
  const off = object.locked;
  const from = copied.value?.project === state.project.value?.id ? copied.value : null;
  return html`
    <h2 class="ellipsis">${object.name}</h2>
    ${off && html`<p class="dim small">Locked: unlock it to edit its masks.</p>`}
    <div class="section">
      <div class="segments wide" role="group" aria-label="Frames to edit">
        ${/** @type {const} */ ([["frame", "This frame"], ["on", "From here"], ["marked", "Range"]]).map(
          ([name, label]) => html`<button
            type="button"
            class=${classes("icon-button", reach.value === name && "on")}
            aria-pressed=${String(reach.value === name)}
            disabled=${name === "marked" && !marked.value}
            title=${name === "marked" ? "The marked range: I sets where it begins, O where it ends" : ""}
            onClick=${() => (wanted.value = name)}
          >
            ${label}
          </button>`,
        )}
      </div>
      <p class="dim small" style=${{ margin: "0.375rem 0" }}>${frames[0].toUpperCase()}${frames.slice(1)}.</p>
      <div class="stack">
        <${Button} icon="eye-off" text="Not visible" keys="Shift+H" off=${off} hint=${reach.value === "on" ? "From here to the next prompt that shows it" : `On ${frames}`} run=${() => notVisible(object)} />
        <${Button} icon="trash" text="Delete masks" keys="Shift+Del" off=${off} hint="Masks and prompts go, as if it had not been tracked there" run=${() => edit({ kind: "delete", object: object.id, start, end })} />
        <${Button} icon="copy" text="Copy mask" keys="Ctrl+C" hint="The mask of this frame" run=${() => copy(object)} />
        <${Button} icon="paste" text=${from ? `Paste ${from.name}, frame ${from.frame}` : "Paste mask"} off=${off || !from} hint=${`On ${frames}`} run=${() => paste(object)} />
        <${Button} icon="outline" text="Interpolate" keys="Shift+G" off=${off} hint="Leads the outline through the marked range; without one, from the prompt before this frame to the one after it" run=${() => interpolate(object)} />
      </div>
      <p class="teach">Frames that you edit stay as they are when you track again. Delete their masks to have them tracked.</p>
    </div>
    <div class="section">
      <h3>Mixed up with another object</h3>
      ${other &&
      html`<div class="field">
          <label for="edit-partner">Other object</label>
          <select id="edit-partner" onChange=${(/** @type {any} */ event) => (partner.value = Number(event.target.value))}>
            ${others.map((entry) => html`<option value=${entry.id} selected=${entry.id === other.id}>${entry.name}</option>`)}
          </select>
        </div>
        <div class="stack" style=${{ margin: "0.5rem 0" }}>
          <${Button} icon="flip" text="Swap masks" off=${off || other.locked} hint=${`The two exchange their masks on ${frames}`} run=${() => edit({ kind: "swap", object: object.id, other: other.id, start, end })} />
          <${Button} icon="chevron-right" text=${`Give masks to ${other.name}`} off=${off || other.locked} hint=${`On ${frames}`} run=${() => edit({ kind: "reassign", object: object.id, other: other.id, start, end })} />
          <${Button} icon="objects" text=${`Merge ${other.name} into it`} off=${off || other.locked} hint="On all frames; the other object goes" run=${() => edit({ kind: "merge", object: object.id, other: other.id })} />
        </div>`}
      <div class="stack">
        <${Button} icon="plus" text="Make masks a new object" off=${off} hint=${`On ${frames}`} run=${() => edit({ kind: "reassign", object: object.id, start, end })} />
        <${Button} icon="lasso" text="Split by lasso" off=${off} hint="Draw around a part of the mask: it becomes a new object on this frame" run=${() => { does.value = "split"; state.tool.value = "lasso"; }} />
      </div>
    </div>
  `;
}
