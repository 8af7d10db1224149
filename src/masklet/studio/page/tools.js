/** What the pointer (or the crosshair of the keyboard) does on the picture. */
import * as actions from "./actions.js";
import * as api from "./api.js";
import { panBy, reveal, toSource, zoom, zoomBy } from "./camera.js";
import { canvasOf } from "./compositor.js";
import { split } from "./editing.js";
import { maskOf, ShownMask } from "./masks.js";
import { announce, complain, notify } from "./notices.js";
import { encode, pack } from "./rle.js";
import * as shape from "./shape.js";
import * as state from "./state.js";
import { effect, signal } from "./ui.js";

const DRAG = 5; // CSS pixels after which a click is a drag
const HOVER_EVERY = 90; // ms
const CLOSE = 9; // CSS pixels from its first corner within which a click closes a polygon

/** The box that is being drawn, in source pixels. */
export const draftBox = signal(/** @type {[number, number, number, number] | null} */ (null));
/** Where the pointer is, in source pixels; null outside the picture's view. */
export const pointer = signal(/** @type {[number, number] | null} */ (null));
/** The crosshair that arrow keys move; null while nobody points by keyboard. */
export const crosshair = signal(/** @type {[number, number] | null} */ (null));
/** The mask that one more click would give. */
export const hovered = signal(/** @type {ShownMask | null} */ (null));
/** What is being painted. */
export const painting = signal(/** @type {Painting | null} */ (null));
export const panning = signal(false);

/**
 * @typedef {object} Painting
 * @property {number} frame
 * @property {number} object
 * @property {HTMLCanvasElement} canvas  the size of the source, opaque where the mask is
 * @property {number} strokes  rises with every dab, so that the picture is drawn anew
 */

/** @param {[number, number]} at */
function isInside([x, y]) {
  const media = state.media.peek();
  return Boolean(media && x >= 0 && y >= 0 && x <= media.width && y <= media.height);
}

/** @param {[number, number]} at @returns {[number, number]} */
function clampToFrame([x, y]) {
  const media = state.media.peek();
  return [Math.max(0, Math.min(media?.width ?? 0, x)), Math.max(0, Math.min(media?.height ?? 0, y))];
}

// --- painting

/**
 * What a painting begins with: the mask as it was tracked, without mask settings and after all clicks before it.
 * Strokes wait for it, so none is lost.
 * @param {number} index
 * @param {number} object
 */
async function baseOf(index, object) {
  await actions.promptsDone();
  const project = state.project.peek();
  try {
    const answer = project && (await api.getMasks(project.id, index, { raw: true }));
    const found = answer?.objects.find((mask) => mask.object === object);
    return found ? new ShownMask(found) : null;
  } catch {
    return maskOf(index, object); // what is shown, then
  }
}

/**
 * @param {number} [index]
 * @param {ReturnType<typeof actions.objectMeant>} [meant]  the object; null: the selected one, or a new one
 * @returns {Promise<Painting | null>}
 */
async function beginPainting(index = state.frame.peek(), meant = actions.objectMeant()) {
  const media = state.media.peek();
  if (!media) return null;
  const object = meant ? await meant : (state.selected.peek() ?? (await actions.addObject()));
  if (!object) return null;
  if (object.locked) {
    notify(`${object.name} is locked. Unlock it to paint.`);
    return null;
  }
  const canvas = document.createElement("canvas");
  canvas.width = media.width;
  canvas.height = media.height;
  const base = await baseOf(index, object.id);
  const image = base && canvasOf(base, object.color);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (base?.mask.box && image) context?.drawImage(image, base.mask.box[0], base.mask.box[1]);
  return { frame: index, object: object.id, canvas, strokes: 0 };
}

/**
 * @param {Painting} now
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {boolean} erase
 */
function stroke(now, from, to, erase) {
  const context = now.canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  context.strokeStyle = state.objects.peek().find((object) => object.id === now.object)?.color ?? "#fff";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = state.brushSize.peek();
  context.beginPath();
  context.moveTo(...from);
  // A dab is a line of no length, which browsers leave out.
  context.lineTo(to[0] + (from[0] === to[0] && from[1] === to[1] ? 0.01 : 0), to[1]);
  context.stroke();
  painting.value = { ...now, strokes: now.strokes + 1 };
}

