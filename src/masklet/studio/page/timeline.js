/** The timeline: ruler, thumbnails, and a lane per object with its prompts, tracked spans and scores. */
import * as actions from "./actions.js";
import { thumbnailAddress } from "./api.js";
import { decimal, timecode } from "./format.js";
import { DOUBTFUL, GOOD, LOST, NONE } from "./lanes.js";
import { Lru } from "./lru.js";
import * as state from "./state.js";
import { IconButton, classes, effect, html, signal, useEffect, useRef, useSignal } from "./ui.js";

const RULER = 22;
const STRIP = 44;
const LANE = 26;
const LEAST_SPAN = 8; // frames

/** What part of the video is seen: first frame and number of frames; null: all. */
const range = signal(/** @type {{start: number, span: number} | null} */ (null));
const thumbsArrived = signal(0);
const stripShown = signal(true);

/** @type {Lru<string, HTMLImageElement | "coming">} */
const thumbs = new Lru(400, () => 1);
/** @type {string[]} */
let thumbQueue = [];
let thumbsGoing = 0;

/** @param {string} address */
function thumb(address) {
  const there = thumbs.get(address);
  if (there && there !== "coming") return there;
  if (!there && !thumbQueue.includes(address)) thumbQueue.push(address);
  return null;
}

/** Two at a time, and none while playing, so that clicks and frames never wait behind thumbnails. */
function pumpThumbs() {
  while (state.inStep.peek() && !state.playing.peek() && thumbsGoing < 2 && thumbQueue.length) {
    const address = /** @type {string} */ (thumbQueue.shift());
    const image = new Image();
    thumbsGoing++;
    thumbs.set(address, "coming");
    const done = () => {
      thumbsGoing--;
      thumbsArrived.value++;
      pumpThumbs();
    };
    image.onload = () => {
      thumbs.set(address, image);
      done();
    };
    image.onerror = () => {
      thumbs.delete(address);
      thumbsGoing--;
    };
    image.src = address;
  }
}

/** The part in view, never outside the video. */
function visible() {
  const count = state.media.value?.frame_count ?? 1;
  const now = range.value;
  if (!now) return { start: 0, span: count };
  const span = Math.max(Math.min(LEAST_SPAN, count), Math.min(count, now.span));
  return { start: Math.max(0, Math.min(count - span, now.start)), span };
}

/** @param {number} factor @param {number} [around]  frame that stays where it is */
export function zoomTimeline(factor, around = state.frame.peek() + 0.5) {
  const { start, span } = visible();
  const count = state.media.peek()?.frame_count ?? 1;
  const next = Math.max(Math.min(LEAST_SPAN, count), Math.min(count, span * factor));
  range.value = next >= count ? null : { start: around - ((around - start) / span) * next, span: next };
}

const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;

/** @param {string} name */
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {HTMLCanvasElement} canvas */
function start(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let asked = 0;
  const ask = () => {
    if (!asked) {
      asked = requestAnimationFrame(() => {
        asked = 0;
        draw(context);
      });
    }
  };
  const stops = [
    effect(() => {
      for (const source of [
        state.frame, state.objects, state.lanesChanged, state.lanes, state.prompts, state.markIn, state.markOut,
        state.currentObject, state.solo, state.theme, state.inStep, state.playing, range, thumbsArrived, stripShown,
      ]) source.value;
      ask();
    }),
    effect(() => {
      // While playing or tracking, the playhead stays in view.
      const index = state.frame.value;
      const now = range.peek();
      if (!now || dragging) return;
      if (index < now.start || index >= now.start + now.span) range.value = { ...now, start: index - now.span * 0.1 };
    }),
    effect(() => {
      state.project.value?.id;
      range.value = null;
      thumbQueue = [];
    }),
  ];
  const observer = new ResizeObserver(ask);
  observer.observe(/** @type {Element} */ (canvas.parentElement));
  const low = matchMedia("(max-height: 660px)");
  const onLow = () => (stripShown.value = !low.matches);
  onLow();
  low.addEventListener("change", onLow);
  const light = matchMedia("(prefers-color-scheme: light)");
  light.addEventListener("change", ask);
  return () => {
    observer.disconnect();
    low.removeEventListener("change", onLow);
    light.removeEventListener("change", ask);
    cancelAnimationFrame(asked);
    for (const stop of stops) stop();
  };
}

