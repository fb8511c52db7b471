/**
 * The choice of an interval: favourites as buttons, all that the market has in a menu.
 *
 * Whatever carries `data-interval` is a choice; clicks on them reach whoever listens to the root.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { intervalsOf } from "../common/streams.js";
import { intervalInWords } from "./words.js";

/** @typedef {import("../common/instruments.js").Market} Market */
/** @typedef {import("../common/streams.js").Interval} Interval */

/** As many as chart.css puts into a row of the menu. */
const COLUMNS = 4;
/** By how many choices a key moves. @type {Map<string, number>} */
const STEPS = new Map([
  ["ArrowLeft", -1],
  ["ArrowRight", 1],
  ["ArrowUp", -COLUMNS],
  ["ArrowDown", COLUMNS],
  ["Home", Number.NEGATIVE_INFINITY],
  ["End", Number.POSITIVE_INFINITY],
]);

/** Shows which interval is chosen; its menu follows the ARIA pattern of a listbox. */
export class IntervalPicker {
  #root;
  #opener;
  #name;
  #list;
  /** @type {Market | undefined} */
  #market;

  /** @param {HTMLElement} root with buttons, one of them with `data-intervals=menu`, and a listbox */
  constructor(root) {
    this.#root = root;
    this.#opener = /** @type {HTMLButtonElement} */ (find(root, "[data-intervals=menu]"));
    this.#name = find(root, "[data-intervals=name]");
    this.#list = find(root, "[role=listbox]");
    this.#opener.addEventListener("click", () => this.#toggle(this.#list.hidden));
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("click", () => this.#toggle(false));
    root.addEventListener("focusout", ({ relatedTarget }) => {
      if (!(relatedTarget instanceof Node && root.contains(relatedTarget))) this.#toggle(false);
    });
  }

  /**
   * @param {Market} market whose intervals are offered
   * @param {Interval} interval the chosen one
   */
  show(market, interval) {
    if (market !== this.#market) this.#list.replaceChildren(...intervalsOf(market).map(optionOf));
    this.#market = market;
    const favourites = /** @type {NodeListOf<HTMLElement>} */ (this.#root.querySelectorAll("button[data-interval]"));
    for (const button of favourites) button.ariaPressed = String(button.dataset.interval === interval);
    for (const option of this.#options) option.ariaSelected = String(option.dataset.interval === interval);
    const isFavourite = [...favourites].some((button) => button.dataset.interval === interval);
    setText(this.#name, isFavourite ? "More" : interval);
    this.#opener.toggleAttribute("data-chosen", !isFavourite);
  }

  get #options() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }

  /** @param {boolean} isOpen */
  #toggle(isOpen) {
    if (this.#list.hidden === !isOpen) return;
    const hadFocus = this.#list.contains(document.activeElement);
    this.#list.hidden = !isOpen;
    this.#opener.ariaExpanded = String(isOpen);
    if (isOpen) (this.#options.find(({ ariaSelected }) => ariaSelected === "true") ?? this.#options[0])?.focus();
    else if (hadFocus) this.#opener.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const options = this.#options;
    const at = options.findIndex((option) => option === document.activeElement);
    const step = STEPS.get(event.key);
    if (step !== undefined) options[Math.min(options.length - 1, Math.max(0, at + step))]?.focus();
    else if (event.key === "Enter" || event.key === " ") options[at]?.click();
    else if (event.key === "Escape") this.#toggle(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** @param {Interval} interval */
function optionOf(interval) {
  const option = document.createElement("li");
  option.role = "option";
  option.tabIndex = -1;
  option.dataset.interval = interval;
  option.title = intervalInWords(interval);
  const words = document.createElement("span");
  words.className = "unseen";
  words.textContent = `, ${option.title}`;
  option.append(interval, words);
  return option;
}
