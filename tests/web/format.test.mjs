import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "../../clients/web/common/format.js";

test("decimals come from the tick size, however it is written", () => {
  const expected = { "0.01000000": 2, "0.00000001": 8, "1.00000000": 0, 10: 0, "0.5": 1, "1e-8": 8, "2.5E-3": 4 };
  for (const [tickSize, decimals] of Object.entries(expected)) assert.equal(format.decimalsOf(tickSize), decimals, tickSize);
});

test("a price has the digits of its tick size, so that dear and cheap symbols both read well", () => {
  assert.equal(format.formatPrice(67012.3, 2), "67,012.30");
  assert.equal(format.formatPrice(0.00001423, 8), "0.00001423");
  assert.equal(format.formatPrice(151, 0), "151");
});

test("what is no number is a dash, not NaN", () => {
  for (const write of [format.formatPrice, format.formatChange]) assert.equal(write(Number.NaN, 2), "–");
  assert.equal(format.formatPercent(Number.NaN), "–");
  assert.equal(format.formatVolume(Number.NaN), "–");
});

test("a change carries its sign, and one that rounds to nothing has none", () => {
  assert.equal(format.formatChange(1786.86, 2), "+1,786.86");
  assert.equal(format.formatChange(-0.0004, 4), "−0.0004");
  assert.equal(format.formatChange(-0.001, 2), "0.00");
  assert.equal(format.formatPercent(-2.718), "−2.72%");
});

test("volumes are written in three or more digits and a unit", () => {
  assert.equal(format.formatVolume(1_240_000_000), "1.24B");
  assert.equal(format.formatVolume(870_500), "870.50K");
});

test("ages use their largest whole unit and never run backwards", () => {
  const expected = [[0, "0 s"], [14_900, "14 s"], [60_000, "1 min"], [7_200_000, "2 h"], [200_000_000, "2 d"], [-5, "0 s"]];
  for (const [ageMs, text] of expected) assert.equal(format.formatAge(ageMs), text);
});

test("a value is stale only after more than five seconds", () => {
  assert.equal(format.staleLabel(1000, 6000), "");
  assert.equal(format.staleLabel(1000, 6001), "stale 5 s");
  assert.equal(format.staleLabel(1000, 15_200), "stale 14 s");
});

test("each direction has a sign of its own beside its colour", () => {
  const arrows = [1, -1, 0].map((change) => format.arrowOf(format.directionOf(change)));
  assert.deepEqual(arrows, ["▲", "▼", "•"]);
});
