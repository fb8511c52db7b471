/**
 * What comes faster than it is read, up to a limit; beyond it the oldest go. One reader.
 * @template Item
 */
export class BoundedQueue {
  /** @type {Item[]} */
  #items = [];
  /** @type {{resolve: (result: IteratorResult<Item, undefined>) => void, reject: (error: Error) => void} | undefined} */
  #reader;
  #isEnded = false;
  /** @type {Error | undefined} */
  #error;
  #limit;
  #hooks;

  /**
   * @param {number} limit
   * @param {object} hooks
   * @param {(item: Item) => void} hooks.onDropped called with each item that goes unread
   * @param {() => void} hooks.onRead called before each reading
   * @param {() => Promise<void>} hooks.onLeft called, and awaited, when the reader leaves its loop
   */
  constructor(limit, hooks) {
    this.#limit = limit;
    this.#hooks = hooks;
  }

  /** @param {Item} item */
  push(item) {
    if (this.#isEnded) return;
    const reader = this.#reader;
    if (reader) {
      this.#reader = undefined;
      reader.resolve({ value: item, done: false });
      return;
    }
    this.#items.push(item);
    if (this.#items.length > this.#limit) this.#hooks.onDropped(/** @type {Item} */ (this.#items.shift()));
  }

  /**
   * Nothing more comes: the reader gets what is left, then the end, or `error` if there is one.
   * @param {Error} [error]
   */
  end(error) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const reader = this.#reader;
    this.#reader = undefined;
    if (!reader) this.#error = error;
    else if (error) reader.reject(error);
    else reader.resolve({ value: undefined, done: true });
  }

  /**
   * @returns {Promise<IteratorResult<Item, undefined>>}
   * @throws {TypeError} somebody else reads already
   */
  async next() {
    this.#hooks.onRead();
    if (this.#items.length > 0) return { value: /** @type {Item} */ (this.#items.shift()), done: false };
    if (this.#isEnded) {
      const error = this.#error;
      this.#error = undefined;
      if (error) throw error;
      return { value: undefined, done: true };
    }
    if (this.#reader) throw new TypeError("One reader at a time");
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** @returns {Promise<IteratorResult<Item, undefined>>} */
  async return() {
    this.#items = [];
    this.end();
    await this.#hooks.onLeft();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}
