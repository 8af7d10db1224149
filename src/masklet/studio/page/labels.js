/** What data sets say of an object: its class and its attributes. */
import * as actions from "./actions.js";
import * as state from "./state.js";
import { Draft, IconButton, html } from "./ui.js";

/** @typedef {boolean | number | string} Value */

/** What was typed, as the thing that it looks like. @param {string} text @returns {Value} */
export function valueOf(text) {
  const word = text.trim();
  if (word === "true" || word === "false") return word === "true";
  return word !== "" && Number.isFinite(Number(word)) ? Number(word) : word;
}

/** @param {{object: state.ObjectState}} props */
export function Labels({ object }) {
  const classes = [...new Set(state.objects.value.map((entry) => entry.category).filter((entry) => entry !== null))];
  const said = Object.entries(object.attributes);
  /** @param {[string, Value][]} entries */
  const keep = (entries) => actions.changeObject(object.id, { attributes: Object.fromEntries(entries) });
  return html`<details class="labels" open=${Boolean(object.category) || said.length > 0}>
    <summary>Class and attributes</summary>
    <div class="stack" style=${{ marginTop: "0.5rem" }}>
      <label class="row">
        <span class="key">Class</span>
        <${Draft}
          type="text"
          list="classes"
          maxlength="200"
          placeholder=${object.name}
          value=${object.category}
          onChange=${(/** @type {string} */ text) => actions.changeObject(object.id, { category: text.trim() || null })}
        />
      </label>
      <datalist id="classes">${classes.map((name) => html`<option value=${name}></option>`)}</datalist>
      ${said.map(
        ([name, value], i) => html`<label class="row" key=${name}>
          <span class="key ellipsis" title=${name}>${name}</span>
          <${Draft}
            type="text"
            maxlength="200"
            value=${String(value)}
            onChange=${(/** @type {string} */ text) => text.trim() && keep(said.with(i, [name, valueOf(text)]))}
          />
          <${IconButton} icon="close" class="tiny" label=${`Remove ${name}`} onClick=${() => keep(said.toSpliced(i, 1))} />
        </label>`,
      )}
      <label class="row">
        <span class="key">Add</span>
        <${Draft}
          type="text"
          key=${`add${said.length}`}
          maxlength="400"
          placeholder="attribute=value"
          value=""
          onChange=${(/** @type {string} */ text) => {
            const [name, ...rest] = text.split("=");
            if (name.trim()) void keep([...said.filter(([known]) => known !== name.trim()), [name.trim(), valueOf(rest.join("=") || "true")]]);
          }}
        />
      </label>
      <p class="teach">COCO, CVAT, Label Studio and YouTube-VOS exports use them; YOLO uses the class.</p>
    </div>
  </details>`;
}
