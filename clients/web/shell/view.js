/**
 * What the page shows, as its URL keeps it: `?symbol=BTCUSDT&interval=1m`, `&market=futures` for the other market. Pure.
 * @module
 */

import { intervalNamed } from "../common/streams.js";

/** @typedef {import("../common/instruments.js").Market} Market */
/** @typedef {import("../common/streams.js").Interval} Interval */

/**
 * @typedef {object} View
 * @property {Market} market
 * @property {string} symbol upper case; empty where the URL names none
 * @property {Interval} interval
 */

/**
 * The view in a URL's query; what is unknown counts as the default.
 * @param {string} query
 * @returns {View}
 */
export function parseView(query) {
  const parameters = new URLSearchParams(query);
  const market = parameters.get("market") === "futures" ? "futures" : "spot";
  return {
    market,
    symbol: (parameters.get("symbol") ?? "").trim().toUpperCase(),
    interval: intervalNamed(parameters.get("interval") ?? "", market),
  };
}

/**
 * `query` with the view written into it; other parameters stay.
 * @param {View} view
 * @param {string} query
 * @returns {string}
 */
export function formatView({ market, symbol, interval }, query) {
  const parameters = new URLSearchParams(query);
  if (market === "spot") parameters.delete("market");
  else parameters.set("market", market);
  parameters.set("symbol", symbol);
  parameters.set("interval", interval);
  return `?${parameters}`;
}
