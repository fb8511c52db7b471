/**
 * The candles in view as a table, for those who do not see the chart or want the figures.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { figuresOf, formatOpenTime } from "./words.js";

/** @typedef {import("../../js/types/index.js").CandleBar} CandleBar */
/** @typedef {import("../common/streams.js").Interval} Interval */

const MAX_ROWS = 200;
const COLUMNS = /** @type {const} */ (["open", "high", "low", "close", "change", "volume"]);

/** Takes the chart's place while its button is pressed. */
export class CandleTable {
  #box;
  #rows;

  /**
   * @param {HTMLElement} box with a `tbody`
   * @param {HTMLElement} button that shows and hides it
   * @param {() => void} onOpen
   */
  constructor(box, button, onOpen) {
    this.#box = box;
    this.#rows = find(box, "tbody");
    button.addEventListener("click", () => {
      box.hidden = !box.hidden;
      button.ariaPressed = String(!box.hidden);
      if (this.isOpen) onOpen();
    });
  }

  get isOpen() {
    return !this.#box.hidden;
  }

  /**
   * Show `bars`, the latest first and at most MAX_ROWS; does nothing while it is not open.
   * @param {readonly CandleBar[]} bars oldest first
   * @param {Interval} interval
   * @param {number} decimals digits of prices
   */
  render(bars, interval, decimals) {
    if (!this.isOpen) return;
    const shown = bars.slice(-MAX_ROWS).reverse();
    while (this.#rows.childElementCount < shown.length) this.#rows.append(newRow());
    while (this.#rows.childElementCount > shown.length) this.#rows.lastElementChild?.remove();
    for (const [at, bar] of shown.entries()) renderRow(this.#rows.children[at], bar, interval, decimals);
  }
}

function newRow() {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.append(document.createElement("time"));
  row.append(head, ...COLUMNS.map(() => document.createElement("td")));
  return row;
}

/**
 * @param {Element} row
 * @param {CandleBar} bar
 * @param {Interval} interval
 * @param {number} decimals
 */
function renderRow(row, bar, interval, decimals) {
  const time = /** @type {HTMLTimeElement} */ (find(row, "time"));
  setText(time, formatOpenTime(bar.openTime, interval));
  const moment = new Date(bar.openTime).toISOString();
  if (time.dateTime !== moment) time.dateTime = moment;
  const figures = figuresOf(bar, decimals);
  for (const [at, name] of COLUMNS.entries()) {
    const cell = /** @type {HTMLElement} */ (row.children[at + 1]);
    setText(cell, figures[name]);
    if (name === "change" && cell.dataset.direction !== figures.direction) cell.dataset.direction = figures.direction;
  }
}
