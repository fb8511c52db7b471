/**
 * The closes of the last hour, by minute: from the history and from live prices. Pure.
 * @module
 */

/** @typedef {{minute: number, close: number}} Point minutes since the epoch */

/** How far a sparkline looks back. */
export const SPARK_MINUTES = 60;

const MINUTE_MS = 60_000;

/** Points of one instrument in order of time, each minute at most once. */
export class SparkSeries {
  /** @type {Point[]} */
  #points = [];
  /** Counts changes, by which a drawing is known to be old. */
  version = 0;

  /** @returns {readonly Point[]} oldest first; a minute without a price has no point */
  get points() {
    return this.#points;
  }

  /**
   * Put the history in place; of its last minute, and what came after it, live prices know more.
   * @param {readonly Point[]} history oldest first
   */
  load(history) {
    const lastMinute = history.at(-1)?.minute ?? 0;
    const live = this.#points.filter(({ minute }) => minute >= lastMinute);
    this.#points = [...history.filter(({ minute }) => minute !== live[0]?.minute), ...live];
    this.#trim();
  }

  /**
   * Take a live price; one from before the last is left out.
   * @param {number} timeMs Unix milliseconds
   * @param {number} price
   */
  take(timeMs, price) {
    const minute = Math.floor(timeMs / MINUTE_MS);
    const last = this.#points.at(-1);
    if (last && minute < last.minute) return;
    if (last?.minute === minute && last.close === price) return;
    if (last?.minute === minute) last.close = price;
    else this.#points.push({ minute, close: price });
    this.#trim();
  }

  #trim() {
    const newest = this.#points.at(-1)?.minute ?? 0;
    this.#points = this.#points.filter(({ minute }) => minute > newest - SPARK_MINUTES);
    this.version += 1;
  }
}

/**
 * The points of a history: rows of 12 columns (Binance, klines), oldest first.
 * @param {readonly (readonly unknown[])[]} rows
 * @returns {Point[]}
 */
export function pointsOf(rows) {
  return rows.map(([openMs, , , , close]) => ({ minute: Math.floor(Number(openMs) / MINUTE_MS), close: Number(close) }));
}
