import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalog, goesOn, haltLabel, symbolOf } from "../../clients/web/common/instruments.js";

const LINK = { market: "spot", symbol: "LINKUSDT", baseAsset: "LINK", status: "TRADING" };
const OLD = { market: "spot", symbol: "OLDBTC", baseAsset: "OLD", status: "TRADING" };
const PERPETUAL = { market: "futures", symbol: "LINKUSDT", baseAsset: "LINK", status: "TRADING" };

test("a symbol is read in any case and with what people put between its assets", () => {
  for (const text of ["LINKBTC", "linkbtc", " Link/BTC ", "link-btc", "LINK_BTC"]) assert.equal(symbolOf(text), "LINKBTC");
});

test("the same symbol of another market is another instrument, and no name of JavaScript's own is one", () => {
  const catalog = new Catalog([LINK, PERPETUAL], []);
  assert.equal(catalog.get("futures:LINKUSDT"), PERPETUAL);
  assert.equal(catalog.get("spot:LINKUSDT"), LINK);
  assert.equal(catalog.get("constructor"), undefined);
});

test("a default that is not listed any more is left out", () => {
  assert.deepEqual(new Catalog([LINK], ["spot:LINKUSDT", "spot:GONEUSDT"]).defaults, ["spot:LINKUSDT"]);
});

test("what a later catalog does not list any more stays as delisted, and what it lists is as it says", () => {
  const halted = { ...LINK, status: "HALT" };
  const catalog = new Catalog([halted], []).following(new Catalog([LINK, OLD], []));
  assert.deepEqual(catalog.get("spot:OLDBTC"), { ...OLD, status: "DELISTED" });
  assert.deepEqual(catalog.get("spot:LINKUSDT"), halted);
});

test("a market that a restarted server does not know yet is not delisted", () => {
  const catalog = new Catalog([LINK], []).following(new Catalog([LINK, PERPETUAL], []));
  assert.equal(catalog.get("futures:LINKUSDT").status, "TRADING");
});

test("what is not known of a market yet may come, and what is not listed in a known one does not", () => {
  const begun = new Catalog([LINK], [], ["futures"]);
  assert.equal(begun.isWhole, false);
  assert.deepEqual(["futures:LINKUSDT", "spot:GONEUSDT", "moon:X"].map((id) => begun.awaits(id)), [true, false, false]);
  assert.equal(new Catalog([LINK, PERPETUAL], []).following(begun).isWhole, true);
  assert.equal(begun.following(new Catalog([LINK, PERPETUAL], [])).isWhole, true);
  assert.equal(begun.following(begun).awaits("futures:LINKUSDT"), true);
});

test("what shows an instrument goes on, unless it is another one, is rounded otherwise or trades again", () => {
  const halted = { ...LINK, status: "HALT" };
  for (const [shown, now] of [[LINK, { ...LINK }], [LINK, halted], [halted, halted]]) assert.equal(goesOn(shown, now), true);
  for (const [shown, now] of [[null, LINK], [LINK, PERPETUAL], [LINK, OLD], [halted, LINK]]) assert.equal(goesOn(shown, now), false);
  for (const size of ["tickSize", "stepSize"]) assert.equal(goesOn(LINK, { ...LINK, [size]: "0.5" }), false);
});

test("an instrument that is not traded says so in a word", () => {
  const words = { TRADING: "", HALT: "halted", BREAK: "break", SETTLING: "settling", PENDING_TRADING: "not open yet", DELISTED: "delisted", NEW_STATE: "new state" };
  for (const [status, word] of Object.entries(words)) assert.equal(haltLabel(status), word);
});
