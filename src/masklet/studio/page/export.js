/** The export dialog: every format with its options, progress, and what came out. */
import * as api from "./api.js";
import { Dialog, close } from "./dialog.js";
import { duration, plural, words } from "./format.js";
import { attempt, complain } from "./notices.js";
import { SchemaForm, fieldsOf } from "./schemaform.js";
import * as state from "./state.js";
import { download } from "./sync.js";
import { Icon, classes, html, signal, useEffect } from "./ui.js";

/** @type {import("./vendor/signals-core.js").Signal<import("./api-types.js").FormatState[]>} */
const formats = signal(/** @type {import("./api-types.js").FormatState[]} */ ([]));
const chosen = signal("vp9-alpha");
/** Options by format, so that going back and forth forgets nothing. */
const options = signal(/** @type {Record<string, Record<string, any>>} */ ({}));
const path = signal("");
const onlyRange = signal(false);
const onlyObjects = signal(/** @type {number[] | null} */ (null));
const overwrite = signal(false);
const problem = signal("");

const GROUPS = { video: "Video", sequence: "Picture sequences", dataset: "Data sets", still: "Stills", animation: "Animations" };

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
    if (!(error instanceof api.ApiError)) complain(error);
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
  return html`<${Dialog}
    title="Export"
    foot=${html`
      ${problem.value && html`<p class="grow" role="alert" style=${{ color: "var(--danger)" }}>${problem.value}</p>`}
      <button type="button" class="button" onClick=${close}>Close</button>
      <button type="button" class="button primary" id="export-start" disabled=${!format || nothing} onClick=${begin}>Export</button>
    `}
  >
    <div class="export">
      <nav class="formats" aria-label="Formats">
        ${Object.entries(GROUPS).map(([group, title]) => {
          const list = formats.value.filter((entry) => entry.group === group);
          return list.length > 0 && html`<h3>${title}</h3>
            <ul>
              ${list.map(
                (entry) => html`<li>
                  <button
                    type="button"
                    class=${classes("format", entry.name === chosen.value && "chosen")}
                    aria-current=${entry.name === chosen.value ? "true" : undefined}
                    data-format=${entry.name}
                    onClick=${() => {
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
          <h2>${format.title}</h2>
          <p class="dim" style=${{ margin: "0.25rem 0 0.75rem" }}>${format.description}</p>
          <${SchemaForm}
            key=${format.name}
            prefix="export"
            fields=${fields}
            values=${options.value[format.name] ?? {}}
            onChange=${(/** @type {string} */ name, /** @type {any} */ value) => {
              options.value = { ...options.value, [format.name]: { ...options.value[format.name], [name]: value } };
            }}
          />
          <details class="export-where">
            <summary>Where, and what of it</summary>
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
