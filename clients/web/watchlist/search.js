/**
 * What somebody may mean who types a symbol: the instruments ranked, also for misspelt names. Pure.
 * @module
 */

import { symbolOf } from "../common/instruments.js";

/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../common/instruments.js").Market} Market */

/**
 * @typedef {object} Found
 * @property {Instrument[]} matches best first
 * @property {boolean} isGuess whether nothing has that name, and these are merely spelt like it
 */

const MAX_MATCHES = 20;
const MAX_GUESSES = 5;
/** Longer than any symbol; bounds the work of a comparison. */
const MAX_NAME = 24;
const MIN_SUBSEQUENCE = 3;
const TOO_FAR = Number.POSITIVE_INFINITY;
/** In the order in which people mean them. */
const QUOTES = ["USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB"];
/** @type {ReadonlyMap<string, Market>} */
const MARKET_WORDS = new Map([
  ["SPOT", "spot"],
  ["PERP", "futures"],
  ["FUTURES", "futures"],
]);
/** What stands before the asset in a futures contract of many units: 1000SHIB, 1MBABYDOGE. */
const BUNDLE = /^1(0{3,}|M)(?=[A-Z])/;

/**
 * The instruments that `text` may mean: a symbol or an asset, from its beginning, its middle or by some of its letters,
 * with or without the word `spot`, `perp` or `futures`; where nothing has such a name, those that are spelt nearly so.
 * @param {readonly Instrument[]} instruments
 * @param {string} text
 * @returns {Found}
 */
export function search(instruments, text) {
  const { name, market } = queryOf(text);
  if (!name) return { matches: [], isGuess: false };
  const candidates = market ? instruments.filter((one) => one.market === market) : instruments;
  const matches = best(candidates, (one) => tierOf(one, name), MAX_MATCHES);
  if (matches.length > 0) return { matches, isGuess: false };
  return { matches: best(candidates, (one) => misspeltBy(one, name), MAX_GUESSES), isGuess: true };
}

/**
 * How many letters must be replaced, left out, put in or swapped with their neighbour to make one word of the other.
 *
 * Optimal string alignment, the restricted form of the Damerau-Levenshtein distance.
 * @param {string} a
 * @param {string} b
 * @returns {number}
 */
export function distance(a, b) {
  /** @type {number[]} */
  let beforeLast = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length];
}

/**
 * @param {string} text
 * @returns {{name: string, market: Market | undefined}}
 */
function queryOf(text) {
  const words = text.toUpperCase().trim().split(/\s+/);
  // A word alone is a name: somebody may look for an asset called PERP.
  const at = words.length > 1 ? words.findIndex((word) => MARKET_WORDS.has(word)) : -1;
  const market = MARKET_WORDS.get(words[at]);
  if (market) words.splice(at, 1);
  return { name: symbolOf(words.join("")).slice(0, MAX_NAME), market };
}

/**
 * How an instrument has that name: the lower, the more probably it is meant.
 * @param {Instrument} instrument
 * @param {string} name
 * @returns {number} `TOO_FAR` where it has not
 */
function tierOf({ symbol, baseAsset }, name) {
  const asset = baseAsset.replace(BUNDLE, "");
  if (symbol === name) return 0;
  if (baseAsset === name || asset === name) return 1;
  if (symbol.startsWith(name) || asset.startsWith(name)) return 2;
  if (symbol.includes(name)) return 3;
  return name.length >= MIN_SUBSEQUENCE && isSubsequence(name, symbol) ? 4 : TOO_FAR;
}

/**
 * @param {Instrument} instrument
 * @param {string} name
 * @returns {number} letters that are wrong; `TOO_FAR` where they are too many for a mistake
 */
function misspeltBy({ symbol, baseAsset }, name) {
  const allowed = name.length < 3 ? 0 : name.length < 5 ? 1 : 2;
  const wrong = Math.min(distance(name, symbol), distance(name, baseAsset.replace(BUNDLE, "")));
  return wrong <= allowed ? wrong : TOO_FAR;
}

/**
 * @param {string} letters
 * @param {string} word
 */
function isSubsequence(letters, word) {
  let at = 0;
  for (const letter of word) if (letter === letters[at]) at += 1;
  return at === letters.length;
}

/**
 * @param {readonly Instrument[]} instruments
 * @param {(instrument: Instrument) => number} score the lower, the better
 * @param {number} count
 */
function best(instruments, score, count) {
  return instruments
    .map((instrument) => ({ instrument, rank: [score(instrument), ...likelihood(instrument)] }))
    .filter(({ rank }) => rank[0] !== TOO_FAR)
    .sort((a, b) => compare(a.rank, b.rank) || (a.instrument.symbol < b.instrument.symbol ? -1 : 1))
    .slice(0, count)
    .map(({ instrument }) => instrument);
}

/**
 * Among equally good names: what trades, the main quote currencies, short names, spot.
 * @param {Instrument} instrument
 */
function likelihood({ status, quoteAsset, symbol, market }) {
  const quote = QUOTES.indexOf(quoteAsset);
  return [status === "TRADING" ? 0 : 1, quote < 0 ? QUOTES.length : quote, symbol.length, market === "spot" ? 0 : 1];
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function compare(a, b) {
  for (const [at, value] of a.entries()) if (value !== b[at]) return value - b[at];
  return 0;
}
