/** Model, resolution, tracking method and precision of the open project; how the page looks; checkpoints. */
import * as api from "./api.js";
import { Dialog, close } from "./dialog.js";
import { duration, size } from "./format.js";
import { attempt, complain, notify } from "./notices.js";
import { SchemaForm, fieldsOf } from "./schemaform.js";
import * as state from "./state.js";
import { refreshProject } from "./sync.js";
import { Icon, classes, effect, html, signal, useEffect } from "./ui.js";

/** @type {import("./vendor/signals-core.js").Signal<import("./api-types.js").ModelState[]>} */
const models = signal(/** @type {import("./api-types.js").ModelState[]} */ ([]));

const load = async () => {
  models.value = (await attempt(api.listModels))?.sort((a, b) => rank(a) - rank(b)) ?? models.value;
};

/** @param {import("./api-types.js").ModelState} model */
const isHere = (model) => model.state === "packaged" || model.state === "ready" || model.state === "unchecked";
/** What is here comes first, then what is on its way; otherwise the order stays. @param {import("./api-types.js").ModelState} model */
const rank = (model) => (isHere(model) ? 0 : model.state === "partial" ? 1 : 2);
/** What a download takes; weights are 32-bit numbers where it isn't known. @param {import("./api-types.js").ModelState} model */
const bytesOf = (model) => model.bytes ?? 4 * model.parameters;

/** Models change when a download ends. */
let endedDownloads = "";
effect(() => {
  const ended = Object.values(state.jobs.value)
    .filter((job) => job.kind === "download" && !state.isActive(job))
    .map((job) => job.id)
    .join();
  if (ended !== endedDownloads && state.dialog.peek() === "settings") void load();
  endedDownloads = ended;
});

/** @typedef {import("./api-types.js").TrackSettingsState} TrackSettings */

let queue = Promise.resolve();

/**
 * One change after the other, so that each begins with what the one before left.
 * @param {Partial<TrackSettings> | ((track: TrackSettings) => Partial<TrackSettings>)} changes
 */
function change(changes) {
  const id = state.project.peek()?.id;
  queue = queue.then(async () => {
    const project = state.project.peek();
    if (!project || project.id !== id) return;
    const before = project.settings.track;
    const track = { ...before, ...(typeof changes === "function" ? changes(before) : changes) };
    // Shown at once, as the fields do; what the server made of it follows.
    state.project.value = { ...project, settings: { ...project.settings, track } };
    await attempt(() => api.changeSettings(project.id, { track }));
    await refreshProject();
  });
}

/** @param {string} name @param {any} value  null: the policy's own again */
function setOption(name, value) {
  change(({ policy_options: { [name]: _, ...rest } = {} }) => ({
    policy_options: value === null ? rest : { ...rest, [name]: value },
  }));
}

