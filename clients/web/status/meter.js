/**
 * How long messages take to this page, whatever its own clock shows.
 * @module
 */

import { ServerClock } from "../common/clock.js";
import { RecentValues } from "../common/recent.js";
import { eventTimeOf, splitOf } from "./split.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../../js/types/index.js").Message} Message */
/** @typedef {import("../../js/types/index.js").ServerTime} ServerTime */

const WINDOW_MS = 10_000;
const CAPACITY = 1024;
const ASK_EVERY_MS = 2000;
/** A new connection asks more often at first: one answer may have been late. */
const [FIRST_ASKS, FIRST_EVERY_MS] = [5, 200];

/** Asks the server for its time while the page is seen, and measures every live message by it. */
export class LatencyMeter {
  #client;
  #clock = new ServerClock();
  #exchange = new RecentValues(WINDOW_MS, CAPACITY);
  #sinceIngest = new RecentValues(WINDOW_MS, CAPACITY);
  #total = new RecentValues(WINDOW_MS, CAPACITY);
  /** @type {ServerTime["hops"] | null} */
  #hops = null;
  /** When the exchange last spoke, as far as we know, in ms since the epoch of the server's clock; 0 = never. */
  #heardMs = 0;
  /** Whose answers count: those of earlier connections are late. */
  #connection = 0;
  #connectedAt = 0;
  #isSupported = true;
  #timer = 0;

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
    client.on("message", (message) => this.#note(message));
    client.on("status", ({ connection }) => this.#onConnection(connection === "connected"));
    document.addEventListener("visibilitychange", () => this.#resume());
    this.#onConnection(client.state.connection === "connected");
  }

  /** What each part of the way took of late. */
  get split() {
    const now = performance.now();
    const [exchange, sinceIngest, total] = [this.#exchange, this.#sinceIngest, this.#total].map((each) => each.percentiles(now));
    return splitOf(exchange, sinceIngest, total, this.#hops);
  }

  /** By how much the server's clock may be misjudged, ms; NaN while it is not known. */
  get clockErrorMs() {
    return this.#clock.errorMs;
  }

  /** How far the clock of this computer is ahead of the server's, ms; NaN while that is not known. */
  get clockAheadMs() {
    return Date.now() - this.#clock.at(performance.now());
  }

  /** How long ago the exchange last said anything, ms; NaN while nobody knows. */
  get silenceMs() {
    return this.#heardMs === 0 ? Number.NaN : Math.max(0, this.#clock.at(performance.now()) - this.#heardMs);
  }

  /** @param {boolean} isConnected */
  #onConnection(isConnected) {
    if (isConnected === this.#connectedAt > 0) return;
    this.#connection += 1;
    this.#connectedAt = isConnected ? performance.now() : 0;
    this.#isSupported = true;
    this.#clock.reset();
    this.#hops = null;
    this.#heardMs = 0;
    for (const values of [this.#exchange, this.#sinceIngest, this.#total]) values.clear();
    this.#resume();
  }

  #resume() {
    clearTimeout(this.#timer);
    if (this.#connectedAt > 0 && !document.hidden && this.#isSupported) void this.#ask(this.#connection, FIRST_ASKS);
  }

  /**
   * @param {number} connection
   * @param {number} early how many more times to ask soon
   */
  async #ask(connection, early) {
    try {
      const time = await this.#client.time();
      if (connection === this.#connection) this.#take(time);
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      if (code === undefined) throw error;
      // A server of an earlier version knows no `time`; other refusals are over with the connection, or pass.
      if (code === "unknown_event" && connection === this.#connection) this.#isSupported = false;
    }
    if (connection !== this.#connection || document.hidden || !this.#isSupported) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#ask(connection, early - 1), early > 1 ? FIRST_EVERY_MS : ASK_EVERY_MS);
  }

  /** @param {ServerTime} time */
  #take(time) {
    this.#clock.note(time);
    this.#hops = time.hops;
    this.#heardMs = Math.max(this.#heardMs, time.lastMessage ?? 0);
  }

  /** @param {Message} message */
  #note({ ts, data }) {
    const eventMs = eventTimeOf(data);
    if (eventMs === null || !this.#clock.isKnown) return;
    // What was missed, and the state so far, is older than the connection: it took no longer than we were away.
    if (ts < this.#clock.at(this.#connectedAt)) return;
    const now = performance.now();
    const arrivedMs = this.#clock.at(now);
    this.#heardMs = Math.max(this.#heardMs, ts);
    this.#exchange.note(ts - eventMs, now);
    this.#sinceIngest.note(arrivedMs - ts, now);
    this.#total.note(arrivedMs - eventMs, now);
  }
}
