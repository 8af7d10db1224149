/** The first screen: recent projects, files below the root, uploads. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { openBatch } from "./batch.js";
import { Dialog, close } from "./dialog.js";
import { ago, plural, size } from "./format.js";
import { attempt, complain, notify } from "./notices.js";
import * as state from "./state.js";
import { Icon, IconButton, classes, html, signal, useEffect, useRef } from "./ui.js";

/** @typedef {import("./api-types.js").FileEntry} FileEntry */

const recent = signal(/** @type {import("./api-types.js").RecentProject[] | null} */ (null));
const files = signal(/** @type {import("./api-types.js").FileList | null} */ (null));
const sending = signal(/** @type {{name: string, share: number, stop: AbortController} | null} */ (null));
const dropping = signal(false);
const search = signal("");

const ICONS = { folder: "folder", batch: "batch", video: "film", image: "picture", sequence: "sequence", project: "project" };

/** @param {string} path */
async function show(path) {
  const list = await attempt(() => api.listFiles(path));
  if (list) {
    files.value = list;
    search.value = "";
  }
}

async function load() {
  const list = await attempt(api.listRecent);
  if (list) recent.value = list;
  await show(files.peek()?.path ?? "");
}

/**
 * Sends files; several pictures become one sequence.
 * @param {File[]} given
 */
async function send(given) {
  if (!given.length || sending.peek()) return;
  const limit = state.studio.peek()?.upload_limit ?? Infinity;
  const large = given.find((file) => file.size > limit);
  if (large) {
    notify(`${large.name} has ${size(large.size)}; uploads may have ${size(limit)}. Put it into the folder of the studio instead.`, { kind: "error" });
    return;
  }
  const pictures = given.length > 1 && given.every((file) => file.type.startsWith("image/"));
  const list = pictures ? [...given].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })) : given.slice(0, 1);
  const folder = pictures ? `${list[0].name.replace(/[\d_.-]*\.[^.]*$/, "") || "pictures"}-${Date.now().toString(36)}` : undefined;
  const stop = new AbortController();
  /** @type {import("./api-types.js").Uploaded | null} */
  let done = null;
  try {
    for (const [i, file] of list.entries()) {
      sending.value = { name: pictures ? `${i + 1} of ${list.length} pictures` : file.name, share: pictures ? i / list.length : 0, stop };
      done = await api.upload(file, {
        folder,
        signal: stop.signal,
        onProgress: (share) => {
          if (sending.peek()) sending.value = { name: sending.value?.name ?? "", share: (i + share) / list.length, stop };
        },
      });
    }
  } catch (problem) {
    complain(problem);
    done = null;
  } finally {
    sending.value = null;
  }
  if (!done) return;
  const path = pictures ? done.path.split("/").slice(0, -1).join("/") : done.path;
  await actions.open(pictures ? { path, sequence: true } : { path });
}

/** @param {FileEntry} entry */
const openFile = ({ kind, path }) =>
  kind === "batch" ? openBatch(path) : actions.open(kind === "sequence" ? { path, sequence: true } : { path });

/** Asks where the video of a project went. A wrong one is refused, and the dialog says why. */
export function RelinkDialog() {
  const missing = state.missing.value;
  if (!missing) return null;
  /** @param {FileEntry} entry */
  const choose = async (entry) => {
    if (await actions.open({ path: missing.path, source: entry.path })) close();
  };
  return html`<${Dialog}
    title="Where is the video?"
    foot=${html`<button type="button" class="button" onClick=${close}>Cancel</button>`}
  >
    <p role="alert">${missing.why}</p>
    <p class="dim">Choose it here, whatever it is called now.</p>
    <${Files} id="relink-title" kinds=${["folder", "video", "image", "sequence"]} onChoose=${choose} />
  </${Dialog}>`;
}

