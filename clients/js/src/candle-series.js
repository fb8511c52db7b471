/** The candles of one symbol: rows of the past, then live updates. Pure. */

/** @typedef {import("../types/index.d.ts").CandleBar} CandleBar */
/** @typedef {import("../types/index.d.ts").KlineRow} KlineRow */
/** @typedef {import("../types/payloads.d.ts").Candle} Candle */

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
   * Begin with the past.
   * @param {KlineRow[]} rows
   */
  load(rows) {
    this.bars = rows.map((row, at) => barOfRow(row, at < rows.length - 1));
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
}

/**
 * @param {KlineRow} row
 * @param {boolean} isClosed
 * @returns {CandleBar}
 */
function barOfRow(row, isClosed) {
  const [openTime, open, high, low, close, volume, closeTime, quoteVolume, trades] = row;
  return { openTime, closeTime, open, high, low, close, volume, quoteVolume, trades, isClosed };
}

/**
 * @param {Candle} candle the `k` of a kline payload
 * @returns {CandleBar}
 */
export function barOfCandle({ t, T, o, h, l, c, v, q, n, x }) {
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
  };
}
