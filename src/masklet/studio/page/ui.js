/**
 * What every component imports: Preact, its hooks, signals, and `html`, which makes elements from templates.
 */
import { h, render, Fragment } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from "./vendor/signals.js";
export { h, render, Fragment };

/** @typedef {import("./vendor/preact.js").VNode} VNode */
/** @typedef {import("./vendor/preact.js").ComponentChildren} Children */

export const html = htm.bind(/** @type {(type: any, props: any, ...children: any[]) => VNode} */ (h));

/**
 * One icon of the sprite `icons.svg`; a picture only, the button around it carries the name.
 * @param {{name: string, size?: number}} props
 */
export function Icon({ name, size = 16 }) {
  return html`<svg class="icon" width=${size} height=${size} aria-hidden="true"><use href=${`icons.svg#${name}`} /></svg>`;
}

/**
 * A button that is an icon. The label is its name for screen readers and its hint; `keys` is added to the hint.
 * @param {{icon: string, label: string, keys?: string, onClick: (event: MouseEvent) => void, pressed?: boolean,
 *   disabled?: boolean, class?: string, id?: string, text?: string}} props
 */
export function IconButton({ icon, label, keys, onClick, pressed, disabled, class: extra = "", id, text }) {
  return html`<button
    type="button"
    id=${id}
    class=${`icon-button ${extra}`}
    aria-label=${label}
    title=${keys ? `${label} (${keys})` : label}
    aria-pressed=${pressed === undefined ? undefined : String(pressed)}
    disabled=${disabled}
    onClick=${onClick}
  >
    <${Icon} name=${icon} />${text ? html`<span>${text}</span>` : null}
  </button>`;
}

/**
 * Joins the class names that hold.
 * @param {...(string | false | null | undefined)} names
 */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}
