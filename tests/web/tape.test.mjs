import assert from "node:assert/strict";
import { test } from "node:test";

import { formatSize } from "../../clients/web/common/sizes.js";
import { formatCountdown, formatInstant, formatTime } from "../../clients/web/common/times.js";
import { formatRate, markOf } from "../../clients/web/futures/mark.js";
import { Backlog } from "../../clients/web/trades/backlog.js";
import { gapWords, liquidationOf, tradeOf, tradesBefore } from "../../clients/web/trades/payloads.js";

const trade = (id) => tradeOf({ a: id, p: "67012.30", q: "0.005", T: 1_000 + id, m: true });

test("a backlog keeps the latest entries, and counts all", () => {
  const backlog = new Backlog(3);
  for (let at = 1; at <= 100; at += 1) backlog.push(at);
  assert.equal(backlog.size, 100);
  assert.deepEqual(backlog.drain(), [98, 99, 100]);
  assert.deepEqual([backlog.size, backlog.drain()], [0, []]);
});

test("a trade is bought unless the buyer was there before", () => {
  assert.deepEqual(trade(7), { id: 7, price: 67012.3, size: 0.005, timeMs: 1007, isBuy: false });
  assert.equal(tradeOf({ a: 1, p: "1", q: "1", T: 1, m: false }).isBuy, true);
});

test("a liquidation is told by what was filled of it, at which price", () => {
  const o = { S: "SELL", p: "9", ap: "10.5", q: "3", z: "2", T: 5 };
  assert.deepEqual(liquidationOf({ o }), { price: 10.5, size: 2, timeMs: 5, isBuy: false });
});

test("earlier trades are those before the first live one, and join it or are none", () => {
  const rows = [1, 2, 3, 4].map(trade);
  const ids = (first) => tradesBefore(rows, first)?.map(({ id }) => id);
  assert.deepEqual(ids(3), [1, 2]);
  assert.deepEqual(ids(5), [1, 2, 3, 4]);
  assert.equal(ids(6), undefined);
  assert.deepEqual(ids(Infinity), [1, 2, 3, 4]);
  assert.deepEqual(tradesBefore([], 6), []);
});

test("what is missing is counted and explained", () => {
  const gap = (missed, reason) => gapWords({ stream: "", until: 1, missed, reason }, "trade");
  assert.equal(gap(12, "upstream"), "12 trades missed (lost by the feed)");
  assert.equal(gap(1, "conflated"), "1 trade missed (connection too slow)");
  assert.equal(gap(1234, "dropped"), "1,234 trades missed (connection too slow)");
  assert.equal(gap(null, "unrecovered"), "Some trades missed (while away)");
});

test("sizes have the digits of their step while there is room", () => {
  assert.equal(formatSize(0.512, 5), "0.51200");
  assert.equal(formatSize(12345.6789, 5), "12,345.6789");
  assert.equal(formatSize(123_456.789, 5), "123,456.789");
  assert.equal(formatSize(1_240_000, 0), "1.24M");
});

test("times are UTC, to the second or the millisecond", () => {
  const ms = Date.UTC(2026, 10, 21, 21, 48, 43, 123);
  assert.equal(formatTime(ms), "21:48:43");
  assert.equal(formatInstant(ms), "2026-11-21 21:48:43.123 UTC");
});

test("a countdown ends at nothing, and counts hours beyond a day", () => {
  const expected = [[28_751_000, "07:59:11"], [999, "00:00:01"], [0, "00:00:00"], [-5_000, "00:00:00"], [111_600_000, "31:00:00"]];
  for (const [leftMs, text] of expected) assert.equal(formatCountdown(leftMs), text);
});

test("a funding rate is a share in percent; without funding there is none", () => {
  assert.equal(formatRate(0.0001), "+0.0100%");
  assert.equal(formatRate(-0.000123), "−0.0123%");
  const without = markOf({ p: "1", i: "1", r: "", T: 0, E: 5 });
  assert.equal(formatRate(without.fundingRate), "–");
});
