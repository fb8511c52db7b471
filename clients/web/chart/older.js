/**
 * Older candles while one scrolls back.
 * @module
 */

import { MAX_CANDLES } from "../../js/src/candle-series.js";
import { TickcastError } from "../../js/src/errors.js";
import { setText } from "../common/dom.js";

/** @typedef {import("../../js/types/index.js").Candles} Candles */

/** With so few candles left of what is in view, older ones are loaded: before one sees that they lack. */
const AHEAD = 150;
const AT_ONCE = 1000;
const RETRY_MS = 3000;
/** The beginning is told of while it is nearly in view. */
const NEAR = 5;

/** Loads older candles of one series at a time, and says that it does, that it cannot, and where they begin. */
export class OlderCandles {
  #mark;
  /** @type {Candles | undefined} */
  #candles;
  /** Candles left of what is in view. */
  #before = Number.POSITIVE_INFINITY;
  #isLoading = false;
  #failure = "";
  /** Open time of the first candle, where there is none before it. @type {number | undefined} */
  #beginning;

  /** @param {HTMLElement} mark that says so */
  constructor(mark) {
    this.#mark = mark;
  }

  /**
   * Go on with another series.
   * @param {Candles} candles
   */
  follow(candles) {
    this.#candles = candles;
    this.#before = Number.POSITIVE_INFINITY;
    this.#isLoading = false;
    this.#failure = "";
    this.#beginning = undefined;
    this.#write();
  }

  /**
   * What is in view has moved.
   * @param {number} before candles to the left of it
   */
  reach(before) {
    this.#before = before;
    const isDone = this.#isLoading || this.#failure || this.#isAtBeginning;
    if (before < AHEAD && !isDone && this.#candles) void this.#load(this.#candles);
    this.#write();
  }

  get #isAtBeginning() {
    return this.#beginning !== undefined && this.#candles?.candles[0]?.openTime === this.#beginning;
  }

  /** @param {Candles} candles */
  async #load(candles) {
    this.#isLoading = true;
    let added = 0;
    let failure = "";
    try {
      added = await candles.loadOlder(AT_ONCE);
    } catch (error) {
      if (!(error instanceof TickcastError)) throw error;
      failure = error.message;
    }
    if (candles !== this.#candles) return;
    this.#isLoading = false;
    this.#failure = failure;
    if (failure) setTimeout(() => this.#retry(candles), RETRY_MS);
    else if (added === 0) this.#beginning = candles.candles[0]?.openTime;
    this.#write();
  }

  /** @param {Candles} candles that could not be loaded */
  #retry(candles) {
    if (candles !== this.#candles) return;
    this.#failure = "";
    this.reach(this.#before);
  }

  #write() {
    setText(this.#mark, this.#words());
    this.#mark.hidden = this.#mark.textContent === "";
  }

  #words() {
    if (this.#isLoading) return "Loading older candles…";
    if (this.#failure) return `Older candles: ${this.#failure}. Trying again…`;
    if (!this.#isAtBeginning || this.#before > NEAR) return "";
    const isFull = (this.#candles?.candles.length ?? 0) >= MAX_CANDLES;
    return isFull ? `No more than ${MAX_CANDLES.toLocaleString("en-US")} candles are kept` : "Here the history begins";
  }
}