export function OpenScreen() {
  const chooser = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    void load();
    /** @type {(event: DragEvent) => void} */
    const over = (event) => {
      event.preventDefault();
      dropping.value = true;
    };
    /** @type {(event: DragEvent) => void} */
    const leave = (event) => {
      if (!event.relatedTarget) dropping.value = false;
    };
    /** @type {(event: DragEvent) => void} */
    const drop = (event) => {
      event.preventDefault();
      dropping.value = false;
      void send([...(event.dataTransfer?.files ?? [])]);
    };
    document.addEventListener("dragover", over);
    document.addEventListener("dragleave", leave);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("dragover", over);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    };
  }, []);
  const going = sending.value;
  const opening = state.working.value.includes("Opening");
  return html`<main class=${classes("start", dropping.value && "dropping")}>
    <header class="start-head">
      <${Icon} name="logo" />
      <div class="grow">
        <h1>masklet studio</h1>
        <p class="dim">Point at something in a video or picture, and cut it out. Nothing leaves this machine.</p>
      </div>
      <${IconButton} icon="settings" label="Settings" onClick=${() => (state.dialog.value = "settings")} />
    </header>
    <section class="drop" aria-label="Open a file">
      ${going
        ? html`<div class="grow">
              <p>Sending ${going.name}…</p>
              <progress max="1" value=${going.share} aria-label="Sending"></progress>
            </div>
            <button type="button" class="button" onClick=${() => going.stop.abort()}>Cancel</button>`
        : html`<${Icon} name="upload" />
            <p class="grow">${dropping.value ? "Let go to open it." : "Drop a video, a picture or a sequence of pictures here."}</p>
            ${opening && html`<span class="spinner" role="status" aria-label="Opening"></span>`}
            <button type="button" class="button primary" onClick=${() => chooser.current?.click()}>Choose files…</button>
            <input
              ref=${chooser}
              type="file"
              hidden
              multiple
              aria-label="Files to send"
              accept="video/*,image/*,.masklet,.mkv,.exr,.dpx,.tif,.tiff"
              onChange=${(/** @type {any} */ event) => {
                void send([...event.target.files]);
                event.target.value = "";
              }}
            />`}
    </section>
    <div class="start-columns">
      <section aria-labelledby="recent-title">
        <h2 id="recent-title">Recent projects</h2>
        ${recent.value && recent.value.length === 0 && html`<p class="dim empty">None yet. A project is saved beside its video by itself.</p>`}
        <ul class="recent">
          ${(recent.value ?? []).map((entry) => html`<${Recent} key=${entry.path} entry=${entry} />`)}
        </ul>
      </section>
      <${Files} id="files-title" onChoose=${openFile} />
    </div>
  </main>`;
}

/** @param {{entry: import("./api-types.js").RecentProject}} props */
function Recent({ entry }) {
  return html`<li>
    <button type="button" class="card" title=${entry.path} onClick=${() => actions.open({ path: entry.path })}>
      ${entry.thumbnail
        ? html`<img src=${entry.thumbnail} alt="" loading="lazy" />`
        : html`<span class="no-picture"><${Icon} name=${entry.frame_count > 1 ? "film" : "picture"} /></span>`}
      <span class="card-text">
        <b class="ellipsis">${entry.name}</b>
        <span class="dim small ellipsis">
          ${entry.source_there
            ? `${plural(entry.objects, "object")} · ${entry.frame_count > 1 ? `${entry.tracked_frames} of ${plural(entry.frame_count, "frame")}` : "picture"}`
            : "its video was not found"}
        </span>
        <span class="dim small">${ago(entry.modified)}${entry.open_id ? " · open" : ""}</span>
      </span>
    </button>
  </li>`;
}

/**
 * What there is below the root.
 * @param {{onChoose: (entry: FileEntry) => void, id: string, kinds?: FileEntry["kind"][]}} props
 */
function Files({ onChoose, id, kinds }) {
  const list = files.value;
  if (!list) return html`<section></section>`;
  const wanted = search.value.toLowerCase();
  const shown = kinds ? list.entries.filter((entry) => kinds.includes(entry.kind)) : list.entries;
  const entries = shown.filter((entry) => entry.name.toLowerCase().includes(wanted));
  const parts = list.path ? list.path.split("/") : [];
  return html`<section aria-labelledby=${id}>
    <div class="row files-head">
      <h2 id=${id}>Files</h2>
      <nav class="crumbs grow ellipsis" aria-label="Folder">
        <button type="button" class="link" onClick=${() => show("")}>${state.studio.value?.root ?? "Root"}</button>
        ${parts.map(
          (part, i) => html` / <button type="button" class="link" onClick=${() => show(parts.slice(0, i + 1).join("/"))}>${part}</button>`,
        )}
      </nav>
      <input type="search" class="search" placeholder="Filter" aria-label="Filter files" value=${search.value} onInput=${(/** @type {any} */ event) => (search.value = event.target.value)} />
    </div>
    <ul class="files">
      ${list.parent !== null &&
      html`<li><button type="button" class="file" onClick=${() => show(list.parent ?? "")}><${Icon} name="folder-up" /><span class="grow">Up</span></button></li>`}
      ${list.batch &&
      !kinds &&
      html`<li><button type="button" class="file" onClick=${() => openBatch(list.path)}><${Icon} name="batch" /><span class="grow">The batch in this folder</span></button></li>`}
      ${entries.map((entry) => html`<${File} key=${entry.path} entry=${entry} onChoose=${onChoose} />`)}
      ${entries.length === 0 && html`<li class="dim empty">${shown.length ? "Nothing here has that in its name." : "No videos, pictures or projects here."}</li>`}
      ${list.truncated && html`<li class="dim empty">There are more than can be listed.</li>`}
    </ul>
  </section>`;
}

/** @param {{entry: FileEntry, onChoose: (entry: FileEntry) => void}} props */
function File({ entry, onChoose }) {
  return html`<li>
    <button type="button" class="file" onClick=${() => (entry.kind === "folder" ? show(entry.path) : onChoose(entry))}>
      <${Icon} name=${ICONS[entry.kind]} />
      <span class="grow ellipsis">${entry.name}</span>
      <span class="dim small">${entry.kind === "batch" ? "batch" : entry.count ? plural(entry.count, "picture") : size(entry.size)}</span>
    </button>
  </li>`;
}
