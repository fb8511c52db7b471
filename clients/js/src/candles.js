import { barOfCandle, CandleSeries } from "./candle-series.js";
import { Emitter } from "./emitter.js";
import { TickcastError } from "./errors.js";

/** @typedef {import("../types/index.d.ts").CandleBar} CandleBar */
/** @typedef {import("../types/index.d.ts").Candles} CandlesShape */
/** @typedef {import("../types/index.d.ts").CandlesEvents} CandlesEvents */
/** @typedef {import("../types/index.d.ts").CandlesRequest} CandlesRequest */
/** @typedef {import("../types/index.d.ts").Client} Client */
/** @typedef {import("../types/index.d.ts").Message<"kline">} KlineMessage */

const LIMIT = 500;
const OLDER = 500;
/** How often older candles are asked for while the first one changes meanwhile. */
const OLDER_TRIES = 3;
/** Updates of so many candles are kept while the past is fetched. */
const MAX_HELD = 100;
/** The server's open candle may be 1 s old: what was not in it then is asked for once more. */
const RETRY_MS = 1200;
const CLOSED = { code: "closed", message: "Closed" };
const PASSING = new Set(["upstream_unavailable", "unavailable", "no_answer", "internal_error", "rate_limited"]);

/**
 * Joins the past to live updates: live ones first, held back until the past is there. Whenever a live candle does not
 * follow the last one (after a reconnect, of a thinned stream), the past is fetched again.
 * @extends {Emitter<CandlesEvents>}
 * @implements {CandlesShape}
 */
export class Candles extends Emitter {
  /** @type {Promise<readonly CandleBar[]>} */
  ready;
  #series;
  /** @type {Map<number, CandleBar>} the latest update of each candle by open time, while the past is fetched */
  #held = new Map();
  #isFetching = true;
  #isOpen = true;
  /** @type {Promise<number> | undefined} */
  #older;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {(bars: readonly CandleBar[]) => void} */
  #resolveReady = () => {};
  /** @type {(error: Error) => void} */
  #rejectReady = () => {};
  #client;
  #request;
  #subscription;

  /**
   * @param {Client} client
   * @param {CandlesRequest} request
   */
  constructor(client, { symbol, interval, market = "spot", limit = LIMIT, throttle }) {
    super();
    this.#client = client;
    this.#request = { symbol, interval, market, limit };
    this.#series = new CandleSeries(limit);
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.#subscription = client.subscribe({
      streamType: "kline",
      symbols: [symbol],
      options: { interval },
      market,
      throttle,
      onMessage: (message) => this.#onMessage(message),
    });
    this.#subscription.ready.then(
      () => {
        // The first answer's refusal is its `end`; after that it may be granted again.
        this.#subscription.on("rejected", (refusal) => this.emit("error", new TickcastError(refusal)));
        void this.#fetch(true);
      },
      (error) => this.#fail(error),
    );
    this.#subscription.on("end", (error) => this.#fail(error));
  }

  /** @returns {readonly CandleBar[]} */
  get candles() {
    return this.#series.bars;
  }

  /**
   * @param {number} [count]
   * @returns {Promise<number>}
   * @throws {TickcastError}
   */
  loadOlder(count = OLDER) {
    this.#older ??= this.#fetchOlder(count).finally(() => {
      this.#older = undefined;
    });
    return this.#older;
  }

  close() {
    this.#fail(undefined);
    return this.#subscription.unsubscribe();
  }

  /** @param {KlineMessage} message */
  #onMessage({ data }) {
    const bar = barOfCandle(data.k, data.E);
    if (!this.#isFetching && this.#series.isFollowedBy(bar)) {
      if (this.#series.apply(bar)) this.emit("candle", bar);
      return;
    }
    this.#held.set(bar.openTime, bar);
    if (this.#held.size > MAX_HELD) this.#held.delete(Math.min(...this.#held.keys()));
    if (this.#isFetching) return;
    this.#isFetching = true;
    void this.#fetch(true);
  }

  /** @param {boolean} mayRetry whether the past is fetched once more if it still does not lead to what is held */
  async #fetch(mayRetry) {
    try {
      this.#series.load(await this.#client.getHistoricalKlines(this.#request));
    } catch (error) {
      this.#onRefused(/** @type {TickcastError} */ (error));
      return;
    }
    if (!this.#isOpen) return;
    const held = [...this.#held.values()].sort((one, other) => one.openTime - other.openTime);
    const isWhole = held.every((bar) => {
      const follows = this.#series.isFollowedBy(bar);
      if (follows) this.#series.apply(bar);
      return follows;
    });
    if (!isWhole && mayRetry) {
      this.#timer = setTimeout(() => void this.#fetch(false), RETRY_MS);
      return;
    }
    for (const bar of held) this.#series.apply(bar);
    this.#held.clear();
    this.#isFetching = false;
    this.#resolveReady(this.#series.bars);
    this.emit("reset", this.#series.bars);
  }

  /** @param {number} count */
  async #fetchOlder(count) {
    await this.ready;
    for (let tries = 0; tries < OLDER_TRIES; tries += 1) {
      if (!this.#isOpen) throw new TickcastError(CLOSED);
      const [first] = this.#series.bars;
      const limit = this.#series.widen(count);
      const endTime = (first?.openTime ?? 0) - 1;
      if (!first || endTime <= 0 || limit === 0) return 0;
      const request = { ...this.#request, limit, endTime };
      const rows = await this.#client.getHistoricalKlines(request);
      // A reset that came meanwhile may begin with another candle, which these need not lead to.
      if (!this.#isOpen || this.#series.bars[0]?.openTime !== first.openTime) continue;
      const added = this.#series.prepend(rows);
      if (added > 0) this.emit("reset", this.#series.bars);
      return added;
    }
    throw new TickcastError({ code: "unavailable", message: "The candles change too fast to be led back from" });
  }

  /** @param {TickcastError} error */
  #onRefused(error) {
    if (!this.#isOpen) return;
    if (!PASSING.has(error.code)) {
      this.#fail(error);
      void this.close();
      return;
    }
    this.emit("error", error);
    const wait = Math.max(RETRY_MS, (error.retryAfter ?? 0) * 1000) * (1 + Math.random() / 2);
    this.#timer = setTimeout(() => void this.#fetch(true), wait);
  }

  /** @param {TickcastError | undefined} error */
  #fail(error) {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    // Who has heard of it need not ask for readiness; if nobody has, the rejection is not handled, and says so.
    if (!error || this.emit("error", error)) this.ready.catch(() => {});
    this.#rejectReady(error ?? new TickcastError(CLOSED));
  }
}
