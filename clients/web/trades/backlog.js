/**
 * What has come and is not drawn yet. Pure.
 * @module
 */

/**
 * The latest entries, at most `limit`; older ones would have left the tape before anybody saw them.
 * @template Entry
 */
export class Backlog {
  /** @type {Entry[]} */
  #entries = [];
  #limit;
  /** How many came since the last `drain`, whether they are still here or not. */
  size = 0;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = limit;
  }

  /** @param {Entry} entry */
  push(entry) {
    this.size += 1;
    this.#entries.push(entry);
    // Cut in large steps: a tape that is paused for long would else move all of them each time.
    if (this.#entries.length >= 2 * this.#limit) this.#entries = this.#entries.slice(-this.#limit);
  }

  /**
   * Take out the entries, oldest first.
   * @returns {Entry[]}
   */
  drain() {
    const entries = this.#entries.slice(-this.#limit);
    this.#entries = [];
    this.size = 0;
    return entries;
  }
}
