/** "Why": what the model and the policy saw on this frame, in words and numbers. */
import * as actions from "./actions.js";
import { explain, thumbnailAddress, wasAborted } from "./api.js";
import { decimal } from "./format.js";
import { framesArrived, pictureOf } from "./frames.js";
import { maskOf, masksChanged, ShownMask } from "./masks.js";
import * as state from "./state.js";
import { classes, effect, html, signal, useEffect, useRef, useState } from "./ui.js";

const problem = signal("");

/** The explanation follows the frame, the object and their masks, while somebody looks at it. */
export function startInspector() {
  effect(() => {
    const project = state.project.value;
    const object = state.currentObject.value;
    const index = state.frame.value;
    const seen = state.tab.value === "why" && state.panelOpen.value && !state.playing.value;
    masksChanged.value;
    if (!project || object === null || !seen) {
      state.explanation.value = null;
      return undefined;
    }
    const controller = new AbortController();
    const timer = setTimeout(
      async () => {
        try {
          const answer = await explain(project.id, index, object, controller.signal);
          if (controller.signal.aborted) return;
          state.explanation.value = answer;
          problem.value = "";
          if (answer.direction === "prompt" && state.candidates.peek()?.frame !== index) await actions.findCandidates();
        } catch (error) {
          if (wasAborted(error)) return;
          state.explanation.value = null;
          problem.value = error instanceof Error ? error.message : String(error);
        }
      },
      state.following.peek() ? 400 : 120,
    );
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  });
}

export function Inspector() {
  const object = state.selected.value;
  const why = state.explanation.value;
  if (!object) return html`<p class="dim">Select an object to see why its mask is what it is.</p>`;
  if (!why || why.object !== object.id || why.frame !== state.frame.value) {
    return html`<p class="dim">${problem.value || "Looking…"}</p>`;
  }
  const used = why.memories.filter((memory) => memory.used);
  const unused = why.memories.filter((memory) => !memory.used);
  return html`
    <div class="section">
      <h2>${object.name}, frame ${why.frame}</h2>
      ${why.summary.map((sentence) => html`<p class="small" style=${{ marginTop: "0.25rem" }}>${sentence}</p>`)}
      <dl class="facts" style=${{ marginTop: "0.5rem" }}>
        <dt>Object score</dt>
        <dd>${decimal(why.object_score, 1)}${why.lost ? " · lost" : ""}</dd>
        <dt>Direction</dt>
        <dd>${why.direction}</dd>
        <dt>Tracking method</dt>
        <dd>${state.studio.value?.policies.find((entry) => entry.name === why.policy)?.title ?? why.policy}</dd>
      </dl>
      <p class="teach">The object score says whether the object is seen at all: above zero it is, below zero it counts as lost.</p>
    </div>
    ${why.candidates.length > 0 &&
    html`<div class="section">
      <h3>Candidates</h3>
      <div class="candidate-list">${why.candidates.map((candidate) => html`<${Candidate} key=${candidate.index} candidate=${candidate} why=${why} color=${object.color} />`)}</div>
      <p class="teach">
        The network offers several masks and guesses how well each fits (predicted IoU). The highest final score wins.
        ${why.motion_box && " The dashed box on the picture is where motion expected the object."}
      </p>
    </div>`}
    ${why.memories.length > 0 &&
    html`<div class="section">
      <h3>Memory: ${used.length} of ${why.memories.length} frames were read</h3>
      <div class="memories">
        ${used.map(
          (memory) => html`<${Memory} key=${`${memory.kind}${memory.frame}`} memory=${memory} />`,
        )}
      </div>
      <p class="teach">
        The model compares this frame with what it remembers: the frames with prompts, and a few that the policy picked.
        A bad frame that is remembered spreads its mistake.
      </p>
      ${unused.length > 0 &&
      html`<details>
        <summary class="small">Not read: ${unused.length}</summary>
        <ul class="reasons">
          ${unused.slice(0, 60).map(
            (memory) => html`<li>
              <span><button type="button" class="link number" onClick=${() => actions.seek(memory.frame)}>${memory.frame}</button></span>
              <span class="dim">${memory.reason}</span>
            </li>`,
          )}
        </ul>
      </details>`}
    </div>`}
  `;
}

/** @param {{memory: import("./api-types.js").ExplainedMemory}} props */
function Memory({ memory }) {
  const project = state.project.value;
  if (!project) return null;
  return html`<button
    type="button"
    class=${classes("memory", memory.kind === "prompt" && "prompt")}
    title=${`${memory.reason} IoU ${decimal(memory.predicted_iou)}, object score ${decimal(memory.object_score, 1)}${memory.pointer ? "; its object pointer was read" : ""}`}
    aria-label=${`Go to frame ${memory.frame}. ${memory.reason}`}
    onClick=${() => actions.seek(memory.frame)}
  >
    <img src=${thumbnailAddress(project.id, memory.frame, project.media.fingerprint)} alt="" loading="lazy" />
    <span class="number">${memory.frame}${memory.kind === "prompt" ? " ◆" : ""}</span>
  </button>`;
}

