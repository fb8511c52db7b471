/**
 * The search field: a combobox with a list of instruments (WAI-ARIA 1.2, combobox with a listbox popup).
 * @module
 */

import { find, setText } from "../common/dom.js";
import { haltLabel, idOf } from "../common/instruments.js";
import { search } from "./search.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */

/** Events: `choose` (CustomEvent of the instrument's id). */
export class SearchBox extends EventTarget {
  /** @type {Instrument[]} */
  #matches = [];
  /** Index of the option that Enter chooses; -1 where none is. */
  #active = -1;
  #input;
  #popup;
  #note;
  #status;
  #list;
  #instruments;
  #isWatched;

  /**
   * @param {HTMLElement} panel that holds field and popup
   * @param {() => readonly Instrument[]} instruments to search in
   * @param {(id: string) => boolean} isWatched marks those that the list has
   */
  constructor(panel, instruments, isWatched) {
    super();
    this.#instruments = instruments;
    this.#isWatched = isWatched;
    this.#input = /** @type {HTMLInputElement} */ (find(panel, "#search-input"));
    this.#popup = find(panel, "#search-popup");
    this.#note = find(panel, "#search-note");
    this.#status = find(panel, "#search-status");
    this.#list = find(panel, "#search-options");
    this.#input.addEventListener("input", () => this.#search());
    this.#input.addEventListener("focus", () => this.#search());
    this.#input.addEventListener("blur", () => this.#close());
    this.#input.addEventListener("keydown", (event) => this.#onKey(event));
    // The field keeps the focus, so that its blur does not take away what is being clicked.
    this.#popup.addEventListener("mousedown", (event) => event.preventDefault());
    this.#list.addEventListener("click", ({ target }) => {
      const option = target instanceof Element ? target.closest("[role=option]") : null;
      if (option) this.#choose([...this.#list.children].indexOf(option));
    });
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  #search() {
    const text = this.#input.value.trim();
    if (!text) {
      this.#close();
      return;
    }
    const { matches, isGuess } = search(this.#instruments(), text);
    this.#matches = matches;
    this.#list.replaceChildren(...matches.map((instrument, index) => this.#option(instrument, index)));
    this.#list.hidden = matches.length === 0;
    this.#popup.hidden = false;
    this.#input.ariaExpanded = String(matches.length > 0);
    const question = matches.length > 0 ? " Did you mean:" : "";
    setText(this.#note, isGuess ? `No match for “${text}”.${question}` : "");
    // A live region of its own, as one that was hidden until now is not read out.
    const names = matches.map(({ symbol }) => symbol).join(", ");
    setText(this.#status, isGuess ? `${this.#note.textContent} ${names}` : `${matches.length} found`);
    this.#activate(isGuess ? -1 : 0);
  }

  /**
   * @param {Instrument} instrument
   * @param {number} index
   */
  #option(instrument, index) {
    const { baseAsset, quoteAsset, market, status } = instrument;
    const option = document.createElement("li");
    option.id = `search-option-${index}`;
    option.role = "option";
    option.className = "search-option";
    option.append(span("base", baseAsset), span("search-quote", quoteAsset));
    if (market === "futures") option.append(span("perp", "PERP"));
    const words = haltLabel(status) || (this.#isWatched(idOf(instrument)) ? "in the list" : "");
    option.append(span("search-words", words));
    return option;
  }

  /** @param {number} index of an option, or -1 */
  #activate(index) {
    this.#active = index;
    for (const [at, option] of [...this.#list.children].entries()) option.ariaSelected = String(at === index);
    const option = this.#list.children[index];
    if (option) this.#input.setAttribute("aria-activedescendant", option.id);
    else this.#input.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const isOpen = !this.#popup.hidden;
    const count = this.#matches.length;
    if (event.key === "Escape") {
      if (this.#input.value) this.#clear();
      else this.#input.blur();
    } else if (event.key === "Enter" && isOpen && this.#active >= 0) {
      this.#choose(this.#active);
    } else if (event.key === "ArrowDown" && isOpen && count > 0) {
      this.#activate((this.#active + 1) % count);
    } else if (event.key === "ArrowUp" && isOpen && count > 0) {
      this.#activate(this.#active <= 0 ? count - 1 : this.#active - 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** @param {number} index */
  #choose(index) {
    const id = idOf(this.#matches[index]);
    this.#clear();
    this.#input.blur();
    this.dispatchEvent(new CustomEvent("choose", { detail: id }));
  }

  #clear() {
    this.#input.value = "";
    this.#close();
  }

  #close() {
    this.#popup.hidden = true;
    setText(this.#status, "");
    this.#input.ariaExpanded = "false";
    this.#matches = [];
    this.#list.replaceChildren();
    this.#activate(-1);
  }
}

/**
 * @param {string} className
 * @param {string} text
 */
function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}