/** Sends what was painted and shows it until the answer is here. @param {Painting} now */
async function endPainting(now) {
  const { width, height } = now.canvas;
  const data = now.canvas.getContext("2d", { willReadFrequently: true })?.getImageData(0, 0, width, height).data;
  if (!data) return;
  const pixels = new Uint8Array(width * height);
  for (let i = 0; i < pixels.length; i++) pixels[i] = data[4 * i + 3] > 127 ? 1 : 0;
  await actions.paint(pixels, now);
  if (painting.peek()?.canvas === now.canvas) painting.value = null;
}

// --- shapes

/** Carries out the shape that was drawn: it adds to the mask, takes away from it, or splits it. */
export async function closeShape() {
  const drawn = shape.take();
  const media = state.media.peek();
  if (!drawn || !media) {
    notify("Draw around an area.");
    return;
  }
  if (drawn.does === "split") {
    const region = shape.pixelsOf(drawn, media);
    const counts = region && pack(encode(region, media.height, media.width));
    if (counts) split({ size: [media.height, media.width], counts });
    return;
  }
  const begun = await beginPainting();
  if (!begun) return;
  shape.fill(begun.canvas, drawn, state.objects.peek().find((object) => object.id === begun.object)?.color ?? "#fff");
  painting.value = begun;
  await endPainting(begun);
}

// --- hovering

let hoverTimer = 0;
/** @type {AbortController | null} */
let hoverGoing = null;

function stopHover() {
  clearTimeout(hoverTimer);
  hoverTimer = 0;
  hoverGoing?.abort();
  hovered.value = null;
}

/** @param {[number, number]} at */
function hoverAt(at) {
  if (!state.hoverPreview.peek() || state.tool.peek() !== "point" || !isInside(at) || state.trackJob.peek()) {
    stopHover();
    return;
  }
  if (hoverTimer) return;
  hoverTimer = setTimeout(async () => {
    hoverTimer = 0;
    const now = state.project.peek();
    const place = pointer.peek();
    if (!now || !place) return;
    hoverGoing?.abort();
    const going = new AbortController();
    hoverGoing = going;
    const index = state.frame.peek();
    const object = state.selected.peek();
    const joins = object && !object.locked && state.promptsOn(index, object.id).length > 0;
    try {
      const answer = await api.hover(
        now.id,
        { frame: index, object: joins ? object.id : null, points: [place], labels: [1] },
        going.signal,
      );
      if (going.signal.aborted || state.frame.peek() !== index) return;
      hovered.value = new ShownMask({
        object: -1,
        rle: answer.rle,
        object_score: answer.object_score,
        predicted_iou: answer.predicted_iou,
        motion_score: null,
        candidate: 0,
        lost: false,
        prompt: false,
        painted: false,
        soft: false,
      });
    } catch (problem) {
      if (!api.wasAborted(problem)) hovered.value = null;
    }
  }, HOVER_EVERY);
}

effect(() => {
  state.frame.value;
  state.tool.value;
  stopHover();
  shape.letGo();
});

// --- the pointer

/** Who points at something means the frame that is seen: it stays. */
function stay() {
  state.playing.value = false;
  state.following.value = false;
}

/** @param {[number, number, number, number]} box */
const hasArea = ([x1, y1, x2, y2]) => x2 - x1 >= 1 && y2 - y1 >= 1;

/**
 * Listens to a canvas.
 * @param {HTMLCanvasElement} canvas
 * @returns {() => void} ends it
 */
