import { callSafely } from "./emitter.js";
import { TickcastError } from "./errors.js";
import { BoundedQueue } from "./queue.js";

/** @typedef {import("../types/index.d.ts").Message} Message */
/** @typedef {import("../types/index.d.ts").ReplayStart} ReplayStart */
/** @typedef {import("../types/index.d.ts").ReplayEnd} ReplayEnd */

const QUEUE_LIMIT = 50_000;

/** Messages of one recording: all of them, or an error that says why not. */
export class Replay {
  /** @type {Promise<ReplayStart>} */
  started;
  /** @type {Promise<ReplayEnd>} */
  ended;
  /** @type {BoundedQueue<Message> | undefined} */
  #queue;
  #onMessage;
  #stop;
  /** @type {{resolve: (start: ReplayStart) => void, reject: (error: Error) => void}} */
  #start = { resolve: () => {}, reject: () => {} };
  /** @type {{resolve: (end: ReplayEnd) => void, reject: (error: Error) => void}} */
  #end = { resolve: () => {}, reject: () => {} };

  /**
   * @param {{onMessage?: (message: any) => void, queueLimit?: number}} options
   * @param {(replay: Replay) => Promise<void>} stop tells the server
   */
  constructor({ onMessage, queueLimit = QUEUE_LIMIT }, stop) {
    this.#onMessage = onMessage;
    this.#stop = stop;
    if (!onMessage) {
      this.#queue = new BoundedQueue(queueLimit, {
        onDropped: () => this.#onUnread(queueLimit),
        onRead: () => {},
        onLeft: () => this.stop(),
      });
    }
    this.started = new Promise((resolve, reject) => {
      this.#start = { resolve, reject };
    });
    this.ended = new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
    });
    // Either tells what went wrong, as the loop does: who does not ask all of them must not crash.
    this.started.catch(() => {});
    this.ended.catch(() => {});
  }

  [Symbol.asyncIterator]() {
    if (!this.#queue) throw new TypeError("Messages go to onMessage: leave it out to iterate over them");
    return this.#queue;
  }

  stop() {
    return this.#stop(this);
  }

  /** @param {ReplayStart} start */
  begin(start) {
    this.#start.resolve(start);
  }

  /** @param {Message} message */
  take(message) {
    if (this.#onMessage) callSafely(this.#onMessage, message);
    else this.#queue?.push(message);
  }

  /** @param {ReplayEnd} end */
  finish(end) {
    this.#queue?.end();
    this.#end.resolve(end);
  }

  /** @param {TickcastError} error */
  fail(error) {
    this.#queue?.end(error);
    this.#start.reject(error);
    this.#end.reject(error);
  }

  /** @param {number} limit */
  #onUnread(limit) {
    this.fail(new TickcastError({ code: "unread", message: `More than ${limit} messages were not read` }));
    void this.stop();
  }
}
