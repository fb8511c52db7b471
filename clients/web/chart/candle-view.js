/**
 * The chart of the selected symbol and interval: history from REST, joined to live candles.
 * @module
 */

import { ApiError, fetchCandles } from "../common/api.js";
import { Candles } from "./candles.js";
import { find, setText } from "../common/dom.js";
import { decimalsOf, formatPrice, formatVolume } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { candleOf } from "../common/payloads.js";
import { INTERVALS_MS, streamOf } from "../common/streams.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../common/payloads.js").Candle} Candle */
/** @typedef {import("../common/streams.js").Interval} Interval */

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
/** With more candles changed in one frame (a tab seen again after hours), all are drawn anew. */
const MAX_SINGLE_UPDATES = 8;

/** Loads, joins and redraws; after every interruption the history is fetched again. */
export class CandleView {
  /** @type {Instrument | null} */
  #info = null;
  /** @type {Interval} */
  #interval = "1m";
  #candles = new Candles(INTERVALS_MS["1m"]);
  /** Candles that changed since the last frame. @type {Map<number, Candle>} */
  #changed = new Map();
  /** @type {number | null} */
  #hoveredMs = null;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer = 0;
  #abort = new AbortController();
  #end = () => {};
  #client;
  #chart;
  #legend;
  #note;
  #drawSoon = oncePerFrame(() => this.#draw());

  /**
   * @param {Client} client
   * @param {Chart} chart
   * @param {HTMLElement} legend with a `data-legend` element for each of open, high, low, close, volume
   * @param {HTMLElement} note over the chart, for what stands in the way of candles
   */
  constructor(client, chart, legend, note) {
    this.#client = client;
    this.#chart = chart;
    this.#legend = legend;
    this.#note = note;
    let wasInterrupted = false;
    client.on("status", (state) => {
      if (wasInterrupted && !isInterrupted(state)) this.#load();
      wasInterrupted = isInterrupted(state);
    });
    chart.addEventListener("hover", (event) => {
      this.#hoveredMs = /** @type {CustomEvent<number | null>} */ (event).detail;
      this.#drawSoon();
    });
  }

  /**
   * Show another symbol or interval.
   * @param {Instrument} info
   * @param {Interval} interval
   */
  show(info, interval) {
    this.#end();
    this.#info = info;
    this.#interval = interval;
    this.#candles = new Candles(INTERVALS_MS[interval]);
    this.#changed.clear();
    this.#retryMs = FIRST_RETRY_MS;
    this.#chart.clear(decimalsOf(info.tickSize));
    this.#note.textContent = "Loading…";
    this.#load();
    const subscription = this.#client.subscribe({
      streams: [streamOf(info, `kline_${interval}`)],
      onMessage: ({ data }) => this.#take(candleOf(/** @type {any} */ (data))),
    });
    this.#end = () => void subscription.unsubscribe();
    this.#drawSoon();
  }

  /** @param {Candle} candle */
  #take(candle) {
    const outcome = this.#candles.apply(candle);
    if (outcome === "hole") this.#loadLater();
    if (outcome !== "updated") return;
    this.#changed.set(candle.openMs, candle);
    this.#drawSoon();
  }

  async #load() {
    const info = this.#info;
    if (!info) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.#abort.abort();
    const { signal } = (this.#abort = new AbortController());
    this.#candles.expectHistory();
    let history;
    try {
      history = await fetchCandles(info, this.#interval, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (this.#candles.list.length === 0) this.#note.textContent = `No history: ${error.message}. Trying again…`;
      this.#loadLater();
      return;
    }
    if (signal.aborted) return;
    this.#join(history);
  }

  /** @param {Candle[]} history */
  #join(history) {
    if (this.#candles.load(history) === "hole") this.#loadLater();
    else this.#retryMs = FIRST_RETRY_MS;
    this.#note.textContent = history.length > 0 ? "" : "No candles yet";
    this.#changed.clear();
    this.#chart.setCandles(this.#candles.list);
    this.#drawSoon();
  }

  #loadLater() {
    if (this.#retryTimer) return;
    this.#retryTimer = setTimeout(() => this.#load(), this.#retryMs);
    this.#retryMs = Math.min(LAST_RETRY_MS, this.#retryMs * 2);
  }

  #draw() {
    if (this.#changed.size > MAX_SINGLE_UPDATES) {
      this.#chart.setCandles(this.#candles.list);
    } else {
      const changed = [...this.#changed.values()].sort((a, b) => a.openMs - b.openMs);
      for (const candle of changed) this.#chart.update(candle);
    }
    this.#changed.clear();
    this.#drawLegend();
  }

  #drawLegend() {
    const { list } = this.#candles;
    const candle = list.findLast(({ openMs }) => openMs === this.#hoveredMs) ?? list.at(-1);
    const decimals = decimalsOf(this.#info?.tickSize ?? "1");
    for (const name of /** @type {const} */ (["open", "high", "low", "close", "volume"])) {
      const value = candle?.[name] ?? Number.NaN;
      const text = name === "volume" ? formatVolume(value) : formatPrice(value, decimals);
      setText(find(this.#legend, `[data-legend=${name}]`), text);
    }
  }
}

/** @param {import("../../js/types/index.js").ClientState} state */
function isInterrupted({ connection, exchange }) {
  return connection === "disconnected" || exchange === "disconnected";
}
