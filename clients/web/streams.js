/**
 * Names of streams and of candle intervals. Pure.
 * @module
 */

/** Length of each interval that the chart offers, milliseconds. */
export const INTERVALS_MS = Object.freeze({
  "1m": 60_000,
  "5m": 300_000,
  "15m": 900_000,
  "1h": 3_600_000,
  "4h": 14_400_000,
  "1d": 86_400_000,
});

/** @typedef {keyof typeof INTERVALS_MS} Interval */

/** @type {Interval} */
export const DEFAULT_INTERVAL = "1m";

/**
 * The stream of a symbol's 24 hour ticker.
 * @param {string} symbol
 * @returns {string}
 */
export function tickerStream(symbol) {
  return `spot:${symbol.toLowerCase()}@ticker`;
}

/**
 * The stream of a symbol's candles.
 * @param {string} symbol
 * @param {Interval} interval
 * @returns {string}
 */
export function klineStream(symbol, interval) {
  return `spot:${symbol.toLowerCase()}@kline_${interval}`;
}
