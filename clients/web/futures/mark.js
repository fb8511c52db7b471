/**
 * Mark price and funding of a futures instrument. Pure functions.
 * @module
 */

import { formatChange } from "../common/format.js";

/**
 * @typedef {object} Mark
 * @property {number} price
 * @property {number} indexPrice
 * @property {number} fundingRate a share, to be paid at the next funding; NaN of contracts without funding
 * @property {number} nextFundingMs Unix milliseconds; 0 of contracts without funding
 * @property {number} eventMs Unix milliseconds of the exchange's clock
 */

const RATE_DECIMALS = 4;

/**
 * The mark in the payload of a `markPrice` event (Binance "Websocket Market Streams", Mark Price Stream).
 * @param {import("../../js/types/index.js").MarkPrice} wire
 * @returns {Mark}
 */
export function markOf({ p, i, r, T, E }) {
  return {
    price: Number(p),
    indexPrice: Number(i),
    fundingRate: r === "" ? Number.NaN : Number(r),
    nextFundingMs: T,
    eventMs: E,
  };
}

/**
 * A funding rate in percent with its sign and four digits: `+0.0100%`.
 * @param {number} rate a share
 * @returns {string}
 */
export function formatRate(rate) {
  return Number.isFinite(rate) ? `${formatChange(rate * 100, RATE_DECIMALS)}%` : "–";
}
