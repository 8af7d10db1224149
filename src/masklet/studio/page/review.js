/** "Review": what deserves a look, worst first; what to do about it; and where one click helps most. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { plural } from "./format.js";
import { attempt, notify } from "./notices.js";
import { showTabOnly } from "./panel.js";
import * as state from "./state.js";
import { Icon, IconButton, batch, classes, effect, html, signal } from "./ui.js";

/** @typedef {import("./api-types.js").ReviewState} ReviewState */
/** @typedef {import("./api-types.js").Stretch} Stretch */

/** The queue of the open project, while somebody looks at it. */
const review = signal(/** @type {ReviewState | null} */ (null));
/** The stretch that is looked at, by what it is about: the queue may change meanwhile. */
const chosen = signal("");
/** Where masks are likely to be wrong on a frame. */
export const heat = signal(/** @type {{frame: number, picture: ImageBitmap, point: number[] | null} | null} */ (null));

const keyOf = (/** @type {Stretch} */ stretch) => `${stretch.object_id} ${stretch.first} ${stretch.last}`;
const nameOf = (/** @type {number} */ id) => state.objects.value.find((object) => object.id === id)?.name ?? "";

/** The queue is asked for again whenever the project changed, while the panel shows it. */
export function startReview() {
  let shown = "";
  effect(() => {
    const project = state.project.value;
    state.lanes.value;
    heat.value = null; // what it showed may have been put right
    if (project?.id !== shown) review.value = null; // a verdict must not be about another project's stretch
    shown = project?.id ?? "";
    if (!project || state.tab.value !== "review" || !state.panelOpen.value) return undefined;
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const answer = await api.getReview(project.id, controller.signal);
        if (!controller.signal.aborted) review.value = answer;
      } catch (problem) {
        if (!api.wasAborted(problem)) console.warn(problem);
      }
    }, 150);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  });
}

/** Shows a stretch, its worst frame first. @param {Stretch} stretch */
export function look(stretch) {
  batch(() => {
    chosen.value = keyOf(stretch);
    state.currentObject.value = stretch.object_id;
    heat.value = null;
    actions.seek(stretch.worst);
  });
}

/** The next or previous stretch of the queue, from the one that is looked at. @param {1 | -1} step */
function lookAtNext(step) {
  const queue = review.peek()?.queue ?? [];
  if (!queue.length) return notify("Nothing is left to review.");
  const at = queue.findIndex((stretch) => keyOf(stretch) === chosen.peek());
  look(queue[at < 0 ? 0 : (at + step + queue.length) % queue.length]);
}

/** Says what was thought of the stretch that is looked at, and goes on to the next. @param {"accepted" | "rejected"} verdict */
async function judge(verdict) {
  const project = state.project.peek();
  const queue = review.peek()?.queue ?? [];
  const at = queue.findIndex((stretch) => keyOf(stretch) === chosen.peek());
  if (!project || at < 0) return notify("Choose a stretch in the list first.");
  const { object_id: object, first, last } = queue[at];
  if (!(await attempt(() => api.judge(project.id, { object, first, last, verdict })))) return;
  const next = queue[(at + 1) % queue.length];
  if (queue.length > 1) look(next);
  else chosen.value = "";
}

/** Goes where one click is expected to help most, and shows why as a heat map over the picture. */
async function correctNext() {
  const project = state.project.peek();
  if (!project) return;
  const answer = await attempt(() => api.getReview(project.id));
  if (!answer) return;
  review.value = answer;
  const { next } = answer;
  if (!next) return notify("Nothing is left to correct: track something first, or you have decided all of it.");
  batch(() => {
    showTabOnly("review");
    const around = answer.queue.find(({ object_id: id, first, last }) => id === next.object_id && first <= next.frame && next.frame <= last);
    chosen.value = around ? keyOf(around) : "";
    state.currentObject.value = next.object_id;
    state.tool.value = "point";
    actions.seek(next.frame);
  });
  const picture = await attempt(() => api.getPicture(api.heatAddress(project.id, next.frame, next.object_id)));
  if (picture && state.frame.peek() === next.frame) heat.value = { frame: next.frame, picture, point: next.point };
}

/** @type {import("./keyboard.js").Binding[]} */
export const REVIEWING = [
  { group: "Review", keys: ["f"], label: "Next stretch to review", run: () => lookAtNext(1) },
  { group: "Review", keys: ["Shift+f"], label: "Previous one", run: () => lookAtNext(-1) },
  { group: "Review", keys: ["Shift+a"], label: "Accept it", run: () => judge("accepted") },
  { group: "Review", keys: ["Shift+m"], label: "Reject it", run: () => judge("rejected") },
  { group: "Review", keys: ["Shift+w"], label: "Correct here next: where one click helps most", run: correctNext },
];

