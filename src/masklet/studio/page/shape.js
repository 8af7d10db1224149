/** The polygon or lasso that is being drawn on the picture. */
import { batch, signal } from "./ui.js";

/** @typedef {"add" | "remove" | "replace" | "split"} Does  what a shape does to the mask */
/** @typedef {{corners: [number, number][], does: Does}} Drawn */

/** Its corners so far, in source pixels; none while nothing is drawn. */
export const corners = signal(/** @type {[number, number][]} */ ([]));
/** Where its open end is. */
export const tip = signal(/** @type {[number, number] | null} */ (null));
/** What shapes do, as chosen beside the tool; the right button and Alt take away. */
export const does = signal(/** @type {Does} */ ("add"));

let removing = false;

/** @param {[number, number]} a @param {[number, number]} b */
const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/**
 * One more corner; true where it closes the shape, being near the first corner, or again the last one.
 * @param {[number, number]} at
 * @param {{removes: boolean, near: number, begins: boolean}} how  `begins`: a shape anew, whatever was drawn
 */
export function addCorner(at, { removes, near, begins }) {
  const there = begins ? [] : corners.peek();
  if (there.length > 2 && (apart(at, there[0]) <= near || apart(at, there[there.length - 1]) <= near / 2)) return true;
  if (there.length && apart(at, there[there.length - 1]) <= near / 2) return false;
  if (!there.length) removing = removes;
  batch(() => {
    corners.value = [...there, at];
    tip.value = at;
  });
  return false;
}

/** The lasso goes along. @param {[number, number]} at @param {number} step  the least way to the corner before */
export function follow(at, step) {
  const there = corners.peek();
  if (there.length && apart(at, there[there.length - 1]) >= step) corners.value = [...there, at];
}

export function takeBack() {
  corners.value = corners.peek().slice(0, -1);
}

export function letGo() {
  corners.value = [];
  tip.value = null;
}

/** What was drawn, which is nothing any more then; null where it has no area. @returns {Drawn | null} */
export function take() {
  const drawn = { corners: corners.peek(), does: removing ? /** @type {const} */ ("remove") : does.peek() };
  letGo();
  return drawn.corners.length > 2 ? drawn : null;
}

/**
 * @param {HTMLCanvasElement} canvas  a mask of the size of the source, opaque where it is
 * @param {Drawn} drawn
 * @param {string} color
 */
export function fill(canvas, drawn, color) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) return;
  if (drawn.does === "replace") pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = drawn.does === "remove" ? "destination-out" : "source-over";
  pen.fillStyle = color;
  pen.beginPath();
  for (const [x, y] of drawn.corners) pen.lineTo(x, y);
  pen.fill("evenodd");
}

/**
 * The shape alone, a byte for each pixel of the source.
 * @param {Drawn} drawn
 * @param {{width: number, height: number}} size
 */
export function pixelsOf(drawn, { width, height }) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  fill(canvas, { ...drawn, does: "add" }, "#fff");
  const data = canvas.getContext("2d", { willReadFrequently: true })?.getImageData(0, 0, width, height).data;
  return data && Uint8Array.from({ length: width * height }, (_, i) => (data[4 * i + 3] > 127 ? 1 : 0));
}
