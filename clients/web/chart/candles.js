/**
 * The seam between a chart's history (REST) and its live candles: none doubled, none missing. Pure.
 * @module
 */

/** @typedef {import("../common/payloads.js").Candle} Candle */

/**
 * What a live candle did:
 * - `updated`: it replaced the candle of its time, or follows the last one;
 * - `ignored`: what is there already knows more, or it lies before the history;
 * - `hole`: something is missing before it (a candle, the last trades of the one before), or there
 *   is no room: load the history again.
 * @typedef {"updated" | "ignored" | "hole"} Outcome
 */

/** Candles kept before the history is loaded afresh. */
export const MAX_CANDLES = 5000;

/** Live candles kept while the history is on its way; it takes seconds, an interval a minute. */
const MAX_WAITING = 16;

/** Candles of one symbol and interval in order of time, without gaps or doubles. */
export class Candles {
  /** @type {Candle[]} */
  #list = [];
  /** @type {Map<number, Candle> | null} */
  #waiting = null;
  #stepMs;

  /** @param {number} stepMs length of the interval, milliseconds */
  constructor(stepMs) {
    this.#stepMs = stepMs;
  }

  /** @returns {readonly Candle[]} oldest first */
  get list() {
    return this.#list;
  }

  /** @returns {boolean} whether history was asked for and is not here yet */
  get isLoading() {
    return this.#waiting !== null;
  }

  /** Keep every live candle from now on, until `load` brings the history that was just asked for. */
  expectHistory() {
    this.#waiting ??= new Map();
  }

  /**
   * Put `history` in place and join the live candles that arrived since `expectHistory`.
   * @param {Candle[]} history oldest first
   * @returns {Outcome} `hole` where the history ends before the live candles begin
   */
  load(history) {
    const waiting = this.#waiting ?? new Map();
    this.#waiting = null;
    this.#list = [...history];
    /** @type {Outcome} */
    let outcome = "updated";
    for (const candle of [...waiting.values()].sort((a, b) => a.openMs - b.openMs)) {
      if (this.#join(candle) === "hole") outcome = "hole";
    }
    return outcome;
  }

  /**
   * Take one live candle.
   * @param {Candle} candle
   * @returns {Outcome} never `hole` while history is on its way
   */
  apply(candle) {
    if (this.#waiting) {
      this.#waiting.set(candle.openMs, candle);
      if (this.#waiting.size > MAX_WAITING) this.#waiting.delete(Math.min(...this.#waiting.keys()));
    }
    const outcome = this.#join(candle);
    return this.#waiting && outcome === "hole" ? "ignored" : outcome;
  }

  /**
   * @param {Candle} candle
   * @returns {Outcome}
   */
  #join(candle) {
    const last = this.#list.at(-1);
    if (!last || this.#list.length >= MAX_CANDLES) return "hole";
    const behind = Math.round((last.openMs - candle.openMs) / this.#stepMs);
    if (behind < -1) return "hole";
    if (behind === -1) {
      // Only the latest value of a kline stream is sure to arrive: the closing one may have been skipped.
      if (!last.isClosed) return "hole";
      this.#list.push(candle);
      return "updated";
    }
    const index = this.#list.length - 1 - behind;
    const known = this.#list[index];
    // REST and stream overtake each other; of one candle the version with more trades is the later.
    if (known?.openMs !== candle.openMs || known.trades > candle.trades) return "ignored";
    if (known.isClosed && !candle.isClosed) return "ignored";
    this.#list[index] = candle;
    return "updated";
  }
}
