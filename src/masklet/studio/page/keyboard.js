/** Every key and what it does: the table that is listened to is the one that the `?` sheet shows. */
import * as actions from "./actions.js";
import { BATCHES } from "./batch.js";
import { camera, fit, setZoom, zoomBy } from "./camera.js";
import { beside, onion } from "./compare.js";
import { CORRECTING, flipBefore, undo } from "./correction.js";
import { Dialog } from "./dialog.js";
import { EDITING } from "./editing.js";
import { renaming } from "./objects.js";
import { showTab, showTabOnly } from "./panel.js";
import { REVIEWING } from "./review.js";
import * as state from "./state.js";
import * as shape from "./shape.js";
import { shuttle, stop, togglePlay } from "./player.js";
import { closeShape, crosshair, hideCrosshair, moveCrosshair, toggleCrosshair, useCrosshair } from "./tools.js";
import { html } from "./ui.js";

/**
 * @typedef {object} Binding
 * @property {string} group
 * @property {string[]} keys  such as "t", "Shift+t", "Ctrl+z"; the first is shown unless `shown` says otherwise
 * @property {string} label
 * @property {() => unknown} run
 * @property {string[]} [shown]
 * @property {() => boolean} [when]
 * @property {boolean} [always]  also while no project is open
 */

/** @param {state.Tool} name */
const useTool = (name) => () => (state.tool.value = name);
/** @param {state.View} name */
const useView = (name) => () => (state.view.value = name);
/** @param {number} frames */
const stepBy = (frames) => () => {
  state.playing.value = false;
  actions.seek(state.frame.peek() + frames);
};
/** @param {"visible" | "locked"} name */
const flip = (name) => () => {
  const object = state.selected.peek();
  if (object) void actions.changeObject(object.id, { [name]: !object[name] });
};
const pointing = () => crosshair.peek() !== null;
const drawing = () => shape.corners.peek().length > 0;
/** @param {number} factor */
const resizeBrush = (factor) => () => {
  const next = state.brushSize.peek() * factor;
  state.brushSize.value = Math.max(1, Math.min(400, factor > 1 ? Math.ceil(next) : Math.floor(next)));
};

