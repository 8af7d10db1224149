/** Below the picture: play, steps, time, marks, and tracking with its progress. */
import * as actions from "./actions.js";
import { duration, timecode } from "./format.js";
import * as state from "./state.js";
import { Speed } from "./speed.js";
import { togglePlay } from "./player.js";
import { Draft, Icon, IconButton, html } from "./ui.js";

export function Transport() {
  const media = state.media.value;
  if (!media) return null;
  const index = state.frame.value;
  const moves = media.frame_count > 1;
  return html`<div class="transport" role="group" aria-label="Play and track">
    ${moves &&
    html`<div class="group">
      <${IconButton} icon="first" class="hide-small" label="First frame" keys="Home" onClick=${() => actions.seek(0)} />
      <${IconButton} icon="step-back" label="Previous frame" keys="←" onClick=${() => actions.seek(index - 1)} />
      <${IconButton}
        icon=${state.playing.value ? "pause" : "play"}
        label=${state.playing.value ? "Stop" : "Play"}
        keys="Space"
        onClick=${togglePlay}
      />
      <${IconButton} icon="step-forward" label="Next frame" keys="→" onClick=${() => actions.seek(index + 1)} />
      <${IconButton} icon="last" class="hide-small" label="Last frame" keys="End" onClick=${() => actions.seek(media.frame_count - 1)} />
    </div>
    <${Speed} />
    <span class="timecode hide-small" title="Timecode">${timecode(index, media)}</span>
    <label class="row">
      <span class="visually-hidden">Frame</span>
      <${Draft}
        type="number"
        class="frame-number"
        min="0"
        max=${media.frame_count - 1}
        value=${index}
        onChange=${(/** @type {string} */ text) => text !== "" && actions.seek(Number(text))}
      />
    </label>
    <span class="dim small number hide-narrow">/ ${media.frame_count - 1}</span>
    <span class="divider hide-small"></span>
    <div class="group">
      <${IconButton} icon="doubt-previous" label="Previous doubtful stretch" keys="Shift+N" onClick=${() => actions.seekDoubtful(-1)} />
      <${IconButton} icon="doubt-next" label="Next doubtful stretch" keys="N" onClick=${() => actions.seekDoubtful(1)} />
    </div>
    <span class="divider hide-small"></span>
    <div class="group">
      <${IconButton} icon="mark-in" label="Range begins here" keys="I" pressed=${state.markIn.value !== null} onClick=${() => actions.mark("in")} />
      <${IconButton} icon="mark-out" label="Range ends here" keys="O" pressed=${state.markOut.value !== null} onClick=${() => actions.mark("out")} />
    </div>`}
    ${!state.trackJob.value && html`<div class="grow"></div>`}
    ${moves && (state.trackJob.value ? html`<${Running} job=${state.trackJob.value} />` : html`<${TrackButtons} />`)}
  </div>`;
}

function TrackButtons() {
  const run = state.project.value?.run;
  const nothing = state.prompts.value.length === 0;
  return html`<div class="group">
    ${run &&
    html`<button type="button" class="button" title="A run that was interrupted goes on where it stopped" onClick=${actions.resumeRun}>
      <${Icon} name="retrack" /> Go on<span class="dim hide-narrow">(${run.frames_left} left)</span>
    </button>`}
    <div class="track-buttons" role="group" aria-label="Track">
      <${IconButton} icon="track-backward" label="Track backwards" keys="Shift+T" disabled=${nothing} onClick=${() => actions.track("backward")} />
      <${IconButton} icon="track-one" class="hide-small" label="Track this frame only" keys="U" disabled=${nothing} onClick=${() => actions.track("frame")} />
      <${IconButton} icon="track-range" class="hide-small" label="Track the marked range" keys="G" disabled=${nothing} onClick=${() => actions.track("range")} />
      <${IconButton} icon="track-both" label="Track both ways" keys="Y" disabled=${nothing} onClick=${() => actions.track("both")} />
      <${IconButton} icon="track-forward" class="main" id="track" text="Track" label="Track forwards" keys="T" disabled=${nothing} onClick=${() => actions.track("forward")} />
    </div>
  </div>`;
}

/** @param {{job: state.JobState}} props */
function Running({ job }) {
  const paused = job.state === "paused";
  const words = job.state === "waiting" ? "Waiting" : paused ? "Paused" : job.title;
  return html`<div class="running" role="group" aria-label="Tracking">
    <span class="ellipsis hide-small">${words}</span>
    <progress max=${job.total ?? 1} value=${job.done} aria-label="Tracking progress"></progress>
    <span class="number small" id="track-progress">${job.done}${job.total ? ` / ${job.total}` : ""}</span>
    <span class="dim number small hide-small">
      ${job.rate && !paused ? `${job.rate.toFixed(job.rate < 10 ? 1 : 0)} fps` : ""}
      ${job.seconds_left !== null && !paused ? ` · ${duration(job.seconds_left)} left` : ""}
    </span>
    <div class="group">
      <${IconButton}
        icon=${paused ? "play" : "pause"}
        label=${paused ? "Go on tracking" : "Pause tracking"}
        keys="Shift+Space"
        onClick=${actions.togglePause}
      />
      <${IconButton} icon="stop" label="Cancel tracking" keys="Shift+X" onClick=${actions.cancelTrack} />
    </div>
  </div>`;
}