/** @param {{candidate: import("./api-types.js").ExplainedCandidate, why: import("./api-types.js").ExplanationState, color: string}} props */
function Candidate({ candidate, why, color }) {
  const latest = state.candidates.value;
  const offered =
    latest?.frame === why.frame && latest.object === why.object
      ? latest.list.find((entry) => entry.index === candidate.index)
      : undefined;
  const content = html`
    <${CandidatePicture} candidate=${candidate} why=${why} color=${color} rle=${offered?.rle ?? null} />
    <dl class="facts">
      <dt>IoU</dt>
      <dd>${decimal(candidate.predicted_iou)}</dd>
      <dt>Motion</dt>
      <dd>${decimal(candidate.motion_iou)}</dd>
      <dt>Final</dt>
      <dd><b>${decimal(candidate.final_score)}</b></dd>
    </dl>
  `;
  const name = `Candidate ${candidate.index + 1}${candidate.chosen ? ", chosen" : ""}`;
  return offered
    ? html`<button type="button" class=${classes("candidate-card", candidate.chosen && "chosen")} title=${name} onClick=${() => actions.pickCandidate(candidate.index)}>
        <span class="visually-hidden">${name}. Choose</span>${content}
      </button>`
    : html`<div class=${classes("candidate-card", candidate.chosen && "chosen")} role="group" aria-label=${name} title=${name}>${content}</div>`;
}

/**
 * The part of the frame where the candidates are, with this candidate's mask where it is known, else its box.
 * @param {{candidate: import("./api-types.js").ExplainedCandidate, why: import("./api-types.js").ExplanationState, color: string, rle: import("./api-types.js").Rle | null}} props
 */
function CandidatePicture({ candidate, why, color, rle }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [, redraw] = useState(0);
  useEffect(() => effect(() => {
    framesArrived.value;
    masksChanged.value;
    redraw((count) => count + 1);
  }), []);
  useEffect(() => {
    const media = state.media.peek();
    const context = canvas.current?.getContext("2d");
    const picture = pictureOf(why.frame, undefined);
    if (!context || !media || !picture) return;
    const found = why.candidates.map((entry) => entry.box).filter((box) => box !== null);
    const boxes = found.length ? found : why.motion_box ? [why.motion_box] : [];
    const area = around(boxes, media.width, media.height);
    const { width, height } = context.canvas;
    const scale = Math.min(width / area.width, height / area.height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(scale, 0, 0, scale, (width - area.width * scale) / 2 - area.x * scale, (height - area.height * scale) / 2 - area.y * scale);
    context.drawImage(picture, 0, 0, media.width, media.height);
    let mask = null;
    try {
      mask = rle ? new ShownMask({ ...blank, rle }) : candidate.chosen ? maskOf(why.frame, why.object) : null;
    } catch {
      // A candidate of another size of picture can't be drawn; its box is.
    }
    if (mask?.mask.box) {
      const image = mask.mask.image([255, 255, 255]);
      if (image) {
        const layer = document.createElement("canvas");
        layer.width = image.width;
        layer.height = image.height;
        const pen = layer.getContext("2d");
        pen?.putImageData(image, 0, 0);
        if (pen) {
          pen.globalCompositeOperation = "source-in";
          pen.fillStyle = color;
          pen.fillRect(0, 0, layer.width, layer.height);
        }
        context.globalAlpha = 0.6;
        context.drawImage(layer, mask.mask.box[0], mask.mask.box[1]);
        context.globalAlpha = 1;
      }
    }
    if (candidate.box) {
      context.strokeStyle = "#fff";
      context.lineWidth = 2 / scale;
      context.strokeRect(candidate.box[0], candidate.box[1], candidate.box[2] - candidate.box[0], candidate.box[3] - candidate.box[1]);
    }
  });
  return html`<canvas ref=${canvas} width="192" height="120" aria-hidden="true"></canvas>`;
}

const blank = { object: -1, object_score: null, predicted_iou: null, motion_score: null, candidate: 0, lost: false, prompt: false, painted: false, soft: false };

/**
 * A part of the picture around some boxes, with a margin.
 * @param {number[][]} boxes
 * @param {number} width
 * @param {number} height
 */
function around(boxes, width, height) {
  if (!boxes.length) return { x: 0, y: 0, width, height };
  const x1 = Math.min(...boxes.map((box) => box[0]));
  const y1 = Math.min(...boxes.map((box) => box[1]));
  const x2 = Math.max(...boxes.map((box) => box[2]));
  const y2 = Math.max(...boxes.map((box) => box[3]));
  const margin = 0.15 * Math.max(x2 - x1, y2 - y1, 16);
  const left = Math.max(0, x1 - margin);
  const top = Math.max(0, y1 - margin);
  return { x: left, y: top, width: Math.min(width, x2 + margin) - left, height: Math.min(height, y2 + margin) - top };
}
