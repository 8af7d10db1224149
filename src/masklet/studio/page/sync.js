/** Keeps the state like the server's: takes whole states, and the news that come through the socket. */
import * as api from "./api.js";
import { LaneData } from "./lanes.js";
import { dropMask, masksChanged, putMasks, staleMasks } from "./masks.js";
import { announce, attempt, complain, notify } from "./notices.js";
import { Socket } from "./socket.js";
import * as state from "./state.js";
import { batch, signal } from "./ui.js";

/** @typedef {import("./socket.js").News} News */

/** The server answers, but this browser's cookie is of an earlier one. */
export const refused = signal(false);

/** @param {state.ProjectState} project  with lanes */
export function takeProject(project) {
  batch(() => {
    if (takeBrief(project)) takeLanes(project.lanes, project.media.frame_count);
    const jobs = { ...state.jobs.value };
    for (const job of project.jobs) jobs[job.id] = job;
    state.jobs.value = jobs;
  });
}

/** Whether it was taken. @param {state.ProjectState} project */
function takeBrief(project) {
  const known = state.project.value;
  // An answer may come in after news of later changes, which are known already and wouldn't be told again.
  if (known?.id === project.id && project.revision < known.revision) return false;
  const objects = [...project.objects].sort((a, b) => a.position - b.position || a.id - b.id);
  // The lanes are kept apart, as typed arrays.
  state.project.value = { ...project, objects, lanes: [] };
  if (!objects.some((object) => object.id === state.currentObject.value)) {
    state.currentObject.value = objects.at(-1)?.id ?? null;
  }
  if (state.solo.value !== null && !objects.some((object) => object.id === state.solo.value)) state.solo.value = null;
  return true;
}

/** @param {import("./api-types.js").Lane[]} lanes @param {number} frames */
function takeLanes(lanes, frames) {
  /** @type {Record<number, LaneData>} */
  const made = {};
  for (const lane of lanes) made[lane.object] = LaneData.from(lane, frames);
  state.lanes.value = made;
  state.lanesChanged.value++;
}

/** Runs one at a time, and once more if it was asked for meanwhile. @param {() => Promise<void>} run */
function onceAtATime(run) {
  /** @type {Promise<void> | null} */
  let going = null;
  let again = false;
  return () => {
    if (going) {
      again = true;
      return going;
    }
    going = (async () => {
      do {
        again = false;
        await run();
      } while (again);
    })().finally(() => {
      going = null;
    });
    return going;
  };
}

export const refreshProject = onceAtATime(async () => {
  const id = state.project.peek()?.id;
  if (!id) return;
  const answer = await attempt(() => api.getProjectBriefly(id));
  if (answer && state.project.peek()?.id === id) takeBrief(answer);
});

const refreshLanes = onceAtATime(async () => {
  const now = state.project.peek();
  if (!now) return;
  /** @type {number} */
  let known;
  let answer;
  do {
    known = state.lanesChanged.peek();
    answer = await attempt(() => api.getLanes(now.id));
    if (!answer || state.project.peek()?.id !== now.id) return;
    // Masks that news brought meanwhile may be missing in the answer. (Those of a run are asked for at its end.)
  } while (known !== state.lanesChanged.peek() && state.trackJob.peek()?.state !== "running");
  takeLanes(answer, now.media.frame_count);
});

/** The whole state anew: after the server came back, or when news were missed. */
export async function reload() {
  const path = state.project.peek()?.path;
  const studio = await attempt(api.getStudio);
  if (!studio) return;
  state.studio.value = studio;
  const batchPath = state.batch.peek()?.path;
  if (batchPath !== undefined) await attempt(() => api.openBatch(batchPath));
  if (path === undefined) return;
  // By path: a server that was started anew has to open the project first.
  const project = await attempt(() => api.openProject({ path }));
  if (!project) return;
  batch(() => {
    takeProject(project);
    if (!state.trackJob.peek()) state.following.value = false; // what was followed went with the server
    staleMasks(null);
  });
}

/** @param {News} news */
export function onNews(news) {
  const now = state.project.peek();
  switch (news.type) {
    case "hello":
      takeJobs(news.jobs);
      break;
    case "job":
      takeJob(news.job);
      break;
    case "masks":
      if (news.project === now?.id) takeMasks(news);
      break;
    case "changed":
      if (news.project === now?.id) takeChange(news);
      break;
    case "closed":
      if (news.project === now?.id) {
        state.project.value = null;
        notify("This project was closed in another tab or by a script. Everything in it is saved.");
      }
      break;
    case "missed":
      void attempt(api.listJobs).then((jobs) => jobs && takeJobs(jobs));
      void reload();
      break;
    default:
  }
}

/** @param {import("./api-types.js").MasksArrived} news */
function takeMasks(news) {
  batch(() => {
    for (const mask of news.objects) state.laneOf(mask.object).putMask(news.frame, mask);
    state.lanesChanged.value++;
    if (news.plain) putMasks(news.frame, news.objects);
    else staleMasks([news.frame]);
    if (state.following.value && state.trackJob.value?.id === news.job) state.frame.value = news.frame;
  });
}

