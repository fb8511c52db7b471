import { Book, isSnapshot } from "./book.js";
import { Emitter } from "./emitter.js";
import { TickcastError } from "./errors.js";

/** @typedef {import("../types/index.d.ts").Gap} Gap */
/** @typedef {import("../types/index.d.ts").Message<"book">} BookMessage */
/** @typedef {import("../types/index.d.ts").OrderBook} OrderBookShape */
/** @typedef {import("../types/index.d.ts").OrderBookEvents} OrderBookEvents */
/** @typedef {import("../types/index.d.ts").Refusal} Refusal */
/** @typedef {import("../types/index.d.ts").Subscription<BookMessage>} BookSubscription */

/**
 * Keeps a book as the server's messages say. What is missing is followed by a snapshot of the server's, at which the book
 * is in sync again; nothing needs to be asked for.
 * @extends {Emitter<OrderBookEvents>}
 * @implements {OrderBookShape}
 */
export class OrderBook extends Emitter {
  /** @type {Promise<OrderBook>} */
  ready;
  #book = new Book();
  #isValid = false;
  #isConnected = true;
  /** @type {(book: OrderBook) => void} */
  #resolveReady = () => {};
  #subscription;

  /**
   * @param {(onMessage: (message: BookMessage) => void) => BookSubscription} subscribe
   * @param {(onLost: () => void) => () => void} onConnectionLost
   */
  constructor(subscribe, onConnectionLost) {
    super();
    /** @type {Promise<OrderBook>} */
    const first = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.#subscription = subscribe((message) => this.#onMessage(message));
    const forget = onConnectionLost(() => this.#onConnectionLost());
    this.#subscription.on("gap", (gap) => this.#becomeStale(gap));
    this.#subscription.on("error", (refusal) => this.emit("error", refusal));
    // Of one stream, the first answer's refusal is its `end`; after that it may be granted again.
    const listen = () => this.#subscription.on("rejected", (refusal) => this.#onRejected(refusal));
    this.#subscription.ready.then(listen, () => {});
    this.#subscription.on("resumed", () => this.#onResumed());
    /** @type {Promise<never>} */
    const refused = new Promise((_, reject) => {
      this.#subscription.on("end", (error) => {
        forget();
        this.#isValid = false;
        // Who has heard of it need not ask for readiness; if nobody has, the rejection is not handled, and says so.
        if (!error || this.emit("error", error)) this.ready.catch(() => {});
        reject(error ?? new TickcastError({ code: "closed", message: "Closed before the book came" }));
      });
    });
    this.ready = Promise.race([first, refused]);
  }

  get stream() {
    return this.#subscription.streams[0];
  }

  get isInSync() {
    return this.#isValid && this.#isConnected;
  }

  get updateId() {
    return this.#book.updateId;
  }

  /** @param {number} [count] */
  bids(count) {
    return this.#book.bids.levels(count);
  }

  /** @param {number} [count] */
  asks(count) {
    return this.#book.asks.levels(count);
  }

  close() {
    return this.#subscription.unsubscribe();
  }

  /** @param {BookMessage} message */
  #onMessage({ data }) {
    this.#isConnected = true;
    if (!this.#isValid && !isSnapshot(data)) return;
    this.#book.apply(data);
    if (this.#book.isCrossed) {
      // The server fetches such a book again, and says so by a snapshot.
      this.#becomeStale(undefined);
      return;
    }
    this.#isValid = true;
    this.#resolveReady(this);
    this.emit("change", this);
  }

  #onConnectionLost() {
    const wasInSync = this.isInSync;
    this.#isConnected = false;
    if (wasInSync) this.emit("stale", undefined);
  }

  #onResumed() {
    this.#isConnected = true;
    if (this.#isValid) this.emit("change", this);
  }

  /** @param {Refusal} refusal */
  #onRejected(refusal) {
    this.#onConnectionLost();
    this.emit("error", refusal);
  }

  /** @param {Gap | undefined} gap */
  #becomeStale(gap) {
    const wasInSync = this.isInSync;
    this.#isValid = false;
    if (wasInSync) this.emit("stale", gap);
  }
}
