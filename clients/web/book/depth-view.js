/**
 * The depth chart in the document.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { decimalsOf, formatPrice } from "../common/format.js";
import { formatSize } from "../common/sizes.js";
import { depthOf, outlineOf } from "./depth.js";

/** @typedef {import("../../js/types/index.js").OrderBook} OrderBook */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./levels.js").Steps} Steps */

/** Levels of each side that are looked at. */
const MAX_LEVELS = 1000;

/** Two outlines, which CSS colours, and the figures at their corners. */
export class DepthView {
  #root;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /**
   * @param {OrderBook} book in sync
   * @param {Instrument} info
   * @param {Steps} steps
   * @returns {import("./depth.js").Depth | null} what is drawn
   */
  draw(book, info, steps) {
    const depth = depthOf(book.bids(MAX_LEVELS), book.asks(MAX_LEVELS), steps);
    this.#outline("bids", depth ? outlineOf(depth.bids, depth, "left") : "");
    this.#outline("asks", depth ? outlineOf(depth.asks, depth, "right") : "");
    const decimals = decimalsOf(info.tickSize);
    const price = (/** @type {number | undefined} */ ticks) => formatPrice((ticks ?? Number.NaN) * steps.price, decimals);
    const total = depth ? formatSize(depth.fullLots * steps.size, decimalsOf(info.stepSize)) : "";
    this.#set("low", price(depth ? depth.middle - depth.half : undefined));
    this.#set("middle", price(depth?.middle));
    this.#set("high", price(depth ? depth.middle + depth.half : undefined));
    this.#set("full", total && `${total} ${info.baseAsset}`);
    return depth;
  }

  /**
   * @param {string} side
   * @param {string} outline
   */
  #outline(side, outline) {
    this.#root.querySelector(`[data-depth=${side}]`)?.setAttribute("d", outline);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #set(name, text) {
    setText(find(this.#root, `[data-depth=${name}]`), text);
  }
}
