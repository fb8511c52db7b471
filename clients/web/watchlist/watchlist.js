/**
 * The watchlist's table: one row per instrument with its live 24 hour ticker.
 *
 * Rows out of sight keep what comes and are drawn when they come into sight, so that 200 of them cost what fits a screen.
 * @module
 */

import { find } from "../common/dom.js";
import { oncePerFrame } from "../common/frames.js";
import { idOf, tradesAgain } from "../common/instruments.js";
import { tickerOf } from "../common/payloads.js";
import { Histories } from "./histories.js";
import { nextSort, sortedIds } from "./order.js";
import { Row } from "./row.js";
import { readPalette } from "./sparkline.js";
import { Tickers } from "./tickers.js";

/** @typedef {import("../common/instruments.js").Catalog} Catalog */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("./order.js").Column} Column */
/** @typedef {import("./order.js").Sort} Sort */

/** Rows that a page may hold. */
export const MAX_WATCHED = 200;

const CHECK_MS = 1000;
/** Rows that change their places more often cannot be read. */
const SORT_EVERY_CHECKS = 3;
/** Rows this near to sight are drawn already. */
const NEAR = "120px 0px";

/** Shows rows in the user's own order, or sorted by a column. */
export class Watchlist {
  /** In the user's own order, by the instrument's id. @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Map<string, Row>} */
  #rowsByStream = new Map();
  /** @type {WeakMap<Element, Row>} */
  #rowsByElement = new WeakMap();
  /** @type {Set<Row>} */
  #dirty = new Set();
  /** @type {Sort | null} */
  #sort = null;
  #selected = "";
  #checks = 0;
  #palette = readPalette();
  #box;
  #body;
  #columns;
  #template;
  #tickers;
  #histories;
  #sight;
  #renderSoon = oncePerFrame(() => this.#render());

