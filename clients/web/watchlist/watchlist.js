/**
 * The watchlist: one row per symbol with its live 24 hour ticker.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { arrowOf, decimalsOf, directionOf, formatPercent, formatPrice, formatVolume, staleLabel } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { tickerOf } from "../common/payloads.js";
import { idOf } from "../common/instruments.js";
import { streamOf } from "../common/streams.js";
import { Tickers } from "./tickers.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../common/payloads.js").Ticker} Ticker */

/** Rows that a page may hold; each is a subscription. */
export const MAX_WATCHED = 50;

const STALE_CHECK_MS = 1000;
const FLASH = { duration: 700, easing: "ease-out" };
const calmMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Events: `select` and `remove` (CustomEvent of the instrument's id), fired when the user asks for it.
 */
export class Watchlist extends EventTarget {
  /** By the instrument's id. @type {Map<string, Row>} */
  #rows = new Map();
  /** By its ticker's stream. @type {Map<string, Row>} */
  #rowsByStream = new Map();
  /** @type {Set<Row>} */
  #dirty = new Set();
  #body;
  #template;
  #tickers;
  #renderSoon = oncePerFrame(() => this.#render());

  /**
   * @param {HTMLTableSectionElement} body
   * @param {HTMLTemplateElement} template of one row
   * @param {Client} client
   */
  constructor(body, template, client) {
    super();
    this.#body = body;
    this.#template = template;
    this.#tickers = new Tickers(client, (message) => this.#take(message));
    setInterval(() => this.#checkAges(), STALE_CHECK_MS);
  }

  /** @returns {string[]} ids, in the order shown */
  get ids() {
    return [...this.#rows.keys()];
  }

  /**
   * Append a row; no effect where the symbol has one.
   * @param {Instrument} info
   */
  add(info) {
    const id = idOf(info);
    if (this.#rows.has(id)) return;
    const element = find(document.importNode(this.#template.content, true), "tr");
    const row = new Row(element, info);
    element.addEventListener("click", (event) => {
      const isRemove = event.target instanceof Element && event.target.closest("[data-remove]") !== null;
      this.dispatchEvent(new CustomEvent(isRemove ? "remove" : "select", { detail: id }));
    });
    this.#rows.set(id, row);
    this.#rowsByStream.set(row.stream, row);
    this.#tickers.add(row.stream);
    this.#body.append(element);
  }

  /** @param {string} id */
  remove(id) {
    const row = this.#rows.get(id);
    if (!row) return;
    row.element.remove();
    this.#rows.delete(id);
    this.#rowsByStream.delete(row.stream);
    this.#tickers.remove(row.stream);
    this.#dirty.delete(row);
  }

  /**
   * Mark the row whose chart is shown.
   * @param {string} selected id
   */
  markSelected(selected) {
    for (const [id, row] of this.#rows) row.setSelected(id === selected);
  }

  /** @param {import("../../js/types/index.js").Message} message */
  #take({ stream, data, isSnapshot }) {
    const row = this.#rowsByStream.get(stream);
    if (!row) return;
    row.take(tickerOf(/** @type {any} */ (data)), !isSnapshot);
    this.#dirty.add(row);
    this.#renderSoon();
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
  /** @type {Ticker | null} */
  #ticker = null;
  #shownLast = Number.NaN;
  #updatedMs = Date.now();
  #decimals;
  #cells;

  /**
   * @param {HTMLElement} element
   * @param {Instrument} info
   */
  constructor(element, info) {
    this.element = element;
    this.stream = streamOf(info, "ticker");
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
    element.dataset.market = info.market;
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
