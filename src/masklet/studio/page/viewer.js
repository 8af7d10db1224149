/** The picture: a canvas with the frame, its masks, and what was said about them. */
import * as actions from "./actions.js";
import { getAlpha, wasAborted } from "./api.js";
import { camera, fit, placement, setZoom, toView, viewSize, zoom, zoomBy } from "./camera.js";
import { alphaFromGrey, compose, drawOutline } from "./compositor.js";
import { Beside, OnionOptions, beside, drawOnion, onion, onionStep, pinned } from "./compare.js";
import { RetrackBar, comparing, pastMask, pastMasksCame } from "./correction.js";
import { endPreview, frameProblem, framesArrived, pictureOf, preview, want, wantPreview, widthFor } from "./frames.js";
import { entryOf, masksChanged, wantMasks } from "./masks.js";
import { hint } from "./notices.js";
import { previewAlphaSettings, previewed } from "./preview.js";
import { drawHeat, heat } from "./review.js";
import * as shape from "./shape.js";
import * as state from "./state.js";
import { crosshair, draftBox, hovered, listenTo, painting, panning, pointer } from "./tools.js";
import { IconButton, classes, effect, html, signal, useLayoutEffect, useRef } from "./ui.js";

/** Opacities with soft edges of the frame in view: key, and pictures by object. */
const alphas = signal(/** @type {{key: string, pictures: Map<number, ImageBitmap>}} */ ({ key: "", pictures: new Map() }));
/** The frame whose picture is on the canvas: it lags behind the playhead until its picture is here. */
export const drawnFrame = signal(-1);

const SOFT_VIEWS = new Set(["matte", "cutout", "screen"]);
const MARK = 7; // CSS pixels at a root of 16 px
/** How much larger than usual everything is drawn: 4K screens have a larger root. */
let size = 1;

/** @param {HTMLCanvasElement} canvas */
function start(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {ImageBitmap | null} */
  let lastPicture = null;
  let lastProject = "";
  let asked = 0;

  const draw = () => {
    asked = 0;
    const media = state.media.peek();
    const project = state.project.peek();
    if (!media || !project) return;
    const unit = canvas.width / Math.max(1, viewSize.peek().width);
    const place = placement.peek();
    const index = state.frame.peek();
    size = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    if (lastProject !== project.id) {
      lastPicture = null;
      lastProject = project.id;
    }
    const picture = pictureOf(index, widthFor(place.zoom * unit));
    if (picture) {
      lastPicture = picture;
      if (drawnFrame.peek() !== index) drawnFrame.value = index;
    }
    if (picture) endPreview();
    const standIn = preview.peek();
    // A picture that was thrown away in the meantime has no width.
    const best = picture ?? standIn?.picture ?? (lastPicture && lastPicture.width > 0 ? lastPicture : null);
    const view = { x: place.x * unit, y: place.y * unit, zoom: place.zoom * unit, zoomX: place.zoomX * unit };
    /** @type {import("./compositor.js").Scene} */
    const scene = {
      width: media.width,
      height: media.height,
      picture: best,
      layers: standIn ? [] : layersOf(index), // masks of this frame don't fit the picture of another
      view: state.view.peek(),
      opacity: state.opacity.peek(),
      camera: view,
      unit: unit * size,
    };
    compose(context, scene);
    if (!standIn) drawHeat(context, index, scene);
    if (!standIn) drawOnion(context, index, scene);
    const hover = hovered.peek();
    if (hover && state.view.peek() !== "matte") {
      drawOutline(context, hover, { color: "#ffffff", selected: true }, { ...scene, view: "outline" }, [4, 4]);
    }
    context.setTransform(unit, 0, 0, unit, 0, 0);
    if (!standIn && (state.view.peek() === "overlay" || state.view.peek() === "outline")) drawPrompts(context, index);
    if (state.tab.peek() === "why" && state.panelOpen.peek()) drawWhy(context, index);
    drawShape(context);
    drawPointer(context);
    canvas.dataset.frame = String(picture ? index : -1);
    canvas.dataset.preview = String(standIn?.near ?? -1);
    canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
  };

  const ask = () => {
    if (!asked) asked = requestAnimationFrame(draw);
  };

  const stops = [
    // Everything that is drawn.
    effect(() => {
      for (const source of [
        state.frame, state.view, state.opacity, state.prompts, state.shown, state.currentObject, state.tab,
        state.panelOpen, state.explanation, state.brushSize, state.tool, framesArrived, masksChanged, placement,
        viewSize, alphas, previewed, preview, crosshair, draftBox, hovered, painting, pointer,
        shape.corners, shape.tip, onion, onionStep, heat, comparing, pastMasksCame,
      ]) source.value;
      ask();
    }),
    // What has to be fetched: this frame first, then its neighbours.
    effect(() => {
      const media = state.media.value;
      if (!media) return;
      const index = state.frame.value;
      const unit = canvas.width / Math.max(1, viewSize.value.width);
      const width = widthFor(zoom.value * unit);
      const ahead = [index, index + 1, index - 1, index + 2];
      if (pinned.value !== null) ahead.push(pinned.value);
      if (state.playing.value) return; // the player knows what comes next
      want(ahead.filter((next) => next >= 0 && next < media.frame_count), width);
      void wantPreview(drawnFrame.peek(), width);
    }),
    effect(() => {
      masksChanged.value;
      const project = state.project.value;
      const index = state.frame.value;
      if (!project || state.playing.value) return;
      if (state.following.value && entryOf(index)) return;
      void wantMasks(index);
    }),
    effect(() => wantAlphas()),
  ];

  const observer = new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect();
    const unit = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(box.width * unit));
    canvas.height = Math.max(1, Math.round(box.height * unit));
    viewSize.value = { width: box.width, height: box.height };
    if (asked) cancelAnimationFrame(asked);
    draw();
  });
  observer.observe(canvas);
  stops.push(listenTo(canvas));
  return () => {
    observer.disconnect();
    cancelAnimationFrame(asked);
    for (const stop of stops) stop();
  };
}

