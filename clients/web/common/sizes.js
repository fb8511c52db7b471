/**
 * How amounts are written in narrow columns. Pure functions.
 * @module
 */

import { formatPrice, formatVolume } from "./format.js";

const COMPACT_FROM = 1_000_000;
const MAX_DIGITS = 9;

/**
 * An amount of the base asset with the digits of its step size, fewer where it is large: `0.51200`, `12,345.678`, `1.24M`.
 * @param {number} size
 * @param {number} decimals of the step size
 * @returns {string}
 */
export function formatSize(size, decimals) {
  if (size >= COMPACT_FROM) return formatVolume(size);
  const whole = Math.trunc(size).toString().length;
  return formatPrice(size, Math.max(0, Math.min(decimals, MAX_DIGITS - whole)));
}
