/**
 * What the tapes take from Binance's payloads. Pure functions.
 *
 * Wire letters: Binance "WebSocket Streams", aggregate trade and liquidation order; REST `aggTrades` has the same ones.
 * @module
 */

/**
 * What was traded at one price by one order.
 * @typedef {object} Trade
 * @property {number} id aggregate trade id; ids of one instrument follow each other
 * @property {number} price
 * @property {number} size in the base asset
 * @property {number} timeMs Unix milliseconds
 * @property {boolean} isBuy whether the order that took was a buy
 */

/** @typedef {Pick<Trade, "price" | "size" | "timeMs" | "isBuy">} Fill a trade or a liquidation */
/** @typedef {import("../../js/types/index.js").AggregateTrade} AggregateTrade */
/** @typedef {import("../../js/types/index.js").Liquidation} Liquidation */
/** @typedef {import("../../js/types/index.js").Gap} Gap */

const REASONS = {
  conflated: "connection too slow",
  dropped: "connection too slow",
  unread: "page too slow",
  upstream: "lost by the feed",
  unrecovered: "while away",
};

/**
 * @param {Pick<AggregateTrade, "a" | "p" | "q" | "T" | "m">} wire
 * @returns {Trade}
 */
export function tradeOf({ a, p, q, T, m }) {
  return { id: a, price: Number(p), size: Number(q), timeMs: T, isBuy: !m };
}

/**
 * A liquidation: of a short position it is a buy, of a long one a sale. Its price is the average one of what was filled.
 * @param {Liquidation} wire
 * @returns {Fill}
 */
export function liquidationOf({ o }) {
  return { price: Number(o.ap), size: Number(o.z), timeMs: o.T, isBuy: o.S === "BUY" };
}

/**
 * The words for messages that do not come: `12 trades missed (lost by the feed)`.
 * @param {Gap} gap
 * @param {string} what `trade`, `liquidation`
 * @returns {string}
 */
export function gapWords({ missed, reason }, what) {
  const many = missed === 1 ? `1 ${what}` : `${missed === null ? "Some" : missed.toLocaleString("en-US")} ${what}s`;
  return `${many} missed (${REASONS[reason]})`;
}

/**
 * The trades of `rows` that came before the trade `first`; null where the one right before it is not among them.
 * @param {Trade[]} rows oldest first
 * @param {number} first id; Infinity while there is no such trade yet
 * @returns {Trade[] | null}
 */
export function tradesBefore(rows, first) {
  const newest = rows.at(-1);
  if (newest && first !== Infinity && newest.id < first - 1) return null;
  return rows.filter(({ id }) => id < first);
}
