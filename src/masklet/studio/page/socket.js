/** News from the server: one WebSocket that comes back by itself when the server was restarted. */

/**
 * @typedef {import("./api-types.js").Hello | import("./api-types.js").ProjectChanged
 *   | import("./api-types.js").ProjectClosed | import("./api-types.js").MasksArrived
 *   | import("./api-types.js").JobChanged | import("./api-types.js").Missed
 *   | {type: "pong"}} News
 */

const QUIET = 20_000; // ms without news after which the server is asked for a sign of life
const PATIENCE = 10_000; // ms that it has for it

export class Socket {
  /**
   * @param {{onNews: (news: News) => void, onState: (open: boolean, again: boolean) => void}} listener
   *   `again` tells that it was open before, so that news may have been missed.
   */
  constructor({ onNews, onState }) {
    this.onNews = onNews;
    this.onState = onState;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.attempts = 0;
    this.wasOpen = false;
    this.closed = false;
    this.timer = 0;
    this.connect();
    // A laptop that wakes up should not wait for the next attempt.
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.hurry());
  }

  connect() {
    if (this.closed) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/ws`);
    this.socket = socket;
    socket.onopen = () => {
      this.attempts = 0;
      this.onState(true, this.wasOpen);
      this.wasOpen = true;
      this.watch();
    };
    socket.onmessage = (event) => {
      this.watch();
      this.onNews(JSON.parse(event.data));
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      clearTimeout(this.timer);
      this.socket = null;
      this.onState(false, this.wasOpen);
      if (this.closed) return;
      const wait = Math.min(250 * 1.6 ** this.attempts++, 5000);
      this.timer = setTimeout(() => this.connect(), wait);
    };
  }

  /** Connections can die without a word (sleep, a cut cable), so silence is asked about. */
  watch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "ping" }));
      this.timer = setTimeout(() => this.socket?.close(), PATIENCE);
    }, QUIET);
  }

  hurry() {
    if (this.socket || this.closed) return;
    clearTimeout(this.timer);
    this.attempts = 0;
    this.connect();
  }
}
