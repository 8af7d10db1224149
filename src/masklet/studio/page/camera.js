/** Where the picture lies in the view: zoom and pan, in CSS pixels. */
import { media } from "./state.js";
import { computed, signal } from "./ui.js";

export const viewSize = signal({ width: 1, height: 1 });
/** A zoom of null fits the picture into the view. `x` and `y` are the middle of the view in source pixels. */
export const camera = signal(/** @type {{zoom: number | null, x: number, y: number}} */ ({ zoom: null, x: 0, y: 0 }));

const LEAST = 0.02;
const MOST = 64;
const MARGIN = 12;

/** The scale at which the whole picture is seen. */
export const fitZoom = computed(() => {
  const now = media.value;
  if (!now) return 1;
  const { width, height } = viewSize.value;
  const across = (width - 2 * MARGIN) / (now.width * now.pixel_aspect);
  return Math.max(LEAST, Math.min(across, (height - 2 * MARGIN) / now.height));
});

/** CSS pixels for a source pixel, downwards. */
export const zoom = computed(() => camera.value.zoom ?? fitZoom.value);

/** Origin of the picture and its scales, in CSS pixels. */
export const placement = computed(() => {
  const now = media.value;
  const { width, height } = viewSize.value;
  const scale = zoom.value;
  const across = scale * (now?.pixel_aspect ?? 1);
  const fits = camera.value.zoom === null;
  const x = fits ? (now?.width ?? 0) / 2 : camera.value.x;
  const y = fits ? (now?.height ?? 0) / 2 : camera.value.y;
  return { x: width / 2 - x * across, y: height / 2 - y * scale, zoom: scale, zoomX: across };
});

/** @param {number} x @param {number} y  CSS pixels in the view @returns {[number, number]} pixels of the source */
export function toSource(x, y) {
  const place = placement.peek();
  return [(x - place.x) / place.zoomX, (y - place.y) / place.zoom];
}

/** @param {number} x @param {number} y  pixels of the source @returns {[number, number]} CSS pixels in the view */
export function toView(x, y) {
  const place = placement.peek();
  return [place.x + x * place.zoomX, place.y + y * place.zoom];
}

/**
 * Zooms so that what lies at a place of the view stays there.
 * @param {number} factor
 * @param {[number, number]} [at]  CSS pixels in the view; the middle if left out
 */
export function zoomBy(factor, at) {
  const { width, height } = viewSize.peek();
  const [x, y] = at ?? [width / 2, height / 2];
  const [sourceX, sourceY] = toSource(x, y);
  setZoom(zoom.peek() * factor, [sourceX, sourceY], [x, y]);
}

/**
 * @param {number} value
 * @param {[number, number]} [source]  a place of the picture
 * @param {[number, number]} [at]  that shall be here in the view
 */
export function setZoom(value, source, at) {
  const { width, height } = viewSize.peek();
  const next = Math.max(LEAST, Math.min(MOST, value));
  const place = source ?? toSource(width / 2, height / 2);
  const [x, y] = at ?? [width / 2, height / 2];
  const across = next * (media.peek()?.pixel_aspect ?? 1);
  move(next, place[0] + (width / 2 - x) / across, place[1] + (height / 2 - y) / next);
}

export const fit = () => {
  camera.value = { ...camera.peek(), zoom: null };
};

/** @param {number} dx @param {number} dy  CSS pixels */
export function panBy(dx, dy) {
  const { width, height } = viewSize.peek();
  const place = placement.peek();
  const [x, y] = toSource(width / 2, height / 2);
  move(place.zoom, x - dx / place.zoomX, y - dy / place.zoom);
}

/**
 * Brings a place of the picture into view if it isn't.
 * @param {[number, number]} source
 */
export function reveal(source) {
  const [x, y] = toView(...source);
  const { width, height } = viewSize.peek();
  const edge = 24;
  const dx = x < edge ? edge - x : x > width - edge ? width - edge - x : 0;
  const dy = y < edge ? edge - y : y > height - edge ? height - edge - y : 0;
  if (dx || dy) panBy(dx, dy);
}

/** @param {number} scale @param {number} x @param {number} y */
function move(scale, x, y) {
  const now = media.peek();
  // The middle of the view stays on the picture, so that it can't get lost.
  camera.value = {
    zoom: scale,
    x: Math.max(0, Math.min(now?.width ?? 0, x)),
    y: Math.max(0, Math.min(now?.height ?? 0, y)),
  };
}
