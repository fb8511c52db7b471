/**
 * The way of a message in four parts, and what each of them took. Pure.
 * @module
 */

/** @typedef {import("../common/recent.js").Percentiles} Percentiles */
/** @typedef {Pick<Percentiles, "p50" | "p95">} Times in ms */
/** @typedef {import("../../js/types/index.js").ServerTime["hops"]} Hops */
/** @typedef {"exchange" | "ingest" | "bus" | "browser"} Part */

/**
 * @typedef {object} Split
 * @property {Record<Part, Times | null>} parts null where it is not known
 * @property {Times | null} total
 */

/** @type {readonly Part[]} in the order of the way */
export const PARTS = ["exchange", "ingest", "bus", "browser"];

/**
 * When the exchange says that a message's event happened, ms since the epoch; null where the message does not say, or its
 * way was another: it was fetched, or made here.
 * @param {unknown} data the payload of a message
 * @returns {number | null}
 */
export function eventTimeOf(data) {
  const payload = Array.isArray(data) ? data[0] : data;
  if (payload === null || typeof payload !== "object") return null;
  if (payload.source !== undefined || payload.e === "bookSnapshot") return null;
  return typeof payload.E === "number" ? payload.E : null;
}

/**
 * What each part took. Percentiles do not add up; what is left after a part is told by that part's median.
 * @param {Percentiles | null} exchange from the event to the ingestor
 * @param {Percentiles | null} sinceIngest from the ingestor to this page
 * @param {Percentiles | null} total from the event to this page
 * @param {Hops | null} hops as the server samples them
 * @returns {Split}
 */
export function splitOf(exchange, sinceIngest, total, hops) {
  const { publish = null, bus = null } = hops ?? {};
  return {
    parts: {
      exchange,
      ingest: publish,
      bus: bus && publish ? less(bus, publish) : bus,
      browser: sinceIngest && bus ? shifted(sinceIngest, -bus.p50) : null,
    },
    total,
  };
}

/**
 * How much of the bar each part takes, of 1 in all: its median, where that is more than nothing.
 * @param {Split["parts"]} parts
 * @returns {Record<Part, number>}
 */
export function sharesOf(parts) {
  const lengths = PARTS.map((part) => Math.max(0, parts[part]?.p50 ?? 0));
  const sum = lengths.reduce((left, right) => left + right, 0);
  const shares = PARTS.map((part, at) => [part, sum > 0 ? lengths[at] / sum : 0]);
  return /** @type {Record<Part, number>} */ (Object.fromEntries(shares));
}

/**
 * A time in three digits or so: `0.4 ms`, `12 ms`, `1.25 s`; `–` for one that is not known.
 * @param {number | undefined} ms
 * @returns {string}
 */
export function formatMs(ms) {
  if (ms === undefined || !Number.isFinite(ms)) return "–";
  const size = Math.abs(ms);
  const sign = ms < 0 && size >= 0.05 ? "−" : "";
  if (size >= 999.5) return `${sign}${(size / 1000).toFixed(2)} s`;
  return `${sign}${size.toFixed(size < 9.95 ? 1 : 0)} ms`;
}

/**
 * @param {Times} times
 * @param {Times} part of them
 * @returns {Times}
 */
function less(times, part) {
  return { p50: Math.max(0, times.p50 - part.p50), p95: Math.max(0, times.p95 - part.p95) };
}

/**
 * @param {Times} times
 * @param {number} by ms
 * @returns {Times}
 */
function shifted({ p50, p95 }, by) {
  return { p50: p50 + by, p95: p95 + by };
}
