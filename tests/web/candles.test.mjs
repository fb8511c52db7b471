import assert from "node:assert/strict";
import { test } from "node:test";

import { Candles, MAX_CANDLES } from "../../clients/web/chart/candles.js";
import { candleOf, candlesOfRows } from "../../clients/web/common/payloads.js";

const STEP = 60_000;

/** The candle of minute `n`. */
function candle(n, { close = 100, trades = 10, isClosed = false } = {}) {
  return { openMs: n * STEP, open: 100, high: 110, low: 90, close, volume: trades, trades, isClosed };
}

/** The candles of minutes `first` to `last`, as REST answers: only the last one is open. */
function history(first, last) {
  return Array.from({ length: last - first + 1 }, (_, i) => candle(first + i, { isClosed: first + i < last }));
}

function loaded(first, last) {
  const candles = new Candles(STEP);
  candles.expectHistory();
  candles.load(history(first, last));
  return candles;
}

const minutes = (candles) => candles.list.map(({ openMs }) => openMs / STEP);

test("live candles that came while the history was on its way are joined to it once each", () => {
  const candles = new Candles(STEP);
  candles.expectHistory();
  assert.equal(candles.apply(candle(3, { trades: 12, isClosed: true })), "ignored");
  assert.equal(candles.apply(candle(4, { trades: 1 })), "ignored");
  assert.equal(candles.load(history(1, 3)), "updated");
  assert.deepEqual(minutes(candles), [1, 2, 3, 4]);
  assert.equal(candles.list[2].trades, 12);
});

test("a live candle replaces the one of its time", () => {
  const candles = loaded(1, 3);
  assert.equal(candles.apply(candle(3, { close: 105, trades: 11 })), "updated");
  assert.deepEqual(minutes(candles), [1, 2, 3]);
  assert.equal(candles.list.at(-1).close, 105);
});

test("the next candle is appended once the one before it is closed", () => {
  const candles = loaded(1, 3);
  candles.apply(candle(3, { trades: 20, isClosed: true }));
  assert.equal(candles.apply(candle(4)), "updated");
  assert.deepEqual(minutes(candles), [1, 2, 3, 4]);
});

test("a next candle without the close of the one before asks for the history again", () => {
  const candles = loaded(1, 3);
  assert.equal(candles.apply(candle(4)), "hole");
  assert.deepEqual(minutes(candles), [1, 2, 3]);
});

test("a skipped candle asks for the history again, which then fills it", () => {
  const candles = loaded(1, 3);
  candles.apply(candle(3, { isClosed: true }));
  assert.equal(candles.apply(candle(5)), "hole");
  candles.expectHistory();
  assert.equal(candles.apply(candle(5, { trades: 30 })), "ignored");
  assert.equal(candles.load(history(1, 5)), "updated");
  assert.deepEqual(minutes(candles), [1, 2, 3, 4, 5]);
  assert.equal(candles.list.at(-1).trades, 30);
});

test("a history that ends before the live candles begin says so", () => {
  const candles = new Candles(STEP);
  candles.expectHistory();
  candles.apply(candle(9));
  assert.equal(candles.load(history(1, 3)), "hole");
});

test("an older version of a candle never wins over a newer one, whichever way it came", () => {
  const candles = loaded(1, 3);
  assert.equal(candles.apply(candle(3, { trades: 9 })), "ignored");
  candles.apply(candle(3, { trades: 15, isClosed: true }));
  assert.equal(candles.apply(candle(3, { trades: 15 })), "ignored");
  assert.equal(candles.list.at(-1).isClosed, true);
});

test("a late close of an earlier candle corrects it in its place", () => {
  const candles = loaded(1, 4);
  assert.equal(candles.apply(candle(3, { close: 99, trades: 25, isClosed: true })), "updated");
  assert.deepEqual(minutes(candles), [1, 2, 3, 4]);
  assert.equal(candles.list[2].close, 99);
});

test("a candle from before the history is ignored", () => {
  assert.equal(loaded(5, 8).apply(candle(4)), "ignored");
});

test("candles go on while a fresh history is on its way", () => {
  const candles = loaded(1, 3);
  candles.expectHistory();
  assert.equal(candles.apply(candle(3, { close: 101, trades: 11 })), "updated");
  candles.load(history(1, 3));
  assert.equal(candles.list.at(-1).close, 101);
});

test("a full series asks for the history again instead of growing for ever", () => {
  const candles = loaded(1, MAX_CANDLES);
  candles.apply(candle(MAX_CANDLES, { isClosed: true }));
  assert.equal(candles.apply(candle(MAX_CANDLES + 1)), "hole");
  assert.equal(candles.list.length, MAX_CANDLES);
});

test("live payloads and REST rows of one minute make the same candle", () => {
  const k = { t: 60_000, T: 119_999, s: "BTCUSDT", i: "1m", o: "1.5", h: "3.0", l: "1.0", c: "2.5", v: "7.25", n: 4, x: true };
  const row = [60_000, "1.5", "3.0", "1.0", "2.5", "7.25", 119_999, "18.0", 4, "3.0", "7.5", "0"];
  const next = [120_000, "2.5", "2.5", "2.5", "2.5", "0", 179_999, "0", 0, "0", "0", "0"];
  assert.deepEqual(candlesOfRows([row, next])[0], candleOf({ k }));
  assert.equal(candlesOfRows([row, next])[1].isClosed, false);
});
