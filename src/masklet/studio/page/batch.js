/** A batch: its videos and how they are, and the way from one doubtful video to the next. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { announce, attempt, notify } from "./notices.js";
import { look } from "./review.js";
import * as state from "./state.js";
import { Icon, IconButton, batch, classes, computed, effect, html, signal, useEffect, useRef } from "./ui.js";

/** @typedef {import("./api-types.js").BatchVideo} Video */
/** @typedef {import("./api-types.js").BatchCounts} Counts */

const PART = 200; // videos that are listed at a time
// How long until the list is asked for again, in ms: while projects are looked into, while workers work, otherwise.
const SOON = 700;
const WORKING = 2000;
const RESTING = 4000;
const SEARCHING = "Looking for the next doubtful video";

/** @type {{state: keyof Counts | "", label: string}[]} */
const FILTERS = [
  { state: "", label: "All" },
  { state: "waiting", label: "Waiting" },
  { state: "running", label: "Running" },
  { state: "done", label: "Done" },
  { state: "failed", label: "Failed" },
];

const list = signal(/** @type {import("./api-types.js").BatchVideos | null} */ (null));
const start = signal(0);
const filter = signal(/** @type {keyof Counts | ""} */ (""));
const search = signal("");
/** Number of the video that was gone to last: the next doubtful one comes after it. */
const last = signal(0);
/** The jobs that export a video again, by its number. */
const exporting = signal(/** @type {Record<number, string>} */ ({}));
const isExporting = (/** @type {number} */ number) => {
  const job = state.jobs.value[exporting.value[number] ?? ""];
  return job !== undefined && state.isActive(job);
};

/**
 * Shows the list of a batch.
 * @param {string} path  its folder
 */
export async function openBatch(path) {
  const found = await attempt(() => api.openBatch(path));
  if (!found) return;
  if (state.project.peek()) actions.leave();
  batch(() => {
    if (state.batch.peek()?.id !== found.id) {
      list.value = null;
      last.value = 0;
      start.value = 0;
      filter.value = "";
      search.value = "";
    }
    if (!filter.peek() && !search.peek() && last.peek()) start.value = Math.floor((last.peek() - 1) / PART) * PART;
    state.batch.value = found;
  });
  actions.showPlace("batch", found.path);
  announce(`${found.name}: ${plural(total(found.counts), "video")}`);
}

/** Back from a project to where it was opened: the list of its batch, or the files. */
export async function leaveProject() {
  const place = state.project.peek()?.batch;
  if (place) await openBatch(place.path);
  else {
    actions.leave();
    actions.showPlace("start");
  }
}

function leaveBatch() {
  state.batch.value = null;
  actions.showPlace("start");
}

/** Opens a video, at what deserves a look most. @param {Video} video */
async function openVideo(video) {
  if (!video.project) return;
  last.value = video.number;
  if (!(await actions.open({ path: video.project }))) return;
  const worst = video.review?.worst;
  if (!worst) return;
  state.tab.value = "review";
  look(worst);
  notify(`${video.name}, ${video.review?.object}, ${frames(worst)}: ${worst.words}.`, { seconds: 8 });
}

/** Goes to the worst stretch of the next video, down the list, of which something deserves a look. */
export async function nextDoubtful() {
  const [project, place] = [state.project.peek()?.id, state.project.peek()?.batch ?? state.batch.peek()];
  if (!place || state.working.peek().includes(SEARCHING)) return;
  const answer = await attempt(() => actions.busy(SEARCHING, () => find(place.id)));
  // Who went elsewhere meanwhile is not called back.
  if (!answer || state.project.peek()?.id !== project || (!project && state.batch.peek()?.id !== place.id)) return;
  if (answer.video) await openVideo(answer.video);
  else if (!last.peek()) notify("No video of this batch has anything that deserves a look.");
  else {
    const fromTop = () => {
      last.value = 0;
      void nextDoubtful();
    };
    notify("No video further down has anything that deserves a look.", { action: { label: "From the top", run: fromTop }, seconds: 10 });
  }
}

/** @param {string} id */
async function find(id) {
  let answer = await api.nextDoubtful(id, last.peek());
  while (answer.go_on_after !== null) answer = await api.nextDoubtful(id, answer.go_on_after);
  return answer;
}

