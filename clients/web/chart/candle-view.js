/**
 * The chart of the selected instrument and interval, and all that is said around it.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { decimalsOf, formatAge } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { goesOn } from "../common/instruments.js";
import { Absence } from "./absence.js";
import { CandleTable } from "./candle-table.js";
import { listenToKeys } from "./keys.js";
import { OlderCandles } from "./older.js";
import { describeChart, figuresOf, formatCountdown, formatOpenTime } from "./words.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../common/streams.js").Interval} Interval */
/** @typedef {import("../../js/types/index.js").CandleBar} CandleBar */
/** @typedef {import("../../js/types/index.js").Candles} Candles */
/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./chart.js").Sight} Sight */

const HISTORY = 500;
/** With more candles changed in one frame (a tab seen again after hours), all are drawn anew. */
const MAX_SINGLE_UPDATES = 8;
/** So many more candles may be drawn than are kept: the old ones go in lumps. */
const MAX_DRAWN_BEYOND = 1000;
const TICK_MS = 1000;
const DESCRIBE_MS = 10_000;
const FIGURES = /** @type {const} */ (["open", "high", "low", "close", "change", "volume"]);

/** Shows one instrument's candles at a time. */
export class CandleView {
  /** @type {Instrument | null} */
  #instrument = null;
  /** @type {Interval} */
  #interval = "1m";
  #decimals = 0;
  /** @type {Candles | undefined} */
  #candles;
  /** Candles that changed since the last frame; null where all may have. @type {Map<number, CandleBar> | null} */
  #changed = new Map();
  /** @type {number | null} */
  #hovered = null;
  /** What the exchange's clock was at a moment of ours. @type {{exchangeMs: number, hereMs: number} | null} */
  #clock = null;
  #describedMs = Number.NEGATIVE_INFINITY;
  #absence = new Absence();
  #client;
  #chart;
  #root;
  #tell;
  #older;
  #table;
  #drawSoon = oncePerFrame(() => this.#draw());

