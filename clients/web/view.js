/**
 * What the page shows, as its URL keeps it: `?symbol=BTCUSDT&interval=1m`. Pure.
 * @module
 */

import { DEFAULT_INTERVAL, INTERVALS_MS } from "./streams.js";

/** @typedef {import("./streams.js").Interval} Interval */

/**
 * @typedef {object} View
 * @property {string} symbol upper case; empty where the URL names none
 * @property {Interval} interval
 */

/**
 * The view in a URL's query; an unknown interval counts as the default one.
 * @param {string} query
 * @returns {View}
 */
export function parseView(query) {
  const parameters = new URLSearchParams(query);
  const interval = parameters.get("interval") ?? "";
  return {
    symbol: (parameters.get("symbol") ?? "").trim().toUpperCase(),
    interval: Object.hasOwn(INTERVALS_MS, interval) ? /** @type {Interval} */ (interval) : DEFAULT_INTERVAL,
  };
}

/**
 * `query` with the view written into it; other parameters stay.
 * @param {View} view
 * @param {string} query
 * @returns {string}
 */
export function formatView(view, query) {
  const parameters = new URLSearchParams(query);
  parameters.set("symbol", view.symbol);
  parameters.set("interval", view.interval);
  return `?${parameters}`;
}
