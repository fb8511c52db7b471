/**
 * The order book of the selected instrument.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { decimalsOf, formatPrice, staleLabel } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { DepthView } from "./depth-view.js";
import { bidShareOf, groupDecimals, groupingsOf, ladderOf, spreadOf, stepsOf } from "./levels.js";
import { Side } from "./side.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../../js/types/index.js").OrderBook} OrderBook */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./levels.js").Steps} Steps */

const STALE_CHECK_MS = 1000;
const SPREAD_DIGITS = 4;

/** Shows one instrument's book at a time, and nothing of a book that does not hold. */
export class BookView {
  /** @type {Instrument | null} */
  #info = null;
  /** @type {OrderBook | null} */
  #book = null;
  #group = 1;
  /** Groupings on offer, so that the list is only made anew where they differ. */
  #offered = "";
  #length = 0;
  #updatedMs = 0;
  #client;
  #root;
  #grouping;
  #bids;
  #asks;
  #depth;
  #ladderBox;
  #depthBox;
  #drawSoon = oncePerFrame(() => this.#draw());

  /**
   * @param {HTMLElement} root
   * @param {HTMLTemplateElement} template of one level
   * @param {Client} client
   */
  constructor(root, template, client) {
    this.#root = root;
    this.#client = client;
    this.#grouping = /** @type {HTMLSelectElement} */ (find(root, "#book-grouping"));
    this.#bids = new Side(find(root, "[data-book=bids]"), template, false);
    this.#asks = new Side(find(root, "[data-book=asks]"), template, true);
    this.#ladderBox = find(root, "[data-book=ladder]");
    this.#depthBox = find(root, "[data-book=depth]");
    this.#depth = new DepthView(this.#depthBox);
    const toggle = find(root, "#book-depth");
    toggle.addEventListener("click", () => this.#show(this.#depthBox.hidden, toggle));
    this.#grouping.addEventListener("change", () => {
      this.#group = Number(this.#grouping.value);
      this.#drawSoon();
    });
    this.#fitTo(find(root, "[data-book=bids]"));
    setInterval(() => this.#drawAge(), STALE_CHECK_MS);
  }

