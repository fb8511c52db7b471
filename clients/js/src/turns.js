import { TickcastError } from "./errors.js";

/** Lets so many calls run at once; others wait for their turn. */
export class Turns {
  #running = 0;
  /** @type {(() => void)[]} */
  #waiting = [];
  #limit;
  #waitingLimit;

  /**
   * @param {number} limit
   * @param {number} waitingLimit
   */
  constructor(limit, waitingLimit) {
    this.#limit = limit;
    this.#waitingLimit = waitingLimit;
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} call
   * @returns {Promise<Result>}
   * @throws {TickcastError} `rate_limited`: too many wait
   */
  async run(call) {
    if (this.#running < this.#limit) this.#running += 1;
    else await this.#turn();
    try {
      return await call();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  /** @returns {Promise<void>} */
  #turn() {
    if (this.#waiting.length >= this.#waitingLimit) {
      throw new TickcastError({ code: "rate_limited", message: `At most ${this.#waitingLimit} requests may wait` });
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
