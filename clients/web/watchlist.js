/**
 * The watchlist: one row per symbol with its live 24 hour ticker.
 * @module
 */

import { find, setText } from "./dom.js";
import { arrowOf, decimalsOf, directionOf, formatPercent, formatPrice, formatVolume, staleLabel } from "./format.js";
import { oncePerFrame } from "./frames.js";
import { tickerOf } from "./payloads.js";
import { tickerStream } from "./streams.js";

/** @typedef {import("./api.js").SymbolInfo} SymbolInfo */
/** @typedef {import("./feed.js").Feed} Feed */
/** @typedef {import("./payloads.js").Ticker} Ticker */

/** Rows that a page may hold; each is a subscription. */
export const MAX_WATCHED = 50;

const STALE_CHECK_MS = 1000;
const FLASH = { duration: 700, easing: "ease-out" };
const calmMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Events: `select` and `remove` (CustomEvent of the symbol), fired when the user asks for it.
 */
export class Watchlist extends EventTarget {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Set<Row>} */
  #dirty = new Set();
  #body;
  #template;
  #feed;
  #renderSoon = oncePerFrame(() => this.#render());

  /**
   * @param {HTMLTableSectionElement} body
   * @param {HTMLTemplateElement} template of one row
   * @param {Feed} feed
   */
  constructor(body, template, feed) {
    super();
    this.#body = body;
    this.#template = template;
    this.#feed = feed;
    setInterval(() => this.#checkAges(), STALE_CHECK_MS);
  }

  /** @returns {string[]} in the order shown */
  get symbols() {
    return [...this.#rows.keys()];
  }

  /**
   * Append a row; no effect where the symbol has one.
   * @param {SymbolInfo} info
   */
  add(info) {
    if (this.#rows.has(info.symbol)) return;
    const element = find(document.importNode(this.#template.content, true), "tr");
    const row = new Row(element, info);
    element.addEventListener("click", (event) => {
      const isRemove = event.target instanceof Element && event.target.closest("[data-remove]") !== null;
      this.dispatchEvent(new CustomEvent(isRemove ? "remove" : "select", { detail: info.symbol }));
    });
    row.end = this.#feed.subscribe(tickerStream(info.symbol), ({ data, ts }) => {
      row.take(tickerOf(data), ts !== null);
      this.#dirty.add(row);
      this.#renderSoon();
    });
    this.#rows.set(info.symbol, row);
    this.#body.append(element);
  }

  /** @param {string} symbol */
  remove(symbol) {
    const row = this.#rows.get(symbol);
    if (!row) return;
    row.end();
    row.element.remove();
    this.#rows.delete(symbol);
    this.#dirty.delete(row);
  }

  /**
   * Mark the row whose chart is shown.
   * @param {string} symbol
   */
  markSelected(symbol) {
    for (const [name, row] of this.#rows) row.setSelected(name === symbol);
  }

  #render() {
    for (const row of this.#dirty) row.render();
    this.#dirty.clear();
  }

  #checkAges() {
    for (const row of this.#rows.values()) row.renderAge();
  }
}

/** One symbol's row. */
class Row {
  /** Ends the row's subscription. @type {() => void} */
  end = () => {};
  /** @type {Ticker | null} */
  #ticker = null;
  #shownLast = Number.NaN;
  #updatedMs = Date.now();
  #decimals;
  #cells;

  /**
   * @param {HTMLElement} element
   * @param {SymbolInfo} info
   */
  constructor(element, info) {
    this.element = element;
    this.#decimals = decimalsOf(info.tickSize);
    const cell = (/** @type {string} */ name) => find(element, `[data-cell=${name}]`);
    this.#cells = {
      price: cell("price"),
      arrow: cell("arrow"),
      percent: cell("percent"),
      change: cell("change"),
      high: cell("high"),
      low: cell("low"),
      volume: cell("volume"),
      stale: cell("stale"),
    };
    element.dataset.symbol = info.symbol;
    cell("base").textContent = info.baseAsset;
    cell("quote").textContent = info.quoteAsset;
    find(element, "[data-remove]").ariaLabel = `Remove ${info.symbol}`;
  }

  /**
   * @param {Ticker} ticker
   * @param {boolean} isLive a snapshot may be old already and makes nothing fresh
   */
  take(ticker, isLive) {
    this.#ticker = ticker;
    if (isLive) this.#updatedMs = Date.now();
  }

  /** @param {boolean} isSelected */
  setSelected(isSelected) {
    this.element.toggleAttribute("data-selected", isSelected);
    find(this.element, "[data-select]").ariaPressed = String(isSelected);
  }

  render() {
    const ticker = this.#ticker;
    if (!ticker) return;
    const cells = this.#cells;
    const direction = directionOf(ticker.changePercent);
    setText(cells.price, formatPrice(ticker.last, this.#decimals));
    setText(cells.arrow, arrowOf(direction));
    setText(cells.percent, formatPercent(ticker.changePercent));
    cells.change.dataset.direction = direction;
    setText(cells.high, formatPrice(ticker.high, this.#decimals));
    setText(cells.low, formatPrice(ticker.low, this.#decimals));
    setText(cells.volume, formatVolume(ticker.quoteVolume));
    this.#flash(ticker.last - this.#shownLast);
    this.#shownLast = ticker.last;
    this.renderAge();
  }

  renderAge() {
    const label = staleLabel(this.#updatedMs, Date.now());
    this.element.toggleAttribute("data-stale", label !== "");
    setText(this.#cells.stale, label && !this.#ticker ? "no data yet" : label);
  }

  /** @param {number} change of the price shown; NaN at first */
  #flash(change) {
    if (!change || calmMotion.matches) return;
    const colour = `var(--${directionOf(change)}-flash)`;
    this.#cells.price.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], FLASH);
  }
}
