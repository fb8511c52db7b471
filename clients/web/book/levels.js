/**
 * The levels of an order book as a ladder shows them. Pure functions.
 *
 * Prices are counted in ticks and sizes in lots (the instrument's smallest steps): whole numbers add up exactly.
 * @module
 */

import { decimalsOf } from "../common/format.js";

/** @typedef {import("../../js/types/index.js").Level} Level */
/** @typedef {{price: number, size: number}} Steps tick size and step size */

/**
 * One row of a ladder.
 * @typedef {object} Rung
 * @property {number} ticks its price: of bids the lowest of its group, of asks the highest
 * @property {number} lots
 * @property {number} totalLots of all rungs from the best one to this
 */

/**
 * Both sides, best rung first.
 * @typedef {object} Ladder
 * @property {Rung[]} bids
 * @property {Rung[]} asks
 */

const GROUPINGS = [1, 10, 100, 1000, 10_000];
/** The coarsest grouping offered, as a share of the price. */
const MAX_GROUP = 0.01;

/**
 * The smallest steps of an instrument's prices and sizes.
 * @param {{tickSize: string, stepSize: string}} instrument
 * @returns {Steps}
 */
export function stepsOf({ tickSize, stepSize }) {
  return { price: Number(tickSize), size: Number(stepSize) };
}

/**
 * How many ticks may make one rung at about this price: 1 and tenfolds of it.
 * @param {number} price
 * @param {number} tick
 * @returns {number[]} ascending, never empty
 */
export function groupingsOf(price, tick) {
  return GROUPINGS.filter((group) => group === 1 || group * tick <= price * MAX_GROUP);
}

/**
 * Digits after the point of prices in groups of so many ticks.
 * @param {string} tickSize
 * @param {number} group a power of ten
 * @returns {number}
 */
export function groupDecimals(tickSize, group) {
  return Math.max(0, decimalsOf(tickSize) - Math.round(Math.log10(group)));
}

/**
 * The best `count` rungs of both sides.
 *
 * Bids are rounded down and asks up, so that sides that do not cross do not meet in any grouping either.
 * @param {Level[]} bids best first
 * @param {Level[]} asks best first
 * @param {Steps} steps
 * @param {number} group ticks in one rung
 * @param {number} count
 * @returns {Ladder}
 */
export function ladderOf(bids, asks, steps, group, count) {
  return {
    bids: rungsOf(bids, steps, (ticks) => Math.floor(ticks / group) * group, count),
    asks: rungsOf(asks, steps, (ticks) => Math.ceil(ticks / group) * group, count),
  };
}

/**
 * The way from the best bid to the best ask, in ticks and in percent of the price between them; null while a side is empty.
 * @param {Level | undefined} bid
 * @param {Level | undefined} ask
 * @param {Steps} steps
 * @returns {{ticks: number, percent: number} | null}
 */
export function spreadOf(bid, ask, steps) {
  if (!bid || !ask) return null;
  const [low, high] = [bid, ask].map(([price]) => Math.round(Number(price) / steps.price));
  return { ticks: high - low, percent: (200 * (high - low)) / (high + low) };
}

/**
 * The bids' share of all that a ladder shows, 0 to 1; null while it shows nothing.
 * @param {Ladder} ladder
 * @returns {number | null}
 */
export function bidShareOf({ bids, asks }) {
  const bid = bids.at(-1)?.totalLots ?? 0;
  const all = bid + (asks.at(-1)?.totalLots ?? 0);
  return all > 0 ? bid / all : null;
}

/**
 * @param {Level[]} levels
 * @param {Steps} steps
 * @param {(ticks: number) => number} round
 * @param {number} count
 * @returns {Rung[]}
 */
function rungsOf(levels, steps, round, count) {
  /** @type {Rung[]} */
  const rungs = [];
  let totalLots = 0;
  for (const [price, size] of levels) {
    const ticks = round(Math.round(Number(price) / steps.price));
    const lots = Math.round(Number(size) / steps.size);
    let rung = rungs.at(-1);
    if (rung?.ticks !== ticks) {
      if (rungs.length === count) break;
      rung = { ticks, lots: 0, totalLots };
      rungs.push(rung);
    }
    totalLots += lots;
    rung.lots += lots;
    rung.totalLots = totalLots;
  }
  return rungs;
}