/** @param {import("./api-types.js").ProjectChanged} news */
function takeChange(news) {
  if (news.now) batch(() => takeParts(news, /** @type {Parts} */ (news.now)));
  else askForParts(news);
}

/** @typedef {import("./api-types.js").ChangedParts} Parts */

/**
 * News that say all: nothing has to be asked for.
 * @param {import("./api-types.js").ProjectChanged} news
 * @param {Parts} parts
 */
function takeParts({ frames, objects, revision }, parts) {
  for (const { frame, objects: masks } of parts.masks ?? []) {
    for (const object of objects ?? []) {
      if (masks.some((mask) => mask.object === object)) continue;
      state.laneOf(object).clear(frame);
      dropMask(frame, object);
    }
    for (const mask of masks) state.laneOf(mask.object).putMask(frame, mask);
    if (parts.plain) putMasks(frame, masks);
    else staleMasks([frame]);
    state.lanesChanged.value++;
  }
  const now = /** @type {state.ProjectState} */ (state.project.peek());
  if (revision <= now.revision) return; // it was asked for in the meantime
  if (revision > now.revision + 1) return void refreshProject();
  const named = (/** @type {state.PromptState} */ { frame, object }) => frames?.includes(frame) && objects?.includes(object);
  const prompts = parts.prompts && [...now.prompts.filter((prompt) => !named(prompt)), ...parts.prompts];
  takeBrief({
    ...now,
    revision,
    objects: parts.objects ?? now.objects,
    prompts: prompts ?? now.prompts,
    history: parts.history,
    run: parts.run,
  });
}

/** @param {import("./api-types.js").ProjectChanged} news */
function askForParts(news) {
  const what = new Set(news.what);
  const tracking = state.trackJob.peek()?.state === "running";
  if (what.has("masks")) {
    // While tracking runs, its masks come by themselves; the last word is asked for at its end.
    if (!tracking) {
      staleMasks(news.frames);
      void refreshLanes();
    }
  }
  if (what.has("settings") && !tracking) staleMasks(null);
  if (["objects", "prompts", "settings", "history", "run"].some((part) => what.has(/** @type {any} */ (part)))) {
    void refreshProject();
  }
  masksChanged.value++;
}

/** @param {state.JobState[]} jobs  all that there are */
function takeJobs(jobs) {
  state.jobs.value = Object.fromEntries(jobs.map((job) => [job.id, job]));
}

/** @param {state.JobState} job */
function takeJob(job) {
  const before = state.jobs.peek()[job.id];
  state.jobs.value = { ...state.jobs.peek(), [job.id]: job };
  const ended = !state.isActive(job) && (!before || state.isActive(before));
  if (!ended) return;
  // The export dialog shows its jobs itself.
  const shown = job.kind === "export" && state.dialog.peek() === "export";
  if (job.state === "failed" && !shown) notify(job.error?.message ?? `${job.title} failed.`, { kind: "error" });
  if (job.state === "done" && !shown) for (const note of job.notes) notify(note, { seconds: 8 });
  if (job.kind === "track" && job.project === state.project.peek()?.id) {
    const retracked = state.retracked.peek();
    batch(() => {
      // Back at the corrected frame, from where the new masks can be looked at.
      if (state.following.value && retracked?.job === job.id) state.frame.value = retracked.frame;
      state.following.value = false;
    });
    if (job.state === "done") announce("Tracking is done");
  }
  if (job.kind === "export" && job.state === "done") {
    if (shown) announce(`${job.title} is done`);
    else notify(`${job.title} is done.`, { action: job.files.length ? { label: "Download", run: () => download(job.id) } : undefined });
  }
  if (job.kind === "download" && job.state === "done") notify(`${job.title} is done.`);
}

/** @param {string} job */
export function download(job) {
  const link = document.createElement("a");
  link.href = api.downloadAddress(job);
  link.download = "";
  link.click();
}

/** Opens the socket; the state is asked for again whenever it comes back. */
export function listen() {
  let turn = 0;
  /** @param {boolean} open */
  const tell = (open) => {
    state.inStep.value = open;
    if (state.online.peek() !== open) {
      state.online.value = open;
      announce(open ? "Connected to the studio" : "Connection to the studio lost");
    }
  };
  return new Socket({
    onNews: (news) => {
      try {
        onNews(news);
      } catch (problem) {
        complain(problem);
      }
    },
    onState: (open, again) => {
      const now = ++turn;
      if (open) {
        refused.value = false;
        // What is open at the first time was opened by the address, before anybody listened.
        void (again || state.project.peek() ? reload() : Promise.resolve()).finally(() => now === turn && tell(true));
      } else {
        tell(false);
        void api.getStudio().then(() => {}, (problem) => (refused.value = problem.status === 401));
      }
    },
  });
}