/** @type {import("./keyboard.js").Binding[]} */
export const BATCHES = [
  { group: "Batch", keys: ["Shift+v"], label: "Next doubtful video", run: nextDoubtful, when: () => Boolean(state.project.peek()?.batch ?? state.batch.peek()), always: true },
  { group: "Batch", keys: ["Shift+u"], label: "Up to the list", run: leaveProject, when: () => Boolean(state.project.peek()?.batch) },
];

/** Keeps the list true while it is looked at. */
export function startBatch() {
  effect(() => {
    const place = state.project.value?.batch;
    if (place) last.value = place.number;
  });
  const shown = computed(() => (state.project.value ? null : (state.batch.value?.id ?? null)));
  const exports = computed(() => Object.keys(exporting.value).filter((number) => isExporting(Number(number))).join());
  effect(() => {
    const id = shown.value;
    const wanted = { start: start.value, count: PART, state: filter.value || null, search: search.value };
    exports.value; // one that has ended
    if (!id || !state.online.value) return undefined;
    const controller = new AbortController();
    let timer = 0;
    const ask = async () => {
      let pause = RESTING;
      try {
        if (document.visibilityState === "visible") {
          const answer = await api.listVideos(id, wanted, controller.signal);
          if (controller.signal.aborted) return;
          list.value = answer;
          pause = answer.pending ? SOON : answer.batch.workers ? WORKING : RESTING;
        }
      } catch (problem) {
        if (controller.signal.aborted) return;
        console.warn(problem);
      }
      timer = setTimeout(ask, pause);
    };
    timer = setTimeout(ask, list.peek() ? 120 : 0); // who types goes on typing
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  });
}

/** @param {Counts} counts */
const total = (counts) => counts.waiting + counts.running + counts.done + counts.failed;
const frames = (/** @type {{first: number, last: number}} */ stretch) =>
  stretch.first === stretch.last ? `frame ${stretch.first}` : `frames ${stretch.first} to ${stretch.last}`;

// --- the list

export function BatchScreen() {
  const shown = list.value;
  const about = shown?.batch ?? state.batch.value;
  if (!about) return null;
  const { counts } = about;
  return html`<main class="batch">
    <header class="start-head">
      <${IconButton} icon="chevron-left" label="Back to the files" onClick=${leaveBatch} />
      <div class="grow">
        <h1 class="ellipsis">${about.name}</h1>
        <p class="dim">${sentence(about)}</p>
      </div>
      <button type="button" class="button primary" id="next-doubtful" title="The next video with something that deserves a look (Shift+V)" onClick=${nextDoubtful}>
        <${Icon} name="doubt-next" /> Next doubtful
      </button>
      <${IconButton} icon="keyboard" label="Keyboard" keys="?" onClick=${() => (state.dialog.value = "keys")} />
    </header>
    <div class="row batch-filter">
      <div class="segments" role="group" aria-label="Show">
        ${FILTERS.map(
          ({ state: name, label }) => html`<${IconButton}
            key=${name}
            icon=""
            label=${label}
            text=${`${label} ${(name ? counts[name] : total(counts)).toLocaleString("en")}`}
            pressed=${filter.value === name}
            onClick=${() => batch(() => { filter.value = name; start.value = 0; })}
          />`,
        )}
      </div>
      <span class="grow"></span>
      <input type="search" class="search" placeholder="Filter" aria-label="Filter videos" value=${search.value}
        onInput=${(/** @type {any} */ event) => batch(() => { search.value = event.target.value; start.value = 0; })} />
    </div>
    ${shown && html`<${Videos} shown=${shown} />`}
  </main>`;
}

/** How a batch is, in words. @param {import("./api-types.js").BatchState} about */
function sentence({ counts, workers, frames_done: done, frames_total: known }) {
  const left = counts.waiting + counts.running;
  const all = plural(total(counts), "video");
  if (!left) return `${all}, all of them ${counts.failed ? "done or failed" : "done"}.`;
  const far = known ? ` ${plural(done, "frame")} tracked so far.` : "";
  if (workers) return `${all}, ${left.toLocaleString("en")} to go, ${workers} at a time.${far}`;
  return `${all}, ${left.toLocaleString("en")} to go. Nothing is being tracked now: the command masklet batch goes on with it.`;
}

