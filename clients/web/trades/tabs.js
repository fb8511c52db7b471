/**
 * Tabs after the ARIA pattern: arrows move, what is chosen is shown at once.
 * @module
 */

import { find } from "../common/dom.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */

const STEPS = new Map([
  ["ArrowLeft", -1],
  ["ArrowRight", 1],
]);

/** The trades' tab and, of futures, the liquidations'. */
export class TradesTabs {
  #tabs;
  #liquidations;

  /** @param {HTMLElement} list of tabs, each of which names its panel by `aria-controls` */
  constructor(list) {
    this.#tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=tab]")]);
    this.#liquidations = find(list, "#liquidations-tab");
    list.addEventListener("click", ({ target }) => {
      const tab = this.#tabs.find((one) => one === target);
      if (tab) this.#select(tab);
    });
    list.addEventListener("keydown", (event) => {
      const step = STEPS.get(event.key);
      if (!step) return;
      event.preventDefault();
      this.#move(step);
    });
  }

  /** @param {Instrument} info */
  show({ market }) {
    this.#liquidations.hidden = market !== "futures";
    if (market !== "futures") this.#select(this.#tabs[0]);
  }

  /** @param {number} step */
  #move(step) {
    const shown = this.#tabs.filter((tab) => !tab.hidden);
    const at = shown.findIndex((tab) => tab.ariaSelected === "true");
    const next = shown[(at + step + shown.length) % shown.length];
    this.#select(next);
    next.focus();
  }

  /** @param {HTMLElement} selected */
  #select(selected) {
    for (const tab of this.#tabs) {
      tab.ariaSelected = String(tab === selected);
      tab.tabIndex = tab === selected ? 0 : -1;
      find(document, `#${tab.getAttribute("aria-controls")}`).hidden = tab !== selected;
    }
  }
}
