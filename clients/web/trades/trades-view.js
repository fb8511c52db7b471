/**
 * The trades of the selected instrument: the latest ones from REST, joined to live ones.
 * @module
 */

import { ApiError, fetchBinance } from "../common/api.js";
import { decimalsOf } from "../common/format.js";
import { streamOf } from "../common/streams.js";
import { gapWords, tradeOf, tradesBefore } from "./payloads.js";
import { TAPE_LENGTH } from "./tape.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../../js/types/index.js").Gap} Gap */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./payloads.js").Trade} Trade */
/** @typedef {import("./tape.js").Tape} Tape */

const PATHS = { spot: "/api/v3/aggTrades", futures: "/fapi/v1/aggTrades" };
/** Longer than the server keeps an answer: the next one is newer. */
const RETRY_MS = 700;
const MAX_TRIES = 5;

/** Shows one instrument's trades at a time, none missing between the first one shown and now without a line that says so. */
export class TradesView {
  /** @type {Instrument | null} */
  #info = null;
  /** First trade that came live; none yet: Infinity. */
  #firstLive = Infinity;
  /** Those of before that were shown while none had come live, oldest first. @type {Trade[]} */
  #earlier = [];
  #abort = new AbortController();
  #end = () => {};
  #client;
  #tape;

  /**
   * @param {Client} client
   * @param {Tape} tape
   */
  constructor(client, tape) {
    this.#client = client;
    this.#tape = tape;
  }

  /** @param {Instrument} info */
  show(info) {
    this.#end();
    this.#info = info;
    this.#reset();
    const subscription = this.#client.subscribe({
      streams: [streamOf(info, "aggTrade")],
      // Live ones do not follow a state so far without a hole.
      snapshot: false,
      onMessage: ({ data }) => this.#take(tradeOf(/** @type {any} */ (data))),
    });
    subscription.on("gap", (gap) => this.#onGap(gap));
    subscription.on("end", (error) => error && this.#tape.say(error.message));
    subscription.ready.then(
      () => {
        if (info === this.#info) void this.#load();
      },
      () => {}, // told by `end`
    );
    this.#end = () => void subscription.unsubscribe();
  }

  #reset() {
    const { tickSize, stepSize } = /** @type {Instrument} */ (this.#info);
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#firstLive = Infinity;
    this.#earlier = [];
    this.#tape.reset({ price: decimalsOf(tickSize), size: decimalsOf(stepSize) });
    this.#tape.say("Loading…");
  }

  /** @param {Trade} trade live */
  #take(trade) {
    if (this.#firstLive === Infinity) {
      if (this.#earlier.some(({ id }) => id === trade.id)) return;
      const last = this.#earlier.at(-1);
      if (last && trade.id !== last.id + 1) {
        // The server's answer was a moment too old, or ids have begun anew: ask again.
        this.#reset();
        void this.#load();
      }
      this.#firstLive = trade.id;
    }
    this.#tape.push(trade);
  }

  /** @param {Gap} gap */
  #onGap(gap) {
    if (gap.reason === "unrecovered") {
      // We were away: REST has what the servers do not remember.
      this.#reset();
      void this.#load();
    } else {
      this.#tape.push({ gap: gapWords(gap, "trade") });
    }
  }

  /** Put the latest trades of before beneath the live ones. */
  async #load() {
    const { signal } = this.#abort;
    try {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        const rows = await this.#fetch(signal);
        if (signal.aborted) return;
        const older = tradesBefore(rows, this.#firstLive);
        if (older) {
          this.#join(older);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (this.#tape.isEmpty) this.#tape.say(`No earlier trades: ${error.message}`);
    }
  }

  /** @param {Trade[]} older oldest first */
  #join(older) {
    if (this.#firstLive === Infinity) this.#earlier = older;
    this.#tape.append(older);
    this.#tape.say(this.#tape.isEmpty ? "No trades yet" : "");
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Trade[]>} oldest first
   */
  async #fetch(signal) {
    const { market, symbol } = /** @type {Instrument} */ (this.#info);
    const query = new URLSearchParams({ symbol, limit: String(TAPE_LENGTH) });
    const rows = await fetchBinance(`${PATHS[market]}?${query}`, signal);
    return rows.map(tradeOf);
  }
}