  /** @param {Instrument} info */
  show(info) {
    void this.#book?.close();
    this.#info = info;
    this.#group = 1;
    this.#offered = "";
    this.#updatedMs = Date.now();
    const book = this.#client.orderBook(info.symbol, { market: info.market });
    this.#book = book;
    for (const [name, asset] of [["quote", info.quoteAsset], ["base", info.baseAsset]]) {
      for (const cell of this.#root.querySelectorAll(`[data-book=${name}]`)) cell.textContent = asset;
    }
    this.#bids.clear();
    this.#asks.clear();
    this.#clearMiddle();
    this.#say("loading", "Loading…");
    book.on("change", () => {
      this.#updatedMs = Date.now();
      this.#drawSoon();
    });
    book.on("stale", () => book === this.#book && this.#say("resyncing", "Resyncing…"));
    book.on("error", ({ message }) => book === this.#book && this.#say("refused", message));
  }

  /**
   * Change between ladder and depth chart.
   * @param {boolean} isDepth
   * @param {HTMLElement} toggle
   */
  #show(isDepth, toggle) {
    this.#ladderBox.hidden = isDepth;
    this.#depthBox.hidden = !isDepth;
    this.#grouping.disabled = isDepth;
    toggle.ariaPressed = String(isDepth);
    this.#drawSoon();
  }

  /**
   * Show as many levels as there is room for.
   * @param {HTMLElement} side whose height both sides have
   */
  #fitTo(side) {
    const rowPx = Number.parseFloat(getComputedStyle(side).getPropertyValue("--level-height"));
    new ResizeObserver(([entry]) => {
      const length = Math.floor(entry.contentRect.height / rowPx);
      if (length === this.#length) return;
      this.#length = length;
      this.#bids.setLength(length);
      this.#asks.setLength(length);
      this.#drawSoon();
    }).observe(side);
  }

  #draw() {
    const [book, info] = [this.#book, this.#info];
    // Between the change and this frame the book may have lost its hold.
    if (!book?.isInSync || !info) return;
    const steps = stepsOf(info);
    const shown = this.#depthBox.hidden ? this.#drawLadder(book, info, steps) : this.#depth.draw(book, info, steps);
    this.#drawShare(shown && bidShareOf(shown));
    const [best] = [...book.bids(1), ...book.asks(1)];
    this.#offer(groupingsOf(Number(best?.[0] ?? 0), steps.price), info);
    this.#say("synced", "");
    this.#drawAge();
  }

  /**
   * @param {OrderBook} book in sync
   * @param {Instrument} info
   * @param {Steps} steps
   * @returns {import("./levels.js").Ladder} what is drawn
   */
  #drawLadder(book, info, steps) {
    // Levels are a tick apart or more, so that these fill the rungs.
    const [bids, asks] = [book.bids(this.#length * this.#group), book.asks(this.#length * this.#group)];
    const ladder = ladderOf(bids, asks, steps, this.#group, this.#length);
    const fullLots = Math.max(ladder.bids.at(-1)?.totalLots ?? 1, ladder.asks.at(-1)?.totalLots ?? 1);
    const decimals = { price: groupDecimals(info.tickSize, this.#group), size: decimalsOf(info.stepSize) };
    this.#bids.draw(ladder.bids, steps, decimals, fullLots);
    this.#asks.draw(ladder.asks, steps, decimals, fullLots);
    this.#drawSpread(spreadOf(bids[0], asks[0], steps), steps, info);
    return ladder;
  }

  /**
   * @param {ReturnType<typeof spreadOf>} spread
   * @param {Steps} steps
   * @param {Instrument} info
   */
  #drawSpread(spread, steps, info) {
    this.#set("spread", formatPrice((spread?.ticks ?? Number.NaN) * steps.price, decimalsOf(info.tickSize)));
    this.#set("percent", spread ? `${formatPrice(spread.percent, SPREAD_DIGITS)}%` : "");
  }

  /** @param {number | null} share of the bids */
  #drawShare(share) {
    const percent = share === null ? null : Math.round(share * 100);
    this.#set("bid-share", percent === null ? "" : `${percent}%`);
    this.#set("ask-share", percent === null ? "" : `${100 - percent}%`);
    find(this.#root, "[data-book=share]").style.transform = `scaleX(${share?.toFixed(3) ?? 0.5})`;
  }

  #clearMiddle() {
    this.#set("spread", "–");
    this.#set("percent", "");
    this.#drawShare(null);
  }

  /**
   * @param {number[]} groupings
   * @param {Instrument} info
   */
  #offer(groupings, info) {
    const offered = groupings.join();
    if (offered === this.#offered) return;
    this.#offered = offered;
    if (!groupings.includes(this.#group)) this.#group = 1;
    const options = groupings.map((group) => {
      const step = formatPrice(group * Number(info.tickSize), groupDecimals(info.tickSize, group));
      return new Option(step, String(group), group === 1, group === this.#group);
    });
    this.#grouping.replaceChildren(...options);
  }

  #drawAge() {
    if (document.hidden || this.#root.dataset.state !== "synced") return;
    const label = staleLabel(this.#updatedMs, Date.now());
    this.#root.toggleAttribute("data-stale", label !== "");
    this.#set("stale", label);
  }

  /**
   * @param {"loading" | "synced" | "resyncing" | "refused"} state
   * @param {string} words
   */
  #say(state, words) {
    if (state !== "synced") this.#set("stale", "");
    this.#root.dataset.state = state;
    this.#set("note", words);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #set(name, text) {
    setText(find(this.#root, `[data-book=${name}]`), text);
  }
}
