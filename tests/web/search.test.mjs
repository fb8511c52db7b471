import assert from "node:assert/strict";
import { test } from "node:test";

import { idOf } from "../../clients/web/common/instruments.js";
import { distance, search } from "../../clients/web/watchlist/search.js";

const instrument = (market, baseAsset, quoteAsset, status = "TRADING") => ({
  market,
  symbol: baseAsset + quoteAsset,
  baseAsset,
  quoteAsset,
  status,
});
const INSTRUMENTS = [
  instrument("spot", "WBTC", "USDT"),
  instrument("spot", "ETH", "BTC"),
  instrument("futures", "BTC", "USDT"),
  instrument("spot", "BTC", "USDC"),
  instrument("spot", "BTC", "USDT"),
  instrument("spot", "BTCST", "USDT", "BREAK"),
  instrument("spot", "ETH", "USDT"),
  instrument("spot", "SHIB", "USDT"),
  instrument("futures", "1000SHIB", "USDT"),
  instrument("spot", "PERP", "USDT"),
  instrument("spot", "SOL", "USDT"),
];
const found = (text) => search(INSTRUMENTS, text).matches.map(idOf);

test("a whole symbol comes first, spot before futures", () => {
  assert.deepEqual(found("btc/usdt").slice(0, 2), ["spot:BTCUSDT", "futures:BTCUSDT"]);
});

test("an asset finds its symbols by the quote that people mean, then what begins with it, then what contains it", () => {
  assert.deepEqual(found("btc"), [
    "spot:BTCUSDT",
    "futures:BTCUSDT",
    "spot:BTCUSDC",
    "spot:BTCSTUSDT",
    "spot:WBTCUSDT",
    "spot:ETHBTC",
  ]);
});

test("the asset of a contract of many units is found by its own name", () => {
  assert.deepEqual(found("shib"), ["spot:SHIBUSDT", "futures:1000SHIBUSDT"]);
});

test("a word names the market, and alone is the name of an asset", () => {
  assert.deepEqual(found("shib perp"), ["futures:1000SHIBUSDT"]);
  assert.deepEqual(found("spot shib"), ["spot:SHIBUSDT"]);
  assert.deepEqual(found("perp"), ["spot:PERPUSDT"]);
});

test("letters left out in between are no mistake", () => {
  assert.equal(found("solusd")[0], "spot:SOLUSDT");
  assert.equal(found("ethust")[0], "spot:ETHUSDT");
});

test("a misspelt name finds what was probably meant, and says that this is a guess", () => {
  for (const [text, id] of [["btcudst", "spot:BTCUSDT"], ["ehtusdt", "spot:ETHUSDT"], ["sjib", "spot:SHIBUSDT"], ["xol", "spot:SOLUSDT"]]) {
    const { matches, isGuess } = search(INSTRUMENTS, text);
    assert.equal(idOf(matches[0]), id, text);
    assert.equal(isGuess, true, text);
  }
});

test("what is like nothing finds nothing, whatever its length", () => {
  for (const text of ["qqqqqqqq", "xy", "$$$", "B".repeat(10_000), "constructor"]) assert.deepEqual(found(text), [], text.slice(0, 12));
  assert.deepEqual(search(INSTRUMENTS, "  "), { matches: [], isGuess: false });
});

test("what does not trade comes after what does", () => {
  const both = [instrument("spot", "ABC", "USDT", "BREAK"), instrument("spot", "ABC", "BNB")];
  assert.deepEqual(search(both, "abc").matches.map(idOf), ["spot:ABCBNB", "spot:ABCUSDT"]);
});

test("a list of matches is short however many there are", () => {
  const many = Array.from({ length: 500 }, (_, n) => instrument("spot", `A${n}`, "USDT"));
  assert.equal(search(many, "a").matches.length, 20);
});

test("the distance of two words counts swapped neighbours as one mistake", () => {
  for (const [a, b, mistakes] of [["", "", 0], ["abc", "abc", 0], ["abc", "", 3], ["abc", "acb", 1], ["abcd", "abxd", 1], ["abc", "abcd", 1], ["kitten", "sitting", 3]]) {
    assert.equal(distance(a, b), mistakes, `${a} ${b}`);
    assert.equal(distance(b, a), mistakes, `${b} ${a}`);
  }
});
