/** The levels of an order book: a snapshot and its changes (docs/protocol.md, Books). Pure. */

/** @typedef {import("../types/index.d.ts").Level} Level */
/** @typedef {import("../types/payloads.d.ts").BookSnapshot} BookSnapshot */
/** @typedef {import("../types/payloads.d.ts").DepthUpdate} DepthUpdate */

/** One side, best level first; prices are compared as numbers and kept as the exchange wrote them. */
class Side {
  /** @type {{price: number, level: Level}[]} */
  #levels = [];
  /** 1 where lower prices are better, -1 where higher ones are. */
  #sign;

  /** @param {1 | -1} sign */
  constructor(sign) {
    this.#sign = sign;
  }

  /** The best price; undefined where there is none. */
  get best() {
    return this.#levels[0]?.price;
  }

  /** @param {Level[]} levels best first */
  replace(levels) {
    this.#levels = levels.map((level) => ({ price: Number(level[0]), level }));
  }

  /** @param {Level} level its quantity 0 deletes it, known or not */
  set(level) {
    const price = Number(level[0]);
    const at = this.#find(price);
    const isKnown = this.#levels[at]?.price === price;
    if (Number(level[1]) === 0) this.#levels.splice(at, isKnown ? 1 : 0);
    else this.#levels.splice(at, isKnown ? 1 : 0, { price, level });
  }

  /**
   * @param {number} [count]
   * @returns {Level[]}
   */
  levels(count) {
    return this.#levels.slice(0, count).map(({ level }) => level);
  }

  /**
   * Where a price stands, or would.
   * @param {number} price
   */
  #find(price) {
    let low = 0;
    let high = this.#levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = /** @type {{price: number}} */ (this.#levels[middle]).price;
      if ((at - price) * this.#sign < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Book {
  bids = new Side(-1);
  asks = new Side(1);
  updateId = 0;

  /** Whether the best bid is at or above the best ask, which no exchange's book is. */
  get isCrossed() {
    const { best: bid } = this.bids;
    const { best: ask } = this.asks;
    return bid !== undefined && ask !== undefined && bid >= ask;
  }

  /** @param {BookSnapshot | DepthUpdate} payload */
  apply(payload) {
    if (isSnapshot(payload)) {
      this.bids.replace(payload.b);
      this.asks.replace(payload.a);
    } else {
      for (const level of payload.b) this.bids.set(level);
      for (const level of payload.a) this.asks.set(level);
    }
    this.updateId = payload.u;
  }
}

/**
 * @param {BookSnapshot | DepthUpdate} payload
 * @returns {payload is BookSnapshot}
 */
export function isSnapshot(payload) {
  return payload.e === "bookSnapshot";
}
