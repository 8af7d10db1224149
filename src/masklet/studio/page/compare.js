/** Looking at other frames while one is worked on: outlines of the frames around it, and a second picture beside it. */
import { placement, viewSize } from "./camera.js";
import { compose, drawOutline } from "./compositor.js";
import { framesArrived, pictureOf, widthFor } from "./frames.js";
import { entryOf, fetchMasks, masksChanged } from "./masks.js";
import * as state from "./state.js";
import { Draft, Icon, IconButton, effect, html, signal, useEffect, useRef } from "./ui.js";

/** Whether outlines of frames before and after are drawn, and how far away those are. */
export const onion = state.remembered("onion", false);
export const onionStep = state.remembered("onion-step", 1);
/** Whether a second picture stands beside the first one, and what it shows. */
export const beside = signal(false);
export const besideView = state.remembered("beside", /** @type {state.View} */ ("original"));
/** The frame that the second picture stays at; null: it goes along. */
export const pinned = signal(/** @type {number | null} */ (null));

const BEFORE = "#ff6b5e";
const AFTER = "#35d0a5";

effect(() => {
  state.project.value?.id;
  pinned.value = null;
});

/** Fetches the masks of frames that are looked at beside the one in view. */
effect(() => {
  masksChanged.value;
  const project = state.project.value;
  const now = state.frame.value;
  if (!project || state.playing.value) return undefined;
  const wanted = [];
  if (onion.value) wanted.push(...around(now));
  if (beside.value && pinned.value !== null) wanted.push(pinned.value);
  const missing = wanted.filter((frame) => !entryOf(frame)?.complete);
  if (!missing.length) return undefined;
  const controller = new AbortController();
  const timer = setTimeout(async () => {
    for (const frame of missing) await fetchMasks(frame, controller.signal);
  }, 60);
  return () => {
    clearTimeout(timer);
    controller.abort();
  };
});

/** @param {number} frame */
function around(frame) {
  const last = (state.media.peek()?.frame_count ?? 1) - 1;
  return [frame - onionStep.value, frame + onionStep.value].filter((index) => index >= 0 && index <= last);
}

/**
 * The selected object's outlines on the frames around one.
 * @param {CanvasRenderingContext2D} context
 * @param {number} frame
 * @param {import("./compositor.js").Scene} scene
 */
export function drawOnion(context, frame, scene) {
  const object = state.currentObject.peek();
  if (!onion.peek() || object === null || state.playing.peek()) return;
  for (const index of around(frame)) {
    const shown = entryOf(index)?.masks.get(object);
    const color = index < frame ? BEFORE : AFTER;
    if (shown) drawOutline(context, shown, { color, selected: true }, { ...scene, view: "outline" }, [3, 3]);
  }
}

export function OnionOptions() {
  if (!onion.value) return null;
  return html`<div class="float onion" role="group" aria-label="Onion skin">
    <span class="small"><b style=${{ color: BEFORE }}>before</b> · <b style=${{ color: AFTER }}>after</b></span>
    <${Draft}
      type="number"
      min="1"
      max="99"
      aria-label="Frames before and after"
      value=${onionStep.value}
      onChange=${(/** @type {string} */ text) => (onionStep.value = Math.max(1, Math.min(99, Math.round(Number(text) || 1))))}
    />
  </div>`;
}

/** @param {{layersOf: (index: number) => import("./compositor.js").Layer[]}} props */
export function Beside({ layersOf }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const frame = pinned.value ?? state.frame.value;
  useEffect(
    () =>
      effect(() => {
        for (const source of [
          state.frame, state.opacity, state.shown, framesArrived, masksChanged, placement, viewSize, besideView, pinned, state.currentObject,
        ]) source.value;
        const context = canvas.current?.getContext("2d");
        const media = state.media.peek();
        if (!context || !media) return;
        const unit = devicePixelRatio || 1;
        const { width, height } = viewSize.peek();
        context.canvas.width = Math.max(1, Math.round(width * unit));
        context.canvas.height = Math.max(1, Math.round(height * unit));
        const place = placement.peek();
        const index = pinned.peek() ?? state.frame.peek();
        const picture = pictureOf(index, widthFor(place.zoom * unit));
        if (!picture && pinned.peek() === null) return; // the last one stays until this one is here
        compose(context, {
          width: media.width,
          height: media.height,
          picture,
          layers: layersOf(index),
          view: besideView.peek(),
          opacity: state.opacity.peek(),
          camera: { x: place.x * unit, y: place.y * unit, zoom: place.zoom * unit, zoomX: place.zoomX * unit },
          unit,
        });
        context.canvas.dataset.frame = String(index);
      }),
    [],
  );
  return html`<div class="beside" role="group" aria-label="Second picture">
    <canvas ref=${canvas} id="beside" role="img" aria-label=${`Frame ${frame}, ${besideView.value}`}></canvas>
    <div class="float">
      <select aria-label="What the second picture shows" onChange=${(/** @type {any} */ event) => (besideView.value = event.target.value)}>
        ${state.VIEWS.map((entry) => html`<option value=${entry.name} selected=${entry.name === besideView.value}>${entry.label}</option>`)}
      </select>
      <button
        type="button"
        class="icon-button"
        aria-pressed=${String(pinned.value !== null)}
        title="Stay at this frame while the other picture goes on"
        onClick=${() => (pinned.value = pinned.value === null ? state.frame.peek() : null)}
      >
        <${Icon} name="pin" /><span class="number">${frame}</span>
      </button>
      <${IconButton} icon="close" class="tiny" label="Close the second picture" onClick=${() => (beside.value = false)} />
    </div>
  </div>`;
}