/** @type {Binding[]} */
export const BINDINGS = [
  { group: "Point", keys: ["v"], label: "Point: click adds, right click or Alt+click removes, drag draws a box", run: useTool("point") },
  { group: "Point", keys: ["b"], label: "Box", run: useTool("box") },
  { group: "Point", keys: ["p"], label: "Brush", run: useTool("brush") },
  { group: "Point", keys: ["e"], label: "Eraser", run: useTool("eraser") },
  { group: "Point", keys: ["q"], label: "Lasso", run: useTool("lasso") },
  { group: "Point", keys: ["Shift+q"], label: "Polygon", run: useTool("polygon") },
  { group: "Point", keys: ["h"], label: "Hand", run: useTool("hand") },
  { group: "Point", keys: ["Enter"], label: "Close the polygon", run: closeShape, when: () => !pointing() && drawing() },
  { group: "Point", keys: ["Backspace"], label: "Take the last corner back", run: shape.takeBack, when: () => !pointing() && drawing() },
  { group: "Point", keys: ["Escape"], label: "Let go of the polygon", run: shape.letGo, when: drawing },
  { group: "Point", keys: ["["], label: "Smaller brush", run: resizeBrush(1 / 1.2) },
  { group: "Point", keys: ["]"], label: "Larger brush", run: resizeBrush(1.2) },
  { group: "Point", keys: ["c"], label: "Next candidate of the click", run: () => actions.flipCandidate(1) },
  { group: "Point", keys: ["Shift+c"], label: "Previous candidate", run: () => actions.flipCandidate(-1) },
  { group: "Point", keys: ["Delete"], label: "Remove the prompts of this frame", run: actions.clearFrame },

  { group: "Point by keyboard", keys: ["x"], label: "Crosshair on or off", run: toggleCrosshair },
  { group: "Point by keyboard", keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Shift+ArrowLeft", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowDown"], shown: ["← → ↑ ↓"], label: "Move it (Shift: one pixel of the picture)", run: () => {}, when: pointing },
  { group: "Point by keyboard", keys: ["Enter"], label: "Add here; a corner of a box; a dab of the brush", run: () => useCrosshair(true), when: pointing },
  { group: "Point by keyboard", keys: ["Backspace", "Shift+Enter"], shown: ["Backspace", "Shift+Enter"], label: "Remove here; rub out", run: () => useCrosshair(false), when: pointing },
  { group: "Point by keyboard", keys: ["Escape"], label: "Crosshair off", run: hideCrosshair, when: pointing },

  ...EDITING,

  { group: "Track", keys: ["t"], label: "Forwards", run: () => actions.track("forward") },
  { group: "Track", keys: ["Shift+t"], label: "Backwards", run: () => actions.track("backward") },
  { group: "Track", keys: ["y"], label: "Both ways", run: () => actions.track("both") },
  { group: "Track", keys: ["u"], label: "This frame only", run: () => actions.track("frame") },
  { group: "Track", keys: ["g"], label: "The marked range", run: () => actions.track("range") },
  ...CORRECTING,
  { group: "Track", keys: ["Shift+ "], shown: ["Shift+Space"], label: "Pause, or go on", run: actions.togglePause },
  { group: "Track", keys: ["Shift+x"], label: "Cancel; what was tracked stays", run: actions.cancelTrack },

  { group: "Time", keys: [" "], shown: ["Space"], label: "Play or stop", run: togglePlay },
  { group: "Time", keys: ["ArrowLeft", ","], shown: ["←", ","], label: "Previous frame", run: stepBy(-1) },
  { group: "Time", keys: ["ArrowRight", "."], shown: ["→", "."], label: "Next frame", run: stepBy(1) },
  { group: "Time", keys: ["Shift+ArrowLeft"], shown: ["Shift+←"], label: "10 frames back", run: stepBy(-10) },
  { group: "Time", keys: ["Shift+ArrowRight"], shown: ["Shift+→"], label: "10 frames on", run: stepBy(10) },
  { group: "Time", keys: ["Home"], label: "First frame", run: () => actions.seek(0) },
  { group: "Time", keys: ["End"], label: "Last frame", run: () => actions.seek(Infinity) },
  { group: "Time", keys: ["n"], label: "Next doubtful or lost stretch", run: () => actions.seekDoubtful(1) },
  { group: "Time", keys: ["Shift+n"], label: "Previous one", run: () => actions.seekDoubtful(-1) },
  { group: "Time", keys: ["l"], label: "Play forwards (again: twice as fast)", run: () => shuttle(1) },
  { group: "Time", keys: ["j"], label: "Play backwards (again: twice as fast)", run: () => shuttle(-1) },
  { group: "Time", keys: ["k"], label: "Stop", run: stop },
  { group: "Time", keys: ["Shift+l"], label: "Next prompt", run: () => actions.seekPrompt(1) },
  { group: "Time", keys: ["Shift+j"], label: "Previous prompt", run: () => actions.seekPrompt(-1) },
  { group: "Time", keys: ["i"], label: "Range begins here (again: no more)", run: () => actions.mark("in") },
  { group: "Time", keys: ["o"], label: "Range ends here (again: no more)", run: () => actions.mark("out") },
  { group: "Time", keys: ["Shift+i"], label: "No range", run: actions.clearMarks },

  ...REVIEWING,
  ...BATCHES,

  { group: "Objects", keys: ["a"], label: "Add one", run: actions.addObject },
  { group: "Objects", keys: ["PageDown"], label: "Select the next", run: () => actions.selectNext(1) },
  { group: "Objects", keys: ["PageUp"], label: "Select the previous", run: () => actions.selectNext(-1) },
  { group: "Objects", keys: ["F2"], label: "Rename", run: () => { showTabOnly("objects"); renaming.value = state.currentObject.peek(); } },
  { group: "Objects", keys: ["d"], label: "Show or hide", run: flip("visible") },
  { group: "Objects", keys: ["s"], label: "Solo", run: () => { state.solo.value = state.solo.peek() === null ? state.currentObject.peek() : null; } },
  { group: "Objects", keys: ["Shift+d"], label: "Lock or unlock", run: flip("locked") },

  { group: "View", keys: ["1"], label: "Overlay", run: useView("overlay") },
  { group: "View", keys: ["2"], label: "Outline", run: useView("outline") },
  { group: "View", keys: ["3"], label: "Matte", run: useView("matte") },
  { group: "View", keys: ["4"], label: "Cut-out", run: useView("cutout") },
  { group: "View", keys: ["5"], label: "Green screen", run: useView("screen") },
  { group: "View", keys: ["6"], label: "Original", run: useView("original") },
  { group: "View", keys: ["7"], label: "Before the re-track (again: after it)", run: flipBefore, when: () => state.retracked.peek() !== null },
  { group: "View", keys: ["Shift+o"], label: "Onion skin: outlines before and after", run: () => (onion.value = !onion.peek()) },
  { group: "View", keys: ["Shift+b"], label: "Side by side", run: () => (beside.value = !beside.peek()) },
  { group: "View", keys: ["+", "="], label: "Zoom in (or turn the wheel)", run: () => zoomBy(1.25) },
  { group: "View", keys: ["-"], shown: ["−"], label: "Zoom out", run: () => zoomBy(1 / 1.25) },
  { group: "View", keys: ["0"], label: "Fit", run: fit },
  { group: "View", keys: ["z"], label: "Pixel by pixel, or fit", run: () => (camera.peek().zoom === null ? setZoom(1 / (devicePixelRatio || 1)) : fit()) },
  { group: "View", keys: ["w"], label: "Why: what the model saw", run: showTab("why") },
  { group: "View", keys: ["Shift+r"], label: "Review: what deserves a look", run: showTab("review") },
  { group: "View", keys: ["m"], label: "Mask settings", run: showTab("edges") },
  { group: "View", keys: ["\\"], label: "Fold or unfold the panel", run: () => (state.panelOpen.value = !state.panelOpen.peek()) },

  { group: "Studio", keys: ["Ctrl+z"], label: "Undo", run: undo },
  { group: "Studio", keys: ["Ctrl+Shift+z", "Ctrl+y"], shown: ["Ctrl+Shift+Z", "Ctrl+Y"], label: "Redo", run: actions.redo },
  { group: "Studio", keys: ["Shift+e"], label: "Export", run: () => (state.dialog.value = "export") },
  { group: "Studio", keys: ["Shift+s"], label: "Settings", run: () => (state.dialog.value = "settings"), always: true },
  { group: "Studio", keys: ["?"], label: "This sheet, and away again", run: () => (state.dialog.value = state.dialog.peek() === "keys" ? null : "keys"), always: true },
];

