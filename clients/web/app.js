/**
 * The page: wires the parts together and keeps the URL, the panels and the watchlist in step.
 * @module
 */

import { Client } from "../js/src/client.js";
import { CandleView } from "./chart/candle-view.js";
import { Chart } from "./chart/chart.js";
import { IntervalPicker } from "./chart/intervals.js";
import { showCredentials } from "./common/api.js";
import { find } from "./common/dom.js";
import { idOf } from "./common/instruments.js";
import { intervalNamed } from "./common/streams.js";
import { Listing } from "./shell/listing.js";
import { Notice } from "./shell/notice.js";
import { Quote } from "./shell/quote.js";
import { shareLink } from "./shell/share.js";
import { closeByClickBeside, listenToShortcuts } from "./shell/shortcuts.js";
import { Tabs } from "./shell/tabs.js";
import { followTheme } from "./shell/theme.js";
import { formatView, formatWatch, parseView, parseWatch } from "./shell/view.js";
import { Account } from "./status/account.js";
import { LatencyView } from "./status/latency.js";
import { markOf } from "./status/lights.js";
import { LatencyMeter } from "./status/meter.js";
import { StatusBar } from "./status/status.js";
import { Trading } from "./trading.js";
import { io } from "./vendor/socket.io.js";
import { WatchPanel } from "./watchlist/panel.js";

/** @typedef {import("./common/instruments.js").Instrument} Instrument */
/** @typedef {import("./shell/view.js").Interval} Interval */
/** @typedef {import("./shell/view.js").View} View */

/**
 * A part of the page that shows one instrument at a time.
 * @typedef {{show: (instrument: Instrument) => void}} Panel
 */

/** Steps through the watchlist within this time are one entry of the history. */
const WALK_MS = 1000;

const account = new Account(/** @type {HTMLDialogElement} */ (find(document, "#login")), find(document, "#key"));
showCredentials(account.credentials);
const client = new Client(io, undefined, account.options);
account.onChange((token) => client.authenticate(token));
const notice = new Notice(find(document, "#notice"));
const tell = (/** @type {string} */ words) => notice.show(words);
const toggleTheme = followTheme(find(document, "[data-tool=theme]"));
const tabs = new Tabs(find(document, "#tabs"), find(document, "main"));
const meter = new LatencyMeter(client);
new LatencyView(/** @type {HTMLDetailsElement} */ (find(document, "#latency")), meter);
new StatusBar(find(document, "#status"), client, notice, () => account.reason, () => meter.silenceMs);
const chart = new Chart(find(document, "#chart"));
const candleView = new CandleView(client, chart, find(document, "#chart-panel"), tell);
/** @type {Panel[]} */
const panels = [new Quote(find(document, "#quote"), client), new Trading(client)];
const intervals = find(document, "#intervals");
const intervalPicker = new IntervalPicker(intervals);
const shortcuts = /** @type {HTMLDialogElement} */ (find(document, "#shortcuts"));

client.on("status", ({ source }) => chart.setWatermark(markOf(source)));
client.on("rejected", ({ message }) => notice.show(message));
client.on("error", ({ message }) => notice.show(message));

const listing = await Listing.load(tell);
const watchPanel = new WatchPanel(
  find(document, "#watch-panel"),
  /** @type {HTMLTemplateElement} */ (find(document, "#row-template")),
  client,
  listing.catalog,
  tell,
);
watchPanel.open(parseWatch(location.search));
/** What the address asks for of a market that is not known yet: until it is, another view stands in. @type {View | null} */
let awaited = null;
const view = viewOf(location.search);
let walkedMs = 0;
showView();
history.replaceState(null, "", query());

