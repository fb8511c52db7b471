/**
 * The last hour of the rows in sight, fetched a few at a time.
 * @module
 */

import { TickcastError } from "../../js/src/errors.js";
import { Turns } from "../../js/src/turns.js";
import { SPARK_MINUTES, pointsOf } from "./spark-series.js";

/** @typedef {import("./row.js").Row} Row */
/** @typedef {import("../../js/types/index.js").Client} Client */

/** Half of what a client may ask for at once, so that the chart never waits for sparklines. */
const AT_ONCE = 2;
const RETRY_MS = 15_000;
/** Away for longer, a sparkline has a hole that can be seen. */
const HOLE_MS = 90_000;

/** Loads the history of each row once, and again after an absence. */
export class Histories {
  /** Rows that have theirs, wait for it, or must not ask again before that time. @type {WeakMap<Row, number>} */
  #notBefore = new WeakMap();
  #turns;
  #client;

  /**
   * @param {Client} client
   * @param {number} limit rows that there may be
   */
  constructor(client, limit) {
    this.#client = client;
    this.#turns = new Turns(AT_ONCE, limit);
    let lostMs = 0;
    client.on("status", ({ connection }) => {
      if (connection === "disconnected") lostMs ||= Date.now();
      if (connection !== "connected") return;
      if (lostMs && Date.now() - lostMs > HOLE_MS) this.#notBefore = new WeakMap();
      lostMs = 0;
    });
  }

  /**
   * Have the history loaded of a row that is in sight; no effect where it is, or is on its way.
   * @param {Row} row
   */
  want(row) {
    if (this.#client.state.connection !== "connected" || Date.now() < (this.#notBefore.get(row) ?? 0)) return;
    this.#notBefore.set(row, Number.POSITIVE_INFINITY);
    void this.#load(row);
  }

  /** @param {Row} row */
  async #load(row) {
    try {
      await this.#turns.run(() => this.#fetch(row));
    } catch (error) {
      if (!(error instanceof TickcastError)) throw error;
      // A small line that is missing is no news to anybody; it is asked for again.
      this.#notBefore.set(row, Date.now() + RETRY_MS);
    }
  }

  /** @param {Row} row */
  async #fetch(row) {
    if (!row.isInSight) {
      this.#notBefore.delete(row);
      return;
    }
    const { market, symbol } = row.instrument;
    const rows = await this.#client.getHistoricalKlines({ market, symbol, interval: "1m", limit: SPARK_MINUTES });
    row.loadHistory(pointsOf(rows));
  }
}
