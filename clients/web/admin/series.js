/**
 * The last minutes of one figure, and the line that shows them. Pure.
 * @module
 */

/** Length and height of a line's coordinates; the page stretches them. */
export const [WIDTH, HEIGHT] = [300, 48];
const MARGIN = 2;
/** A line is stretched over its time, but not over less than this, ms. */
const SHORTEST_MS = 30_000;

/** At most `capacity` values with their times; those older than `windowMs` are forgotten. */
export class Series {
  /** @type {{at: number, value: number}[]} */
  #points = [];
  #windowMs;
  #capacity;

  /**
   * @param {number} windowMs
   * @param {number} capacity
   */
  constructor(windowMs, capacity) {
    this.#windowMs = windowMs;
    this.#capacity = capacity;
  }

  /**
   * @param {number} value
   * @param {number} at ms
   */
  note(value, at) {
    this.#points = [...this.#points.filter((point) => at - point.at < this.#windowMs), { at, value }].slice(-this.#capacity);
  }

  get last() {
    return this.#points.at(-1)?.value ?? 0;
  }

  get lowest() {
    return Math.min(...this.#points.map(({ value }) => value));
  }

  get highest() {
    return Math.max(...this.#points.map(({ value }) => value));
  }

  /** Over how long the line goes, ms. */
  get spanMs() {
    const [first, last] = [this.#points[0]?.at ?? 0, this.#points.at(-1)?.at ?? 0];
    return Math.min(this.#windowMs, Math.max(SHORTEST_MS, last - first));
  }

  /**
   * The points of an SVG polyline, the newest at the right edge; the lower edge is 0, or the lowest value where that is less.
   * @returns {string}
   */
  get line() {
    const [bottom, top] = [Math.min(0, this.lowest), this.highest];
    const [end, spanMs] = [this.#points.at(-1)?.at ?? 0, this.spanMs];
    const scale = top > bottom ? (HEIGHT - 2 * MARGIN) / (top - bottom) : 0;
    return this.#points
      .map(({ at, value }) => {
        const x = WIDTH * (1 - (end - at) / spanMs);
        return `${x.toFixed(1)},${(HEIGHT - MARGIN - (value - bottom) * scale).toFixed(1)}`;
      })
      .join(" ");
  }
}
