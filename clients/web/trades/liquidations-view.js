/**
 * The liquidations of the selected futures instrument.
 * @module
 */

import { decimalsOf } from "../common/format.js";
import { streamOf } from "../common/streams.js";
import { formatTime } from "../common/times.js";
import { gapWords, liquidationOf } from "./payloads.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("./tape.js").Tape} Tape */

/** Shows one instrument's liquidations at a time; of spot there are none. */
export class LiquidationsView {
  #end = () => {};
  #client;
  #tape;

  /**
   * @param {Client} client
   * @param {Tape} tape
   */
  constructor(client, tape) {
    this.#client = client;
    this.#tape = tape;
  }

  /** @param {Instrument} info */
  show(info) {
    this.#end();
    this.#end = () => {};
    this.#tape.reset({ price: decimalsOf(info.tickSize), size: decimalsOf(info.stepSize) });
    if (info.market !== "futures") return;
    this.#tape.say(`None of ${info.symbol} since ${formatTime(Date.now())}`);
    const subscription = this.#client.subscribe({
      streams: [streamOf(info, "forceOrder")],
      onMessage: ({ data }) => this.#tape.push(liquidationOf(/** @type {any} */ (data))),
    });
    subscription.on("gap", (gap) => this.#tape.push({ gap: gapWords(gap, "liquidation") }));
    subscription.on("end", (error) => error && this.#tape.say(error.message));
    this.#end = () => void subscription.unsubscribe();
  }
}