/** @param {number} index @returns {import("./compositor.js").Layer[]} */
function layersOf(index) {
  const entry = entryOf(index);
  const trial = previewed.peek();
  const drawn = painting.peek();
  const soft = alphas.peek();
  return state.shown.peek().map((object) => {
    const paint = drawn?.frame === index && drawn.object === object.id ? drawn.canvas : null;
    const past = comparing.peek() === object.id;
    const now = (trial?.frame === index && trial.masks.get(object.id)) || entry?.masks.get(object.id) || null;
    return {
      shown: past ? pastMask(index) : now,
      color: object.color,
      selected: object.id === state.currentObject.peek(),
      alpha: !past && soft.key.startsWith(`${index}/`) ? (soft.pictures.get(object.id) ?? null) : null,
      paint,
    };
  });
}

/** Fetches soft edges for views that show them, once nothing moves any more. */
function wantAlphas() {
  masksChanged.value;
  const project = state.project.value;
  const index = state.frame.value;
  const settings = previewAlphaSettings.value;
  const entry = entryOf(index);
  if (!project || state.playing.value || !SOFT_VIEWS.has(state.view.value)) return clearAlphas();
  const wanted = state.shown.value.filter(
    (object) => entry?.masks.get(object.id)?.state.soft || settings?.object === object.id,
  );
  if (!wanted.length) return clearAlphas();
  const controller = new AbortController();
  const timer = setTimeout(async () => {
    try {
      /** @type {Map<number, ImageBitmap>} */
      const pictures = new Map();
      for (const object of wanted) {
        const given = settings?.object === object.id ? settings.settings : null;
        const grey = await getAlpha(project.id, index, object.id, given, controller.signal);
        const picture = await alphaFromGrey(grey);
        if (picture) pictures.set(object.id, picture);
      }
      if (controller.signal.aborted) return;
      alphas.value = { key: `${index}/${Date.now()}`, pictures };
    } catch (problem) {
      if (!wasAborted(problem)) console.warn(problem);
    }
  }, 80);
  return () => {
    clearTimeout(timer);
    controller.abort();
  };
}

function clearAlphas() {
  if (alphas.peek().pictures.size) alphas.value = { key: "", pictures: new Map() };
  return undefined;
}

// --- marks on the picture

/** @param {CanvasRenderingContext2D} context @param {number} index */
function drawPrompts(context, index) {
  for (const object of state.shown.peek()) {
    for (const record of state.promptsOn(index, object.id)) {
      if (record.box) drawBox(context, record.box, object.color, [6, 4]);
      record.points.forEach((point, i) => drawPoint(context, toView(...point), object.color, record.labels[i] === 1));
    }
  }
  const box = draftBox.peek();
  if (box) drawBox(context, box, state.selected.peek()?.color ?? "#ffffff", []);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} at
 * @param {string} color
 * @param {boolean} adds
 */
