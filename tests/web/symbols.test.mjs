import assert from "node:assert/strict";
import { test } from "node:test";

import { resolveSymbol, symbolOf } from "../../clients/web/symbols.js";

const infos = [
  { symbol: "LINKBTC", baseAsset: "LINK" },
  { symbol: "LINKUSDT", baseAsset: "LINK" },
  { symbol: "OLDBTC", baseAsset: "OLD" },
];
const trading = new Map(infos.map((info) => [info.symbol, info]));
const resolved = (text) => resolveSymbol(symbolOf(text), trading)?.symbol;

test("a symbol is found in any case and with what people put between its assets", () => {
  for (const text of ["LINKBTC", "linkbtc", " Link/BTC ", "link-btc", "LINK_BTC"]) assert.equal(resolved(text), "LINKBTC");
});

test("an asset alone means its symbol in USDT, or the one that there is", () => {
  assert.equal(resolved("link"), "LINKUSDT");
  assert.equal(resolved("old"), "OLDBTC");
});

test("what means nothing is not found", () => {
  for (const text of ["", "usdt", "LINKUSD", "constructor"]) assert.equal(resolved(text), undefined);
});
