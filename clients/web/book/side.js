/**
 * One side of the ladder in the document.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { formatPrice } from "../common/format.js";
import { formatSize } from "../common/sizes.js";

/** @typedef {import("./levels.js").Rung} Rung */
/** @typedef {import("./levels.js").Steps} Steps */
/** @typedef {{price: number, size: number}} Decimals digits after the point */

const FLASH = { duration: 600, easing: "ease-out" };
const calmMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** A fixed number of rows, the best one beside the spread. */
export class Side {
  /** Best first. @type {Row[]} */
  #rows = [];
  /** Lots by ticks, as drawn last. @type {Map<number, number>} */
  #drawn = new Map();
  #element;
  #template;
  #isAscending;

  /**
   * @param {HTMLElement} element
   * @param {HTMLTemplateElement} template of one row
   * @param {boolean} isAscending whether the best row is the last one: so it is of asks, above the spread
   */
  constructor(element, template, isAscending) {
    this.#element = element;
    this.#template = template;
    this.#isAscending = isAscending;
  }

  /** @param {number} count */
  setLength(count) {
    while (this.#rows.length > count) this.#rows.pop()?.element.remove();
    while (this.#rows.length < count) {
      const row = new Row(find(document.importNode(this.#template.content, true), ".level"));
      this.#rows.push(row);
      if (this.#isAscending) this.#element.prepend(row.element);
      else this.#element.append(row.element);
    }
  }

  /**
   * @param {Rung[]} rungs best first
   * @param {Steps} steps
   * @param {Decimals} decimals
   * @param {number} fullLots the total at which a bar is as wide as the ladder
   */
  draw(rungs, steps, decimals, fullLots) {
    const before = this.#drawn;
    this.#drawn = new Map(rungs.map(({ ticks, lots }) => [ticks, lots]));
    this.#rows.forEach((row, at) => {
      const rung = rungs[at];
      row.draw(rung, steps, decimals, fullLots);
      const known = rung && before.get(rung.ticks);
      if (rung && known !== undefined && known !== rung.lots) row.flash();
    });
  }

  /** Empty every row. */
  clear() {
    this.draw([], { price: 1, size: 1 }, { price: 0, size: 0 }, 1);
  }
}

/** One rung. */
class Row {
  #price;
  #size;
  #total;
  #bar;
  #flash;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    const cell = (/** @type {string} */ name) => find(element, `[data-level=${name}]`);
    this.#price = cell("price");
    this.#size = cell("size");
    this.#total = cell("total");
    this.#bar = cell("bar");
    // One animation for all changes: a new one each would be garbage ten times a second in every row.
    this.#flash = this.#size.animate([{ backgroundColor: "var(--book-flash)" }, { backgroundColor: "transparent" }], FLASH);
    this.#flash.finish();
  }

  /**
   * @param {Rung | undefined} rung
   * @param {Steps} steps
   * @param {Decimals} decimals
   * @param {number} fullLots
   */
  draw(rung, steps, decimals, fullLots) {
    setText(this.#price, rung ? formatPrice(rung.ticks * steps.price, decimals.price) : "");
    setText(this.#size, rung ? formatSize(rung.lots * steps.size, decimals.size) : "");
    setText(this.#total, rung ? formatSize(rung.totalLots * steps.size, decimals.size) : "");
    this.#bar.style.transform = `scaleX(${rung ? (rung.totalLots / fullLots).toFixed(3) : 0})`;
  }

  /** Show that the size has changed. */
  flash() {
    if (calmMotion.matches) return;
    this.#flash.currentTime = 0;
    this.#flash.play();
  }
}
