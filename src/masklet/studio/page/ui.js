/**
 * What every component imports: Preact, its hooks, signals, and `html`, which makes elements from templates.
 */
import { h, render, Fragment } from "./vendor/preact.js";
import { useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
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
    ${icon && html`<${Icon} name=${icon} />`}${text ? html`<span>${text}</span>` : null}
  </button>`;
}

/**
 * A field for text, a number or a colour. What is typed stays in it, whatever news draws the page anew meanwhile: Enter
 * or leaving the field says it, Escape takes it back, and both give the keys back to the page.
 * @param {{value: string | number | null | undefined, onChange: (text: string) => void, onBlur?: () => void,
 *   selected?: boolean, [attribute: string]: any}} props  `selected`: has the focus from the beginning
 */
export function Draft({ value, onChange, onBlur, selected, ...attributes }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [draft, setDraft] = useState(/** @type {string | null} */ (null));
  const text = String(value ?? "");
  // Before the next key comes: what is typed is for this field.
  useLayoutEffect(() => {
    if (!selected) return;
    field.current?.focus();
    field.current?.select();
  }, []);
  /** @param {any} event */
  const keep = (event) => setDraft(event.target.value);
  return html`<input
    ...${attributes}
    ref=${field}
    value=${draft ?? text}
    onFocus=${keep}
    onInput=${keep}
    onChange=${(/** @type {any} */ event) => {
      setDraft(null);
      onChange(event.target.value);
    }}
    onBlur=${() => {
      setDraft(null);
      onBlur?.();
    }}
    onKeyDown=${(/** @type {any} */ event) => {
      if (event.key === "Escape") event.target.value = text;
      if (event.key === "Escape" || (event.key === "Enter" && event.target.type !== "color")) event.target.blur();
    }}
  />`;
}

/**
 * Joins the class names that hold.
 * @param {...(string | false | null | undefined)} names
 */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}
