/** The export dialog: where it goes or which format, what would be missing, progress, and what came out. */
import * as api from "./api.js";
import { lacks } from "./coverage.js";
import { Dialog, close } from "./dialog.js";
import { duration, plural, words } from "./format.js";
import { attempt } from "./notices.js";
import { DESTINATIONS } from "./presets.js";
import { SchemaForm, fieldsOf } from "./schemaform.js";
import * as state from "./state.js";
import { download } from "./sync.js";
import { Icon, classes, html, signal, useEffect } from "./ui.js";

/** @type {import("./vendor/signals-core.js").Signal<import("./api-types.js").FormatState[]>} */
const formats = signal(/** @type {import("./api-types.js").FormatState[]} */ ([]));
const chosen = signal(DESTINATIONS[0].choices[0].format);
/** Where it goes, and which of the choices for that; null: a format was chosen by its name. */
const destination = signal(/** @type {{at: number, choice: number} | null} */ ({ at: 0, choice: 0 }));
/** Options by format, so that going back and forth forgets nothing. */
const options = signal(/** @type {Record<string, Record<string, any>>} */ ({}));
pick(0, 0);
const path = signal("");
const onlyRange = signal(false);
const onlyObjects = signal(/** @type {number[] | null} */ (null));
const overwrite = signal(false);
const problem = signal("");

/** Arrow keys choose among destinations and formats, which are one stop of Tab. @param {any} event */
function chooseByKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[/** @type {string} */ (event.key)];
  if (!step) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll(".format")];
  const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
  next.focus();
  next.click();
}

const GROUPS = { video: "Video", sequence: "Picture sequences", dataset: "Data sets", still: "Stills", animation: "Animations" };

/** @param {number} at @param {number} choice */
function pick(at, choice) {
  const picked = DESTINATIONS[at].choices[choice];
  destination.value = { at, choice };
  chosen.value = picked.format;
  options.value = { ...options.value, [picked.format]: { ...options.value[picked.format], ...picked.options } };
}

async function load() {
  if (!formats.value.length) formats.value = (await attempt(api.listFormats)) ?? [];
}

async function begin() {
  const project = state.project.peek();
  if (!project) return;
  problem.value = "";
  try {
    const job = await api.startExport(project.id, {
      format: chosen.value,
      path: path.value.trim() || null,
      options: Object.fromEntries(Object.entries(options.value[chosen.value] ?? {}).filter(([, value]) => value !== undefined)),
      objects: onlyObjects.value,
      start: onlyRange.value ? state.markIn.peek() : null,
      end: onlyRange.value ? state.markOut.peek() : null,
      overwrite: overwrite.value,
    });
    state.jobs.value = { ...state.jobs.value, [job.id]: state.jobs.value[job.id] ?? job };
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
  }
}

export function ExportDialog() {
  useEffect(() => void load(), []);
  const format = formats.value.find((entry) => entry.name === chosen.value);
  const fields = format ? fieldsOf(format.options_schema) : [];
  const project = state.project.value;
  const marked = state.markIn.value !== null || state.markOut.value !== null;
  const jobs = Object.values(state.jobs.value).filter((job) => job.kind === "export" && job.project === project?.id);
  const nothing = state.objects.value.length === 0;
  const picked = (/** @type {string} */ name) => !destination.value && name === chosen.value;
  return html`<${Dialog}
    title="Export"
    foot=${html`
      ${problem.value && html`<p class="grow" role="alert" style=${{ color: "var(--danger)" }}>${problem.value}</p>`}
      <button type="button" class="button" onClick=${close}>Close</button>
      <button type="button" class="button primary" id="export-start" disabled=${!format || nothing} onClick=${begin}>Export</button>
    `}
  >
    <div class="export">
      <nav class="formats" aria-label="Destinations and formats" onKeyDown=${chooseByKey}>
        <h3>For</h3>
        <ul>
          ${DESTINATIONS.map(
            (entry, at) => html`<li>
              <button
                type="button"
                class=${classes("format", destination.value?.at === at && "chosen")}
                aria-current=${destination.value?.at === at ? "true" : undefined}
                tabindex=${destination.value?.at === at ? 0 : -1}
                onClick=${() => {
                  pick(at, 0);
                  problem.value = "";
                }}
              >
                ${entry.title}
              </button>
            </li>`,
          )}
        </ul>
        ${Object.entries(GROUPS).map(([group, title]) => {
          const list = formats.value.filter((entry) => entry.group === group);
          return list.length > 0 && html`<h3>${title}</h3>
            <ul>
              ${list.map(
                (entry) => html`<li>
                  <button
                    type="button"
                    class=${classes("format", picked(entry.name) && "chosen")}
                    aria-current=${picked(entry.name) ? "true" : undefined}
                    tabindex=${picked(entry.name) ? 0 : -1}
                    data-format=${entry.name}
                    onClick=${() => {
                      destination.value = null;
                      chosen.value = entry.name;
                      problem.value = "";
                    }}
                  >
                    ${entry.title}
                  </button>
                </li>`,
              )}
            </ul>`;
        })}
      </nav>
      <div class="export-options">
        ${format &&
        html`
          ${destination.value ? html`<${Destination} at=${destination.value.at} choice=${destination.value.choice} />` : html`<h2>${format.title}</h2>`}
          <p class="dim" style=${{ margin: "0.25rem 0 0.75rem" }}>${format.description}.</p>
          <${Summary} />
          <details class="export-where" open=${!destination.value} key=${format.name}>
            <summary>Options of ${format.title}</summary>
            <${SchemaForm}
              prefix="export"
              fields=${fields}
              values=${options.value[format.name] ?? {}}
              onChange=${(/** @type {string} */ name, /** @type {any} */ value) => {
                options.value = { ...options.value, [format.name]: { ...options.value[format.name], [name]: value } };
              }}
            />
          </details>
          <details class="export-where">
            <summary>File, frames and objects</summary>
            <div class="stack" style=${{ marginTop: "0.5rem" }}>
              <div class="field">
                <label for="export-path">${format.extensions.length ? "File" : "Folder"}</label>
                <input type="text" id="export-path" placeholder="beside the source" value=${path.value} onInput=${(/** @type {any} */ event) => (path.value = event.target.value)} />
                <div class="hint">Below ${state.studio.value?.root_path ?? "the root"}${format.extensions.length ? `; ends in ${format.extensions.join(" or ")}` : ""}.</div>
              </div>
              <label class="check"><input type="checkbox" checked=${overwrite.value} onChange=${(/** @type {any} */ event) => (overwrite.value = event.target.checked)} /> Replace what is there</label>
              <label class="check">
                <input type="checkbox" checked=${onlyRange.value && marked} disabled=${!marked} onChange=${(/** @type {any} */ event) => (onlyRange.value = event.target.checked)} />
                Only the marked range ${marked ? `(${state.markIn.value ?? 0} to ${state.markOut.value ?? (state.media.value?.frame_count ?? 1) - 1})` : "(mark it with I and O)"}
              </label>
              <fieldset class="export-objects">
                <legend>Objects</legend>
                <label class="check"><input type="checkbox" checked=${onlyObjects.value === null} onChange=${(/** @type {any} */ event) => (onlyObjects.value = event.target.checked ? null : state.objects.value.map((object) => object.id))} /> All that are visible</label>
                ${onlyObjects.value !== null &&
                state.objects.value.map(
                  (object) => html`<label class="check">
                    <input
                      type="checkbox"
                      checked=${onlyObjects.value?.includes(object.id)}
                      onChange=${(/** @type {any} */ event) => {
                        const rest = (onlyObjects.value ?? []).filter((id) => id !== object.id);
                        onlyObjects.value = event.target.checked ? [...rest, object.id] : rest;
                      }}
                    />
                    <i class="dot" style=${{ background: object.color }}></i>${object.name}
                  </label>`,
                )}
              </fieldset>
            </div>
          </details>
        `}
        ${nothing && html`<p class="dim">There is nothing to export yet: click on an object first.</p>`}
        ${jobs.length > 0 &&
        html`<h3 style=${{ margin: "1rem 0 0.5rem" }}>Exports</h3>
          <ul class="stack">${jobs.reverse().slice(0, 8).map((job) => html`<${ExportJob} key=${job.id} job=${job} />`)}</ul>`}
      </div>
    </div>
  <//>`;
}

