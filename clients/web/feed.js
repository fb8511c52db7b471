/**
 * The live connection: one Socket.IO socket, the streams that parts of the page want, its state.
 * @module
 */

import { io } from "./vendor/socket.io.js";

/**
 * One live message, or the snapshot of a stream (`ts` null).
 * @typedef {object} Message
 * @property {string} stream
 * @property {number} cursor
 * @property {number | null} ts when the service received it, Unix milliseconds
 * @property {any} data Binance's payload
 */

/** @typedef {(message: Message) => void} Handler */

/**
 * @typedef {object} FeedState
 * @property {"connecting" | "connected" | "disconnected"} connection
 * @property {"unknown" | "connected" | "disconnected"} exchange
 * @property {string} source `binance`, `simulated`, `replay`; empty until told
 * @property {string} replica name of the replica; empty until told
 */

/**
 * @typedef {object} Rejection
 * @property {string} [stream] absent where a whole request was refused
 * @property {string} code
 * @property {string} message
 */

/** Events that carry stream messages. */
const KINDS = ["ticker", "miniTicker", "kline", "bookTicker", "trade", "aggTrade", "depth", "markPrice", "liquidation"];
const ACK_TIMEOUT_MS = 5000;

/**
 * Delivers the messages of wanted streams for as long as they are wanted, across reconnects.
 *
 * Events: `state` (CustomEvent of FeedState) on every change, `rejected` (CustomEvent of Rejection)
 * for a refused stream or request.
 */
export class Feed extends EventTarget {
  /** @type {FeedState} */
  state = { connection: "connecting", exchange: "unknown", source: "", replica: "" };
  /** @type {Map<string, Set<Handler>>} */
  #handlers = new Map();
  /** Latest message per wanted stream, for handlers that come later. @type {Map<string, Message>} */
  #latest = new Map();
  /** Streams that the server was asked for on this connection. @type {Set<string>} */
  #asked = new Set();
  #isSyncing = false;
  #socket;

  constructor() {
    super();
    this.#socket = io({
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelay: 300,
      reconnectionDelayMax: 5000,
    });
    this.#listen();
  }

  /**
   * Call `handler` with each message of `stream`, first with the latest one known.
   * @param {string} stream `spot:btcusdt@ticker`
   * @param {Handler} handler
   * @returns {() => void} ends it
   */
  subscribe(stream, handler) {
    const handlers = this.#handlers.get(stream) ?? new Set();
    handlers.add(handler);
    this.#handlers.set(stream, handlers);
    const latest = this.#latest.get(stream);
    if (latest) handler(latest);
    this.#syncSoon();
    return () => {
      handlers.delete(handler);
      if (handlers.size > 0 || this.#handlers.get(stream) !== handlers) return;
      this.#handlers.delete(stream);
      this.#latest.delete(stream);
      this.#syncSoon();
    };
  }

  #listen() {
    const socket = this.#socket;
    for (const kind of KINDS) socket.on(kind, (/** @type {Message} */ message) => this.#deliver(message));
    socket.on("connect", () => {
      this.#asked.clear();
      this.#setState({ connection: "connected" });
      this.#sync();
    });
    socket.on("connected", (/** @type {{replica: string, source: string}} */ { replica, source }) =>
      this.#setState({ replica, source }),
    );
    socket.on("status", (/** @type {Partial<FeedState>} */ { exchange, source, replica }) =>
      this.#setState({ exchange, source, replica }),
    );
    socket.on("disconnect", (/** @type {string} */ reason) => {
      this.#setState({ connection: "disconnected", exchange: "unknown" });
      // After the server's own goodbye the client library does not come back by itself.
      if (reason === "io server disconnect") socket.connect();
    });
    socket.on("connect_error", () => {
      this.#setState({ connection: "disconnected" });
      // `active` is false where the server refused the handshake; it may be full or just starting.
      if (!socket.active) setTimeout(() => socket.connect(), ACK_TIMEOUT_MS);
    });
    socket.on("draining", (/** @type {{delay_ms: number}} */ { delay_ms: delayMs }) => this.#moveAfter(delayMs));
  }

  /**
   * Leave a draining replica; the load balancer picks another one.
   * @param {number} delayMs
   */
  #moveAfter(delayMs) {
    const leaving = this.#socket.id;
    setTimeout(() => {
      if (this.#socket.id !== leaving) return;
      this.#socket.disconnect();
      this.#socket.connect();
    }, delayMs);
  }

  /** @param {Partial<FeedState>} change */
  #setState(change) {
    const known = Object.entries(change).filter(([, value]) => value !== undefined);
    this.state = { ...this.state, ...Object.fromEntries(known) };
    this.dispatchEvent(new CustomEvent("state", { detail: this.state }));
  }

  /** @param {Message} message */
  #deliver(message) {
    const handlers = this.#handlers.get(message.stream);
    if (!handlers) return;
    this.#latest.set(message.stream, message);
    for (const handler of handlers) handler(message);
  }

  /** Tell the server about all changes of this turn at once. */
  #syncSoon() {
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    queueMicrotask(() => {
      this.#isSyncing = false;
      this.#sync();
    });
  }

  #sync() {
    if (!this.#socket.connected) return;
    const joined = [...this.#handlers.keys()].filter((stream) => !this.#asked.has(stream));
    const left = [...this.#asked].filter((stream) => !this.#handlers.has(stream));
    if (left.length > 0) {
      for (const stream of left) this.#asked.delete(stream);
      this.#socket.emit("unsubscribe", { streams: left });
    }
    if (joined.length > 0) this.#join(joined);
  }

  /** @param {string[]} streams */
  #join(streams) {
    const connection = this.#socket.id;
    for (const stream of streams) this.#asked.add(stream);
    this.#socket
      .timeout(ACK_TIMEOUT_MS)
      .emit("subscribe", { streams }, (/** @type {Error | null} */ timeout, /** @type {any} */ answer) => {
        if (this.#socket.id !== connection) return;
        if (timeout) {
          for (const stream of streams) this.#asked.delete(stream);
          this.#sync();
          return;
        }
        for (const { stream, cursor, snapshot } of answer.subscribed ?? []) {
          if (snapshot !== null) this.#deliver({ stream, cursor, ts: null, data: snapshot });
        }
        // A request that is refused as a whole is answered by one `{ok: false, code, message}`.
        for (const rejection of answer.rejected ?? [answer]) {
          this.dispatchEvent(new CustomEvent("rejected", { detail: rejection }));
        }
      });
  }
}
