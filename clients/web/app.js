/**
 * The page: wires the parts together and keeps the URL, the panels and the watchlist in step.
 * @module
 */

import { Client } from "../js/src/client.js";
import { CandleView } from "./chart/candle-view.js";
import { Chart } from "./chart/chart.js";
import { ApiError, fetchCatalog, fetchPrice, showCredentials } from "./common/api.js";
import { find } from "./common/dom.js";
import { idOf, symbolOf } from "./common/instruments.js";
import { loadWatchlist, saveWatchlist } from "./common/storage.js";
import { Notice } from "./shell/notice.js";
import { Quote } from "./shell/quote.js";
import { formatView, parseView } from "./shell/view.js";
import { Account } from "./status/account.js";
import { LatencyView } from "./status/latency.js";
import { markOf } from "./status/lights.js";
import { LatencyMeter } from "./status/meter.js";
import { StatusBar } from "./status/status.js";
import { io } from "./vendor/socket.io.js";
import { MAX_WATCHED, Watchlist } from "./watchlist/watchlist.js";

/** @typedef {import("./common/instruments.js").Catalog} Catalog */
/** @typedef {import("./common/instruments.js").Instrument} Instrument */
/** @typedef {import("./common/instruments.js").Market} Market */
/** @typedef {import("./shell/view.js").Interval} Interval */
/** @typedef {import("./shell/view.js").View} View */

/**
 * A part of the page that shows one instrument at a time.
 * @typedef {{show: (instrument: Instrument) => void}} Panel
 */

const CATALOG_RETRY_MS = 2000;

const account = new Account(/** @type {HTMLDialogElement} */ (find(document, "#login")), find(document, "#key"));
showCredentials(account.credentials);
const client = new Client(io, undefined, account.options);
account.onChange((token) => client.authenticate(token));
const notice = new Notice(find(document, "#notice"));
const meter = new LatencyMeter(client);
new LatencyView(/** @type {HTMLDetailsElement} */ (find(document, "#latency")), meter);
new StatusBar(find(document, "#status"), client, notice, () => account.reason, () => meter.silenceMs);
const chart = new Chart(find(document, "#chart"));
const candleView = new CandleView(client, chart, find(document, "#legend"), find(document, "#chart-note"));
/** @type {Panel[]} */
const panels = [new Quote(find(document, "#quote"), client)];
const watchlist = new Watchlist(
  /** @type {HTMLTableSectionElement} */ (find(document, "#rows")),
  /** @type {HTMLTemplateElement} */ (find(document, "#row-template")),
  client,
);
const intervals = find(document, "#intervals");
const form = /** @type {HTMLFormElement} */ (find(document, "#add"));
const input = /** @type {HTMLInputElement} */ (find(document, "#add-symbol"));

client.on("status", (state) => {
  chart.setWatermark(markOf(state.source));
});
client.on("rejected", ({ message }) => notice.show(message));
client.on("error", ({ message }) => notice.show(message));

const catalog = await loadCatalog();
const view = firstView(catalog);
showView();

watchlist.addEventListener("select", (event) => selectId(/** @type {CustomEvent} */ (event).detail));
watchlist.addEventListener("remove", (event) => remove(/** @type {CustomEvent} */ (event).detail));
intervals.addEventListener("click", ({ target }) => {
  const interval = target instanceof HTMLElement ? target.dataset.interval : undefined;
  if (interval) select({ interval: /** @type {Interval} */ (interval) });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  add(input.value);
});

/**
 * Try until the exchange's symbols are known.
 * @returns {Promise<Catalog>}
 */
async function loadCatalog() {
  for (;;) {
    try {
      const found = await fetchCatalog();
      if (found.all.length > 0) return found;
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
function firstView(known) {
  const asked = parseView(location.search);
  const wanted = (loadWatchlist() ?? known.defaults).filter((id) => known.get(id)).slice(0, MAX_WATCHED);
  const watched = wanted.length > 0 ? wanted : known.all.slice(0, 1).map(idOf);
  if (asked.symbol && !known.get(idOf(asked))) notice.show(`Unknown symbol: ${asked.symbol}`);
  const { market, symbol } = known.get(idOf(asked)) ?? instrumentOf(watched[0], known);
  for (const id of new Set([...watched, idOf({ market, symbol })])) watchlist.add(instrumentOf(id, known));
  return { market, symbol, interval: asked.interval };
}

/** @param {string} id */
function selectId(id) {
  const { market, symbol } = instrumentOf(id, catalog);
  select({ market, symbol });
}

/** @param {Partial<View>} change */
function select(change) {
  const { market, symbol, interval } = { ...view, ...change };
  if (market === view.market && symbol === view.symbol && interval === view.interval) return;
  Object.assign(view, { market, symbol, interval });
  showView();
  // On a phone the chart lies above the list, often out of sight.
  find(document, "#quote").scrollIntoView({ block: "nearest" });
}

function showView() {
  const instrument = instrumentOf(idOf(view), catalog);
  for (const panel of panels) panel.show(instrument);
  candleView.show(instrument, view.interval);
  watchlist.markSelected(idOf(view));
  for (const button of intervals.querySelectorAll("button")) {
    button.ariaPressed = String(button.dataset.interval === view.interval);
  }
  history.replaceState(null, "", formatView(view, location.search) + location.hash);
}

/** @param {string} text what the user typed or chose */
function add(text) {
  const name = symbolOf(text);
  if (!name) return;
  const instrument = catalog.resolve(name, view.market);
  if (!instrument) {
    explain(name);
    return;
  }
  const id = idOf(instrument);
  if (!watchlist.ids.includes(id) && watchlist.ids.length >= MAX_WATCHED) {
    notice.show(`The watchlist holds ${MAX_WATCHED} symbols. Remove one first.`);
    return;
  }
  input.value = "";
  watchlist.add(instrument);
  saveWatchlist(watchlist.ids);
  selectId(id);
  watchlist.markSelected(id);
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

/** @param {string} id */
function remove(id) {
  watchlist.remove(id);
  saveWatchlist(watchlist.ids);
  if (id === idOf(view)) selectId(watchlist.ids[0]);
}

/**
 * @param {string} id
 * @param {Catalog} known
 */
function instrumentOf(id, known) {
  const instrument = known.get(id);
  if (!instrument) throw new Error(`${id} is not in the catalog`);
  return instrument;
}