export function listenTo(canvas) {
  /**
   * What goes on since a press. `press` is its place on the screen, `start` in the source: both stay where they were
   * when the canvas or the picture moves under the pointer.
   * @type {{kind: "pan" | "box" | "paint" | "shape", press: [number, number], start: [number, number], last: [number, number], label: 0 | 1, moved: boolean, erase: boolean, id: number} | null}
   */
  let drag = null;
  /** Strokes that wait for the painting to begin. @type {Promise<void>} */
  let strokes = Promise.resolve();
  const pointers = new Map();
  let pinch = 0;

  /** @param {PointerEvent | WheelEvent | MouseEvent} event @returns {[number, number]} CSS pixels in the view */
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /** @param {[number, number]} from @param {[number, number]} to @param {boolean} erase */
  const paintLine = (from, to, erase) => {
    strokes = strokes.then(() => {
      const now = painting.peek();
      if (now) stroke(now, from, to, erase);
    });
  };

  /** What was begun comes to nothing. */
  const letGo = () => {
    if (drag?.kind === "paint") strokes = strokes.then(() => void (painting.value = null));
    if (drag?.kind === "shape" && state.tool.peek() === "lasso") shape.letGo();
    drag = null;
    draftBox.value = null;
    panning.value = false;
  };

  /** @param {PointerEvent} event */
  const down = (event) => {
    canvas.focus({ preventScroll: true });
    hideCrosshair();
    const at = place(event);
    pointers.set(event.pointerId, at);
    canvas.setPointerCapture(event.pointerId);
    if (pointers.size === 2) {
      const [a, b] = [...pointers.values()];
      pinch = Math.hypot(a[0] - b[0], a[1] - b[1]);
      letGo();
      return;
    }
    const tool = state.tool.peek();
    const removes = event.button === 2 || event.altKey;
    const source = toSource(...at);
    const press = /** @type {[number, number]} */ ([event.clientX, event.clientY]);
    const base = { press, start: source, last: at, moved: false, id: event.pointerId };
    if (event.button === 1 || tool === "hand") {
      drag = { ...base, kind: "pan", label: 1, erase: false };
      panning.value = true;
      return;
    }
    if (event.button !== 0 && event.button !== 2) return;
    stay();
    if (tool === "brush" || tool === "eraser") {
      const erase = (tool === "eraser") !== removes;
      drag = { ...base, kind: "paint", label: 1, erase };
      const [index, object] = [state.frame.peek(), actions.objectMeant()];
      strokes = strokes.then(async () => {
        painting.value = await beginPainting(index, object);
      });
      paintLine(source, source, erase);
    } else if (tool === "lasso" || tool === "polygon") {
      drag = { ...base, kind: "shape", label: 1, erase: removes };
      if (shape.addCorner(clampToFrame(source), { removes, near: CLOSE / zoom.peek(), begins: tool === "lasso" })) void closeShape();
    } else {
      drag = { ...base, kind: "box", label: removes ? 0 : 1, erase: false };
    }
  };

  /** @param {PointerEvent} event */
  const move = (event) => {
    const at = place(event);
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, at);
    if (pointers.size === 2) {
      const [a, b] = [...pointers.values()];
      const now = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (pinch > 0 && now > 0) zoomBy(now / pinch, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
      pinch = now;
      return;
    }
    const source = toSource(...at);
    pointer.value = source;
    if (shape.corners.peek().length) shape.tip.value = clampToFrame(source);
    if (!drag) {
      hoverAt(source);
      return;
    }
    if (Math.hypot(event.clientX - drag.press[0], event.clientY - drag.press[1]) > DRAG) drag.moved = true;
    if (drag.kind === "pan") panBy(at[0] - drag.last[0], at[1] - drag.last[1]);
    else if (drag.kind === "paint") {
      // The browser gathers moves; all of them belong to the stroke.
      let from = toSource(...drag.last);
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const to = toSource(...place(part));
        paintLine(from, to, drag.erase);
        from = to;
      }
    } else if (drag.kind === "shape") {
      if (state.tool.peek() === "lasso") shape.follow(clampToFrame(source), 1 / zoom.peek());
    } else if (drag.moved && drag.label === 1) {
      const [x1, y1] = clampToFrame(drag.start);
      const [x2, y2] = clampToFrame(source);
      draftBox.value = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
    }
    drag.last = at;
  };

  /** @param {PointerEvent} event */
  const up = (event) => {
    pointers.delete(event.pointerId);
    const now = drag;
    if (!now || now.id !== event.pointerId) return;
    drag = null;
    panning.value = false;
    if (now.kind === "paint") {
      strokes = strokes
        .then(() => {
          const done = painting.peek();
          if (done) void endPainting(done);
        })
        .catch(complain); // or no stroke after it would be painted
      return;
    }
    if (now.kind === "shape" && state.tool.peek() === "lasso") void closeShape();
    if (now.kind !== "box") return;
    const box = draftBox.peek();
    draftBox.value = null;
    if (box && hasArea(box)) {
      void actions.drawBox(box);
      return;
    }
    // A hand that trembled, or a line: no box, so a click where it was pressed.
    if (!isInside(now.start)) return;
    if (state.tool.peek() === "box") {
      notify("Drag to draw a box.");
      return;
    }
    stopHover();
    void actions.click(now.start, now.label);
  };

  /** @param {PointerEvent} event */
  const cancel = (event) => {
    pointers.delete(event.pointerId);
    letGo();
  };

  const leave = () => {
    pointer.value = null;
    stopHover();
  };

  /** @param {WheelEvent} event */
  const wheel = (event) => {
    event.preventDefault();
    if (event.shiftKey) panBy(-event.deltaY - event.deltaX, 0);
    else zoomBy(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), place(event));
  };

  // Once everything on the page was selected (Ctrl+A), the browser takes a drag on the canvas for one of the selection.
  const prevent = (/** @type {Event} */ event) => event.preventDefault();

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", wheel, { passive: false });
  canvas.addEventListener("contextmenu", prevent);
  canvas.addEventListener("dragstart", prevent);
  return () => {
    canvas.removeEventListener("pointerdown", down);
    canvas.removeEventListener("pointermove", move);
    canvas.removeEventListener("pointerup", up);
    canvas.removeEventListener("pointercancel", cancel);
    canvas.removeEventListener("pointerleave", leave);
    canvas.removeEventListener("wheel", wheel);
    canvas.removeEventListener("contextmenu", prevent);
    canvas.removeEventListener("dragstart", prevent);
  };
}

