import assert from "node:assert/strict";
import { test } from "node:test";

import { streamOf } from "../../clients/web/common/streams.js";
import { formatView, formatWatch, parseView, parseWatch } from "../../clients/web/shell/view.js";

test("a view survives the way into the URL and back, beside foreign parameters", () => {
  for (const market of ["spot", "futures"]) {
    const view = { market, symbol: "ETHUSDT", interval: "15m" };
    const query = formatView(view, "?theme=x&symbol=OLD&market=futures");
    assert.deepEqual(parseView(query), view);
    assert.equal(new URLSearchParams(query).get("theme"), "x");
  }
});

test("a symbol is read in any case, and what is unknown counts as the default", () => {
  assert.deepEqual(parseView("?symbol=btcusdt&interval=7m&market=moon"), {
    market: "spot",
    symbol: "BTCUSDT",
    interval: "1m",
  });
  assert.deepEqual(parseView("?interval=constructor"), { market: "spot", symbol: "", interval: "1m" });
});

test("stream names carry market, lower-case symbol and kind", () => {
  assert.equal(streamOf({ market: "spot", symbol: "BTCUSDT" }, "ticker"), "spot:btcusdt@ticker");
  assert.equal(streamOf({ market: "futures", symbol: "1000SATSUSDT" }, "kline_4h"), "futures:1000satsusdt@kline_4h");
});

test("a watchlist survives the way into a link and back, of both markets, and can be read there", () => {
  const ids = ["spot:BTCUSDT", "futures:BTCUSDT", "spot:1INCHUSDT"];
  const query = formatWatch(ids, "?symbol=ETHUSDT&interval=1m");
  assert.equal(query, "?symbol=ETHUSDT&interval=1m&watch=BTCUSDT,futures:BTCUSDT,1INCHUSDT");
  assert.deepEqual(parseWatch(query), ids);
  assert.equal(formatWatch(null, query), "?symbol=ETHUSDT&interval=1m");
});

test("a watchlist that somebody wrote by hand is read with what people put into it", () => {
  assert.deepEqual(parseWatch("?watch=btcusdt,%20ETHUSDT,,Futures:btcusdt,BTCUSDT"), [
    "spot:BTCUSDT",
    "spot:ETHUSDT",
    "futures:BTCUSDT",
  ]);
  for (const query of ["", "?watch=", "?symbol=BTCUSDT"]) assert.equal(parseWatch(query), null);
});

test("a list in a link cannot smuggle in another parameter", () => {
  const query = formatWatch(["spot:A&symbol=B#C"], "?symbol=BTCUSDT");
  assert.equal(new URLSearchParams(query).getAll("symbol").join(), "BTCUSDT");
});
