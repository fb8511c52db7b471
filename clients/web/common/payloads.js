/**
 * What the page takes from Binance's payloads. Pure functions; numbers instead of decimal strings.
 *
 * Wire letters: Binance "WebSocket Streams", 24hr ticker and kline/candlestick; REST `klines`.
 * @module
 */

/**
 * The 24 hour ticker of one symbol.
 * @typedef {object} Ticker
 * @property {number} last last price
 * @property {number} change price change in 24 hours
 * @property {number} changePercent
 * @property {number} high
 * @property {number} low
 * @property {number} quoteVolume traded amount in the quote currency
 * @property {number} eventMs when the exchange sent it, Unix milliseconds
 */

/**
 * One candle.
 * @typedef {object} Candle
 * @property {number} openMs time at which it opens, Unix milliseconds
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume in the base currency
 * @property {number} trades number of trades; it only grows while the candle is open
 * @property {boolean} isClosed whether it is known to change no more
 */

/** @typedef {Record<string, string | number | boolean>} Wire a flat Binance payload */

/**
 * The ticker in the payload of a `ticker` event.
 * @param {Wire} wire
 * @returns {Ticker}
 */
export function tickerOf(wire) {
  return {
    last: Number(wire.c),
    change: Number(wire.p),
    changePercent: Number(wire.P),
    high: Number(wire.h),
    low: Number(wire.l),
    quoteVolume: Number(wire.q),
    eventMs: Number(wire.E),
  };
}

/**
 * The candle in the payload of a `kline` event.
 * @param {{k: Wire}} wire
 * @returns {Candle}
 */
export function candleOf({ k }) {
  return {
    openMs: Number(k.t),
    open: Number(k.o),
    high: Number(k.h),
    low: Number(k.l),
    close: Number(k.c),
    volume: Number(k.v),
    trades: Number(k.n),
    isClosed: Boolean(k.x),
  };
}

/**
 * The candles in REST `klines` (rows of 12 columns, oldest first); only the last one may still change.
 * @param {(string | number)[][]} rows
 * @returns {Candle[]}
 */
export function candlesOfRows(rows) {
  return rows.map((row, index) => {
    const [openMs, open, high, low, close, volume, , , trades] = row.map(Number);
    return { openMs, open, high, low, close, volume, trades, isClosed: index < rows.length - 1 };
  });
}