/** @param {CanvasRenderingContext2D} context */
function draw(context) {
  const media = state.media.peek();
  const project = state.project.peek();
  const canvas = context.canvas;
  if (!media || !project) return;
  const unit = rem();
  const ratio = devicePixelRatio || 1;
  const width = canvas.parentElement?.clientWidth ?? 0;
  const ruler = RULER * unit;
  const strip = stripShown.peek() ? STRIP * unit : 0;
  const lane = LANE * unit;
  const objects = state.objects.peek();
  const height = ruler + strip + Math.max(1, objects.length) * lane;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = style("--field");
  context.fillRect(0, 0, width, height);
  const { start: first, span } = visible();
  const perFrame = width / span;
  /** @param {number} index */
  const x = (index) => (index - first) * perFrame;

  drawRuler(context, { width, ruler, first, span, perFrame, unit });
  if (strip) drawStrip(context, { media, project, width, top: ruler, height: strip, first, span, perFrame });
  objects.forEach((object, row) => {
    const top = ruler + strip + row * lane;
    if (object.id === state.currentObject.peek()) {
      context.fillStyle = style("--raised");
      context.fillRect(0, top, width, lane);
    }
    context.fillStyle = style("--line");
    context.fillRect(0, top + lane - 1, width, 1);
    drawLane(context, { object, top, height: lane, width, first, span, perFrame, unit });
  });

  // What lies outside the marked range steps back.
  const [begin, end] = [state.markIn.peek(), state.markOut.peek()];
  if (begin !== null || end !== null) {
    const left = begin === null ? 0 : x(begin);
    const right = end === null ? width : x(end + 1);
    context.globalAlpha = 0.55;
    context.fillStyle = style("--bg");
    context.fillRect(0, 0, Math.max(0, left), height);
    context.fillRect(right, 0, Math.max(0, width - right), height);
    context.globalAlpha = 1;
    context.fillStyle = style("--accent");
    context.fillRect(left, ruler - 4 * unit, right - left, 4 * unit);
    for (const [mark, at, side] of /** @type {[number | null, number, number][]} */ ([[begin, left, 1], [end, right, -1]])) {
      if (mark === null) continue;
      context.fillRect(at - (side > 0 ? 0 : 2), 0, 2, height);
      context.fillRect(at - (side > 0 ? 0 : 6), 0, 6, 3);
    }
  }

  const index = state.frame.peek();
  const middle = x(index + 0.5);
  if (perFrame > 6) {
    context.globalAlpha = 0.16;
    context.fillStyle = style("--accent");
    context.fillRect(x(index), ruler, perFrame, height - ruler);
    context.globalAlpha = 1;
  }
  context.fillStyle = style("--accent");
  context.fillRect(Math.round(middle) - 1, ruler - 2, 2, height);
  context.font = `600 ${11 * unit}px ui-monospace, "DejaVu Sans Mono", monospace`;
  const label = String(index);
  const wide = context.measureText(label).width + 10 * unit;
  const left = Math.max(0, Math.min(width - wide, middle - wide / 2));
  context.beginPath();
  context.roundRect(left, 2 * unit, wide, ruler - 5 * unit, 3 * unit);
  context.fill();
  context.fillStyle = style("--on-accent");
  context.textBaseline = "middle";
  context.textAlign = "center";
  context.fillText(label, left + wide / 2, ruler / 2);
  pumpThumbs();
}