// --- pointing by keyboard

/** The corner that the keyboard's box begins at. @type {[number, number] | null} */
let corner = null;

export function toggleCrosshair() {
  const media = state.media.peek();
  if (!media) return;
  const there = crosshair.peek();
  crosshair.value = there ? null : (pointer.peek() ?? [media.width / 2, media.height / 2]);
  corner = null;
  draftBox.value = null;
  announce(there ? "Crosshair off" : "Crosshair on: arrow keys move it, Enter adds, Backspace removes");
}

export function hideCrosshair() {
  crosshair.value = null;
  corner = null;
  draftBox.value = null;
}

/**
 * @param {number} dx
 * @param {number} dy  steps: -1, 0, 1
 * @param {boolean} fine  one pixel of the source instead of some of the screen
 */
export function moveCrosshair(dx, dy, fine) {
  const media = state.media.peek();
  if (!media) return;
  const now = crosshair.peek() ?? [media.width / 2, media.height / 2];
  const step = fine ? 1 : Math.max(1, Math.round(12 / zoom.peek()));
  const [x, y] = clampToFrame([now[0] + dx * step, now[1] + dy * step]);
  crosshair.value = [x, y];
  reveal([x, y]);
  if (corner) {
    draftBox.value = [Math.min(x, corner[0]), Math.min(y, corner[1]), Math.max(x, corner[0]), Math.max(y, corner[1])];
  }
  const object = state.selected.peek();
  const on = object && maskOf(state.frame.peek(), object.id)?.mask.contains(x, y);
  announce(`${Math.round(x)}, ${Math.round(y)}${on ? `, on ${object.name}` : ""}`);
}

/**
 * Enter or its opposite at the crosshair, with the tool that is chosen.
 * @param {boolean} adds
 */
export async function useCrosshair(adds) {
  const now = crosshair.peek();
  if (!now) {
    toggleCrosshair();
    return;
  }
  stay();
  const tool = state.tool.peek();
  if (tool === "brush" || tool === "eraser") {
    const begun = await beginPainting();
    if (!begun) return;
    painting.value = begun;
    stroke(begun, now, now, (tool === "eraser") === adds);
    const done = painting.peek();
    if (done) await endPainting(done);
    return;
  }
  if (tool === "lasso" || tool === "polygon") {
    if (!adds) shape.takeBack();
    else if (shape.addCorner(now, { removes: false, near: CLOSE / zoom.peek(), begins: false })) await closeShape();
    else announce("Corner set. Enter at the first corner, or twice at the same place, closes the polygon.");
    return;
  }
  if (tool === "box" && adds) {
    if (!corner) {
      corner = now;
      announce("First corner set. Move to the opposite one and press Enter.");
      return;
    }
    const box = draftBox.peek();
    if (!box || !hasArea(box)) {
      notify("A box has a width and a height: move on from its first corner.");
      return;
    }
    corner = null;
    draftBox.value = null;
    await actions.drawBox(box);
    return;
  }
  await actions.click(now, adds ? 1 : 0);
}