export function SettingsDialog() {
  useEffect(() => void load(), []);
  const project = state.project.value;
  const studio = state.studio.value;
  const track = project?.settings.track;
  const policy = studio?.policies.find((entry) => entry.name === track?.policy);
  const model = models.value.find((entry) => entry.name === track?.model);
  return html`<${Dialog} title="Settings" foot=${html`<button type="button" class="button" onClick=${close}>Close</button>`}>
    ${track
      ? html`<div class="section">
          <h3>Model</h3>
          <p class="dim small" style=${{ marginBottom: "0.5rem" }}>Masks that are there stay; what is tracked from now on uses the chosen model.</p>
          <div role="radiogroup" aria-label="Model">
            <ul class="models">
              ${models.value.map((entry) => html`<${Model} key=${entry.name} model=${entry} chosen=${entry.name === track.model} />`)}
            </ul>
          </div>
        </div>
        <div class="section stack">
          <h3>Tracking</h3>
          <div class="field">
            <label for="set-resolution">Resolution</label>
            <select id="set-resolution" onChange=${(/** @type {any} */ event) => change({ resolution: event.target.value ? Number(event.target.value) : null })}>
              <option value="" selected=${track.resolution === null}>model default${model ? ` (${model.image_size})` : ""}</option>
              ${resolutions(track.resolution ?? null).map((side) => html`<option value=${side} selected=${side === track.resolution}>${side}</option>`)}
            </select>
            <div class="hint">The longer side of the picture that the network sees. Smaller is faster and coarser.</div>
          </div>
          <div class="field">
            <label for="set-shape">Shape</label>
            <select id="set-shape" onChange=${(/** @type {any} */ event) => change({ shape: event.target.value })}>
              <option value="square" selected=${track.shape !== "fit"}>square, as the weights were trained</option>
              <option value="fit" selected=${track.shape === "fit"}>the frames' own proportions, faster</option>
            </select>
          </div>
          <div class="field">
            <label class="check"><input type="checkbox" checked=${Boolean(track.zoom)} onChange=${(/** @type {any} */ event) => change({ zoom: event.target.checked })} /> Zoom in on small objects</label>
            <div class="hint">They are looked at through a window around them, in all the detail the video has.</div>
          </div>
          <div class="field">
            <label for="set-dtype">Precision</label>
            <select id="set-dtype" onChange=${(/** @type {any} */ event) => change({ dtype: event.target.value || null })}>
              <option value="" selected=${!track.dtype}>automatic (${studio?.default_dtype} on ${studio?.device})</option>
              ${(studio?.dtypes ?? []).map((name) => html`<option value=${name} selected=${name === track.dtype}>${name}</option>`)}
            </select>
          </div>
          <div class="field">
            <label for="set-policy">Tracking method</label>
            <select id="set-policy" onChange=${(/** @type {any} */ event) => change({ policy: event.target.value, policy_options: {} })}>
              ${(studio?.policies ?? []).map((entry) => html`<option value=${entry.name} selected=${entry.name === track.policy}>${entry.title}</option>`)}
            </select>
            ${policy && html`<div class="hint">How masks and memories are chosen: this one ${policy.description}.</div>`}
          </div>
          ${policy &&
          html`<details>
            <summary>${policy.title} settings</summary>
            <${SchemaForm}
              fields=${fieldsOf(policy.settings_schema)}
              values=${{ ...model?.policy_defaults[policy.name], ...track.policy_options }}
              onChange=${setOption}
              prefix="policy"
            />
          </details>`}
        </div>`
      : html`<p class="dim section">Model and tracking are settings of a project: open one first.</p>`}
    <div class="section stack">
      <h3>Page</h3>
      <div class="field">
        <label for="set-theme">Colours</label>
        <select id="set-theme" onChange=${(/** @type {any} */ event) => (state.theme.value = event.target.value)}>
          ${["auto", "dark", "light"].map((name) => html`<option value=${name} selected=${name === state.theme.value}>${name === "auto" ? "system" : name}</option>`)}
        </select>
      </div>
      <div class="field">
        <label for="set-opacity">Overlay</label>
        <input type="range" id="set-opacity" min="0.1" max="1" step="0.05" value=${state.opacity.value} onInput=${(/** @type {any} */ event) => (state.opacity.value = Number(event.target.value))} />
      </div>
      <label class="check"><input type="checkbox" checked=${state.loop.value} onChange=${(/** @type {any} */ event) => (state.loop.value = event.target.checked)} /> Loop playback</label>
      <label class="check"><input type="checkbox" checked=${state.hoverPreview.value} onChange=${(/** @type {any} */ event) => (state.hoverPreview.value = event.target.checked)} /> Show what a click would give</label>
      <div class="row">
        <button type="button" class="button" onClick=${share}><${Icon} name="copy" /> Copy an address for another browser</button>
      </div>
    </div>
    <p class="dim small">masklet ${studio?.version} · ${studio?.device} · files below ${studio?.root_path}</p>
  <//>`;
}

async function share() {
  const link = await attempt(api.makeLoginLink);
  if (!link) return;
  try {
    await navigator.clipboard.writeText(link.address);
    notify("The address is on the clipboard. It opens the studio in one more browser.");
  } catch {
    notify(link.address, { seconds: 60 });
  }
}

/** @param {number | null} now */
function resolutions(now) {
  return [...new Set([256, 384, 512, 640, 768, 1024, ...(now ? [now] : [])])].sort((a, b) => a - b);
}

/** @param {{model: import("./api-types.js").ModelState, chosen: boolean}} props */
function Model({ model, chosen }) {
  const here = isHere(model);
  const job = Object.values(state.jobs.value).find(
    (entry) => entry.kind === "download" && entry.model === model.name && state.isActive(entry),
  );
  const get = async () => {
    try {
      const started = await api.downloadModel(model.name);
      state.jobs.value = { ...state.jobs.value, [started.id]: started };
    } catch (error) {
      complain(error);
    }
  };
  return html`<li class=${classes("model", chosen && "chosen")}>
    <label class="row">
      <input
        type="radio"
        name="model"
        checked=${chosen}
        disabled=${!here}
        onChange=${() => change({ model: model.name, checkpoint: null })}
      />
      <span class="grow"><b>${model.name}</b> <span class="dim small">${(model.parameters / 1e6).toFixed(1)} M parameters · ${model.image_size} px</span></span>
      ${here
        ? html`<span class="dim small row"><${Icon} name="check" />${model.state === "packaged" ? "built in" : "ready"}</span>`
        : job
          ? html`<span class="dim number small">${size(job.done)} of ${size(job.total)} ${duration(job.seconds_left)}</span>
              <button type="button" class="button" onClick=${() => attempt(() => api.jobAction(job.id, "cancel"))}>Cancel</button>`
          : html`<button type="button" class="button" onClick=${get}>
              <${Icon} name="download" /> ${model.state === "partial" ? `Resume (${size(model.fetched_bytes)} of ${size(bytesOf(model))})` : `Download ${size(bytesOf(model))}`}
            </button>`}
    </label>
    ${job && html`<progress max=${job.total ?? 1} value=${job.done} aria-label=${`Download of ${model.name}`}></progress>`}
  </li>`;
}
