import assert from "node:assert/strict";
import { test } from "node:test";

import { depthOf, outlineOf } from "../../clients/web/book/depth.js";
import { bidShareOf, groupDecimals, groupingsOf, ladderOf, spreadOf, stepsOf } from "../../clients/web/book/levels.js";

const STEPS = stepsOf({ tickSize: "0.10", stepSize: "0.001" });
const BIDS = [["100.5", "0.100"], ["100.4", "0.200"], ["99.9", "1.000"], ["99.0", "0.003"]];
const ASKS = [["100.7", "0.100"], ["101.0", "0.300"], ["101.1", "0.700"]];

test("each rung carries the total of all that are better, without an error of addition", () => {
  const tenths = Array.from({ length: 30 }, (_, at) => [(100 - at / 10).toFixed(1), "0.1"]);
  const { bids } = ladderOf(tenths, [], STEPS, 1, 30);
  assert.deepEqual(bids.map(({ totalLots }) => totalLots), tenths.map((_, at) => (at + 1) * 100));
});

test("in groups bids are rounded down and asks up, so that they never meet", () => {
  const { bids, asks } = ladderOf(BIDS, ASKS, STEPS, 10, 9);
  assert.deepEqual(bids, [
    { ticks: 1000, lots: 300, totalLots: 300 },
    { ticks: 990, lots: 1003, totalLots: 1303 },
  ]);
  assert.deepEqual(asks, [
    { ticks: 1010, lots: 400, totalLots: 400 },
    { ticks: 1020, lots: 700, totalLots: 1100 },
  ]);
  for (const group of [1, 10, 100, 1000]) {
    const ladder = ladderOf([["100.0", "1"]], [["100.1", "1"]], STEPS, group, 1);
    assert.ok(ladder.bids[0].ticks < ladder.asks[0].ticks);
  }
});

test("a ladder ends after its last whole rung", () => {
  const { bids } = ladderOf(BIDS, ASKS, STEPS, 10, 1);
  assert.deepEqual(bids, [{ ticks: 1000, lots: 300, totalLots: 300 }]);
});

test("the spread is counted in ticks and in percent of the middle", () => {
  assert.deepEqual(spreadOf(["99.9", "1"], ["100.1", "1"], STEPS), { ticks: 2, percent: 0.2 });
  assert.equal(spreadOf(undefined, ["100.1", "1"], STEPS), null);
});

test("the bids' share is that of what is shown", () => {
  assert.equal(bidShareOf(ladderOf(BIDS, ASKS, STEPS, 1, 1)), 0.5);
  assert.equal(bidShareOf({ bids: [], asks: [] }), null);
});

test("groups are tenfolds of the tick up to a hundredth of the price", () => {
  assert.deepEqual(groupingsOf(67_000, 0.1), [1, 10, 100, 1000]);
  assert.deepEqual(groupingsOf(0.5, 0.0001), [1, 10]);
  assert.deepEqual(groupingsOf(0.00002, 0.00000001), [1, 10]);
  assert.deepEqual(groupingsOf(0.00000002, 0.00000001), [1]);
});

test("grouped prices have the digits of their group", () => {
  assert.deepEqual([1, 10, 100].map((group) => groupDecimals("0.10", group)), [1, 0, 0]);
  assert.equal(groupDecimals("0.00000100", 10), 5);
});

test("the depth chart reaches as far on both sides, and no further than the book", () => {
  const depth = depthOf([["100.0", "1"], ["99.5", "2"], ["99.0", "4"]], [["100.2", "1"], ["100.6", "1"]], STEPS);
  assert.deepEqual([depth.middle, depth.half], [1001, 5]);
  assert.deepEqual(depth.bids.map(({ totalLots }) => totalLots), [1000]);
  assert.deepEqual(depth.asks.map(({ totalLots }) => totalLots), [1000, 2000]);
  assert.equal(depth.fullLots, 2000);
  assert.equal(outlineOf(depth.asks, depth, "right"), "M50 102H60.00V50.00H100.00V0.00H102V102Z");
  assert.equal(outlineOf(depth.bids, depth, "left"), "M50 102H40.00V50.00H-2V102Z");
});

test("the depth chart of a long book has few steps", () => {
  const side = (sign) => Array.from({ length: 1000 }, (_, at) => [(60_000 + sign * (at + 1) / 10).toFixed(1), "0.5"]);
  const depth = depthOf(side(-1), side(1), STEPS);
  for (const rungs of [depth.bids, depth.asks]) assert.ok(rungs.length > 100 && rungs.length <= 121);
  assert.equal(depth.bids.at(-1).totalLots, 500_000);
});

test("a side that is empty leaves no depth chart", () => {
  assert.equal(depthOf([], ASKS, STEPS), null);
});
