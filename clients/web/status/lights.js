/**
 * What the two lights say. Pure.
 * @module
 */

import { formatAge } from "../common/format.js";

/** @typedef {import("../../js/types/index.js").ClientState} ClientState */
/** @typedef {{state: string, words: string, age: string}} Light `words` change with the state alone, `age` with time */

/** Milliseconds without a word of the exchange's after which its feed counts as stale. */
const SILENT_AFTER_MS = 5000;

/**
 * The link between this page and its server.
 * @param {ClientState["connection"]} connection
 * @param {number} sinceMs how long it has been in that state
 * @param {string} reason why it is not let in, or empty
 * @returns {Light}
 */
export function connectionLight(connection, sinceMs, reason) {
  if (connection === "connected" || connection === "connecting") return { state: connection, words: connection, age: "" };
  if (reason) return { state: "disconnected", words: reason, age: "" };
  return { state: "disconnected", words: "lost, retrying", age: formatAge(sinceMs) };
}

/**
 * The exchange's feed, as the server sees it; nobody knows without a server.
 * @param {ClientState["exchange"]} exchange
 * @param {number} sinceMs how long it has been in that state
 * @param {number} silenceMs how long ago the exchange last spoke; NaN where nobody knows
 * @returns {Light}
 */
export function exchangeLight(exchange, sinceMs, silenceMs) {
  if (exchange === "unknown") return { state: "unknown", words: "unknown", age: "" };
  if (exchange === "disconnected") return { state: "disconnected", words: "down", age: formatAge(sinceMs) };
  if (silenceMs > SILENT_AFTER_MS) return { state: "stale", words: "stale, silent", age: formatAge(silenceMs) };
  return { state: "connected", words: "connected", age: "" };
}

/**
 * The mark of data that is not the real market's, or `""` for Binance and while the source is unknown.
 * @param {string} source
 * @returns {string}
 */
export function markOf(source) {
  return source === "binance" ? "" : source.toUpperCase();
}
