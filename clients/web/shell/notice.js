/**
 * One short message to the user at a time, gone by itself.
 * @module
 */

const SHOWN_MS = 6000;

/** Shows the latest message for a few seconds. */
export class Notice {
  #element;
  #timer = 0;

  /** @param {HTMLElement} element a live region */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  show(text) {
    clearTimeout(this.#timer);
    this.#element.textContent = text;
    this.#element.hidden = false;
    this.#timer = setTimeout(() => {
      this.#element.hidden = true;
    }, SHOWN_MS);
  }
}
