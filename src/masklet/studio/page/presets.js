/** Exports by where they go: which formats suit a program, with the options that it wants. */

/**
 * @typedef {object} Choice
 * @property {string} title
 * @property {string} format
 * @property {Record<string, any>} [options]
 */

/** @type {{title: string, hint: string, choices: Choice[]}[]} */
export const DESTINATIONS = [
  {
    title: "After Effects / Nuke",
    hint: "For compositing: the objects cut out, with alpha.",
    choices: [
      { title: "Video with alpha (ProRes 4444)", format: "prores4444", options: { alpha: "straight" } },
      { title: "EXR sequence, a layer for each object", format: "exr", options: { half: true, rgb: true } },
      { title: "PNG sequence of mattes", format: "png-mask" },
    ],
  },
  {
    title: "Premiere / Resolve",
    hint: "For editing and grading: a clip to lay over the picture, or a matte for it.",
    choices: [
      { title: "Video with alpha (ProRes 4444)", format: "prores4444", options: { alpha: "straight" } },
      { title: "Black and white matte (H.264)", format: "h264-matte" },
      { title: "Before a green screen", format: "screen" },
    ],
  },
  {
    title: "Web",
    hint: "For pages and messages.",
    choices: [
      { title: "Transparent video (WebM)", format: "vp9-alpha" },
      { title: "Transparent animation (WebP)", format: "webp" },
      { title: "GIF", format: "gif" },
    ],
  },
  {
    title: "CVAT",
    hint: "For annotating on, with classes and attributes.",
    choices: [
      { title: "Masks, for a task of images", format: "cvat", options: { kind: "masks" } },
      { title: "Polygon tracks, for a task of a video", format: "cvat", options: { kind: "polygons" } },
      { title: "Box tracks, for a task of a video", format: "cvat", options: { kind: "boxes" } },
    ],
  },
  {
    title: "Training set",
    hint: "For training detectors, segmenters and trackers.",
    choices: [
      { title: "YOLO segmentation", format: "yolo-seg" },
      { title: "YOLO boxes", format: "yolo-boxes" },
      { title: "COCO instances", format: "coco" },
      { title: "DAVIS", format: "davis" },
      { title: "YouTube-VOS", format: "youtube-vos" },
    ],
  },
];