  /**
   * @param {Client} client
   * @param {Chart} chart
   * @param {HTMLElement} root the panel, with a `data-chart` element for each part and the instrument's quote
   * @param {(words: string) => void} tell the user, for a moment
   */
  constructor(client, chart, root, tell) {
    this.#client = client;
    this.#chart = chart;
    this.#root = root;
    this.#tell = tell;
    this.#older = new OlderCandles(this.#find("older"));
    this.#table = new CandleTable(this.#find("table"), this.#find("as-table"), () => this.#drawSoon());
    listenToKeys(this.#find("canvas"), chart);
    this.#find("latest").addEventListener("click", () => chart.showLatest());
    client.on("status", (state) => this.#absence.note(state, Date.now()));
    chart.addEventListener("hover", (event) => {
      this.#hovered = /** @type {CustomEvent<number | null>} */ (event).detail;
      this.#drawSoon();
    });
    chart.addEventListener("sight", (event) => this.#onSight(/** @type {CustomEvent<Sight>} */ (event).detail));
    this.#followStaleness(find(root, "#quote"));
    setInterval(() => this.#drawSoon(), TICK_MS);
  }

  /**
   * Show an instrument and interval; where they are shown already, nothing is begun anew.
   * @param {Instrument} instrument
   * @param {Interval} interval one that its market has
   */
  show(instrument, interval) {
    const { market, symbol, tickSize } = instrument;
    const isShown = goesOn(this.#instrument, instrument) && interval === this.#interval;
    this.#instrument = instrument;
    if (isShown) return;
    void this.#candles?.close();
    this.#interval = interval;
    this.#decimals = decimalsOf(tickSize);
    this.#changed = new Map();
    this.#clock = null;
    this.#describedMs = Number.NEGATIVE_INFINITY;
    this.#chart.clear(tickSize, interval);
    this.#find("latest").hidden = true;
    this.#note("Loading…");
    this.#candles = this.#open({ market, symbol, interval, limit: HISTORY });
    this.#older.follow(this.#candles);
    this.#drawSoon();
  }

  /** @param {import("../../js/types/index.js").CandlesRequest} request */
  #open(request) {
    const candles = this.#client.candles(request);
    candles.on("reset", (bars) => {
      this.#changed = null;
      this.#note(bars.length > 0 ? "" : "No candles yet");
      this.#onWhole();
    });
    candles.on("candle", (bar) => {
      this.#take(bar);
      this.#onWhole();
    });
    candles.on("error", ({ message }) => {
      if (candles === this.#candles && candles.candles.length === 0) this.#note(`No history: ${message}. Trying again…`);
    });
    candles.ready.catch(({ message }) => {
      // Another instrument's are shown meanwhile, or these are refused for good.
      if (candles === this.#candles) this.#note(`No candles: ${message}`);
    });
    return candles;
  }

  /** @param {CandleBar} bar */
  #take(bar) {
    if (bar.eventTime !== null) this.#clock = { exchangeMs: bar.eventTime, hereMs: performance.now() };
    this.#changed?.set(bar.openTime, bar);
    if (this.#changed && this.#changed.size > MAX_SINGLE_UPDATES) this.#changed = null;
  }

  /** No candle is missing at this moment. */
  #onWhole() {
    const awayMs = this.#absence.end(Date.now());
    // Begun seconds count: one is never away for 0 s.
    if (awayMs !== null) this.#tell(`Recovered, ${formatAge(Math.ceil(awayMs / 1000) * 1000)}`);
    this.#drawSoon();
  }

  /** @param {Sight} sight */
  #onSight({ from, isLatest }) {
    this.#find("latest").hidden = isLatest;
    this.#older.reach(from);
    this.#drawSoon();
  }

  /**
   * Grey the price line whenever the quote says that it is stale: one sign for the figures and the chart.
   * @param {HTMLElement} quote
   */
  #followStaleness(quote) {
    const observer = new MutationObserver(() => this.#chart.setStale(quote.hasAttribute("data-stale")));
    observer.observe(quote, { attributeFilter: ["data-stale"] });
  }

  #draw() {
    const bars = this.#candles?.candles ?? [];
    const isTooMuch = this.#chart.count > bars.length + MAX_DRAWN_BEYOND;
    if (this.#changed && !isTooMuch) {
      const changed = [...this.#changed.values()].sort((a, b) => a.openTime - b.openTime);
      for (const bar of changed) this.#chart.update(bar);
    } else {
      this.#chart.setCandles(bars);
    }
    this.#changed = new Map();
    this.#drawLegend(bars);
    this.#drawCountdown(bars);
    this.#describe(bars);
    this.#drawTable(bars);
  }

  /** @param {readonly CandleBar[]} bars */
  #drawTable(bars) {
    const { sight, count } = this.#chart;
    // Of those drawn, the oldest may be kept no more.
    const at = (/** @type {number} */ position) => Math.max(0, Math.ceil(position) - count + bars.length);
    const shown = sight && this.#table.isOpen ? bars.slice(at(sight.from), at(sight.to + 1)) : [];
    this.#table.render(shown, this.#interval, this.#decimals);
  }

  /** @param {readonly CandleBar[]} bars */
  #drawLegend(bars) {
    const hovered = this.#hovered;
    const bar = (hovered === null ? undefined : bars.findLast(({ openTime }) => openTime === hovered)) ?? bars.at(-1);
    const figures = figuresOf(bar, this.#decimals);
    for (const name of FIGURES) setText(find(this.#root, `[data-legend=${name}]`), figures[name]);
    setText(find(this.#root, "[data-legend=time]"), bar ? formatOpenTime(bar.openTime, this.#interval) : "–");
    const change = find(this.#root, "[data-legend=change]");
    if (change.dataset.direction !== figures.direction) change.dataset.direction = figures.direction;
  }

  /** @param {readonly CandleBar[]} bars */
  #drawCountdown(bars) {
    const last = bars.at(-1);
    const clock = this.#clock;
    const isShown = last && clock && !last.isClosed && this.#interval !== "1s";
    // The exchange's clock, which runs on as ours does: a browser's own may be wrong by minutes.
    const leftMs = isShown ? last.closeTime + 1 - (clock.exchangeMs + performance.now() - clock.hereMs) : 0;
    setText(this.#find("countdown"), isShown ? formatCountdown(leftMs) : "–");
  }

  /** @param {readonly CandleBar[]} bars */
  #describe(bars) {
    if (!this.#instrument || performance.now() - this.#describedMs < DESCRIBE_MS) return;
    if (bars.length > 0) this.#describedMs = performance.now();
    setText(this.#find("text"), describeChart(this.#instrument, this.#interval, bars.at(-1), this.#decimals));
  }

  /** @param {string} words */
  #note(words) {
    setText(this.#find("note"), words);
  }

  /** @param {string} name */
  #find(name) {
    return find(this.#root, `[data-chart=${name}]`);
  }
}
