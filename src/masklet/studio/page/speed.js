/** How fast it plays, whether with sound, and a word where the machine can't keep up. */
import { SPEEDS, muted, shownRate, speed } from "./player.js";
import * as state from "./state.js";
import { IconButton, html } from "./ui.js";

/** @param {number} factor */
const name = (factor) => `${factor}×`;

export function Speed() {
  const media = state.media.value;
  if (!media) return null;
  return html`<div class="group">
      <label>
        <span class="visually-hidden">Speed</span>
        <select
          class="speed"
          title="Speed (J backwards, K stop, L forwards; twice: twice as fast)"
          value=${speed.value}
          onChange=${(/** @type {any} */ event) => (speed.value = Number(event.target.value))}
        >
          ${SPEEDS.map((factor) => html`<option value=${factor}>${name(factor)}</option>`)}
        </select>
      </label>
      ${media.has_audio &&
      html`<${IconButton}
        icon=${muted.value ? "muted" : "sound"}
        class="hide-small"
        label="Sound"
        pressed=${!muted.value}
        onClick=${() => (muted.value = !muted.value)}
      />`}
    </div>
    ${shownRate.value > 0 &&
    html`<span class="small number" id="shown-rate" title="Frames are left out, so that time stays right">
      ${shownRate.value} fps shown
    </span>`}`;
}
