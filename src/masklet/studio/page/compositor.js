/** Draws a frame with its masks: every view is made here from run lengths, so that none needs the server. */
import { rgb } from "./format.js";
import { keepDrawn } from "./masks.js";

/** @typedef {import("./masks.js").ShownMask} ShownMask */
/** @typedef {{x: number, y: number, zoom: number, zoomX: number}} Camera  device pixels: origin and scale */

/**
 * @typedef {object} Layer
 * @property {ShownMask | null} shown
 * @property {string} color
 * @property {boolean} selected
 * @property {ImageBitmap | null} alpha  the opacity with soft edges, where it is known
 * @property {HTMLCanvasElement | null} paint  what is being painted, in place of the mask
 */

/**
 * @typedef {object} Scene
 * @property {number} width
 * @property {number} height
 * @property {ImageBitmap | null} picture
 * @property {Layer[]} layers
 * @property {import("./state.js").View} view
 * @property {number} opacity
 * @property {Camera} camera
 * @property {number} unit  device pixels of a CSS pixel
 */

const GREEN = "#00b140";
const WHITE = "#ffffff";

/** @type {HTMLCanvasElement | null} */
let scratch = null;
/** @type {CanvasPattern | null} */
let checker = null;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 */
export function compose(context, scene) {
  const { camera, width, height, picture, view, layers } = scene;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  if (view === "matte") {
    into(context, camera);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    for (const layer of layers) drawMask(context, layer, WHITE);
    return;
  }
  if (view === "cutout" || view === "screen") {
    drawGround(context, scene);
    if (!picture) return;
    const part = layerCanvas(context.canvas.width, context.canvas.height);
    into(part, camera);
    for (const layer of layers) drawMask(part, layer, WHITE);
    part.globalCompositeOperation = "source-in";
    drawPicture(part, picture, scene);
    part.globalCompositeOperation = "source-over";
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(part.canvas, 0, 0);
    return;
  }
  into(context, camera);
  if (picture) drawPicture(context, picture, scene);
  else {
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
  }
  if (view === "original") return;
  for (const layer of layers) {
    if (view === "overlay") {
      context.globalAlpha = scene.opacity;
      drawMask(context, { ...layer, alpha: null }, layer.color);
      context.globalAlpha = 1;
    }
    if (!layer.paint && layer.shown) drawOutline(context, layer.shown, layer, scene);
  }
}

/** @param {CanvasRenderingContext2D} context @param {Camera} camera */
function into(context, camera) {
  context.setTransform(camera.zoomX, 0, 0, camera.zoom, camera.x, camera.y);
  // Pixels are squares once they are large enough to be looked at one by one.
  context.imageSmoothingEnabled = camera.zoom < 3;
  context.imageSmoothingQuality = "medium";
}

/** @param {CanvasRenderingContext2D} context @param {ImageBitmap} picture @param {Scene} scene */
function drawPicture(context, picture, scene) {
  context.drawImage(picture, 0, 0, scene.width, scene.height);
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene */
function drawGround(context, scene) {
  into(context, scene.camera);
  if (scene.view === "screen") context.fillStyle = GREEN;
  else {
    checker ??= makeChecker(context);
    // Squares of one size on the screen, whatever the zoom.
    const size = scene.unit;
    checker?.setTransform(
      new DOMMatrix([size / scene.camera.zoomX, 0, 0, size / scene.camera.zoom, 0, 0]),
    );
    context.fillStyle = checker ?? "#888";
    context.imageSmoothingEnabled = false;
  }
  context.fillRect(0, 0, scene.width, scene.height);
  into(context, scene.camera);
}

/** @param {CanvasRenderingContext2D} context */
function makeChecker(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 16;
  const pen = tile.getContext("2d");
  if (!pen) return null;
  pen.fillStyle = "#9a9a9a";
  pen.fillRect(0, 0, 16, 16);
  pen.fillStyle = "#c8c8c8";
  pen.fillRect(0, 0, 8, 8);
  pen.fillRect(8, 8, 8, 8);
  return context.createPattern(tile, "repeat");
}

/**
 * A canvas for a layer of its own, cleared.
 * @param {number} width
 * @param {number} height
 */
function layerCanvas(width, height) {
  scratch ??= document.createElement("canvas");
  if (scratch.width !== width || scratch.height !== height) {
    scratch.width = width;
    scratch.height = height;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (scratch.getContext("2d"));
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Layer} layer
 * @param {string} color
 */
function drawMask(context, layer, color) {
  if (layer.paint) {
    context.drawImage(layer.paint, 0, 0);
    return;
  }
  if (layer.alpha) {
    const operation = context.globalCompositeOperation;
    context.drawImage(layer.alpha, 0, 0);
    context.globalCompositeOperation = operation;
    return;
  }
  const shown = layer.shown;
  const box = shown?.mask.box;
  if (!shown || !box) return;
  const canvas = canvasOf(shown, color);
  if (canvas) context.drawImage(canvas, box[0], box[1]);
}

/**
 * The mask as a canvas of one colour, the size of its box. It is kept until another colour is wanted.
 * @param {ShownMask} shown
 * @param {string} color
 */
export function canvasOf(shown, color) {
  if (shown.painted?.color === color) return shown.painted.canvas;
  const image = shown.mask.image(rgb(color));
  if (!image) return null;
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  keepDrawn(shown);
  shown.painted = { color, canvas };
  return canvas;
}

/** @param {ShownMask} shown */
export function pathOf(shown) {
  if (!shown.path) {
    keepDrawn(shown);
    const path = new Path2D();
    const lines = shown.mask.edges();
    for (let i = 0; i < lines.length; i += 4) {
      path.moveTo(lines[i], lines[i + 1]);
      path.lineTo(lines[i + 2], lines[i + 3]);
    }
    shown.path = path;
  }
  return shown.path;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ShownMask} shown
 * @param {{color: string, selected: boolean}} style
 * @param {{camera: Camera, unit: number, view: string}} scene
 * @param {number[]} [dash]
 */
export function drawOutline(context, shown, style, scene, dash = []) {
  const path = pathOf(shown);
  const pixel = scene.unit / Math.sqrt(scene.camera.zoom * scene.camera.zoomX);
  context.save();
  context.lineCap = "round";
  context.setLineDash(dash.map((length) => length * pixel));
  if (scene.view === "outline") {
    // A dark rim keeps a bright outline visible on a bright picture.
    context.lineWidth = 4 * pixel;
    context.strokeStyle = "#0009";
    context.stroke(path);
  }
  context.lineWidth = (style.selected ? 2 : 1.25) * pixel;
  context.strokeStyle = style.color;
  context.stroke(path);
  context.restore();
}

/**
 * An 8-bit grey picture of an opacity as a picture that is white and that opaque.
 * @param {ImageBitmap} grey
 */
export async function alphaFromGrey(grey) {
  const canvas = document.createElement("canvas");
  canvas.width = grey.width;
  canvas.height = grey.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(grey, 0, 0);
  grey.close();
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  const bytes = image.data;
  for (let i = 0; i < words.length; i++) {
    const value = bytes[i * 4];
    bytes[i * 4] = bytes[i * 4 + 1] = bytes[i * 4 + 2] = 255;
    bytes[i * 4 + 3] = value;
  }
  return createImageBitmap(image);
}
