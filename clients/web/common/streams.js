/**
 * Names of streams and of candle intervals. Pure.
 * @module
 */

/** @typedef {import("./instruments.js").Instrument} Instrument */
/** @typedef {import("./instruments.js").Market} Market */

/** The intervals of Binance's candles, shortest first. */
export const INTERVALS = Object.freeze(
  /** @type {const} */ (["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]),
);

/** @typedef {typeof INTERVALS[number]} Interval */

/** @type {Interval} */
const DEFAULT_INTERVAL = "1m";

/**
 * The intervals that a market has, shortest first.
 * @param {Market} market
 * @returns {readonly Interval[]}
 */
export function intervalsOf(market) {
  return market === "spot" ? INTERVALS : INTERVALS.filter((interval) => interval !== "1s");
}

/**
 * The interval of that name where the market has it, else the default.
 * @param {string} name
 * @param {Market} market
 * @returns {Interval}
 */
export function intervalNamed(name, market) {
  return intervalsOf(market).find((interval) => interval === name) ?? DEFAULT_INTERVAL;
}

/**
 * A stream of an instrument: `spot:btcusdt@ticker`.
 * @param {Pick<Instrument, "market" | "symbol">} instrument
 * @param {string} kind with its options: `ticker`, `kline_1m`, `markPrice@1s`
 * @returns {string}
 */
export function streamOf({ market, symbol }, kind) {
  return `${market}:${symbol.toLowerCase()}@${kind}`;
}
