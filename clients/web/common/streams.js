/**
 * Names of streams and of candle intervals. Pure.
 * @module
 */

/** @typedef {import("./instruments.js").Instrument} Instrument */

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
 * A stream of an instrument: `spot:btcusdt@ticker`.
 * @param {Pick<Instrument, "market" | "symbol">} instrument
 * @param {string} kind with its options: `ticker`, `kline_1m`, `markPrice@1s`
 * @returns {string}
 */
export function streamOf({ market, symbol }, kind) {
  return `${market}:${symbol.toLowerCase()}@${kind}`;
}
