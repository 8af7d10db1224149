/** Mask settings: sliders that show at once what they do. The tracked masks themselves are never changed. */
import * as actions from "./actions.js";
import { changeSettings } from "./api.js";
import { staleMasks, wantMasks } from "./masks.js";
import { attempt } from "./notices.js";
import { endTrial, trial } from "./preview.js";
import { fieldsOf } from "./schemaform.js";
import * as state from "./state.js";
import { refreshProject } from "./sync.js";
import { Draft, classes, html, signal } from "./ui.js";

/** @typedef {import("./schemaform.js").Field} Field */

/** Whether the sliders are for the selected object or for all of the project. */
const scope = signal(/** @type {"object" | "project"} */ ("object"));

/**
 * How far a slider goes (the number field takes all that the server does), and how.
 * @type {Record<string, {most?: number, least?: number, step?: number, curve?: number, unit?: string}>}
 */
const SLIDERS = {
  fill_holes: { most: 5000, curve: 2, unit: "px²" },
  remove_specks: { most: 5000, curve: 2, unit: "px²" },
  grow: { least: -20, most: 20, step: 0.5, unit: "px" },
  feather: { most: 40, step: 0.5, curve: 2, unit: "px" },
  refine: { step: 0.05 },
  smooth_frames: { most: 8, unit: "frames" },
  refine_radius: { most: 64, step: 0.5, unit: "px" },
  border: { most: 32, unit: "px" },
};
/** What people seldom set. */
const SELDOM = ["refine_radius", "border"];

/** Settings that hold, with what a slider stands at right now. */
function holding() {
  const object = scope.value === "object" ? state.selected.value : null;
  const fields = fieldsOf(state.studio.value?.mask_settings_schema ?? {});
  const defaults = Object.fromEntries(fields.map((field) => [field.name, field.initial]));
  const project = state.project.value?.settings.masks ?? {};
  const own = object?.mask_settings ?? {};
  const tried = trial.value?.settings ?? {};
  return { object, fields, base: { ...defaults, ...(object ? project : {}) }, own: object ? own : project, tried };
}

/** @param {string} name @param {any} value */
function tryOut(name, value) {
  const { object } = holding();
  trial.value = { object: object?.id ?? null, settings: { ...trial.peek()?.settings, [name]: value } };
}

/** Keeps what is tried. */
async function keep() {
  const now = trial.peek();
  if (!now) return;
  const { object, own } = holding();
  await store({ ...own, ...now.settings }, object);
  // The masks of the trial stay in view until those of the server are here.
  staleMasks(null);
  await wantMasks(state.frame.peek());
  if (trial.peek() === now) endTrial();
}

/** @param {Record<string, any>} settings @param {state.ObjectState | null} object */
async function store(settings, object) {
  if (object) {
    await actions.changeObject(object.id, { mask_settings: Object.keys(settings).length ? settings : null });
  } else {
    const project = state.project.peek();
    if (project) await attempt(() => changeSettings(project.id, { masks: settings }));
  }
  await refreshProject();
}

/** @param {string} [name]  all if left out */
async function reset(name) {
  const { object, own } = holding();
  const rest = { ...own };
  if (name) delete rest[name];
  else for (const key of Object.keys(rest)) delete rest[key];
  endTrial();
  await store(rest, object);
  staleMasks(null);
}

export function Edges() {
  const { object, fields, base, own, tried } = holding();
  /** @param {Field} field */
  const control = (field) => {
    const { name } = field;
    const value = name in tried ? tried[name] : name in own ? own[name] : base[name];
    return html`<${Control} key=${name} info=${field} value=${value} own=${name in own} />`;
  };
  return html`
    <div class="segments" role="group" aria-label="Whose settings" style=${{ marginBottom: "0.75rem" }}>
      ${/** @type {const} */ (["object", "project"]).map(
        (name) => html`<button
          type="button"
          class=${classes("icon-button", scope.value === name && "on")}
          aria-pressed=${String(scope.value === name)}
          disabled=${name === "object" && !state.selected.value}
          onClick=${() => {
            endTrial();
            scope.value = name;
          }}
        >
          <span class="ellipsis" style=${{ maxWidth: "8rem" }}>${name === "object" ? (state.selected.value?.name ?? "Object") : "All objects"}</span>
        </button>`,
      )}
    </div>
    ${scope.value === "object" && !object
      ? html`<p class="dim">Select an object, or set them for all objects.</p>`
      : html`
          <div class="section">${fields.filter((field) => !SELDOM.includes(field.name)).map(control)}</div>
          <details class="section">
            <summary>More</summary>
            <div style=${{ marginTop: "0.5rem" }}>${fields.filter((field) => SELDOM.includes(field.name)).map(control)}</div>
          </details>
          <div class="row">
            <button type="button" class="button" disabled=${Object.keys(own).length === 0} onClick=${() => reset()}>Back to ${object ? "those of the project" : "the defaults"}</button>
          </div>
          <p class="teach">The tracked masks stay as they are; exports take these settings.</p>
        `}
  `;
}

/** @param {{info: Field, value: any, own: boolean}} props */
function Control({ info, value, own }) {
  const about = SLIDERS[info.name] ?? {};
  const id = `mask-${info.name}`;
  const mark = own && html`<button type="button" class="link small" title="Back to what holds otherwise" onClick=${() => reset(info.name)}>reset</button>`;
  if (info.kind === "flag") {
    return html`<label class="check">
      <input
        type="checkbox"
        id=${id}
        checked=${value}
        onChange=${(/** @type {any} */ event) => {
          tryOut(info.name, event.target.checked);
          void keep();
        }}
      />
      <span class="grow">${info.label}</span>${mark}
    </label>`;
  }
  const least = Math.max(info.minimum ?? -1e9, about.least ?? info.minimum ?? 0);
  const most = Math.min(info.maximum ?? 1e9, about.most ?? info.maximum ?? 100);
  const step = info.kind === "integer" ? 1 : (about.step ?? 1);
  const curve = about.curve ?? 1;
  // Small values need a fine hand, so some sliders grow with a power.
  const position = ((Math.min(most, Math.max(least, value ?? least)) - least) / (most - least)) ** (1 / curve);
  /** @param {number} share */
  const valueAt = (share) => Number((Math.round((least + (most - least) * share ** curve) / step) * step).toFixed(4));
  return html`<div class="slider">
    <div class="label"><label for=${id} title=${info.hint}>${info.label}${about.unit ? html` <span class="dim">${about.unit}</span>` : ""}</label>${mark}</div>
    <input
      type="range"
      id=${id}
      min="0"
      max="1"
      step="any"
      value=${position}
      aria-valuetext=${value === null ? "automatic" : `${value} ${about.unit ?? ""}`}
      onInput=${(/** @type {any} */ event) => tryOut(info.name, valueAt(Number(event.target.value)))}
      onChange=${() => void keep()}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        // Arrow keys step by what the setting counts in, not by shares of the slider.
        const sign = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
        if (!sign) return;
        event.preventDefault();
        tryOut(info.name, Math.min(most, Math.max(least, Number(((value ?? least) + sign * step).toFixed(4)))));
        void keep();
      }}
    />
    <${Draft}
      type="number"
      aria-label=${info.label}
      min=${info.minimum}
      max=${info.maximum}
      step=${step}
      value=${value}
      placeholder=${info.nullable ? "auto" : ""}
      onChange=${(/** @type {string} */ text) => {
        if (text === "" && !info.nullable) return;
        tryOut(info.name, text === "" ? null : Number(text));
        void keep();
      }}
    />
  </div>`;
}
