/** Messages: a line below everything for people who see, a live region for people who listen. */
import { ApiError, wasAborted } from "./api.js";
import { Icon, IconButton, classes, html, signal } from "./ui.js";

/** @typedef {{id: number, text: string, kind: "info" | "error", action?: {label: string, run: () => void}}} Notice */

/** @type {import("./vendor/signals-core.js").Signal<Notice[]>} */
export const notices = signal(/** @type {Notice[]} */ ([]));
export const spoken = signal("");
let next = 1;

/**
 * @param {string} text
 * @param {{kind?: "info" | "error", action?: {label: string, run: () => void}, seconds?: number}} [options]
 */
export function notify(text, { kind = "info", action, seconds = kind === "error" ? 12 : 5 } = {}) {
  const id = next++;
  // The same sentence twice is no news.
  notices.value = [...notices.value.filter((notice) => notice.text !== text), { id, text, kind, action }].slice(-4);
  setTimeout(() => dismiss(id), seconds * 1000);
}

/** @param {number} id */
export function dismiss(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** Tells screen readers. @param {string} text */
export function announce(text) {
  spoken.value = text;
}

/** Shows what went wrong as a sentence. @param {unknown} problem */
export function complain(problem) {
  if (wasAborted(problem)) return;
  if (!(problem instanceof ApiError)) console.error(problem);
  notify(problem instanceof Error ? problem.message : String(problem), { kind: "error" });
}

/**
 * Runs something and shows what goes wrong.
 * @template V
 * @param {() => Promise<V>} run
 * @returns {Promise<V | undefined>}
 */
export async function attempt(run) {
  try {
    return await run();
  } catch (problem) {
    complain(problem);
    return undefined;
  }
}

/** What the line says while there is no message: what can be done here. */
export const hint = signal("");

/** For screen readers, what is nowhere to be read. */
export function Spoken() {
  return html`<div class="visually-hidden" role="status" aria-live="polite" id="spoken">${spoken}</div>`;
}

/**
 * The line with the latest message; those before it come back when it is dismissed.
 * @param {{children?: import("./ui.js").Children}} props  what stands at its end
 */
export function StatusLine({ children }) {
  const notice = notices.value.at(-1);
  const before = notices.value.length - 1;
  return html`<div class=${classes("status", notice?.kind)}>
    <div class="notice" role=${notice?.kind === "error" ? "alert" : "status"}>
      ${notice
        ? html`<${Icon} name=${notice.kind === "error" ? "warning" : "why"} /><p key=${notice.id}>${notice.text}</p>`
        : html`<p class="dim">${hint}</p>`}
    </div>
    ${notice?.action &&
    html`<button
      type="button"
      class="link"
      onClick=${() => {
        dismiss(notice.id);
        notice.action?.run();
      }}
    >
      ${notice.action.label}
    </button>`}
    ${notice && html`<${IconButton} icon="close" class="tiny" label="Dismiss" text=${before ? `${before} more` : ""} onClick=${() => dismiss(notice.id)} />`}
    ${children}
  </div>`;
}