/** @param {CanvasRenderingContext2D} context @param {{width: number, ruler: number, first: number, span: number, perFrame: number, unit: number}} place */
function drawRuler(context, { width, ruler, first, span, perFrame, unit }) {
  context.fillStyle = style("--panel");
  context.fillRect(0, 0, width, ruler);
  let step = 1;
  for (const factor of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]) {
    step = factor;
    if (factor * perFrame >= 64 * unit) break;
  }
  const small = step >= 5 && (step / 5) * perFrame >= 4 ? step / 5 : step;
  context.font = `${10.5 * unit}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.textBaseline = "middle";
  context.textAlign = "left";
  for (let index = Math.floor(first / small) * small; index <= first + span; index += small) {
    const at = Math.round((index + (perFrame > 6 ? 0.5 : 0) - first) * perFrame);
    const large = index % step === 0;
    context.fillStyle = style(large ? "--faint" : "--line-strong");
    context.fillRect(at, ruler - (large ? 8 : 4) * unit, 1, (large ? 8 : 4) * unit);
    if (large) {
      context.fillStyle = style("--dim");
      context.fillText(String(index), at + 4 * unit, ruler / 2 - 1);
    }
  }
}

const STEPS = [1, 2, 3, 4, 6, 8];

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{media: import("./api-types.js").MediaState, project: state.ProjectState, width: number, top: number, height: number, first: number, span: number, perFrame: number}} place
 */
function drawStrip(context, { media, project, top, height, first, span, perFrame }) {
  const wide = (height * media.width * media.pixel_aspect) / media.height;
  let step = 1;
  for (let power = 1; ; power *= 8) {
    const found = STEPS.map((factor) => factor * power).find((factor) => factor * perFrame >= wide * 0.98);
    if (found) {
      step = found;
      break;
    }
  }
  thumbQueue = [];
  for (let index = Math.floor(first / step) * step; index < first + span; index += step) {
    if (index >= media.frame_count) break;
    const image = thumb(thumbnailAddress(project.id, index, media.fingerprint));
    const left = (index - first) * perFrame;
    const slot = step * perFrame;
    if (!image) continue;
    context.save();
    context.beginPath();
    context.rect(left, top, slot - 1, height);
    context.clip();
    // The picture fills its slot; what is too wide is cut at both sides.
    const scale = Math.max((slot - 1) / wide, 1);
    const seen = Math.min(scale, 1.6);
    context.drawImage(image, left + (slot - 1 - wide * seen) / 2, top + (height - height * seen) / 2, wide * seen, height * seen);
    context.restore();
  }
}

/** @type {Map<string, CanvasPattern>} */
const patterns = new Map();

/**
 * Stripes for doubtful stretches, crosses for lost ones, so that no colour is needed to tell them apart.
 * @param {CanvasRenderingContext2D} context
 * @param {"stripes" | "crosses"} kind
 * @param {string} color
 */
function pattern(context, kind, color) {
  const key = kind + color;
  const there = patterns.get(key);
  if (there) return there;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  pen.fillStyle = color;
  pen.globalAlpha = kind === "stripes" ? 0.45 : 0.15;
  pen.fillRect(0, 0, 8, 8);
  pen.globalAlpha = 1;
  pen.strokeStyle = color;
  pen.lineWidth = kind === "stripes" ? 2.5 : 1.5;
  pen.beginPath();
  pen.moveTo(-2, 6);
  pen.lineTo(6, -2);
  pen.moveTo(2, 10);
  pen.lineTo(10, 2);
  if (kind === "crosses") {
    pen.moveTo(-2, 2);
    pen.lineTo(6, 10);
    pen.moveTo(2, -2);
    pen.lineTo(10, 6);
  }
  pen.stroke();
  const made = /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
  patterns.set(key, made);
  return made;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{object: state.ObjectState, top: number, height: number, width: number, first: number, span: number, perFrame: number, unit: number}} place
 */
function drawLane(context, { object, top, height, width, first, span, perFrame, unit }) {
  const lane = state.lanes.peek()[object.id];
  const base = top + height - 4 * unit;
  const tall = height - 9 * unit;
  if (lane) {
    // A column of pixels stands for one frame or more; the worst of them is shown, so that none is overlooked.
    const columns = Math.ceil(Math.min(width, span * Math.max(1, perFrame)));
    const byFrame = perFrame >= 1;
    const cells = byFrame ? Math.ceil(span) + 1 : columns;
    let from = 0;
    let kind = -1;
    let level = -1;
    const bound = lane.bound();
    /** @param {number} to */
    const flush = (to) => {
      if (kind > NONE) drawCell(context, kind, level, from, to, base, tall, object.color, object.visible, unit);
    };
    for (let cell = 0; cell < cells; cell++) {
      const low = byFrame ? Math.floor(first) + cell : Math.floor(first + cell / perFrame);
      const high = byFrame ? low : Math.max(low, Math.floor(first + (cell + 1) / perFrame) - 1);
      const left = byFrame ? (low - first) * perFrame : cell;
      const worst = lane.worst(low, high, bound);
      const score = worst === NONE ? -1 : quality(lane, low, high);
      if (worst !== kind || score !== level) {
        flush(left);
        from = left;
        kind = worst;
        level = score;
      }
    }
    flush(byFrame ? (Math.floor(first) + cells - first) * perFrame : cells);
  }
  const frames = state.promptFrames(object.id);
  for (const index of frames) {
    const at = (index + 0.5 - first) * perFrame;
    if (at < -8 || at > width + 8) continue;
    drawPromptMark(context, at, top + height / 2, 5 * unit, object.color, Boolean(lane?.isPainted(index)));
  }
}

/**
 * The lowest predicted IoU of some frames in eight levels; 8 where there is none (painted masks).
 * @param {import("./lanes.js").LaneData} lane
 * @param {number} low
 * @param {number} high
 */
function quality(lane, low, high) {
  let least = 1;
  for (let index = Math.max(low, 0); index <= high && index < lane.predictedIou.length; index++) {
    if (lane.predictedIou[index] < least) least = lane.predictedIou[index];
  }
  return Math.round(Math.max(0, Math.min(1, least)) * 8);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} kind
 * @param {number} level  0 to 8
 * @param {number} from
 * @param {number} to
 * @param {number} base
 * @param {number} tall
 * @param {string} color
 * @param {boolean} visible
 * @param {number} unit
 */
function drawCell(context, kind, level, from, to, base, tall, color, visible, unit) {
  // Whole pixels, so that neighbours touch.
  from = Math.round(from);
  const width = Math.max(1, Math.round(to) - from);
  const high = tall * (0.35 + 0.65 * (level / 8));
  context.globalAlpha = visible ? 1 : 0.4;
  if (kind === GOOD) {
    context.fillStyle = color;
    context.globalAlpha *= 0.85;
    context.fillRect(from, base - high, width, high);
  } else if (kind === DOUBTFUL) {
    const doubt = style("--doubt");
    context.fillStyle = pattern(context, "stripes", doubt);
    context.fillRect(from, base - high, width, high);
    context.fillStyle = doubt;
    context.fillRect(from, base - high, width, 2 * unit);
  } else if (kind === LOST) {
    const lost = style("--lost");
    context.fillStyle = pattern(context, "crosses", lost);
    context.fillRect(from, base - tall, width, tall);
    context.fillStyle = lost;
    context.fillRect(from, base - 2 * unit, width, 2 * unit);
  }
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size @param {string} color @param {boolean} painted */
function drawPromptMark(context, x, y, size, color, painted) {
  context.beginPath();
  if (painted) context.rect(x - size * 0.8, y - size * 0.8, size * 1.6, size * 1.6);
  else {
    context.moveTo(x, y - size * 1.25);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size * 1.25);
    context.lineTo(x - size, y);
    context.closePath();
  }
  context.fillStyle = color;
  context.fill();
  context.lineWidth = 3;
  context.strokeStyle = "#000a";
  context.stroke();
  context.lineWidth = 1.5;
  context.strokeStyle = "#fff";
  context.stroke();
}

let dragging = false;

export function Timeline() {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const hint = useSignal(/** @type {{x: number, text: string} | null} */ (null));
  useEffect(() => (canvas.current ? start(canvas.current) : undefined), []);
  const media = state.media.value;
  if (!media) return null;

  /** @param {PointerEvent | WheelEvent} event */
  const frameAt = (event) => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current).getBoundingClientRect();
    const { start: first, span } = visible();
    return first + ((event.clientX - box.left) / box.width) * span;
  };
  /** @param {PointerEvent} event */
  const rowAt = (event) => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current).getBoundingClientRect();
    const unit = rem();
    const head = (RULER + (stripShown.peek() ? STRIP : 0)) * unit;
    return Math.floor((event.clientY - box.top - head) / (LANE * unit));
  };
  /** @type {(event: PointerEvent) => void} */
  const down = (event) => {
    if (event.button !== 0) return;
    dragging = true;
    /** @type {HTMLElement} */ (event.currentTarget).setPointerCapture(event.pointerId);
    const object = state.objects.peek()[rowAt(event)];
    if (object) state.currentObject.value = object.id;
    state.playing.value = false;
    actions.seek(Math.floor(frameAt(event)), { quiet: true });
  };
  /** @type {(event: PointerEvent) => void} */
  const move = (event) => {
    const index = state.clampFrame(Math.floor(frameAt(event)));
    if (dragging) actions.seek(index, { quiet: true });
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    hint.value = { x: event.clientX - box.left, text: describe(index, state.objects.peek()[rowAt(event)] ?? null) };
  };
  const up = () => {
    dragging = false;
  };
  /** @type {(event: WheelEvent) => void} */
  const wheel = (event) => {
    if (!event.ctrlKey && !event.shiftKey && !event.altKey && Math.abs(event.deltaX) < Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey || event.altKey) zoomTimeline(Math.exp(event.deltaY * 0.002), frameAt(event));
    else {
      const { start: first, span } = visible();
      range.value = { start: first + ((event.deltaX || event.deltaY) / 600) * span, span };
    }
  };
  const index = state.frame.value;
  const now = visible();
  return html`<div class="lanes">
    <div class="lane-names">
      <div class="head" style=${{ height: `${(RULER + (stripShown.value ? STRIP : 0)) / 16}rem` }}>
        <span>Objects</span>
        <span class="row" style=${{ gap: 0 }}>
          <${IconButton} icon="minus" class="tiny" label="Zoom timeline out" keys="Alt+wheel" disabled=${now.span >= media.frame_count} onClick=${() => zoomTimeline(2)} />
          <${IconButton} icon="plus" class="tiny" label="Zoom timeline in" keys="Alt+wheel" disabled=${now.span <= LEAST_SPAN} onClick=${() => zoomTimeline(0.5)} />
        </span>
      </div>
      ${state.objects.value.map(
        (object) => html`<button
          type="button"
          key=${object.id}
          tabindex="-1"
          class=${classes("lane-name", object.id === state.currentObject.value && "current")}
          style=${{ height: `${LANE / 16}rem` }}
          onClick=${() => (state.currentObject.value = object.id)}
        >
          <i style=${{ background: object.color }}></i><span class="ellipsis">${object.name}</span>
        </button>`,
      )}
    </div>
    <div class="track">
      <canvas
        ref=${canvas}
        id="timeline"
        tabindex="0"
        role="slider"
        aria-label="Timeline"
        aria-valuemin="0"
        aria-valuemax=${media.frame_count - 1}
        aria-valuenow=${index}
        aria-valuetext=${`Frame ${index}, ${timecode(index, media)}${state.selected.value ? `, ${describe(index, state.selected.value)}` : ""}`}
        onPointerDown=${down}
        onPointerMove=${move}
        onPointerUp=${up}
        onPointerCancel=${up}
        onPointerLeave=${() => (hint.value = null)}
        onWheel=${wheel}
      ></canvas>
      ${hint.value && html`<div class="time-hint" style=${{ left: `${hint.value.x}px` }}>${hint.value.text}</div>`}
    </div>
  </div>`;
}

/** @param {number} index @param {state.ObjectState | null} object */
function describe(index, object) {
  const lane = object && state.lanes.peek()[object.id];
  if (!object || !lane) return `frame ${index}`;
  const here = lane.at(index);
  const kind = ["not tracked", "tracked", "doubtful", "lost"][here];
  const seen = lane.isFoundAgain(index) ? "found again" : kind;
  const about = lane.isPainted(index) ? "painted" : lane.isPrompt(index) ? "prompt" : seen;
  const scores =
    here === NONE || lane.isPainted(index)
      ? ""
      : ` · IoU ${decimal(lane.predictedIou[index])} · object ${decimal(lane.objectScore[index], 1)}`;
  return `frame ${index} · ${object.name}: ${about}${scores}`;
}
