/**
 * What happened since the page was opened, the latest first.
 * @module
 */

const MAX_LINES = 100;

/** A bounded list of times and sentences. */
export class Journal {
  /** @type {{time: string, text: string}[]} not drawn yet, latest first */
  #fresh = [];
  #list;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  /**
   * @param {string[]} texts
   * @param {number} at ms since the epoch
   */
  note(texts, at) {
    const time = new Date(at).toISOString().slice(11, 19);
    this.#fresh = [...texts.map((text) => ({ time, text })), ...this.#fresh].slice(0, MAX_LINES);
  }

  draw() {
    const lines = this.#fresh.splice(0).map(({ time, text }) => {
      const line = document.createElement("li");
      const when = document.createElement("time");
      when.textContent = time;
      line.append(when, text);
      return line;
    });
    this.#list.prepend(...lines);
    while (this.#list.children.length > MAX_LINES) this.#list.lastElementChild?.remove();
  }
}
