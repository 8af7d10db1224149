/**
 * The studio's HTTP API, one function a route. The session cookie that the browser holds lets the page in.

 */
import { MaskUnpacker } from "./packed.js";

/** An answer that is not a success: a sentence for people, and a kind for programs. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} kind
   * @param {number} status
   */
  constructor(message, kind, status) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path  below /api
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function request(method, path, body, signal) {
  /** @type {RequestInit} */
  const init = { method, signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json", Accept: "application/json" };
  }
  const answer = await reach(`/api${path}`, init);
  return answer.status === 204 ? null : answer.json().catch(brokeOff);
}

/**
 * @param {string} address
 * @param {RequestInit} [init]
 */
async function reach(address, init) {
  const answer = await fetch(address, { credentials: "same-origin", ...init }).catch(brokeOff);
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** @param {unknown} problem @returns {never} */
function brokeOff(problem) {
  if (problem instanceof DOMException && problem.name === "AbortError") throw problem;
  throw new ApiError("The studio doesn't answer. Is it still running? The page connects again by itself.", "offline", 0);
}

/** @param {Response} answer */
async function problemOf(answer) {
  try {
    const { error } = await answer.json();
    return new ApiError(error.message, error.kind, answer.status);
  } catch {
    return new ApiError(`The studio answered with ${answer.status} ${answer.statusText}.`, "unknown", answer.status);
  }
}

/** @param {unknown} problem */
export const wasAborted = (problem) =>
  (problem instanceof DOMException && problem.name === "AbortError") ||
  (problem instanceof ApiError && problem.kind === "superseded");

/** @param {Record<string, string | number | boolean | null | undefined>} values */
function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `?${text}` : "";
}

/** @returns {Promise<import("./api-types.js").StudioInfo>} */
export const getStudio = () => request("GET", "/studio");

/** @param {string} path @returns {Promise<import("./api-types.js").FileList>} */
export const listFiles = (path) => request("GET", `/files${query({ path })}`);

/** @returns {Promise<import("./api-types.js").RecentProject[]>} */
export const listRecent = () => request("GET", "/recent");

/** @param {import("./api-types.js").OpenRequest} given @returns {Promise<import("./api-types.js").ProjectState>} */
export const openProject = (given) => request("POST", "/projects", given);

/** @param {string} project @returns {Promise<import("./api-types.js").ProjectState>} */
export const getProject = (project) => request("GET", `/projects/${project}`);

/** @param {string} project @returns {Promise<import("./api-types.js").ProjectState>} without lanes */
export const getProjectBriefly = (project) => request("GET", `/projects/${project}?lanes=false`);

/** @param {string} project @returns {Promise<import("./api-types.js").Done>} */
export const closeProject = (project) => request("DELETE", `/projects/${project}`);

/** @param {string} project @param {number} [object] @returns {Promise<import("./api-types.js").Lane[]>} */
export const getLanes = (project, object) => request("GET", `/projects/${project}/lanes${query({ object })}`);

/** @param {string} project @returns {Promise<import("./api-types.js").UndoAnswer>} */
export const undo = (project) => request("POST", `/projects/${project}/undo`);

/** @param {string} project @returns {Promise<import("./api-types.js").UndoAnswer>} */
export const redo = (project) => request("POST", `/projects/${project}/redo`);

/**
 * @param {string} project
 * @param {import("./api-types.js").ChangeSettings} changes
 * @returns {Promise<import("./api-types.js").SettingsState>}
 */
export const changeSettings = (project, changes) => request("PUT", `/projects/${project}/settings`, changes);

/** @param {string} project @param {number} frame @param {string} fingerprint @param {number} [width] */
export const frameAddress = (project, frame, fingerprint, width) =>
  `/api/projects/${project}/frames/${frame}.jpg${query({ width, v: fingerprint })}`;

/** @param {string} project @param {number} frame @param {string} fingerprint */
export const thumbnailAddress = (project, frame, fingerprint) =>
  `/api/projects/${project}/thumbnails/${frame}.jpg${query({ v: fingerprint })}`;

/**
 * A picture of the API, decoded.
 * @param {string} address
 * @param {AbortSignal} [signal]
 * @param {RequestInit} [init]
 */
export async function getPicture(address, signal, init = {}) {
  const answer = await reach(address, { ...init, signal });
  return createImageBitmap(await answer.blob());
}

/**
 * What can be shown of a frame at once, and of which frame it is.
 * @param {string} project
 * @param {number} frame
 * @param {number} [width]
 */
export async function getFramePreview(project, frame, width) {
  const answer = await reach(`/api/projects/${project}/frames/${frame}/preview.jpg${query({ width })}`);
  return { near: Number(answer.headers.get("X-Frame")), picture: await createImageBitmap(await answer.blob()) };
}

