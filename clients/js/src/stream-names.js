/** What stream names say: `spot:btcusdt@kline_1m` (docs/protocol.md). Pure. */

/** @typedef {import("../types/index.d.ts").KindName} KindName */

/**
 * Events that carry messages of streams.
 * @type {readonly KindName[]}
 */
export const KINDS = [
  "kline",
  "continuousKline",
  "ticker",
  "ticker_1h",
  "ticker_4h",
  "ticker_1d",
  "miniTicker",
  "bookTicker",
  "avgPrice",
  "depth",
  "book",
  "trade",
  "aggTrade",
  "markPrice",
  "liquidation",
];
/** Longer names before those that they begin with. */
const KIND = new RegExp(`[@!](${[...KINDS].sort((one, other) => other.length - one.length).join("|")}|forceOrder)`);

/**
 * The event by which the messages of a stream come.
 * @param {string} stream
 * @returns {KindName}
 * @throws {TypeError} for what names no kind
 */
export function kindOf(stream) {
  const kind = KIND.exec(stream)?.[1];
  if (kind === undefined) throw new TypeError(`Not a stream: ${stream}`);
  return /** @type {KindName} */ (kind === "forceOrder" ? "liquidation" : kind);
}

/**
 * The subscription to all symbols that a symbol's stream is a part of: `spot:*@kline_1m`.
 * @param {string} stream
 */
export function everyOf(stream) {
  return `${stream.slice(0, stream.indexOf(":") + 1)}*${stream.slice(stream.indexOf("@"))}`;
}
