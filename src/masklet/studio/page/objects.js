/** The list of objects. */
import * as actions from "./actions.js";
import { retrack } from "./correction.js";
import { plural } from "./format.js";
import { Labels } from "./labels.js";
import * as state from "./state.js";
import { Draft, Icon, IconButton, classes, html, signal } from "./ui.js";

/** The object whose name is being changed. */
export const renaming = signal(/** @type {number | null} */ (null));

export function Objects() {
  const list = state.objects.value;
  return html`
    <div class="row" style=${{ marginBottom: "0.5rem" }}>
      <h2 class="grow">${list.length ? plural(list.length, "object") : "Objects"}</h2>
      <button type="button" class="button" onClick=${actions.addObject} title="Add an object (A)">
        <${Icon} name="plus" /> Add
      </button>
    </div>
    ${list.length === 0 &&
    html`<p class="dim">Click on the picture, and an object is made. More objects can begin at any frame.</p>`}
    <ul class="objects" aria-label="Objects">
      ${list.map((object) => html`<${Row} key=${object.id} object=${object} />`)}
    </ul>
    ${state.selected.value && html`<${Details} object=${state.selected.value} />`}
  `;
}

/** @param {{object: state.ObjectState}} props */
function Row({ object }) {
  const current = object.id === state.currentObject.value;
  const soloed = state.solo.value === object.id;
  const off = state.solo.value === null ? !object.visible : !soloed;
  return html`<li class=${classes("object", current && "current", off && "off")} aria-current=${current ? "true" : undefined}>
    <span class="swatch" style=${{ background: object.color }}>
      <${Draft}
        type="color"
        value=${object.color}
        aria-label=${`Colour of ${object.name}`}
        title="Colour"
        onChange=${(/** @type {string} */ color) => actions.changeObject(object.id, { color })}
      />
    </span>
    ${renaming.value === object.id ? html`<${Rename} object=${object} />` : html`<button
          type="button"
          class="name ellipsis"
          title="Select; double-click or F2 to rename"
          onClick=${() => (state.currentObject.value = object.id)}
          onDblClick=${() => (renaming.value = object.id)}
        >
          ${object.name}
        </button>`}
    <${IconButton}
      icon=${object.visible ? "eye" : "eye-off"}
      class="tiny"
      label=${object.visible ? `Hide ${object.name}` : `Show ${object.name}`}
      keys=${current ? "D" : undefined}
      pressed=${object.visible}
      onClick=${() => actions.changeObject(object.id, { visible: !object.visible })}
    />
    <${IconButton}
      icon="solo"
      class="tiny"
      label=${`Show ${object.name} alone`}
      keys=${current ? "S" : undefined}
      pressed=${soloed}
      onClick=${() => (state.solo.value = soloed ? null : object.id)}
    />
    <${IconButton}
      icon=${object.locked ? "lock" : "unlock"}
      class="tiny"
      label=${object.locked ? `Unlock ${object.name}` : `Lock ${object.name}`}
      keys=${current ? "Shift+D" : undefined}
      pressed=${object.locked}
      onClick=${() => actions.changeObject(object.id, { locked: !object.locked })}
    />
    <${IconButton} icon="trash" class="tiny" label=${`Delete ${object.name}`} onClick=${() => actions.removeObject(object.id)} />
  </li>`;
}

/** @param {{object: state.ObjectState}} props */
function Rename({ object }) {
  return html`<${Draft}
    selected
    type="text"
    class="name"
    maxlength="200"
    aria-label="Name of the object"
    value=${object.name}
    onChange=${(/** @type {string} */ text) => text.trim() && actions.changeObject(object.id, { name: text.trim() })}
    onBlur=${() => (renaming.value = null)}
  />`;
}

/** What is said about the selected object here, and how far it is tracked. @param {{object: state.ObjectState}} props */
function Details({ object }) {
  state.lanesChanged.value;
  const index = state.frame.value;
  const here = state.promptsOn(index, object.id);
  const frames = state.promptFrames(object.id);
  const tracked = state.lanes.value[object.id]?.tracked() ?? 0;
  const count = state.media.value?.frame_count ?? 0;
  const points = here.reduce((sum, record) => sum + record.points.length, 0);
  const parts = [
    points ? plural(points, "click") : "",
    here.some((record) => record.box) ? "a box" : "",
    here.some((record) => record.mask === "painted") ? "a painted mask" : "",
    here.some((record) => record.mask === "candidate") ? "another candidate" : "",
    here.some((record) => record.mask === "tracked") ? "a correction" : "",
  ].filter(Boolean);
  return html`<div class="section" style=${{ marginTop: "1rem", borderTop: "1px solid var(--line)", paddingTop: "0.75rem" }}>
    <h3>${object.name}</h3>
    <p class="small">${tracked} of ${plural(count, "frame")} have a mask.</p>
    <p class="small dim">${parts.length ? `Prompts on this frame: ${parts.join(", ")}.` : "No prompt on this frame."}</p>
    ${frames.length > 0 &&
    html`<p class="small dim">
      Prompts on
      ${frames.slice(0, 12).map(
        (frame, i) => html`${i ? ", " : " "}<button type="button" class="link" onClick=${() => actions.seek(frame)}>${frame}</button>`,
      )}${frames.length > 12 ? ` and ${frames.length - 12} more` : ""}.
    </p>`}
    <div class="row" style=${{ margin: "0.5rem 0 0.75rem", flexWrap: "wrap" }}>
      <button type="button" class="button" disabled=${here.length === 0} title="Delete" onClick=${actions.clearFrame}>Remove prompts</button>
      <button
        type="button"
        class="button"
        disabled=${here.length === 0 || Boolean(state.trackJob.value)}
        title="Re-track to both sides until the new masks agree with the old ones (R)"
        onClick=${retrack}
      >
        Re-track from here
      </button>
    </div>
    <${Labels} key=${object.id} object=${object} />
    <label class="check">
      <input
        type="checkbox"
        checked=${state.hoverPreview.value}
        onChange=${(/** @type {any} */ event) => (state.hoverPreview.value = event.target.checked)}
      />
      Show what a click would give
    </label>
  </div>`;
}