/** @param {string} project @param {number} frame @returns {Promise<import("./api-types.js").Encoded>} */
export const encodeFrame = (project, frame) => request("POST", `/projects/${project}/frames/${frame}/encode`);

/**
 * @param {string} project
 * @param {number} frame
 * @param {{raw?: boolean}} [options]
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").FrameMasksState>}
 */
export const getMasks = (project, frame, options = {}, signal) =>
  request("GET", `/projects/${project}/masks/${frame}${query(options)}`, undefined, signal);

/**
 * The masks of many frames, each as soon as it is here.
 * @param {string} project
 * @param {{start: number, count: number, backward: boolean}} wanted
 * @param {[number, number]} size  height and width of the source
 * @param {(masks: import("./api-types.js").FrameMasksState) => void} take
 * @param {AbortSignal} [signal]
 */
export async function streamMasks(project, wanted, size, take, signal) {
  const answer = await reach(`/api/projects/${project}/mask-stream${query(wanted)}`, { signal });
  const unpacker = new MaskUnpacker(size);
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) unpacker.take(part.value).forEach(take);
}

/**
 * A part of the source's sound as WAV.
 * @param {string} project
 * @param {number} start  seconds from the first frame
 * @param {number} seconds
 */
export const getSound = async (project, start, seconds) =>
  (await reach(`/api/projects/${project}/sound.wav${query({ start, seconds })}`)).arrayBuffer();

/**
 * @param {string} project
 * @param {number} frame
 * @param {import("./api-types.js").PreviewMasks} given
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").FrameMasksState>}
 */
export const previewMasks = (project, frame, given, signal) =>
  request("POST", `/projects/${project}/masks/${frame}/preview`, given, signal);

/**
 * The opacity of an object with its soft edge, with settings to look at where there are some.
 * @param {string} project
 * @param {number} frame
 * @param {number} object
 * @param {Record<string, any> | null} settings
 * @param {AbortSignal} [signal]
 */
export const getAlpha = (project, frame, object, settings, signal) =>
  getPicture(
    `/api/projects/${project}/masks/${frame}/${object}/alpha.png`,
    signal,
    settings
      ? { method: "POST", body: JSON.stringify(settings), headers: { "Content-Type": "application/json" } }
      : { cache: "no-store" },
  );

/**
 * @param {string} project
 * @param {import("./api-types.js").Edit} given
 * @returns {Promise<import("./api-types.js").EditAnswer>}
 */
export const edit = (project, given) => request("POST", `/projects/${project}/edits`, given);

/** @param {string} project @param {AbortSignal} [signal] @returns {Promise<import("./api-types.js").ReviewState>} */
export const getReview = (project, signal) => request("GET", `/projects/${project}/review`, undefined, signal);

/** @param {string} project @param {import("./api-types.js").Judge} given @returns {Promise<import("./api-types.js").Done>} */
export const judge = (project, given) => request("POST", `/projects/${project}/review`, given);

/** @param {string} project @param {number} frame @param {number} object */
export const heatAddress = (project, frame, object) => `/api/projects/${project}/review/heat.png${query({ frame, object })}`;

/**
 * @param {string} project
 * @param {import("./api-types.js").NewObject} given
 * @returns {Promise<import("./api-types.js").ObjectState>}
 */
export const addObject = (project, given) => request("POST", `/projects/${project}/objects`, given);

/**
 * @param {string} project
 * @param {number} object
 * @param {import("./api-types.js").ChangeObject} changes
 * @returns {Promise<import("./api-types.js").ObjectState>}
 */
export const changeObject = (project, object, changes) =>
  request("PATCH", `/projects/${project}/objects/${object}`, changes);

/** @param {string} project @param {number} object */
export const removeObject = (project, object) => request("DELETE", `/projects/${project}/objects/${object}`);

/** @param {string} project @returns {Promise<import("./api-types.js").PromptState[]>} */
export const getPrompts = (project) => request("GET", `/projects/${project}/prompts`);

/**
 * @param {string} project
 * @param {import("./api-types.js").NewPrompt} given
 * @returns {Promise<import("./api-types.js").PromptAnswer>}
 */
export const addPrompt = (project, given) => request("POST", `/projects/${project}/prompts`, given);

/**
 * The candidates of what was said on a frame, also after the project was opened again.
 * @param {string} project
 * @param {number} frame
 * @param {number} object
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").PromptAnswer>}
 */
export const getCandidates = (project, frame, object, signal) =>
  request("GET", `/projects/${project}/prompts/candidates${query({ frame, object })}`, undefined, signal);

/**
 * @param {string} project
 * @param {import("./api-types.js").ChooseCandidate} given
 * @returns {Promise<import("./api-types.js").PromptAnswer>}
 */
export const chooseCandidate = (project, given) => request("POST", `/projects/${project}/prompts/candidate`, given);

