/**
 * How numbers, ages and directions are written on the page. Pure functions.
 * @module
 */

/** Milliseconds without an update after which a value counts as stale. */
export const STALE_AFTER_MS = 5000;

/** @typedef {"up" | "down" | "flat"} Direction */

const ARROWS = { up: "▲", down: "▼", flat: "•" };
const MINUS = "−";
const NOTHING = "–";
const MAX_DECIMALS = 20;

/** @type {Map<number, Intl.NumberFormat>} */
const fixedFormats = new Map();
const compactFormat = new Intl.NumberFormat("en-US", {
  notation: "compact",
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});

/**
 * Digits after the point of a tick size: `"0.01000000"` has 2, `"0.00000001"` 8, `"10"` none.
 * @param {string} tickSize
 * @returns {number}
 */
export function decimalsOf(tickSize) {
  const [number, exponent = "0"] = tickSize.toLowerCase().split("e");
  const fraction = (number.split(".")[1] ?? "").replace(/0+$/, "");
  return Math.min(MAX_DECIMALS, Math.max(0, fraction.length - Number(exponent)));
}

/**
 * A price with exactly `decimals` digits after the point and grouped thousands: `67,012.34`.
 * @param {number} price
 * @param {number} decimals
 * @returns {string}
 */
export function formatPrice(price, decimals) {
  if (!Number.isFinite(price)) return NOTHING;
  let format = fixedFormats.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    fixedFormats.set(decimals, format);
  }
  return format.format(price).replace("-", MINUS);
}

/**
 * A change with its sign: `+12.30`, `−0.01`, `0.00`.
 * @param {number} change
 * @param {number} decimals
 * @returns {string}
 */
export function formatChange(change, decimals) {
  if (!Number.isFinite(change)) return NOTHING;
  const magnitude = formatPrice(Math.abs(change), decimals);
  const direction = directionOf(Number(change.toFixed(decimals)));
  if (direction === "flat") return magnitude;
  return (direction === "up" ? "+" : MINUS) + magnitude;
}

/**
 * A change in percent with its sign and two digits: `+1.25%`.
 * @param {number} percent
 * @returns {string}
 */
export function formatPercent(percent) {
  return Number.isFinite(percent) ? `${formatChange(percent, 2)}%` : NOTHING;
}

/**
 * A traded amount in three or more digits and a unit: `1.24B`, `870.50K`, `12.00`.
 * @param {number} volume
 * @returns {string}
 */
export function formatVolume(volume) {
  return Number.isFinite(volume) ? compactFormat.format(volume) : NOTHING;
}

/**
 * An age in its largest whole unit: `14 s`, `3 min`, `2 h`, `5 d`.
 * @param {number} ageMs
 * @returns {string}
 */
export function formatAge(ageMs) {
  const seconds = Math.max(0, Math.floor(ageMs / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/**
 * The label of a value last updated at `updatedMs`: `stale 14 s`, or `""` while it is fresh.
 * @param {number} updatedMs
 * @param {number} nowMs on the same clock
 * @returns {string}
 */
export function staleLabel(updatedMs, nowMs) {
  const ageMs = nowMs - updatedMs;
  return ageMs > STALE_AFTER_MS ? `stale ${formatAge(ageMs)}` : "";
}

/**
 * Which way a change goes.
 * @param {number} change
 * @returns {Direction}
 */
export function directionOf(change) {
  if (change > 0) return "up";
  return change < 0 ? "down" : "flat";
}

/**
 * The sign that stands beside the colour of a direction.
 * @param {Direction} direction
 * @returns {string}
 */
export function arrowOf(direction) {
  return ARROWS[direction];
}
