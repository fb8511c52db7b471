/**
 * The page: wires the parts together and keeps the URL, the chart and the watchlist in step.
 * @module
 */

import { ApiError, fetchCatalog, fetchPrice } from "./api.js";
import { CandleView } from "./candle-view.js";
import { Chart } from "./chart.js";
import { find } from "./dom.js";
import { Feed } from "./feed.js";
import { Notice } from "./notice.js";
import { Quote } from "./quote.js";
import { StatusBar, markOf } from "./status.js";
import { loadWatchlist, saveWatchlist } from "./storage.js";
import { resolveSymbol, symbolOf } from "./symbols.js";
import { formatView, parseView } from "./view.js";
import { MAX_WATCHED, Watchlist } from "./watchlist.js";

/** @typedef {import("./api.js").Catalog} Catalog */
/** @typedef {import("./view.js").Interval} Interval */
/** @typedef {import("./view.js").View} View */

const CATALOG_RETRY_MS = 2000;

const feed = new Feed();
const notice = new Notice(find(document, "#notice"));
const statusBar = new StatusBar(find(document, "#status"));
const chart = new Chart(find(document, "#chart"));
const quote = new Quote(find(document, "#quote"), feed);
const candleView = new CandleView(feed, chart, find(document, "#legend"), find(document, "#chart-note"));
const watchlist = new Watchlist(
  /** @type {HTMLTableSectionElement} */ (find(document, "#rows")),
  /** @type {HTMLTemplateElement} */ (find(document, "#row-template")),
  feed,
);
const intervals = find(document, "#intervals");
const form = /** @type {HTMLFormElement} */ (find(document, "#add"));
const input = /** @type {HTMLInputElement} */ (find(document, "#add-symbol"));

feed.addEventListener("state", () => {
  statusBar.show(feed.state);
  chart.setWatermark(markOf(feed.state.source));
});
feed.addEventListener("rejected", (event) => notice.show(/** @type {CustomEvent} */ (event).detail.message));

const catalog = await loadCatalog();
const view = firstView(catalog);
find(document, "#symbols").replaceChildren(...[...catalog.trading.keys()].sort().map((symbol) => new Option(symbol)));
showView();

watchlist.addEventListener("select", (event) => select({ symbol: /** @type {CustomEvent} */ (event).detail }));
watchlist.addEventListener("remove", (event) => remove(/** @type {CustomEvent} */ (event).detail));
intervals.addEventListener("click", ({ target }) => {
  const interval = target instanceof HTMLElement ? target.dataset.interval : undefined;
  if (interval) select({ interval: /** @type {Interval} */ (interval) });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  add(input.value);
});
input.addEventListener("input", (event) => {
  // A choice from the list is complete; typed text waits for Enter.
  if (!(event instanceof InputEvent) || event.inputType === "insertReplacementText") add(input.value);
});

/**
 * Try until the exchange's symbols are known.
 * @returns {Promise<Catalog>}
 */
async function loadCatalog() {
  for (;;) {
    try {
      const found = await fetchCatalog();
      if (found.trading.size > 0) return found;
      notice.show("The exchange's symbols are not known yet. Trying again…");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notice.show(`Symbols: ${error.message}. Trying again…`);
    }
    await new Promise((resolve) => setTimeout(resolve, CATALOG_RETRY_MS));
  }
}

/**
 * Fill the watchlist and find what to show first: the URL's symbol where it exists.
 * @param {Catalog} known
 * @returns {View}
 */
function firstView({ defaults, trading }) {
  const asked = parseView(location.search);
  const wanted = (loadWatchlist() ?? defaults).filter((symbol) => trading.has(symbol)).slice(0, MAX_WATCHED);
  const watched = wanted.length > 0 ? wanted : [...trading.keys()].slice(0, 1);
  if (asked.symbol && !trading.has(asked.symbol)) notice.show(`Unknown symbol: ${asked.symbol}`);
  const symbol = trading.has(asked.symbol) ? asked.symbol : watched[0];
  for (const name of new Set([...watched, symbol])) watchlist.add(infoOf(name, trading));
  return { symbol, interval: asked.interval };
}

/** @param {Partial<View>} change */
function select(change) {
  const { symbol, interval } = { ...view, ...change };
  if (symbol === view.symbol && interval === view.interval) return;
  Object.assign(view, { symbol, interval });
  showView();
  // On a phone the chart lies above the list, often out of sight.
  find(document, "#quote").scrollIntoView({ block: "nearest" });
}

function showView() {
  const info = infoOf(view.symbol, catalog.trading);
  quote.show(info);
  candleView.show(info, view.interval);
  watchlist.markSelected(view.symbol);
  for (const button of intervals.querySelectorAll("button")) {
    button.ariaPressed = String(button.dataset.interval === view.interval);
  }
  history.replaceState(null, "", formatView(view, location.search) + location.hash);
}

/** @param {string} text what the user typed or chose */
function add(text) {
  const name = symbolOf(text);
  if (!name) return;
  const info = resolveSymbol(name, catalog.trading);
  if (!info) {
    explain(name);
    return;
  }
  const { symbol } = info;
  if (!watchlist.symbols.includes(symbol) && watchlist.symbols.length >= MAX_WATCHED) {
    notice.show(`The watchlist holds ${MAX_WATCHED} symbols. Remove one first.`);
    return;
  }
  input.value = "";
  watchlist.add(info);
  saveWatchlist(watchlist.symbols);
  select({ symbol });
  watchlist.markSelected(symbol);
}

/**
 * Say in the server's words why a symbol cannot be watched, and which one was probably meant.
 * @param {string} symbol
 */
async function explain(symbol) {
  try {
    await fetchPrice(symbol);
    notice.show(`${symbol} has only just been listed: load the page again`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notice.show(error.message);
  }
}

/** @param {string} symbol */
function remove(symbol) {
  watchlist.remove(symbol);
  saveWatchlist(watchlist.symbols);
  if (symbol === view.symbol) select({ symbol: watchlist.symbols[0] });
}

/**
 * @param {string} symbol
 * @param {Catalog["trading"]} trading
 */
function infoOf(symbol, trading) {
  const info = trading.get(symbol);
  if (!info) throw new Error(`${symbol} is not in the catalog`);
  return info;
}
