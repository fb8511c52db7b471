/**
 * How times are written; all of them are UTC. Pure functions.
 * @module
 */

const TIME = { from: 11, to: 19 };

/**
 * The time of day: `21:48:43`.
 * @param {number} ms Unix milliseconds
 * @returns {string}
 */
export function formatTime(ms) {
  return new Date(ms).toISOString().slice(TIME.from, TIME.to);
}

/**
 * Day and time to the millisecond: `2026-11-21 21:48:43.123 UTC`.
 * @param {number} ms Unix milliseconds
 * @returns {string}
 */
export function formatInstant(ms) {
  return new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");
}

/**
 * What is left of a time, in whole seconds, never less than nothing: `07:59:12`, `31:00:00`.
 * @param {number} leftMs
 * @returns {string}
 */
export function formatCountdown(leftMs) {
  const seconds = Math.max(0, Math.ceil(leftMs / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}