/** @type {Map<string, Binding[]>} */
const byKey = new Map();
for (const binding of BINDINGS) {
  for (const key of binding.keys) byKey.set(key, [...(byKey.get(key) ?? []), binding]);
}

/** @param {KeyboardEvent} event */
function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  // Signs such as ? and + need Shift on some keyboards and not on others.
  const shift = event.shiftKey && (event.key.length > 1 || /[a-z ]/i.test(event.key)) ? "Shift+" : "";
  return `${event.altKey ? "Alt+" : ""}${control}${shift}${key}`;
}

/** Whether keys belong to what has the focus. @param {EventTarget | null} target @param {string} key */
function belongsTo(target, key) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.closest("dialog")) return key !== "?" || target instanceof HTMLInputElement;
  const control = key.startsWith("Ctrl+");
  if (target instanceof HTMLInputElement && target.type === "range") return !control && /Arrow|Home|End|Page/.test(key);
  if (target instanceof HTMLInputElement && (target.type === "checkbox" || target.type === "radio" || target.type === "color")) return key === " " || key === "Enter" || /Arrow/.test(key);
  if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  if (target.getAttribute("role") === "tab" && /Arrow|Home|End/.test(key)) return true;
  return (target instanceof HTMLButtonElement || target.tagName === "SUMMARY" || target instanceof HTMLAnchorElement) && (key === " " || key === "Enter");
}

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listenToKeys() {
  addEventListener("keydown", (event) => {
    const key = nameOf(event);
    if (event.defaultPrevented || belongsTo(event.target, key)) return;
    if (!state.project.peek() && !byKey.get(key)?.some((candidate) => candidate.always)) return;
    const arrow = ARROWS[event.key];
    const onTimeline = event.target instanceof HTMLElement && event.target.id === "timeline";
    if (arrow && crosshair.peek() && !onTimeline && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      moveCrosshair(arrow[0], arrow[1], event.shiftKey);
      return;
    }
    const binding = byKey.get(key)?.find((candidate) => candidate.when?.() ?? true);
    if (binding) {
      if (event.repeat && ["Track", "Point", "Objects", "Studio"].includes(binding.group) && !/brush|Undo|Redo/.test(binding.label)) return;
      event.preventDefault();
      void binding.run();
      return;
    }
    // Enter on the picture begins pointing by keyboard.
    if (key === "Enter" && event.target instanceof HTMLElement && event.target.id === "picture") {
      event.preventDefault();
      toggleCrosshair();
    }
  });
}

/** @param {string} key */
const shownKey = (key) =>
  key
    .split("+")
    .map((part) => (part.length === 1 ? part.toUpperCase() : part))
    .filter((part) => part !== "")
    .join("+") || "+";

export function KeySheet() {
  const groups = [...new Set(BINDINGS.map((binding) => binding.group))];
  return html`<${Dialog} title="Keyboard">
    <div class="keys" tabindex="0" role="region" aria-label="All keys">
      ${groups.map(
        (group) => html`<section>
          <h3>${group}</h3>
          <dl>
            ${BINDINGS.filter((binding) => binding.group === group).map(
              (binding) => html`<div>
                <dt>${(binding.shown ?? [shownKey(binding.keys[0])]).map((key, i) => html`${i ? " " : ""}<kbd>${key}</kbd>`)}</dt>
                <dd>${binding.label}</dd>
              </div>`,
            )}
          </dl>
        </section>`,
      )}
    </div>
  <//>`;
}