/** @param {{at: number, choice: number}} props */
function Destination({ at, choice }) {
  const { title, hint, choices } = DESTINATIONS[at];
  return html`<h2>${title}</h2>
    <p class="dim" style=${{ margin: "0.25rem 0 0.5rem" }}>${hint}</p>
    <div role="radiogroup" aria-label=${title}>
      ${choices.map(
        (entry, i) => html`<label class="check" key=${entry.title}>
          <input type="radio" name="export-choice" checked=${i === choice} onChange=${() => pick(at, i)} />${entry.title}
        </label>`,
      )}
    </div>`;
}

/** What will be written, and what of it has no mask. */
function Summary() {
  state.lanesChanged.value;
  const count = state.media.value?.frame_count ?? 1;
  const first = (onlyRange.value && state.markIn.value) || 0;
  const last = (onlyRange.value ? state.markOut.value : null) ?? count - 1;
  const objects = state.objects.value.filter((object) => onlyObjects.value?.includes(object.id) ?? object.visible);
  const missing = lacks(objects, state.lanes.value, first, last);
  return html`<div class=${classes("summary", missing.length > 0 && "lacks")} role="note" aria-label="Summary">
    <${Icon} name=${missing.length ? "warning" : "check"} />
    <div class="grow">
      <p>${plural(last - first + 1, "frame")} (${first}–${last}), ${plural(objects.length, "object")}${missing.length ? ":" : ", a mask on every frame."}</p>
      ${missing.map((sentence) => html`<p class="small">${sentence}</p>`)}
    </div>
  </div>`;
}

/** @param {{job: state.JobState}} props */
function ExportJob({ job }) {
  const going = state.isActive(job);
  return html`<li class="job" data-state=${job.state}>
    <div class="row">
      <span class="grow ellipsis">${job.title}</span>
      ${going
        ? html`<span class="dim number small">${job.done}${job.total ? ` / ${job.total}` : ""} ${duration(job.seconds_left)}</span>
            <button type="button" class="button" onClick=${() => attempt(() => api.jobAction(job.id, "cancel"))}>Cancel</button>`
        : job.state === "done"
          ? html`${state.studio.value?.local &&
              html`<button type="button" class="button" onClick=${() => attempt(() => api.jobAction(job.id, "reveal"))}><${Icon} name="folder" /> Open folder</button>`}
              <button type="button" class="button" onClick=${() => download(job.id)}><${Icon} name="download" /> Download</button>`
          : html`<span class="dim">${words(job.state)}</span>`}
    </div>
    ${going && html`<progress max=${job.total ?? 1} value=${job.total ? job.done : undefined} aria-label=${job.title}></progress>`}
    ${job.state === "done" && html`<p class="dim small">${job.folder ?? job.files[0] ?? ""}${job.files.length > 1 ? ` · ${plural(job.files.length, "file")}` : ""}</p>`}
    ${job.error && html`<p class="small" style=${{ color: "var(--danger)" }}>${job.error.message}</p>`}
    ${job.notes.map((note) => html`<p class="dim small">${note}</p>`)}
  </li>`;
}
