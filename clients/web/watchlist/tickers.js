/**
 * One subscription for as many tickers as the watchlist shows.
 * @module
 */

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../../js/types/index.js").Message} Message */
/** @typedef {import("../../js/types/index.js").Subscription} Subscription */

/** Follows a set of streams that changes; a change within one turn is one request. */
export class Tickers {
  /** @type {Set<string>} */
  #wanted = new Set();
  /** @type {Subscription | undefined} */
  #subscription;
  #isChanging = false;
  #client;
  #onMessage;

  /**
   * @param {Client} client
   * @param {(message: Message) => void} onMessage
   */
  constructor(client, onMessage) {
    this.#client = client;
    this.#onMessage = onMessage;
  }

  /** @param {string} stream */
  add(stream) {
    this.#wanted.add(stream);
    this.#changeSoon();
  }

  /** @param {string} stream */
  remove(stream) {
    this.#wanted.delete(stream);
    this.#changeSoon();
  }

  #changeSoon() {
    if (this.#isChanging) return;
    this.#isChanging = true;
    queueMicrotask(() => {
      this.#isChanging = false;
      this.#change();
    });
  }

  /** The new set first: what stays in it is not left for a moment. */
  #change() {
    const before = this.#subscription;
    const streams = [...this.#wanted];
    this.#subscription =
      streams.length > 0 ? this.#client.subscribe({ streams, onMessage: this.#onMessage }) : undefined;
    void before?.unsubscribe();
  }
}
