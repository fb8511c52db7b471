import assert from "node:assert/strict";
import { test } from "node:test";

import { klineStream, tickerStream } from "../../clients/web/streams.js";
import { formatView, parseView } from "../../clients/web/view.js";

test("a view survives the way into the URL and back, beside foreign parameters", () => {
  const query = formatView({ symbol: "ETHUSDT", interval: "15m" }, "?theme=x&symbol=OLD");
  assert.deepEqual(parseView(query), { symbol: "ETHUSDT", interval: "15m" });
  assert.equal(new URLSearchParams(query).get("theme"), "x");
});

test("a symbol is read in any case, and what is no interval counts as the default", () => {
  assert.deepEqual(parseView("?symbol=btcusdt&interval=7m"), { symbol: "BTCUSDT", interval: "1m" });
  assert.deepEqual(parseView("?interval=constructor"), { symbol: "", interval: "1m" });
});

test("stream names carry market, lower-case symbol and kind", () => {
  assert.equal(tickerStream("BTCUSDT"), "spot:btcusdt@ticker");
  assert.equal(klineStream("1000SATSUSDT", "4h"), "spot:1000satsusdt@kline_4h");
});
