/**
 * A server's clock, told from here. Pure. Source of the method: RFC 5905 (NTP), 8 and 10.
 * @module
 */

/** @typedef {Pick<import("../../js/types/index.js").ServerTime, "askedAt" | "answeredAt" | "serverTime">} Sample */

const MAX_SAMPLES = 16;
/** Clocks drift by some 50 ms an hour at worst: within this time by less than a round trip. */
const GOOD_FOR_MS = 60_000;

/**
 * The offset between a server's clock and this page's, of the sample that took the shortest: what delays an answer
 * only ever makes it longer.
 */
export class ServerClock {
  /** @type {Sample[]} */
  #samples = [];
  /** @type {Sample | undefined} */
  #best;

  /** @param {Sample} sample times of `performance.now()`, and of the server in ms since the epoch */
  note(sample) {
    const since = sample.answeredAt - GOOD_FOR_MS;
    this.#samples = [...this.#samples.filter(({ answeredAt }) => answeredAt >= since), sample].slice(-MAX_SAMPLES);
    this.#best = this.#samples.reduce((best, each) => (roundTripOf(each) < roundTripOf(best) ? each : best));
  }

  /** Another server: nothing is known of its clock. */
  reset() {
    this.#samples = [];
    this.#best = undefined;
  }

  get isKnown() {
    return this.#best !== undefined;
  }

  /** By how much `at` may be wrong, ms: half of the shortest round trip. */
  get errorMs() {
    return this.#best ? roundTripOf(this.#best) / 2 : Number.NaN;
  }

  /**
   * What the server's clock shows at a moment of ours, ms since the epoch; NaN while it is not known.
   * @param {number} now of `performance.now()`
   * @returns {number}
   */
  at(now) {
    if (!this.#best) return Number.NaN;
    return this.#best.serverTime + now - (this.#best.askedAt + this.#best.answeredAt) / 2;
  }
}

/** @param {Sample} sample */
function roundTripOf({ askedAt, answeredAt }) {
  return answeredAt - askedAt;
}