  /**
   * @param {HTMLElement} box that scrolls, with the table in it
   * @param {HTMLTemplateElement} template of one row
   * @param {Client} client
   */
  constructor(box, template, client) {
    this.#box = box;
    this.#body = find(box, "tbody");
    this.#columns = find(box, "thead tr");
    this.#template = template;
    this.#tickers = new Tickers(client, (message) => this.#take(message));
    this.#histories = new Histories(client, MAX_WATCHED);
    this.#sight = new IntersectionObserver((entries) => this.#onSight(entries), { root: box, rootMargin: NEAR });
    this.#columns.addEventListener("click", ({ target }) => {
      const head = target instanceof Element ? target.closest("[data-column]") : null;
      if (head instanceof HTMLElement) this.#sortBy(/** @type {Column} */ (head.dataset.column));
    });
    document.documentElement.addEventListener("themechange", () => {
      this.#palette = readPalette();
      this.#renderAll();
    });
    setInterval(() => this.#check(), CHECK_MS);
  }

  /** @returns {string[]} ids, in the user's own order */
  get ids() {
    return [...this.#rows.keys()];
  }

  /** @returns {string[]} ids, in the order shown */
  get shownIds() {
    const rows = [...this.#rows.values()].map(({ id, instrument, ticker }) => ({
      id,
      symbol: instrument.symbol,
      last: ticker?.last ?? Number.NaN,
      changePercent: ticker?.changePercent ?? Number.NaN,
    }));
    return sortedIds(rows, this.#sort);
  }

  /** @returns {string} the id of the row that is selected */
  get selected() {
    return this.#selected;
  }

  /**
   * Show exactly these, in this order; what was shown before stays as it is.
   * @param {readonly Instrument[]} instruments at most MAX_WATCHED, each once
   */
  show(instruments) {
    const wanted = new Set(instruments.map(idOf));
    for (const [id, row] of this.#rows) if (!wanted.has(id)) this.#remove(row);
    const rows = instruments.map((instrument) => this.#rows.get(idOf(instrument)) ?? this.#add(instrument));
    this.#rows = new Map(rows.map((row) => [row.id, row]));
    this.#arrange();
    this.markSelected(this.#selected);
  }

  /**
   * Take over what the exchange says now of the instruments shown.
   * @param {Catalog} catalog
   */
  update(catalog) {
    for (const [id, row] of this.#rows) {
      const instrument = catalog.get(id) ?? row.instrument;
      // Asked for anew, as it was refused.
      if (tradesAgain(row.instrument, instrument)) this.#tickers.add(row.stream);
      row.instrument = instrument;
    }
    this.#renderAll();
  }

  /** Show the user's own order, which is as the rows are now. */
  keepOrder() {
    this.#sort = null;
    this.#markSort();
  }

  /**
   * Mark the row whose chart is shown.
   * @param {string} selected id
   */
  markSelected(selected) {
    this.#selected = selected;
    for (const [id, row] of this.#rows) row.setSelected(id === selected);
  }

  /**
   * Scroll to a row.
   * @param {string} id
   * @param {boolean} [takesFocus] by default where another row has the focus
   */
  reveal(id, takesFocus = this.#body.contains(document.activeElement)) {
    const row = this.#rows.get(id);
    row?.element.scrollIntoView({ block: "nearest" });
    if (takesFocus) row?.focus();
  }

  /** @param {Instrument} instrument */
  #add(instrument) {
    const element = find(document.importNode(this.#template.content, true), "tr");
    const row = new Row(element, instrument);
    element.dataset.id = row.id;
    this.#rows.set(row.id, row);
    this.#rowsByStream.set(row.stream, row);
    this.#rowsByElement.set(element, row);
    this.#tickers.add(row.stream);
    this.#sight.observe(element);
    return row;
  }

  /** @param {Row} row */
  #remove(row) {
    this.#sight.unobserve(row.element);
    row.isInSight = false;
    row.element.remove();
    this.#rows.delete(row.id);
    this.#rowsByStream.delete(row.stream);
    this.#tickers.remove(row.stream);
    this.#dirty.delete(row);
  }

  /** @param {import("../../js/types/index.js").Message} message */
  #take({ stream, data, isSnapshot }) {
    const row = this.#rowsByStream.get(stream);
    if (!row) return;
    row.take(tickerOf(/** @type {any} */ (data)), !isSnapshot);
    if (row.isInSight || !row.isFilled) this.#renderRow(row);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #onSight(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rowsByElement.get(target);
      if (!row) continue;
      row.isInSight = isIntersecting;
      if (!isIntersecting) continue;
      this.#histories.want(row);
      this.#renderRow(row);
    }
  }

  /** @param {Row} row */
  #renderRow(row) {
    this.#dirty.add(row);
    this.#renderSoon();
  }

  #renderAll() {
    for (const row of this.#rows.values()) this.#renderRow(row);
  }

  #render() {
    for (const row of this.#dirty) row.render(this.#palette);
    this.#dirty.clear();
  }

  /** What no message tells: that none came, and that rows in sight still lack their history. */
  #check() {
    if (document.hidden) return;
    this.#checks += 1;
    for (const row of this.#rows.values()) {
      if (!row.isInSight) continue;
      this.#histories.want(row);
      this.#renderRow(row);
    }
    const isRead = this.#box.matches(":hover, :focus-within");
    if (this.#sort && !isRead && this.#checks % SORT_EVERY_CHECKS === 0) this.#arrange();
  }

  /** @param {Column} column */
  #sortBy(column) {
    this.#sort = nextSort(this.#sort, column);
    this.#markSort();
    this.#arrange();
  }

  #markSort() {
    for (const head of this.#columns.querySelectorAll("[data-column]")) {
      const isSorted = head instanceof HTMLElement && head.dataset.column === this.#sort?.column;
      if (isSorted) head.ariaSort = this.#sort?.isDescending ? "descending" : "ascending";
      else head.removeAttribute("aria-sort");
    }
  }

  /** Put rows where they belong; those that are there already are not touched. */
  #arrange() {
    const focused = document.activeElement;
    let next = this.#body.firstElementChild;
    for (const id of this.shownIds) {
      const element = /** @type {Row} */ (this.#rows.get(id)).element;
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
    // An element that is moved loses the focus.
    if (focused instanceof HTMLElement && focused !== document.activeElement) focused.focus();
  }
}
