import assert from "node:assert/strict";
import { test } from "node:test";

import { moved, nextSort, sortedIds, withAwaited } from "../../clients/web/watchlist/order.js";
import { SPARK_MINUTES, SparkSeries, pointsOf } from "../../clients/web/watchlist/spark-series.js";

const ROWS = [
  { id: "b", symbol: "B", last: 2, changePercent: -1 },
  { id: "new", symbol: "C", last: Number.NaN, changePercent: Number.NaN },
  { id: "a", symbol: "A", last: 10, changePercent: 3 },
  { id: "a2", symbol: "A", last: 10, changePercent: 0 },
];

test("rows are sorted either way, equals keep the user's order, and what has no figure yet comes last", () => {
  const order = (column, isDescending) => sortedIds(ROWS, { column, isDescending }).join();
  assert.equal(order("price", true), "a,a2,b,new");
  assert.equal(order("price", false), "b,a,a2,new");
  assert.equal(order("change", true), "a,a2,b,new");
  assert.equal(order("symbol", false), "a,a2,b,new");
  assert.equal(order("symbol", true), "new,b,a,a2");
  assert.equal(sortedIds(ROWS, null).join(), "b,new,a,a2");
});

test("clicks on a head sort by it, turn it round, and give the user's own order back", () => {
  let sort = nextSort(null, "price");
  assert.deepEqual(sort, { column: "price", isDescending: true });
  sort = nextSort(sort, "price");
  assert.deepEqual(sort, { column: "price", isDescending: false });
  assert.equal(nextSort(sort, "price"), null);
  assert.deepEqual(nextSort(sort, "symbol"), { column: "symbol", isDescending: false });
});

test("a row is moved before another one, or to the end", () => {
  assert.deepEqual(moved(["a", "b", "c"], "c", "a"), ["c", "a", "b"]);
  assert.deepEqual(moved(["a", "b", "c"], "a", "c"), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b", "c"], "a", undefined), ["b", "c", "a"]);
  assert.deepEqual(moved(["a", "b", "c"], "a", "a"), ["a", "b", "c"]);
});

test("what is listed and cannot be shown yet stays behind what it followed, however the rest is changed", () => {
  const whole = (...shown) => withAwaited(shown, ["X", "a", "Y", "Z", "b"], (id) => id < "a").join("");
  assert.equal(whole("a", "b"), "XaYZb");
  assert.equal(whole("b", "a", "c"), "XbaYZc");
  assert.equal(whole("b"), "XYZb");
  assert.equal(whole(), "XYZ");
  assert.equal(withAwaited(["b", "a"], ["a", "b"], () => false).join(""), "ba");
});

const MINUTE = 60_000;
const minutes = (series) => series.points.map(({ minute }) => minute);
const closes = (series) => series.points.map(({ close }) => close);

test("live prices go on where the history ends, and know more of its last minute", () => {
  const series = new SparkSeries();
  series.take(3 * MINUTE + 10, 33);
  series.load([{ minute: 1, close: 1 }, { minute: 2, close: 2 }, { minute: 3, close: 3 }]);
  series.take(4 * MINUTE, 4);
  series.take(4 * MINUTE + 59_999, 44);
  series.take(2 * MINUTE, 0);
  assert.deepEqual(minutes(series), [1, 2, 3, 4]);
  assert.deepEqual(closes(series), [1, 2, 33, 44]);
});

test("a history that is loaded again fills the hole of an absence", () => {
  const series = new SparkSeries();
  series.take(1 * MINUTE, 1);
  series.take(9 * MINUTE, 9);
  series.load([1, 2, 3, 4, 5, 6, 7, 8, 9].map((minute) => ({ minute, close: -minute })));
  assert.deepEqual(minutes(series), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(series.points.at(-1).close, 9);
});

test("a sparkline holds an hour, however long the page is open", () => {
  const series = new SparkSeries();
  for (let minute = 0; minute < 500; minute++) series.take(minute * MINUTE, minute);
  assert.equal(series.points.length, SPARK_MINUTES);
  assert.equal(series.points[0].minute, 440);
});

test("only what changes a line makes it be drawn again", () => {
  const series = new SparkSeries();
  series.take(MINUTE, 1);
  const { version } = series;
  series.take(MINUTE + 1, 1);
  assert.equal(series.version, version);
  series.take(MINUTE + 2, 2);
  assert.notEqual(series.version, version);
});

test("the rows of a history give a close for each minute", () => {
  assert.deepEqual(pointsOf([[120_000, "1", "3", "1", "2.5", "9", 179_999]]), [{ minute: 2, close: 2.5 }]);
});