/**
 * @param {string} project
 * @param {number} frame
 * @param {number} object
 * @returns {Promise<import("./api-types.js").PromptAnswer>}
 */
export const clearPrompts = (project, frame, object) =>
  request("DELETE", `/projects/${project}/prompts${query({ frame, object })}`);

/**
 * @param {string} project
 * @param {import("./api-types.js").HoverPrompt} given
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").HoverAnswer>}
 */
export const hover = (project, given, signal) => request("POST", `/projects/${project}/hover`, given, signal);

/**
 * @param {string} project
 * @param {import("./api-types.js").StartTracking} given
 * @returns {Promise<import("./api-types.js").JobState>}
 */
export const startTracking = (project, given) => request("POST", `/projects/${project}/track`, given);

/**
 * @param {string} project
 * @param {import("./api-types.js").Correct} given
 * @returns {Promise<import("./api-types.js").JobState>}
 */
export const correct = (project, given) => request("POST", `/projects/${project}/correct`, given);

/**
 * Masks as they were before a step of the history and all that are done since.
 * @param {string} project
 * @param {{start: number, end: number, before: number}} given
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").MasksBatch>}
 */
export const getMasksBefore = (project, given, signal) =>
  request("GET", `/projects/${project}/masks${query(given)}`, undefined, signal);

/** @param {string} project @returns {Promise<import("./api-types.js").JobState>} */
export const resumeRun = (project) => request("POST", `/projects/${project}/resume`);

/**
 * @param {string} project
 * @param {number} frame
 * @param {number} object
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").ExplanationState>}
 */
export const explain = (project, frame, object, signal) =>
  request("GET", `/projects/${project}/explanation/${frame}/${object}`, undefined, signal);

/** @returns {Promise<import("./api-types.js").JobState[]>} */
export const listJobs = () => request("GET", "/jobs");

/**
 * @param {string} job
 * @param {"pause" | "resume" | "cancel" | "reveal"} action
 */
export const jobAction = (job, action) => request("POST", `/jobs/${job}/${action}`);

/** @param {string} job */
export const downloadAddress = (job) => `/api/jobs/${job}/download`;

/** @param {string} path @returns {Promise<import("./api-types.js").BatchState>} */
export const openBatch = (path) => request("POST", "/batches", { path });

/** @param {string} batch @returns {Promise<import("./api-types.js").BatchState>} */
export const getBatch = (batch) => request("GET", `/batches/${batch}`);

/**
 * @param {string} batch
 * @param {{start: number, count: number, state: string | null, search: string}} wanted
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api-types.js").BatchVideos>}
 */
export const listVideos = (batch, wanted, signal) => request("GET", `/batches/${batch}/videos${query(wanted)}`, undefined, signal);

/** @param {string} batch @param {number} after @returns {Promise<import("./api-types.js").NextDoubtful>} */
export const nextDoubtful = (batch, after) => request("GET", `/batches/${batch}/next-doubtful${query({ after })}`);

/** @param {string} batch @param {number} video @returns {Promise<import("./api-types.js").JobState>} */
export const exportVideoAgain = (batch, video) => request("POST", `/batches/${batch}/videos/${video}/exports`);

/** @returns {Promise<import("./api-types.js").FormatState[]>} */
export const listFormats = () => request("GET", "/formats");

/**
 * @param {string} project
 * @param {import("./api-types.js").StartExport} given
 * @returns {Promise<import("./api-types.js").JobState>}
 */
export const startExport = (project, given) => request("POST", `/projects/${project}/exports`, given);

/** @returns {Promise<import("./api-types.js").ModelState[]>} */
export const listModels = () => request("GET", "/models");

/** @param {string} name @returns {Promise<import("./api-types.js").JobState>} */
export const downloadModel = (name) => request("POST", `/models/${encodeURIComponent(name)}/download`);

/** @returns {Promise<import("./api-types.js").LoginLink>} */
export const makeLoginLink = () => request("POST", "/login-links");

/**
 * Sends a file; XMLHttpRequest, because `fetch` can't tell how much of it is sent.
 * @param {File} file
 * @param {{folder?: string, onProgress?: (share: number) => void, signal?: AbortSignal}} [options]
 * @returns {Promise<import("./api-types.js").Uploaded>}
 */
export function upload(file, { folder, onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", `/api/uploads${query({ name: file.name, folder })}`);
    sending.responseType = "json";
    sending.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    sending.onload = () => {
      if (sending.status < 300) resolve(sending.response);
      else {
        const error = sending.response?.error;
        reject(new ApiError(error?.message ?? `${file.name} was refused (${sending.status}).`, error?.kind ?? "", sending.status));
      }
    };
    sending.onerror = () => reject(new ApiError(`${file.name} could not be sent.`, "offline", 0));
    sending.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}
