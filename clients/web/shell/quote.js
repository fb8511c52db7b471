/**
 * The selected symbol's name, price, change and 24 hour figures above the chart, and its price in the tab's title.
 * @module
 */

import { find, setText } from "../common/dom.js";
import {
  arrowOf,
  decimalsOf,
  directionOf,
  formatChange,
  formatPercent,
  formatPrice,
  formatVolume,
  staleLabel,
} from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { goesOn, haltLabel } from "../common/instruments.js";
import { tickerOf } from "../common/payloads.js";
import { streamOf } from "../common/streams.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../common/payloads.js").Ticker} Ticker */

const STALE_CHECK_MS = 1000;

/** Shows one symbol at a time. */
export class Quote {
  /** @type {Instrument | null} */
  #info = null;
  /** @type {Ticker | null} */
  #ticker = null;
  #updatedMs = 0;
  #end = () => {};
  #root;
  #client;
  #renderSoon = oncePerFrame(() => this.#render());

  /**
   * @param {HTMLElement} root
   * @param {Client} client
   */
  constructor(root, client) {
    this.#root = root;
    this.#client = client;
    setInterval(() => this.#renderAge(), STALE_CHECK_MS);
  }

  /** @param {Instrument} info where it is the one that is shown, nothing is begun anew */
  show(info) {
    const isShown = goesOn(this.#info, info);
    this.#info = info;
    this.#renderSoon();
    if (isShown) return;
    this.#end();
    this.#ticker = null;
    this.#updatedMs = Date.now();
    const subscription = this.#client.subscribe({
      streams: [streamOf(info, "ticker")],
      onMessage: ({ data, isSnapshot }) => {
        this.#ticker = tickerOf(/** @type {any} */ (data));
        // A snapshot may be old already and makes nothing fresh.
        if (!isSnapshot) this.#updatedMs = Date.now();
        this.#renderSoon();
      },
    });
    this.#end = () => void subscription.unsubscribe();
  }

  #render() {
    const info = this.#info;
    if (!info) return;
    this.#set("base", info.baseAsset);
    this.#set("quote", info.quoteAsset);
    find(this.#root, "[data-quote=perp]").hidden = info.market !== "futures";
    const decimals = decimalsOf(info.tickSize);
    const ticker = this.#ticker;
    const price = formatPrice(ticker?.last ?? Number.NaN, decimals);
    const direction = directionOf(ticker?.changePercent ?? 0);
    this.#set("price", price);
    this.#set("arrow", ticker ? arrowOf(direction) : "");
    this.#set("change", ticker ? `${formatChange(ticker.change, decimals)} (${formatPercent(ticker.changePercent)})` : "");
    this.#set("high", formatPrice(ticker?.high ?? Number.NaN, decimals));
    this.#set("low", formatPrice(ticker?.low ?? Number.NaN, decimals));
    const volume = formatVolume(ticker?.quoteVolume ?? Number.NaN);
    this.#set("volume", ticker ? `${volume} ${info.quoteAsset}` : volume);
    find(this.#root, "[data-quote=move]").dataset.direction = direction;
    document.title = ticker ? `${price} ${info.symbol} · Tickcast` : `${info.symbol} · Tickcast`;
    this.#renderAge();
  }

  #renderAge() {
    if (document.hidden) return;
    const halt = haltLabel(this.#info?.status ?? "TRADING");
    const label = halt || (this.#ticker ? staleLabel(this.#updatedMs, Date.now()) : "");
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