function drawPoint(context, [x, y], color, adds) {
  context.save();
  context.translate(x, y);
  context.scale(size, size);
  context.beginPath();
  context.arc(0, 0, MARK, 0, 2 * Math.PI);
  context.fillStyle = adds ? color : "#16181a";
  context.fill();
  context.lineWidth = 3.5;
  context.strokeStyle = "#000a";
  context.stroke();
  context.lineWidth = 1.75;
  context.strokeStyle = adds ? "#ffffff" : color;
  context.stroke();
  context.beginPath();
  context.moveTo(-3.5, 0);
  context.lineTo(3.5, 0);
  if (adds) {
    context.moveTo(0, -3.5);
    context.lineTo(0, 3.5);
  }
  context.lineWidth = 3;
  context.strokeStyle = adds ? "#000c" : color;
  context.stroke();
  if (adds) {
    context.lineWidth = 1.5;
    context.strokeStyle = "#ffffff";
    context.stroke();
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {readonly [number, number, number, number] | number[]} box
 * @param {string} color
 * @param {number[]} dash
 * @param {string} [label]
 * @param {boolean} [below]  whether the label stands under the box
 */
function drawBox(context, box, color, dash, label, below = false) {
  const [x1, y1] = toView(box[0], box[1]);
  const [x2, y2] = toView(box[2], box[3]);
  context.save();
  context.lineWidth = 3.5 * size;
  context.strokeStyle = "#0008";
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.lineWidth = 1.5 * size;
  context.setLineDash(dash.map((length) => length * size));
  context.strokeStyle = color;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  if (label) {
    const rem = 16 * size;
    context.font = `${rem * 0.75}px system-ui, sans-serif`;
    const width = context.measureText(label).width + 10;
    context.fillStyle = "#000b";
    const top = below ? y2 + 3 : y1 - rem * 1.25;
    context.fillRect(x1 - 1, top, width, rem * 1.125);
    context.fillStyle = "#ffffff";
    context.fillText(label, x1 + 4, top + rem * 0.8125);
  }
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {number} index */
function drawWhy(context, index) {
  const why = state.explanation.peek();
  if (!why || why.frame !== index) return;
  for (const candidate of why.candidates) {
    if (candidate.box) {
      drawBox(context, candidate.box, candidate.chosen ? "#ffffff" : "#b9c0c9", candidate.chosen ? [] : [2, 4], `${candidate.index + 1}`);
    }
  }
  if (why.motion_box) drawBox(context, why.motion_box, "#ff5cf4", [8, 4], "expected (Kalman)", true);
}

/** The polygon or lasso that is being drawn. @param {CanvasRenderingContext2D} context */
function drawShape(context) {
  const corners = shape.corners.peek();
  if (!corners.length) return;
  const way = [...corners, shape.tip.peek() ?? corners[0]].map((at) => toView(...at));
  for (const [style, line] of /** @type {[string, number][]} */ ([["#000b", 3.5], ["#ffffff", 1.5]])) {
    context.strokeStyle = style;
    context.lineWidth = line * size;
    context.beginPath();
    for (const at of way) context.lineTo(...at);
    context.stroke();
  }
  if (state.tool.peek() !== "polygon") return;
  for (const [x, y] of way.slice(0, -1)) {
    context.fillStyle = "#ffffff";
    context.fillRect(x - 3 * size, y - 3 * size, 6 * size, 6 * size);
    context.lineWidth = size;
    context.strokeStyle = "#000b";
    context.strokeRect(x - 3 * size, y - 3 * size, 6 * size, 6 * size);
  }
}

/** @param {CanvasRenderingContext2D} context */
function drawPointer(context) {
  const cross = crosshair.peek();
  if (cross) {
    const [x, y] = toView(...cross);
    const { width, height } = viewSize.peek();
    for (const [style, line] of /** @type {[string, number][]} */ ([["#000b", 3], ["#ffffff", 1]])) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(x - 10, y);
      context.moveTo(x + 10, y);
      context.lineTo(width, y);
      context.moveTo(x, 0);
      context.lineTo(x, y - 10);
      context.moveTo(x, y + 10);
      context.lineTo(x, height);
      context.stroke();
    }
  }
  const at = cross ?? pointer.peek();
  if (at && (state.tool.peek() === "brush" || state.tool.peek() === "eraser")) {
    const [x, y] = toView(...at);
    const radius = (state.brushSize.peek() / 2) * zoom.peek();
    context.beginPath();
    context.arc(x, y, Math.max(1, radius), 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = "#000a";
    context.stroke();
    context.lineWidth = 1.25;
    context.strokeStyle = "#ffffff";
    context.stroke();
  }
}

// --- components

export function Viewer() {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  // Before the canvas is seen: whoever clicks on it is heard.
  useLayoutEffect(() => (canvas.current ? start(canvas.current) : undefined), []);
  const tool = state.tool.value;
  const cursor = panning.value ? "grabbing" : tool === "hand" ? "grab" : tool === "brush" || tool === "eraser" ? "none" : "crosshair";
  const media = state.media.value;
  return html`<main class=${classes("view", beside.value && "split")} aria-label="Picture">
    <canvas
      ref=${canvas}
      id="picture"
      tabindex="0"
      role="application"
      aria-roledescription="picture to point at"
      aria-label=${`Frame ${state.frame.value} of ${media?.frame_count ?? 0}. Press X for a crosshair that arrow keys move; Enter adds, Backspace removes.`}
      style=${{ cursor }}
      onFocus=${() => tabbing.contains("tabbing") && crosshair.peek() === null && showHint()}
    ></canvas>
    ${beside.value && html`<${Beside} layersOf=${layersOf} />`}
    <${ToolOptions} />
    <${OnionOptions} />
    <${RetrackBar} />
    <${Candidates} />
    <${StandIn} />
    <${Problem} />
    <${Zoom} />
  </main>`;
}

const tabbing = document.documentElement.classList;
addEventListener("keydown", (event) => event.key === "Tab" && tabbing.add("tabbing"), true);
addEventListener("pointerdown", () => tabbing.remove("tabbing"), true);
const hintShown = signal(false);
function showHint() {
  hintShown.value = true;
  setTimeout(() => (hintShown.value = false), 4000);
}

function ToolOptions() {
  const tool = state.tool.value;
  if (tool === "lasso" || tool === "polygon") {
    return html`<div class="float options segments" role="group" aria-label="What the shape does">
      ${/** @type {const} */ ([["add", "Add"], ["remove", "Subtract"], ["replace", "Replace"], ["split", "Split off"]]).map(
        ([name, label]) => html`<button type="button" class="icon-button" aria-pressed=${String(shape.does.value === name)} onClick=${() => (shape.does.value = name)}>${label}</button>`,
      )}
    </div>`;
  }
  if (tool !== "brush" && tool !== "eraser") return null;
  return html`<div class="float options">
    <label class="row">
      <span>Size</span>
      <input
        type="range"
        min="1"
        max="200"
        value=${state.brushSize.value}
        onInput=${(/** @type {any} */ event) => (state.brushSize.value = Number(event.target.value))}
      />
    </label>
    <span class="number small">${state.brushSize.value} px</span>
    <span class="dim small hide-small"><kbd>[</kbd> <kbd>]</kbd></span>
  </div>`;
}

const slow = signal(false);
effect(() => {
  if (!state.working.value.length) {
    slow.value = false;
    return undefined;
  }
  const timer = setTimeout(() => (slow.value = true), 180);
  return () => clearTimeout(timer);
});

export function Busy() {
  if (!slow.value) return null;
  const model = state.project.value?.settings.track.model;
  return html`<span class="busy row" role="status"><span class="spinner"></span>${model} is looking at the frame…</span>`;
}

/** Marks the picture as that of another frame, while it is. */
function StandIn() {
  if (!preview.value) return null;
  return html`<div class="float stand-in" role="status">Key frame ${preview.value.near}; frame ${state.frame.value} is coming…</div>`;
}

function Problem() {
  const problem = frameProblem.value;
  return problem && html`<div class="nothing"><p role="alert">${problem}</p></div>`;
}

effect(() => {
  if (hintShown.value) hint.value = "Press X for a crosshair. Arrow keys move it, Enter adds, Backspace removes.";
  else if (state.project.value && !state.prompts.value.length) hint.value = "Click on what you want to cut out, or drag a box around it.";
  else hint.value = "";
});

function Candidates() {
  const now = state.candidates.value;
  if (!now || now.frame !== state.frame.value) return null;
  const at = now.list.findIndex((candidate) => candidate.chosen);
  const chosen = now.list[at];
  return html`<div class="float candidates" role="group" aria-label="Candidates">
    <${IconButton} icon="chevron-left" class="tiny" label="Previous candidate" keys="Shift+C" onClick=${() => actions.flipCandidate(-1)} />
    <span>Candidate <b>${at + 1}</b> of ${now.list.length}</span>
    <span class="dim number small">IoU ${chosen ? chosen.predicted_iou.toFixed(2) : "–"}</span>
    <${IconButton} icon="chevron-right" class="tiny" label="Next candidate" keys="C" onClick=${() => actions.flipCandidate(1)} />
    <kbd class="hide-small">C</kbd>
  </div>`;
}

function Zoom() {
  return html`<div class="float zoom" role="group" aria-label="Zoom">
    <${IconButton} icon="zoom-out" label="Zoom out" keys="−" onClick=${() => zoomBy(1 / 1.25)} />
    <button
      type="button"
      class="icon-button percent"
      title="Pixel by pixel (Z)"
      aria-label=${`Zoom is ${Math.round(zoom.value * 100)} percent. Set to 100 percent`}
      onClick=${() => setZoom(1 / (devicePixelRatio || 1))}
    >
      ${Math.round(zoom.value * 100 * (devicePixelRatio || 1))} %
    </button>
    <${IconButton} icon="zoom-in" label="Zoom in" keys="+" onClick=${() => zoomBy(1.25)} />
    <${IconButton} icon="fit" label="Fit" keys="0" pressed=${camera.value.zoom === null} onClick=${fit} />
  </div>`;
}
