/** A dialog that keeps the focus in it, closes with Escape, and gives the focus back. */
import { StatusLine, notices } from "./notices.js";
import * as state from "./state.js";
import { IconButton, html, useLayoutEffect, useRef } from "./ui.js";

export const close = () => {
  state.dialog.value = null;
};

/**
 * @param {{title: string, children?: any, foot?: any}} props
 */
export function Dialog({ title, children, foot }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useLayoutEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    element.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog
    ref=${element}
    aria-label=${title}
    onClose=${close}
    onMouseDown=${(/** @type {MouseEvent} */ event) => event.target === element.current && close()}
  >
    <div class="dialog-head">
      <h2>${title}</h2>
      <${IconButton} icon="close" label="Close" keys="Esc" onClick=${close} />
    </div>
    <div class="dialog-body">${children}</div>
    ${notices.value.length > 0 && html`<${StatusLine} />`}
    ${foot && html`<div class="dialog-foot">${foot}</div>`}
  </dialog>`;
}
