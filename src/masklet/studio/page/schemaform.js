/** A form out of a JSON schema: what the options of an export format and the settings of a policy need. */
import { words } from "./format.js";
import { Draft, html } from "./ui.js";

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} hint
 * @property {"flag" | "choice" | "integer" | "number" | "text" | "color"} kind
 * @property {any} initial
 * @property {boolean} nullable
 * @property {any[]} choices
 * @property {number | undefined} minimum
 * @property {number | undefined} maximum
 */

/**
 * @param {Record<string, any>} schema
 * @returns {Field[]}
 */
export function fieldsOf(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, given]) => {
    const options = (given.anyOf ?? [given]).map((/** @type {any} */ part) => follow(part, schema));
    const real = options.filter((/** @type {any} */ part) => part.type !== "null");
    const main = real[0] ?? {};
    const choices = real.flatMap((/** @type {any} */ part) => part.enum ?? (part.const === undefined ? [] : [part.const]));
    const kind = choices.length
      ? "choice"
      : main.type === "boolean"
        ? "flag"
        : main.type === "integer" || main.type === "number"
          ? main.type
          : "text";
    const initial = given.default ?? null;
    return {
      name,
      // A title that only repeats the name was made by a machine.
      label: given.title && given.title.toLowerCase() !== name.replaceAll("_", " ") ? given.title : words(name),
      hint: given.description ?? "",
      kind: kind === "text" && typeof initial === "string" && /^#[0-9a-f]{6}$/i.test(initial) ? "color" : kind,
      initial,
      nullable: options.length > real.length,
      choices,
      minimum: main.minimum ?? (main.exclusiveMinimum === undefined ? undefined : main.exclusiveMinimum),
      maximum: main.maximum ?? (main.exclusiveMaximum === undefined ? undefined : main.exclusiveMaximum),
    };
  });
}

/** @param {any} part @param {Record<string, any>} schema */
function follow(part, schema) {
  if (!part.$ref) return part;
  return schema.$defs?.[part.$ref.split("/").pop()] ?? part;
}

/**
 * @param {{fields: Field[], values: Record<string, any>, onChange: (name: string, value: any) => void, prefix: string}} props
 */
export function SchemaForm({ fields, values, onChange, prefix }) {
  return html`<div class="stack">
    ${fields.map((field) => {
      const id = `${prefix}-${field.name}`;
      const value = field.name in values ? values[field.name] : field.initial;
      return html`<div class="field" key=${field.name}>
        <label for=${id}>${field.label}</label>
        ${input(field, id, value, (/** @type {any} */ next) => onChange(field.name, next))}
        ${field.hint && html`<div class="hint" id=${`${id}-hint`}>${field.hint}</div>`}
      </div>`;
    })}
  </div>`;
}

/** @param {Field} field @param {string} id @param {any} value @param {(value: any) => void} change */
function input(field, id, value, change) {
  const shared = { id, "aria-describedby": field.hint ? `${id}-hint` : undefined };
  switch (field.kind) {
    case "flag":
      return html`<input ...${shared} type="checkbox" checked=${Boolean(value)} onChange=${(/** @type {any} */ event) => change(event.target.checked)} />`;
    case "choice":
      return html`<select
        ...${shared}
        onChange=${(/** @type {any} */ event) => {
          const at = Number(event.target.value);
          change(at < 0 ? null : field.choices[at]);
        }}
      >
        ${field.nullable && html`<option value="-1" selected=${value === null}>automatic</option>`}
        ${field.choices.map((choice, i) => html`<option value=${i} selected=${choice === value}>${String(choice)}</option>`)}
      </select>`;
    case "color":
      return html`<${Draft} ...${shared} type="color" value=${value} onChange=${change} />`;
    case "integer":
    case "number":
      return html`<${Draft}
        ...${shared}
        type="number"
        min=${field.minimum}
        max=${field.maximum}
        step=${field.kind === "integer" ? 1 : "any"}
        placeholder=${field.nullable ? "automatic" : ""}
        value=${value}
        onChange=${(/** @type {string} */ text) => change(text === "" ? null : Number(text))}
      />`;
    default:
      return html`<${Draft}
        ...${shared}
        type="text"
        placeholder=${field.nullable ? "automatic" : ""}
        value=${value}
        onChange=${(/** @type {string} */ text) => change(text === "" && field.nullable ? null : text)}
      />`;
  }
}
