import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalog, idOf, symbolOf } from "../../clients/web/common/instruments.js";

const catalog = new Catalog(
  [
    { market: "spot", symbol: "LINKBTC", baseAsset: "LINK" },
    { market: "spot", symbol: "LINKUSDT", baseAsset: "LINK" },
    { market: "spot", symbol: "OLDBTC", baseAsset: "OLD" },
    { market: "futures", symbol: "LINKUSDT", baseAsset: "LINK" },
  ],
  ["spot:LINKUSDT", "spot:GONEUSDT"],
);
const resolved = (text, market = "spot") => {
  const found = catalog.resolve(symbolOf(text), market);
  return found && idOf(found);
};

test("a symbol is found in any case and with what people put between its assets", () => {
  for (const text of ["LINKBTC", "linkbtc", " Link/BTC ", "link-btc", "LINK_BTC"]) {
    assert.equal(resolved(text), "spot:LINKBTC");
  }
});

test("an asset alone means its symbol in USDT, or the one that there is", () => {
  assert.equal(resolved("link"), "spot:LINKUSDT");
  assert.equal(resolved("old"), "spot:OLDBTC");
});

test("the same symbol of another market is another instrument", () => {
  assert.equal(resolved("link", "futures"), "futures:LINKUSDT");
  assert.equal(resolved("linkbtc", "futures"), undefined);
});

test("what means nothing is not found", () => {
  for (const text of ["", "usdt", "LINKUSD", "constructor"]) assert.equal(resolved(text), undefined);
});

test("a default that is not listed any more is left out", () => {
  assert.deepEqual(catalog.defaults, ["spot:LINKUSDT"]);
});
