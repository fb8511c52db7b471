/**
 * Values of the last few seconds. Pure; the caller brings the clock.
 * @module
 */

/** @typedef {{p50: number, p95: number, samples: number}} Percentiles */

/** Keeps at most `capacity` values, none longer than `windowMs`; in a ring, so that noting one costs nothing. */
export class RecentValues {
  #values;
  #times;
  #count = 0;
  #windowMs;

  /**
   * @param {number} windowMs
   * @param {number} capacity
   */
  constructor(windowMs, capacity) {
    this.#windowMs = windowMs;
    this.#values = new Float64Array(capacity);
    this.#times = new Float64Array(capacity);
  }

  /**
   * @param {number} value
   * @param {number} now ms
   */
  note(value, now) {
    const at = this.#count % this.#values.length;
    this.#values[at] = value;
    this.#times[at] = now;
    this.#count += 1;
  }

  clear() {
    this.#count = 0;
  }

  /**
   * Percentiles by nearest rank; null where nothing was noted of late.
   * @param {number} now ms
   * @returns {Percentiles | null}
   */
  percentiles(now) {
    const kept = Math.min(this.#count, this.#values.length);
    const ordered = this.#values.slice(0, kept).filter((_, at) => now - this.#times[at] <= this.#windowMs);
    if (ordered.length === 0) return null;
    ordered.sort();
    const rank = (/** @type {number} */ part) => ordered[Math.round((ordered.length - 1) * part)];
    return { p50: rank(0.5), p95: rank(0.95), samples: ordered.length };
  }
}
