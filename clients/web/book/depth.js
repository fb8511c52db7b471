/**
 * The depth chart: what lies on each side of the middle, added up. Pure functions.
 * @module
 */

import { ladderOf } from "./levels.js";

/** @typedef {import("../../js/types/index.js").Level} Level */
/** @typedef {import("./levels.js").Rung} Rung */
/** @typedef {import("./levels.js").Steps} Steps */

/**
 * @typedef {object} Depth
 * @property {number} middle in ticks, between the best bid and the best ask
 * @property {number} half what is shown on each side of it, in ticks
 * @property {number} fullLots the larger side's total, as high as the chart
 * @property {Rung[]} bids best first
 * @property {Rung[]} asks best first
 */

/** The most shown on each side, as a share of the price. */
const MAX_HALF = 0.01;
/** Steps of each side, at most. */
const MAX_RUNGS = 120;

/**
 * As much of a book as both sides reach; null while one of them is empty.
 * @param {Level[]} bids best first
 * @param {Level[]} asks best first
 * @param {Steps} steps
 * @returns {Depth | null}
 */
export function depthOf(bids, asks, steps) {
  if (bids.length === 0 || asks.length === 0) return null;
  const ticksOf = (/** @type {Level | undefined} */ level) => Math.round(Number(level?.[0]) / steps.price);
  const middle = (ticksOf(bids[0]) + ticksOf(asks[0])) / 2;
  const reach = Math.min(middle - ticksOf(bids.at(-1)), ticksOf(asks.at(-1)) - middle);
  const half = Math.min(reach, middle * MAX_HALF);
  const isNear = (/** @type {Level} */ level) => Math.abs(ticksOf(level) - middle) <= half;
  const group = Math.max(1, Math.ceil(half / MAX_RUNGS));
  const ladder = ladderOf(bids.filter(isNear), asks.filter(isNear), steps, group, MAX_RUNGS + 1);
  const fullLots = Math.max(ladder.bids.at(-1)?.totalLots ?? 0, ladder.asks.at(-1)?.totalLots ?? 0, 1);
  return { middle, half, fullLots, ...ladder };
}

/**
 * The outline of one side in a box of 100 by 100: SVG path data, a step at each rung. It is closed outside of the box.
 * @param {Rung[]} rungs best first
 * @param {Depth} depth
 * @param {"left" | "right"} edge where the side ends
 * @returns {string}
 */
export function outlineOf(rungs, { middle, half, fullLots }, edge) {
  if (rungs.length === 0 || half <= 0) return "";
  const x = (/** @type {number} */ ticks) => Math.min(100, Math.max(0, 50 + (50 * (ticks - middle)) / half)).toFixed(2);
  const y = (/** @type {number} */ lots) => (100 - (100 * lots) / fullLots).toFixed(2);
  const steps = rungs.map(({ ticks, totalLots }) => `H${x(ticks)}V${y(totalLots)}`).join("");
  return `M50 102${steps}H${edge === "left" ? -2 : 102}V102Z`;
}
