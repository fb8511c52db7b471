/**
 * The latency in the bar, and behind it the parts that it is made of.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { oncePerFrame } from "../common/frames.js";
import { PARTS, formatMs, sharesOf } from "./split.js";

/** @typedef {import("./meter.js").LatencyMeter} LatencyMeter */

const EVERY_MS = 1000;
/** A clock that is known less well than this says nothing of a network's few ms. */
const ROUGH_CLOCK_MS = 20;

/** Shows what the meter measured, once a second. */
export class LatencyView {
  #root;
  #meter;
  #render = oncePerFrame(() => this.#draw());

  /**
   * @param {HTMLDetailsElement} root
   * @param {LatencyMeter} meter
   */
  constructor(root, meter) {
    this.#root = root;
    this.#meter = meter;
    setInterval(() => {
      if (!document.hidden) this.#render();
    }, EVERY_MS);
    root.addEventListener("toggle", () => this.#render());
    document.addEventListener("pointerdown", ({ target }) => {
      if (root.open && target instanceof Node && !root.contains(target)) root.open = false;
    });
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !root.open) return;
      root.open = false;
      find(root, "summary").focus();
    });
  }

  #draw() {
    const { parts, total } = this.#meter.split;
    setText(find(this.#root, "[data-latency=figure]"), formatMs(total?.p50));
    if (!this.#root.open) return;
    const shares = sharesOf(parts);
    for (const part of PARTS) {
      this.#row(part, parts[part]);
      find(this.#root, `[data-share=${part}]`).style.flexGrow = shares[part].toFixed(3);
    }
    this.#row("total", total);
    setText(find(this.#root, "[data-latency=clock]"), clockWords(this.#meter.clockAheadMs, this.#meter.clockErrorMs));
  }

  /**
   * @param {string} name
   * @param {{p50: number, p95: number} | null} times
   */
  #row(name, times) {
    setText(find(this.#root, `[data-part=${name}] [data-p50]`), formatMs(times?.p50));
    setText(find(this.#root, `[data-part=${name}] [data-p95]`), formatMs(times?.p95));
  }
}

/**
 * @param {number} aheadMs
 * @param {number} errorMs
 */
function clockWords(aheadMs, errorMs) {
  if (Number.isNaN(errorMs)) return "The server's clock is not known yet.";
  const side = aheadMs < 0 ? "behind" : "ahead of";
  const rough = errorMs > ROUGH_CLOCK_MS ? " The way there is long: take the last part as rough." : "";
  return `Your clock is ${formatMs(Math.abs(aheadMs))} ${side} the server's (± ${formatMs(errorMs)}), which is taken off.${rough}`;
}
