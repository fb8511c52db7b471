/**
 * What the page takes from Binance's payloads. Pure functions; numbers instead of decimal strings.
 *
 * Wire letters: Binance "WebSocket Streams", 24hr ticker.
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
