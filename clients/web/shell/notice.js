/**
 * One short message to the user at a time, gone by itself.
 * @module
 */

const SHOWN_MS = 6000;
/** Long enough for a screen reader to notice that the words are gone. */
const PAUSE_MS = 100;

/** Shows the latest message for a few seconds. */
export class Notice {
  #element;
  #timer = 0;

  /** @param {HTMLElement} element a live region, rendered also while it is empty: it would not be read out else */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  show(text) {
    clearTimeout(this.#timer);
    if (this.#element.textContent !== text) {
      this.#say(text);
      return;
    }
    // Only what changes is read out: the same words go first, and come again.
    this.#element.textContent = "";
    this.#timer = setTimeout(() => this.#say(text), PAUSE_MS);
  }

  /** @param {string} text */
  #say(text) {
    this.#element.textContent = text;
    this.#timer = setTimeout(() => {
      this.#element.textContent = "";
    }, SHOWN_MS);
  }
}
