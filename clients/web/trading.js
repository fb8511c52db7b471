/**
 * The panels beside the chart: order book, tapes, and what only futures have.
 * @module
 */

import { BookView } from "./book/book-view.js";
import { find, findTemplate } from "./common/dom.js";
import { goesOn } from "./common/instruments.js";
import { Contract } from "./futures/contract.js";
import { LiquidationsView } from "./trades/liquidations-view.js";
import { TradesTabs } from "./trades/tabs.js";
import { Tape } from "./trades/tape.js";
import { TradesView } from "./trades/trades-view.js";

/** @typedef {import("../js/types/index.js").Client} Client */
/** @typedef {import("./common/instruments.js").Instrument} Instrument */

/** All of them show one instrument at a time. */
export class Trading {
  /** @type {Instrument | null} */
  #info = null;
  #panels;

  /** @param {Client} client */
  constructor(client) {
    const rows = { fill: findTemplate(document, "#tape-template"), gap: findTemplate(document, "#gap-template") };
    this.#panels = [
      new Contract(find(document, "#contract"), client),
      new BookView(find(document, "#book-panel"), findTemplate(document, "#level-template"), client),
      new TradesTabs(find(document, "#trades-tabs")),
      new TradesView(client, new Tape(find(document, "#trades"), rows)),
      new LiquidationsView(client, new Tape(find(document, "#liquidations"), rows)),
    ];
  }

  /** @param {Instrument} info where it is the one that is shown, nothing is begun anew */
  show(info) {
    const isShown = goesOn(this.#info, info);
    this.#info = info;
    if (isShown) return;
    for (const panel of this.#panels) panel.show(info);
  }
}
