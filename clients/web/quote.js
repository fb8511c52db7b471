/**
 * The selected symbol's name, price and change above the chart, and in the tab's title.
 * @module
 */

import { find, setText } from "./dom.js";
import { arrowOf, decimalsOf, directionOf, formatChange, formatPercent, formatPrice, staleLabel } from "./format.js";
import { oncePerFrame } from "./frames.js";
import { tickerOf } from "./payloads.js";
import { tickerStream } from "./streams.js";

/** @typedef {import("./api.js").SymbolInfo} SymbolInfo */
/** @typedef {import("./feed.js").Feed} Feed */
/** @typedef {import("./payloads.js").Ticker} Ticker */

const STALE_CHECK_MS = 1000;

/** Shows one symbol at a time. */
export class Quote {
  /** @type {SymbolInfo | null} */
  #info = null;
  /** @type {Ticker | null} */
  #ticker = null;
  #updatedMs = 0;
  #end = () => {};
  #root;
  #feed;
  #renderSoon = oncePerFrame(() => this.#render());

  /**
   * @param {HTMLElement} root
   * @param {Feed} feed
   */
  constructor(root, feed) {
    this.#root = root;
    this.#feed = feed;
    setInterval(() => this.#renderAge(), STALE_CHECK_MS);
  }

  /** @param {SymbolInfo} info */
  show(info) {
    this.#end();
    this.#info = info;
    this.#ticker = null;
    this.#updatedMs = Date.now();
    this.#end = this.#feed.subscribe(tickerStream(info.symbol), ({ data, ts }) => {
      this.#ticker = tickerOf(data);
      // A snapshot may be old already and makes nothing fresh.
      if (ts !== null) this.#updatedMs = Date.now();
      this.#renderSoon();
    });
    this.#renderSoon();
  }

  #render() {
    const info = this.#info;
    if (!info) return;
    this.#set("base", info.baseAsset);
    this.#set("quote", info.quoteAsset);
    const decimals = decimalsOf(info.tickSize);
    const ticker = this.#ticker;
    const price = formatPrice(ticker?.last ?? Number.NaN, decimals);
    const direction = directionOf(ticker?.changePercent ?? 0);
    this.#set("price", price);
    this.#set("arrow", ticker ? arrowOf(direction) : "");
    this.#set("change", ticker ? `${formatChange(ticker.change, decimals)} (${formatPercent(ticker.changePercent)})` : "");
    find(this.#root, "[data-quote=move]").dataset.direction = direction;
    document.title = ticker ? `${price} ${info.symbol} · Tickcast` : `${info.symbol} · Tickcast`;
    this.#renderAge();
  }

  #renderAge() {
    const label = this.#ticker ? staleLabel(this.#updatedMs, Date.now()) : "";
    this.#root.toggleAttribute("data-stale", label !== "");
    this.#set("stale", label);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #set(name, text) {
    setText(find(this.#root, `[data-quote=${name}]`), text);
  }
}