/** @param {{shown: import("./api-types.js").BatchVideos}} props */
function Videos({ shown }) {
  /** @type {(event: KeyboardEvent) => void} */
  const walk = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !(event.target instanceof HTMLElement)) return;
    const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".video-open")]);
    const next = rows[rows.findIndex((row) => row.parentElement?.contains(/** @type {Node} */ (event.target))) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  };
  const { videos, start: before, more } = shown;
  return html`
    <ol class="videos" aria-label="Videos" onKeyDown=${walk}>
      ${videos.map((video) => html`<${Row} key=${video.number} video=${video} />`)}
      ${videos.length === 0 && html`<li class="dim empty">${total(shown.batch.counts) ? "No video is like that." : "There is no video in this batch."}</li>`}
    </ol>
    ${(before > 0 || more) &&
    html`<nav class="row batch-parts" aria-label="Parts of the list">
      <button type="button" class="button" disabled=${!before} onClick=${() => (start.value = Math.max(0, before - PART))}>Before</button>
      <span class="dim">${(before + 1).toLocaleString("en")} to ${(before + videos.length).toLocaleString("en")}</span>
      <button type="button" class="button" disabled=${!more} onClick=${() => (start.value = before + PART)}>After</button>
    </nav>`}
  `;
}

/** @param {{video: Video}} props */
function Row({ video }) {
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const now = video.number === last.value;
  useEffect(() => {
    if (now) button.current?.focus();
  }, []);
  const open = video.project !== null;
  const Body = open ? "button" : "div";
  const going = isExporting(video.number);
  return html`<li class=${classes("video", `is-${kindOf(video)}`, now && "on")}>
    <${Body}
      ref=${button}
      type=${open ? "button" : undefined}
      class=${classes("video-body", open && "video-open")}
      aria-current=${now ? "true" : undefined}
      onClick=${open ? () => openVideo(video) : undefined}
    >
      ${video.thumbnail
        ? html`<img src=${video.thumbnail} alt="" loading="lazy" />`
        : html`<span class="no-picture"><${Icon} name="film" /></span>`}
      <span class="video-text">
        <b class="ellipsis">${video.name}</b>
        <span class="small dim">${wordsOf(video)}</span>
      </span>
      <span class="video-state">${stateOf(video)}</span>
    </${Body}>
    ${video.outdated &&
    html`<button
      type="button"
      class="button"
      title=${`It was corrected after its files were written (${video.formats.join(", ")}). The command masklet batch writes them again, too.`}
      disabled=${going}
      onClick=${() => {
        button.current?.focus(); // this button goes once it is done
        void exportAgain(video);
      }}
    >
      ${going ? html`<span class="spinner"></span>` : html`<${Icon} name="export" />`} Export again
    </button>`}
  </li>`;
}

/** @param {Video} video */
async function exportAgain(video) {
  const id = state.batch.peek()?.id;
  const job = id && (await attempt(() => api.exportVideoAgain(id, video.number)));
  if (job) exporting.value = { ...exporting.peek(), [video.number]: job.id };
}

/** @param {Video} video */
function kindOf({ state: name, review, silent }) {
  if (name === "running" && silent) return "stopped";
  return name === "done" && review?.worst ? "doubtful" : name;
}

/** How a video is, in a word or a number. @param {Video} video */
function stateOf(video) {
  switch (kindOf(video)) {
    case "doubtful":
      return plural(video.review?.stretches ?? 0, "place") + " to look at";
    case "running":
      return html`${video.total ? `${video.done} of ${video.total}` : "begins"}
        <progress max=${video.total || 1} value=${video.done} aria-label=${`Frames of ${video.name}`}></progress>`;
    default:
      return kindOf(video) + (video.state === "waiting" && video.retried ? " (retried)" : "");
  }
}

/** What else there is to say of it. @param {Video} video */
function wordsOf(video) {
  const far = video.total ? `${video.done.toLocaleString("en")} of ${plural(video.total, "frame")} tracked` : "";
  switch (kindOf(video)) {
    case "failed":
      return video.reason;
    case "doubtful":
      return `${video.review?.object}, ${frames(/** @type {any} */ (video.review?.worst))}: ${video.review?.worst?.words}`;
    case "done":
      if (!video.review) return video.project ? "" : "Its project is gone";
      return `${plural(video.done, "frame")}, nothing deserves a look`;
    case "stopped":
      return `Nobody works on it now. ${far}`;
    case "waiting": // those that somebody stopped, or that are tried again
      return [video.reason, far].filter(Boolean).join(" ");
    default:
      return "";
  }
}
