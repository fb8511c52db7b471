import assert from "node:assert/strict";
import { test } from "node:test";

import { Absence } from "../../clients/web/chart/absence.js";
import * as words from "../../clients/web/chart/words.js";
import { INTERVALS, intervalNamed, intervalsOf } from "../../clients/web/common/streams.js";

const bar = { openTime: Date.UTC(2026, 10, 21, 21, 45), open: "100.00", high: "110", low: "95.5", close: "101.50", volume: "1234.5" };

test("spot has all sixteen intervals, futures all but the second, and each has a name of its own", () => {
  assert.equal(intervalsOf("spot").length, 16);
  assert.deepEqual(intervalsOf("futures"), INTERVALS.slice(1));
  assert.equal(new Set(INTERVALS.map(words.intervalInWords)).size, 16);
  assert.deepEqual(["1m", "15m", "1M"].map(words.intervalInWords), ["1 minute", "15 minutes", "1 month"]);
});

test("an interval that the market lacks counts as the default", () => {
  assert.deepEqual([intervalNamed("1s", "spot"), intervalNamed("1s", "futures"), intervalNamed("7m", "spot")], ["1s", "1m", "1m"]);
});

test("the time of a candle is as fine as its interval", () => {
  const expected = { "1s": "2026-11-21 21:45:00", "1m": "2026-11-21 21:45", "12h": "2026-11-21 21:45", "1w": "2026-11-21", "1M": "2026-11" };
  for (const [interval, text] of Object.entries(expected)) assert.equal(words.formatOpenTime(bar.openTime, interval), text);
});

test("a countdown is as long as it must be and never runs below nothing", () => {
  const expected = [[-5, "00:00"], [1, "00:01"], [42_000, "00:42"], [3_599_000, "59:59"], [11_564_000, "03:12:44"], [188_000_000, "2 d 04:13"]];
  for (const [leftMs, text] of expected) assert.equal(words.formatCountdown(leftMs), text);
});

test("a candle's figures carry sign, arrow and digits, and one that is not there none", () => {
  const figures = words.figuresOf(bar, 2);
  assert.deepEqual([figures.high, figures.change, figures.direction, figures.volume], ["110.00", "▲ +1.50%", "up", "1.23K"]);
  assert.deepEqual(words.figuresOf(undefined, 2).change, "");
  assert.equal(words.figuresOf({ ...bar, open: "0" }, 2).change, "• –");
});

test("the chart is told in words", () => {
  const instrument = { market: "spot", baseAsset: "BTC", quoteAsset: "USDT" };
  const text = words.describeChart(instrument, "15m", bar, 2);
  assert.match(text, /^Candles of BTC in USDT, spot, 15 minutes each\. The last one, of 2026-11-21 21:45 UTC: open 100\.00,/);
  assert.match(text, /close 101\.50, up \+1\.50%, volume 1\.23K\.$/);
  assert.match(words.describeChart(instrument, "1m", undefined, 2), /None yet\.$/);
});

test("an absence lasts from the first loss to when everything is here, and is told once", () => {
  const absence = new Absence();
  const [lost, back, whole] = [
    { connection: "disconnected", exchange: "unknown" },
    { connection: "connected", exchange: "unknown" },
    { connection: "connected", exchange: "connected" },
  ];
  absence.note(whole, 0);
  assert.equal(absence.end(10), null);
  absence.note(lost, 1000);
  absence.note(back, 4000);
  assert.equal(absence.end(4500), null, "the exchange's feed may be down");
  absence.note({ connection: "connected", exchange: "disconnected" }, 5000);
  absence.note(whole, 9000);
  assert.equal(absence.end(43_000), 42_000);
  assert.equal(absence.end(44_000), null);
});
