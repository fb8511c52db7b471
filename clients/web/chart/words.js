/**
 * How candles, their times and their intervals are written. Pure functions.
 * @module
 */

import { arrowOf, directionOf, formatPercent, formatPrice, formatVolume } from "../common/format.js";

/** @typedef {import("../../js/types/index.js").CandleBar} CandleBar */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../common/streams.js").Interval} Interval */

/** @type {Record<string, string>} */
const UNITS = { s: "second", m: "minute", h: "hour", d: "day", w: "week", M: "month" };

/**
 * An interval in words, as `1m` and `1M` sound alike: `15 minutes`, `1 month`.
 * @param {Interval} interval
 * @returns {string}
 */
export function intervalInWords(interval) {
  const count = Number.parseInt(interval, 10);
  return `${count} ${UNITS[interval.slice(-1)]}${count === 1 ? "" : "s"}`;
}

/**
 * When a candle opens, in UTC and as fine as its interval: `2026-11-21 21:45`, `2026-11-21`, `2026-11`.
 * @param {number} openTime ms since the epoch
 * @param {Interval} interval
 * @returns {string}
 */
export function formatOpenTime(openTime, interval) {
  const [date, time] = new Date(openTime).toISOString().split("T");
  const unit = interval.slice(-1);
  if (unit === "M") return date.slice(0, 7);
  if (unit === "d" || unit === "w") return date;
  return `${date} ${time.slice(0, unit === "s" ? 8 : 5)}`;
}

/**
 * The time left until a candle closes: `00:42`, `03:12:44`, `2 d 04:12`.
 * @param {number} leftMs less than nothing counts as nothing
 * @returns {string}
 */
export function formatCountdown(leftMs) {
  const seconds = Math.max(0, Math.ceil(leftMs / 1000));
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  const padded = String(hours).padStart(2, "0");
  if (days > 0) return `${days} d ${padded}:${minutes}`;
  return seconds < 3600 ? `${minutes}:${rest}` : `${padded}:${minutes}:${rest}`;
}

/**
 * How far a candle moved, in percent of where it opened; NaN of one that opened at nothing.
 * @param {CandleBar} bar
 * @returns {number}
 */
function percentOf({ open, close }) {
  return Number(open) === 0 ? Number.NaN : ((Number(close) - Number(open)) / Number(open)) * 100;
}

/**
 * The figures of a candle as they are shown.
 * @param {CandleBar | undefined} bar
 * @param {number} decimals digits of prices
 */
export function figuresOf(bar, decimals) {
  const percent = bar ? percentOf(bar) : Number.NaN;
  const direction = directionOf(percent);
  const price = (/** @type {string | undefined} */ text) => formatPrice(Number(text ?? Number.NaN), decimals);
  return {
    open: price(bar?.open),
    high: price(bar?.high),
    low: price(bar?.low),
    close: price(bar?.close),
    volume: formatVolume(Number(bar?.volume ?? Number.NaN)),
    change: bar ? `${arrowOf(direction)} ${formatPercent(percent)}` : "",
    direction,
  };
}

/**
 * The chart in a sentence or two, for those who do not see it.
 * @param {Instrument} instrument
 * @param {Interval} interval
 * @param {CandleBar | undefined} bar the last candle
 * @param {number} decimals digits of prices
 * @returns {string}
 */
export function describeChart({ baseAsset, quoteAsset, market }, interval, bar, decimals) {
  const head = `Candles of ${baseAsset} in ${quoteAsset}, ${market}, ${intervalInWords(interval)} each.`;
  if (!bar) return `${head} None yet.`;
  const { open, high, low, close, volume } = figuresOf(bar, decimals);
  const moved = { up: "up", down: "down", flat: "unchanged" }[directionOf(percentOf(bar))];
  const figures = `open ${open}, high ${high}, low ${low}, close ${close}, ${moved} ${formatPercent(percentOf(bar))}`;
  return `${head} The last one, of ${formatOpenTime(bar.openTime, interval)} UTC: ${figures}, volume ${volume}.`;
}