/**
 * The heat map, and a cross where the click is expected to help most.
 * @param {CanvasRenderingContext2D} context
 * @param {number} frame
 * @param {import("./compositor.js").Scene} scene
 */
export function drawHeat(context, frame, scene) {
  const shown = heat.peek();
  if (shown?.frame !== frame || state.playing.peek()) return;
  const { camera, width, height, unit } = scene;
  context.setTransform(camera.zoomX, 0, 0, camera.zoom, camera.x, camera.y);
  context.drawImage(shown.picture, 0, 0, width, height);
  if (!shown.point) return;
  context.setTransform(1, 0, 0, 1, 0, 0);
  const [x, y] = [camera.x + shown.point[0] * camera.zoomX, camera.y + shown.point[1] * camera.zoom];
  for (const [style, line] of /** @type {[string, number][]} */ ([["#000c", 4], ["#ffffff", 2]])) {
    context.strokeStyle = style;
    context.lineWidth = line * unit;
    context.beginPath();
    context.arc(x, y, 9 * unit, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * unit * dx, y + 5 * unit * dy);
      context.lineTo(x + 15 * unit * dx, y + 15 * unit * dy);
    }
    context.stroke();
  }
}

// --- the panel

export function Review() {
  const found = review.value;
  if (!found) return html`<p class="dim">Looking…</p>`;
  const at = found.queue.findIndex((stretch) => keyOf(stretch) === chosen.value);
  return html`
    <div class="section">
      <button type="button" class="button edit primary" id="correct-next" title="Where one click is expected to help most (Shift+W)" disabled=${!found.next} onClick=${correctNext}>
        <${Icon} name="click" /><span class="grow">Correct here next</span>
      </button>
      ${found.next &&
      html`<p class="dim small" style=${{ marginTop: "0.375rem" }}>
        ${nameOf(found.next.object_id)}, frame ${found.next.frame}: ${found.next.words}.
      </p>`}
      ${heat.value && html`<p class="teach">The brighter a place, the more likely its mask is wrong. One click near the cross is expected to help most.</p>`}
    </div>
    <div class="row review-steps">
      <h2 class="grow">${found.queue.length ? plural(found.queue.length, "stretch", "stretches") : "Nothing deserves a look"}</h2>
      <${IconButton} icon="chevron-left" label="Previous stretch" keys="Shift+F" disabled=${!found.queue.length} onClick=${() => lookAtNext(-1)} />
      <${IconButton} icon="chevron-right" label="Next stretch" keys="F" disabled=${!found.queue.length} onClick=${() => lookAtNext(1)} />
      <${IconButton} icon="check" label="Accept: these masks are right" keys="Shift+A" disabled=${at < 0} onClick=${() => judge("accepted")} />
      <${IconButton} icon="close" label="Reject: these masks are wrong" keys="Shift+M" disabled=${at < 0} onClick=${() => judge("rejected")} />
    </div>
    <ol class="review-list" aria-label="Stretches to review, worst first">
      ${found.queue.map((stretch) => html`<${Entry} key=${keyOf(stretch)} stretch=${stretch} />`)}
    </ol>
    <p class="teach">
      ${found.accepted ? `${plural(found.accepted, "stretch was", "stretches were")} accepted. ` : ""}What you accept
      leaves the list until its masks change.
    </p>
  `;
}

/** @param {{stretch: Stretch}} props */
function Entry({ stretch }) {
  const project = state.project.value;
  if (!project) return null;
  const frames = stretch.first === stretch.last ? `frame ${stretch.first}` : `frames ${stretch.first} to ${stretch.last}`;
  const now = keyOf(stretch) === chosen.value;
  return html`<li>
    <button
      type="button"
      class=${classes("review-entry", now && "on", stretch.reasons.includes("rejected") && "rejected")}
      aria-current=${now ? "true" : "false"}
      onClick=${() => look(stretch)}
    >
      <img src=${api.thumbnailAddress(project.id, stretch.worst, project.media.fingerprint)} alt="" loading="lazy" />
      <span class="stack">
        <b>${nameOf(stretch.object_id)}, ${frames}</b>
        <span class="small dim">${stretch.words}</span>
      </span>
    </button>
  </li>`;
}
