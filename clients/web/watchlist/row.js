/**
 * One instrument's row of the watchlist.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { arrowOf, decimalsOf, directionOf, formatPercent, formatPrice, staleLabel } from "../common/format.js";
import { haltLabel, idOf } from "../common/instruments.js";
import { streamOf } from "../common/streams.js";
import { SparkSeries } from "./spark-series.js";
import { drawSparkline } from "./sparkline.js";

/** @typedef {import("../common/format.js").Direction} Direction */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../common/payloads.js").Ticker} Ticker */
/** @typedef {import("./spark-series.js").Point} Point */

const FLASH = { duration: 700, easing: "ease-out" };
const calmMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Keeps what its instrument did last, and draws it when told to. */
export class Row {
  /** Whether it can be seen: only then it is drawn, but for its first figures. */
  isInSight = false;
  /** @type {Ticker | null} */
  #ticker = null;
  #shownLast = Number.NaN;
  #updatedMs = Date.now();
  #series = new SparkSeries();
  #drawnVersion = 0;
  #drawnColour = "";
  #cells;
  #pick;
  #canvas;

  /**
   * @param {HTMLElement} element
   * @param {Instrument} instrument
   */
  constructor(element, instrument) {
    this.element = element;
    this.id = idOf(instrument);
    this.instrument = instrument;
    this.stream = streamOf(instrument, "ticker");
    const cell = (/** @type {string} */ name) => find(element, `[data-cell=${name}]`);
    this.#cells = {
      price: cell("price"),
      arrow: cell("arrow"),
      percent: cell("percent"),
      change: cell("change"),
      stale: cell("stale"),
    };
    this.#pick = /** @type {HTMLButtonElement} */ (find(element, "[data-select]"));
    this.#canvas = /** @type {HTMLCanvasElement} */ (find(element, "[data-spark]"));
    element.dataset.symbol = instrument.symbol;
    element.dataset.market = instrument.market;
    cell("base").textContent = instrument.baseAsset;
    cell("quote").textContent = instrument.quoteAsset;
    cell("perp").hidden = instrument.market !== "futures";
    const name = instrument.market === "futures" ? `${instrument.symbol} perpetual` : instrument.symbol;
    find(element, "[data-remove]").ariaLabel = `Remove ${name}`;
  }

  /** @returns {Ticker | null} the last one */
  get ticker() {
    return this.#ticker;
  }

  /** @returns {boolean} whether figures are shown, be they old */
  get isFilled() {
    return !Number.isNaN(this.#shownLast);
  }

  /**
   * @param {Ticker} ticker
   * @param {boolean} isLive a snapshot may be old already and makes nothing fresh
   */
  take(ticker, isLive) {
    this.#ticker = ticker;
    this.#series.take(ticker.eventMs, ticker.last);
    if (isLive) this.#updatedMs = Date.now();
  }

  /** @param {Point[]} history of the last hour */
  loadHistory(history) {
    this.#series.load(history);
  }

  /**
   * Mark it as the one whose chart is shown, which is also where Tab enters the list.
   * @param {boolean} isSelected
   */
  setSelected(isSelected) {
    this.element.toggleAttribute("data-selected", isSelected);
    this.#pick.ariaPressed = String(isSelected);
    this.#pick.tabIndex = isSelected ? 0 : -1;
  }

  focus() {
    this.#pick.focus();
  }

  /** @param {Record<Direction, string>} palette colours of the sparkline */
  render(palette) {
    this.#renderAge();
    this.#renderSparkline(palette);
    const ticker = this.#ticker;
    if (!ticker) return;
    const cells = this.#cells;
    const direction = directionOf(ticker.changePercent);
    setText(cells.price, formatPrice(ticker.last, decimalsOf(this.instrument.tickSize)));
    setText(cells.arrow, arrowOf(direction));
    setText(cells.percent, formatPercent(ticker.changePercent));
    cells.change.dataset.direction = direction;
    if (this.isInSight) this.#flash(ticker.last - this.#shownLast);
    this.#shownLast = ticker.last;
  }

  /** Write why the figures may not hold: not traded, or old. */
  #renderAge() {
    const halt = haltLabel(this.instrument.status);
    const stale = staleLabel(this.#updatedMs, Date.now());
    this.element.toggleAttribute("data-halted", halt !== "");
    this.element.toggleAttribute("data-stale", halt === "" && stale !== "");
    setText(this.#cells.stale, halt || (stale && !this.#ticker ? "no data yet" : stale));
  }

  /** @param {Record<Direction, string>} palette */
  #renderSparkline(palette) {
    if (!this.isInSight) return;
    const { points, version } = this.#series;
    const colour = palette[directionOf((points.at(-1)?.close ?? 0) - (points[0]?.close ?? 0))];
    if (version === this.#drawnVersion && colour === this.#drawnColour) return;
    this.#drawnVersion = version;
    this.#drawnColour = colour;
    drawSparkline(this.#canvas, points, colour);
  }

  /** @param {number} change of the price shown; NaN at first */
  #flash(change) {
    if (!change || calmMotion.matches) return;
    const colour = `var(--${directionOf(change)}-flash)`;
    this.#cells.price.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], FLASH);
  }
}
