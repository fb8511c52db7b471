import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../clients/web/common/clock.js";
import { RecentValues } from "../../clients/web/common/recent.js";
import { connectionLight, exchangeLight, markOf } from "../../clients/web/status/lights.js";
import { eventTimeOf, formatMs, sharesOf, splitOf } from "../../clients/web/status/split.js";

test("the clock is the one of the quickest answer", () => {
  const clock = new ServerClock();
  assert.ok(Number.isNaN(clock.at(0)));
  clock.note({ askedAt: 100, answeredAt: 300, serverTime: 5_250 }); // late on its way back: 50 ms wrong
  assert.deepEqual([clock.at(200), clock.errorMs], [5_250, 100]);
  clock.note({ askedAt: 400, answeredAt: 404, serverTime: 5_402 });
  assert.deepEqual([clock.at(402), clock.at(1402), clock.errorMs], [5_402, 6_402, 2]);
  clock.note({ askedAt: 500, answeredAt: 590, serverTime: 5_500 });
  assert.equal(clock.at(402), 5_402);
});

test("a quick answer is good for a minute, of another server not at all", () => {
  const clock = new ServerClock();
  clock.note({ askedAt: 0, answeredAt: 1, serverTime: 1_000.5 });
  clock.note({ askedAt: 61_000, answeredAt: 61_010, serverTime: 63_005 });
  assert.equal(clock.at(61_005), 63_005);
  clock.reset();
  assert.equal(clock.isKnown, false);
});

test("percentiles are of the last values, by their time and by their number", () => {
  const recent = new RecentValues(1000, 4);
  assert.equal(recent.percentiles(0), null);
  recent.note(100, 0);
  recent.note(-3, 500);
  assert.deepEqual(recent.percentiles(900), { p50: 100, p95: 100, samples: 2 });
  assert.deepEqual(recent.percentiles(1200), { p50: -3, p95: -3, samples: 1 });
  for (const value of [9, 1, 8, 2]) recent.note(value, 2000);
  assert.deepEqual(recent.percentiles(2000), { p50: 8, p95: 9, samples: 4 });
  recent.clear();
  assert.equal(recent.percentiles(2000), null);
});

test("an event's time is that of the exchange's own message", () => {
  assert.equal(eventTimeOf({ e: "trade", E: 7 }), 7);
  assert.equal(eventTimeOf([{ E: 8 }, { E: 9 }]), 8);
  for (const other of [null, "text", [], { u: 1 }, { E: 7, source: "poll" }, { e: "bookSnapshot", E: 7 }]) {
    assert.equal(eventTimeOf(other), null);
  }
});

test("each part is what is left without the parts before it", () => {
  const of = (p50, p95) => ({ p50, p95, samples: 10 });
  const { parts, total } = splitOf(of(30, 40), of(25, 60), of(55, 95), { publish: of(1, 3), bus: of(5, 9), socket: null });
  assert.deepEqual(
    [parts.exchange.p50, parts.ingest.p50, parts.bus, parts.browser, total.p95],
    [30, 1, { p50: 4, p95: 6 }, { p50: 20, p95: 55 }, 95],
  );
  assert.deepEqual(sharesOf(parts), { exchange: 30 / 55, ingest: 1 / 55, bus: 4 / 55, browser: 20 / 55 });
});

test("what nobody knows is not made up", () => {
  const { parts } = splitOf(null, { p50: 9, p95: 9, samples: 1 }, null, null);
  assert.deepEqual(parts, { exchange: null, ingest: null, bus: null, browser: null });
  assert.deepEqual(sharesOf(parts), { exchange: 0, ingest: 0, bus: 0, browser: 0 });
});

test("times are written in a few digits", () => {
  const expected = { 0.04: "0.0 ms", 0.44: "0.4 ms", 9.94: "9.9 ms", 9.96: "10 ms", 123.4: "123 ms", 1250: "1.25 s", "-12.2": "−12 ms" };
  for (const [ms, text] of Object.entries(expected)) assert.equal(formatMs(Number(ms)), text);
  assert.equal(formatMs(-0.04), "0.0 ms");
  for (const unknown of [undefined, Number.NaN]) assert.equal(formatMs(unknown), "–");
});

test("the lights say what is lost, for how long, and why", () => {
  assert.deepEqual(connectionLight("connected", 9e9, ""), { state: "connected", words: "connected", age: "" });
  assert.deepEqual(connectionLight("disconnected", 14_500, ""), { state: "disconnected", words: "lost, retrying", age: "14 s" });
  assert.equal(connectionLight("disconnected", 1, "not let in").words, "not let in");
  assert.equal(connectionLight("closed", 1, "closed: forbidden").words, "closed: forbidden");
  assert.equal(exchangeLight("connected", 9e9, 5000).state, "connected");
  assert.equal(exchangeLight("connected", 9e9, Number.NaN).state, "connected");
  assert.deepEqual(exchangeLight("connected", 9e9, 14_500), { state: "stale", words: "stale, silent", age: "14 s" });
  assert.deepEqual(exchangeLight("disconnected", 61_000, 80_000), { state: "disconnected", words: "down", age: "1 min" });
  assert.equal(exchangeLight("unknown", 5, 80_000).state, "unknown");
});

test("what is not the real market says so", () => {
  assert.deepEqual(["binance", "simulated", "replay", ""].map(markOf), ["", "SIMULATED", "REPLAY", ""]);
});
