/** The candles of one symbol: rows of the past, then live updates. Pure. */

/** @typedef {import("../types/index.d.ts").CandleBar} CandleBar */
/** @typedef {import("../types/index.d.ts").KlineRow} KlineRow */
/** @typedef {import("../types/payloads.d.ts").Candle} Candle */

/** The most candles that a series is widened to. */
export const MAX_CANDLES = 20_000;

/** At most `limit` candles, oldest first, each interval once. */
export class CandleSeries {
  /** @type {CandleBar[]} */
  bars = [];
  #limit;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = limit;
  }

  /**
   * Begin with the past. Older candles than `rows` stay where nothing is missing between them and the first row.
   * @param {KlineRow[]} rows the latest
   */
  load(rows) {
    const bars = rows.map((row, at) => barOfRow(row, at < rows.length - 1));
    this.bars = [...this.#olderThan(bars), ...bars].slice(-this.#limit);
  }

  /**
   * Make room for `count` older candles, as far as MAX_CANDLES allow.
   * @param {number} count
   * @returns {number} how many there is room for
   */
  widen(count) {
    this.#limit = Math.max(this.#limit, Math.min(MAX_CANDLES, this.bars.length + count));
    return Math.max(0, Math.min(count, this.#limit - this.bars.length));
  }

  /**
   * Put what came before the first candle in front of it, the latest of it where there is not room for all.
   * @param {KlineRow[]} rows
   * @returns {number} how many were added
   */
  prepend(rows) {
    const room = Math.max(0, this.#limit - this.bars.length);
    const bars = rows.slice(Math.max(0, rows.length - room)).map((row) => barOfRow(row, true));
    this.bars = [...bars, ...this.bars];
    return bars.length;
  }

  /**
   * Whether nothing is missing between the series and a live candle.
   * @param {CandleBar} bar
   */
  isFollowedBy(bar) {
    const last = this.bars.at(-1);
    if (!last) return false;
    return bar.openTime <= last.openTime || (last.isClosed && bar.openTime === last.closeTime + 1);
  }

  /**
   * Take a live update; what is older than the last candle, or than its close, changes nothing.
   * @param {CandleBar} bar
   * @returns {boolean} whether it changed anything
   */
  apply(bar) {
    const last = this.bars.at(-1);
    if (last && bar.openTime < last.openTime) return false;
    if (last && bar.openTime === last.openTime) {
      if (last.isClosed && !bar.isClosed) return false;
      this.bars[this.bars.length - 1] = bar;
      return true;
    }
    this.bars.push(bar);
    if (this.bars.length > this.#limit) this.bars.shift();
    return true;
  }

  /**
   * The candles that `bars` continue.
   * @param {CandleBar[]} bars
   */
  #olderThan(bars) {
    const [first, last] = [bars[0], this.bars.at(-1)];
    if (!first || !last || first.openTime > last.openTime) return [];
    const older = this.bars.filter(({ openTime }) => openTime < first.openTime);
    // One whose close was not seen is not sure to be whole, nor that the next one follows it.
    return older.slice(older.findLastIndex(({ isClosed }) => !isClosed) + 1);
  }
}

/**
 * @param {KlineRow} row
 * @param {boolean} isClosed
 * @returns {CandleBar}
 */
function barOfRow(row, isClosed) {
  const [openTime, open, high, low, close, volume, closeTime, quoteVolume, trades] = row;
  return { openTime, closeTime, open, high, low, close, volume, quoteVolume, trades, isClosed, eventTime: null };
}

/**
 * @param {Candle} candle the `k` of a kline payload
 * @param {number} eventTime its `E`
 * @returns {CandleBar}
 */
export function barOfCandle({ t, T, o, h, l, c, v, q, n, x }, eventTime) {
  return {
    openTime: t,
    closeTime: T,
    open: o,
    high: h,
    low: l,
    close: c,
    volume: v,
    quoteVolume: q,
    trades: n ?? null,
    isClosed: x,
    eventTime,
  };
}
