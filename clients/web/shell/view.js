/**
 * What the page shows, as its URL keeps it: `?symbol=BTCUSDT&interval=1m`, `&market=futures` for the other market, and in
 * links that people share a watchlist: `&watch=BTCUSDT,futures:ETHUSDT`. Pure.
 * @module
 */

import { idOf } from "../common/instruments.js";
import { intervalNamed } from "../common/streams.js";

/** @typedef {import("../common/instruments.js").Market} Market */
/** @typedef {import("../common/streams.js").Interval} Interval */

/** @type {Market} */
const DEFAULT_MARKET = "spot";

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

/**
 * The watchlist in a URL's query as ids of instruments, each once; null where the query has none.
 * @param {string} query
 * @returns {string[] | null}
 */
export function parseWatch(query) {
  const watch = new URLSearchParams(query).get("watch");
  if (!watch) return null;
  const ids = watch
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean)
    .map((name) => {
      const [market, symbol] = name.includes(":") ? name.split(":") : [DEFAULT_MARKET, name];
      return idOf({ market: /** @type {Market} */ (market.toLowerCase()), symbol: symbol.toUpperCase() });
    });
  return [...new Set(ids)];
}

/**
 * `query` with a watchlist written into it, or without any.
 * @param {string[] | null} ids
 * @param {string} query
 * @returns {string}
 */
export function formatWatch(ids, query) {
  const parameters = new URLSearchParams(query);
  parameters.delete("watch");
  if (!ids) return `?${parameters}`;
  const names = ids.map((id) => (id.startsWith(`${DEFAULT_MARKET}:`) ? id.slice(DEFAULT_MARKET.length + 1) : id));
  // Commas and colons are allowed in a query, and are easier to read as they are.
  const watch = encodeURIComponent(names.join(",")).replaceAll("%2C", ",").replaceAll("%3A", ":");
  return `?${[parameters.toString(), `watch=${watch}`].filter(Boolean).join("&")}`;
}
