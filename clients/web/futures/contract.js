/**
 * What only futures have: mark and index price, funding, open interest.
 * @module
 */

import { ApiError, fetchBinance } from "../common/api.js";
import { find, setText } from "../common/dom.js";
import { decimalsOf, directionOf, formatPrice, staleLabel } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { formatSize } from "../common/sizes.js";
import { streamOf } from "../common/streams.js";
import { formatCountdown, formatInstant } from "../common/times.js";
import { formatRate, markOf } from "./mark.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./mark.js").Mark} Mark */

const COUNTDOWN_MS = 500;
const INTEREST_MS = 10_000;

/** Shows one futures instrument at a time; of spot it hides itself. */
export class Contract {
  /** @type {Instrument | null} */
  #info = null;
  /** @type {Mark | null} */
  #mark = null;
  #updatedMs = 0;
  /** What the exchange's clock is ahead of ours, ms. */
  #aheadMs = 0;
  #interest = Number.NaN;
  #abort = new AbortController();
  #end = () => {};
  #root;
  #client;
  #drawSoon = oncePerFrame(() => this.#draw());

  /**
   * @param {HTMLElement} root
   * @param {Client} client
   */
  constructor(root, client) {
    this.#root = root;
    this.#client = client;
    setInterval(() => this.#mark && this.#drawSoon(), COUNTDOWN_MS);
    setInterval(() => this.#loadInterest(), INTEREST_MS);
  }

  /** @param {Instrument} info */
  show(info) {
    this.#end();
    this.#end = () => {};
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#mark = null;
    this.#updatedMs = Date.now();
    this.#interest = Number.NaN;
    this.#root.hidden = info.market !== "futures";
    this.#info = info.market === "futures" ? info : null;
    this.#drawSoon();
    if (!this.#info) return;
    const subscription = this.#client.subscribe({
      streams: [streamOf(info, "markPrice@1s")],
      onMessage: ({ data, isSnapshot }) => {
        const mark = markOf(/** @type {any} */ (data));
        this.#mark = mark;
        // A snapshot may be old already, and tells no time.
        if (!isSnapshot) {
          this.#updatedMs = Date.now();
          this.#aheadMs = mark.eventMs - this.#updatedMs;
        }
        this.#drawSoon();
      },
    });
    this.#end = () => void subscription.unsubscribe();
    void this.#loadInterest();
  }

  async #loadInterest() {
    const info = this.#info;
    if (!info || document.hidden) return;
    const { signal } = this.#abort;
    try {
      const query = new URLSearchParams({ symbol: info.symbol });
      const { openInterest } = await fetchBinance(`/fapi/v1/openInterest?${query}`, signal);
      if (signal.aborted) return;
      this.#interest = Number(openInterest);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#interest = Number.NaN; // a dash, until it is known again
    }
    this.#drawSoon();
  }

  #draw() {
    const [info, mark] = [this.#info, this.#mark];
    if (!info) return;
    const decimals = decimalsOf(info.tickSize);
    this.#set("mark", formatPrice(mark?.price ?? Number.NaN, decimals));
    this.#set("index", formatPrice(mark?.indexPrice ?? Number.NaN, decimals));
    const stale = mark ? staleLabel(this.#updatedMs, Date.now()) : "";
    this.#set("stale", stale);
    this.#root.toggleAttribute("data-stale", stale !== "");
    this.#set("interest", `${formatSize(this.#interest, decimalsOf(info.stepSize))} ${info.baseAsset}`);
    const rate = this.#cell("rate");
    setText(rate, formatRate(mark?.fundingRate ?? Number.NaN));
    rate.dataset.direction = directionOf(mark?.fundingRate ?? 0);
    const countdown = this.#cell("countdown");
    const hasFunding = mark !== null && mark.nextFundingMs > 0;
    setText(countdown, hasFunding ? formatCountdown(mark.nextFundingMs - Date.now() - this.#aheadMs) : "–");
    const title = hasFunding ? formatInstant(mark.nextFundingMs) : "";
    if (countdown.title !== title) countdown.title = title;
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #set(name, text) {
    setText(this.#cell(name), text);
  }

  /** @param {string} name */
  #cell(name) {
    return find(this.#root, `[data-contract=${name}]`);
  }
}
