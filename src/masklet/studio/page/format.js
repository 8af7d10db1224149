/** Numbers, times and sizes as people read them. */

/**
 * Hours, minutes, seconds and frames; drop-frame where the rate asks for it (`;` before the frames).
 * @param {number} frame
 * @param {import("./api-types.js").MediaState} media
 */
export function timecode(frame, media) {
  if (media.variable_rate && media.times) return clock(media.times[frame] ?? 0);
  const base = Math.max(1, media.timecode_base);
  const [over, under] = media.rate.split("/").map(Number);
  const dropped = under === 1001 && base % 30 === 0 && over % 30000 === 0 ? base / 15 : 0;
  let count = frame;
  if (dropped) {
    // Every minute but each tenth leaves out its first labels, so that the clock keeps up with 29.97 a second.
    const inMinute = base * 60 - dropped;
    const inTen = inMinute * 10 + dropped;
    const tens = Math.floor(frame / inTen);
    const rest = frame % inTen;
    count += dropped * 9 * tens;
    if (rest >= base * 60) count += dropped * Math.floor((rest - dropped) / inMinute);
  }
  const seconds = Math.floor(count / base);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two);
  return `${parts.join(":")}${dropped ? ";" : ":"}${two(count % base)}`;
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(two);
  return `${parts.join(":")}.${String(Math.floor((seconds - whole) * 1000)).padStart(3, "0")}`;
}

/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/**
 * How long something takes: "8 s", "3 min 20 s", "2 h 5 min".
 * @param {number | null} seconds
 */
export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** @param {number | null | undefined} value @param {number} [digits] */
export const decimal = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);

/** How long ago a moment (seconds since 1970) was. @param {number} moment */
export function ago(moment) {
  const seconds = Date.now() / 1000 - moment;
  if (seconds < 90) return "just now";
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} hours ago`;
  if (seconds < 864_000) return `${Math.round(seconds / 86_400)} days ago`;
  return new Date(moment * 1000).toLocaleDateString();
}

/** "fill_holes" as "Fill holes". @param {string} name */
export function words(name) {
  const text = name.replaceAll("_", " ").replaceAll("-", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string} hex @returns {[number, number, number]} */
export function rgb(hex) {
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}
