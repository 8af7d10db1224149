/** Messages: toasts for people who see, a live region for people who listen. */
import { ApiError, wasAborted } from "./api.js";
import { dialog } from "./state.js";
import { Icon, html, signal, useEffect, useRef } from "./ui.js";

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

export function Notices() {
  const toasts = useRef(/** @type {HTMLElement | null} */ (null));
  const some = notices.value.length > 0;
  const over = dialog.value;
  useEffect(() => {
    // The last that was opened lies on top, so after a dialog the messages are opened anew.
    const element = toasts.current;
    if (element?.matches(":popover-open")) element.hidePopover();
    if (some) element?.showPopover();
  }, [some, over]);
  return html`
    <div class="visually-hidden" role="status" aria-live="polite" id="spoken">${spoken}</div>
    <div class="toasts" popover="manual" ref=${toasts} role="region" aria-label="Messages" aria-live="polite">
      ${notices.value.map(
        (notice) => html`<div class=${`toast ${notice.kind}`} key=${notice.id} role=${notice.kind === "error" ? "alert" : undefined}>
          <${Icon} name=${notice.kind === "error" ? "warning" : "why"} />
          <p>${notice.text}</p>
          ${notice.action &&
          html`<button
            type="button"
            class="link"
            onClick=${() => {
              notice.action?.run();
              dismiss(notice.id);
            }}
          >
            ${notice.action.label}
          </button>`}
          <button type="button" class="icon-button tiny" aria-label="Dismiss" onClick=${() => dismiss(notice.id)}>
            <${Icon} name="close" />
          </button>
        </div>`,
      )}
    </div>
  `;
}