watchPanel.addEventListener("select", (event) => {
  const { id, isWalk } = /** @type {CustomEvent<{id: string, isWalk: boolean}>} */ (event).detail;
  const { market, symbol } = instrumentOf(id);
  select({ market, symbol }, isWalk);
  if (!isWalk) tabs.show("chart");
});
watchPanel.addEventListener("change", () => {
  history.replaceState(null, "", query());
  watchPanel.mark(instrumentOf(idOf(view)));
});
listing.addEventListener("change", () => {
  watchPanel.update(listing.catalog);
  const isFound = awaited !== null && !listing.catalog.awaits(idOf(awaited));
  if (isFound) Object.assign(view, viewOf(location.search));
  showView();
  if (isFound) correctAddress();
});
intervals.addEventListener("click", ({ target }) => {
  const interval = target instanceof HTMLElement ? target.dataset.interval : undefined;
  if (interval) select({ interval: /** @type {Interval} */ (interval) });
});
addEventListener("popstate", () => {
  Object.assign(view, viewOf(location.search));
  showView();
  // The list is not part of the way back; an entry from before it was changed has an old one.
  correctAddress();
});
find(document, "[data-tool=share]").addEventListener("click", share);
find(document, "[data-tool=shortcuts]").addEventListener("click", () => shortcuts.showModal());
closeByClickBeside(shortcuts);
/** By the key that calls them. @type {Map<string, () => void>} */
const actions = new Map([
  ["/", searchSymbols],
  ["j", () => watchPanel.walk(1)],
  ["k", () => watchPanel.walk(-1)],
  ["t", toggleTheme],
  ["l", share],
  ["?", () => shortcuts.showModal()],
]);
listenToShortcuts((key) => {
  if (/^[1-9]$/.test(key)) return () => clickInterval(Number(key) - 1);
  return actions.get(key);
});

/**
 * What a URL's query asks for, as far as it exists.
 * @param {string} search
 * @returns {View}
 */
function viewOf(search) {
  const asked = parseView(search);
  const id = idOf(asked);
  const found = listing.catalog.get(id);
  awaited = asked.symbol && listing.catalog.awaits(id) ? asked : null;
  if (asked.symbol && !found) notice.show(`${awaited ? "Not known yet" : "Unknown symbol"}: ${asked.symbol}`);
  const { market, symbol } = found ?? instrumentOf(watchPanel.first);
  return { market, symbol, interval: intervalNamed(asked.interval, market) };
}

/**
 * Show something else, as a new entry of the browser's history.
 * @param {Partial<View>} change
 * @param {boolean} [isWalk] one step of many, which share an entry
 */
function select(change, isWalk = false) {
  const { market, symbol, interval: wanted } = { ...view, ...change };
  const interval = intervalNamed(wanted, market);
  const isShown = market === view.market && symbol === view.symbol && interval === view.interval;
  if (isShown && !(awaited && change.symbol)) return;
  awaited = awaited && !change.symbol ? { ...awaited, interval: intervalNamed(wanted, awaited.market) } : null;
  Object.assign(view, { market, symbol, interval });
  showView();
  if (isWalk && Date.now() - walkedMs < WALK_MS) history.replaceState(null, "", query());
  else history.pushState(null, "", query());
  walkedMs = isWalk ? Date.now() : 0;
}

function showView() {
  const instrument = instrumentOf(idOf(view));
  for (const panel of panels) panel.show(instrument);
  candleView.show(instrument, view.interval);
  watchPanel.mark(instrument);
  intervalPicker.show(view.market, view.interval);
}

/** The page's query and fragment as they should be. */
function query() {
  return formatWatch(watchPanel.sharedIds, formatView(awaited ?? view, location.search)) + location.hash;
}

/** Nothing is written that is there already: it would end the next step of somebody who goes back quickly. */
function correctAddress() {
  if (query() !== location.search + location.hash) history.replaceState(null, "", query());
}

function share() {
  void shareLink(formatWatch(watchPanel.ids, formatView(awaited ?? view, location.search)), tell);
}

function searchSymbols() {
  tabs.show("watch");
  watchPanel.focusSearch();
}

/** @param {number} index among the buttons; beyond them nothing happens */
function clickInterval(index) {
  /** @type {NodeListOf<HTMLElement>} */ (intervals.querySelectorAll("button[data-interval]"))[index]?.click();
}

/** @param {string} id */
function instrumentOf(id) {
  const instrument = listing.catalog.get(id);
  if (!instrument) throw new Error(`${id} is not in the catalog`);
  return instrument;
}
