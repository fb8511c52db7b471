// The library against the server at TICKCAST_URL, with nothing in between.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { connect, TickcastError } from "../../clients/js/src/index.js";

const URL = process.env.TICKCAST_URL;
const client = connect(URL);
after(() => client.close());

/** The first `count` messages, after which the loop is left. */
async function read(messages, count) {
  const taken = [];
  for await (const message of messages) {
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

/** Resolves once `condition` holds at one of the events of `emitter`. */
function reached(emitter, event, condition) {
  return new Promise((resolve) => {
    const end = emitter.on(event, (body) => {
      if (!condition(body)) return;
      end();
      resolve(body);
    });
  });
}

const isContiguous = (ids) => ids.every((id, at) => at === 0 || id === ids[at - 1] + 1);

test("who left is sent nothing more", async () => {
  const figures = async () => (await (await fetch(`${URL}/stats`)).json()).data.total_subscriptions;
  await read(client.subscribe({ streams: ["ethusdt@trade"] }), 1);
  const before = await figures();
  await client.subscribe({ streams: ["solusdt@trade"], onMessage: () => {} }).unsubscribe(); // before its answer
  assert.equal(await figures(), before);
  const trades = client.subscribe({ streams: ["adausdt@trade", "bnbusdt@trade"], onMessage: () => {} });
  await trades.ready;
  assert.equal(await figures(), before + 2);
  await trades.unsubscribe();
  assert.equal(await figures(), before);
});

test("the server's time is ours within what it took to ask, and its hops are told once they are known", async () => {
  const trades = client.subscribe({ streams: ["btcusdt@trade"], onMessage: () => {} });
  const heard = await reached(client, "message", ({ stream }) => stream === "spot:btcusdt@trade");
  assert.deepEqual(Object.keys(heard), ["kind", "stream", "cursor", "ts", "data", "isSnapshot"]);
  let told = await client.time();
  for (let asked = 0; !Object.values(told.hops).every(Boolean) && asked < 100; asked += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    told = await client.time();
  }
  assert.ok(performance.timeOrigin + told.askedAt <= told.serverTime + 1);
  assert.ok(told.serverTime <= performance.timeOrigin + told.answeredAt + 1);
  assert.ok(told.lastMessage <= told.serverTime);
  for (const { p50, p95, samples } of Object.values(told.hops)) assert.ok(0 <= p50 && p50 <= p95 && samples > 0);
  await trades.unsubscribe();
});

describe("all at once", { concurrency: true }, () => {
  test("a refused stream is told by code and suggestion, and the others come", async () => {
    const told = [];
    const trades = client.subscribe({ streams: ["BTCUSDT@trade", "btcusd@trade", "btcusdt@nothing"] });
    trades.on("rejected", (refusal) => told.push(refusal));
    const { streams, rejected } = await trades.ready;
    assert.deepEqual(streams, ["spot:btcusdt@trade"]);
    assert.deepEqual(rejected, told);
    assert.deepEqual(
      told.map(({ stream, code }) => `${stream} ${code}`),
      ["btcusd@trade unknown_symbol", "btcusdt@nothing invalid_stream"],
    );
    assert.match(told[0].suggestion, /BTCUSDT/i);
    const [first, second] = await read(trades, 2);
    assert.deepEqual([first.kind, first.stream, first.isSnapshot], ["trade", "spot:btcusdt@trade", false]);
    assert.equal(second.data.t, first.data.t + 1);
  });

  test("where nothing is accepted, readiness and the loop fail with the reason", async () => {
    const nothing = client.subscribe({ streams: ["nosuchcoin@trade"] });
    await assert.rejects(nothing.ready, (error) => error instanceof TickcastError && error.code === "unknown_symbol");
    await assert.rejects(read(nothing, 1), { code: "unknown_symbol" });
    const malformed = client.subscribe({ streams: ["btcusdt@trade"], throttle: 7 });
    await assert.rejects(malformed.ready, { code: "bad_request" });
  });

  test("the state so far comes first, then what is newer", async () => {
    await read(client.subscribe({ streams: ["btcusdt@bookTicker"] }), 1); // somebody wants it: it has a state
    const [first, ...others] = await read(client.subscribe({ streams: ["btcusdt@bookTicker"] }), 4);
    assert.equal(first.isSnapshot, true);
    let last = first.cursor;
    for (const { cursor, isSnapshot } of others) {
      assert.equal(isSnapshot, false);
      assert.ok(cursor > last);
      last = cursor;
    }
  });

  test("two subscriptions share a stream, each gets every message once, and one may leave", async () => {
    const heard = [];
    const one = client.subscribe({ streamType: "trade", symbols: "BTCUSDT", onMessage: ({ data }) => heard.push(data.t) });
    await one.ready;
    const other = client.subscribe({ streams: ["btcusdt@trade"] });
    const ids = (await read(other, 8)).map(({ data }) => data.t); // and leaves
    assert.ok(isContiguous(ids));
    await other.unsubscribe();
    const count = heard.length;
    await read(client.subscribe({ streams: ["btcusdt@aggTrade", "btcusdt@trade"] }), 12);
    assert.ok(heard.length > count);
    assert.ok(isContiguous(heard), heard.join(" "));
    await one.unsubscribe();
  });

  test("all symbols are one subscription, complete for each of them", async () => {
    const all = client.subscribe({ streamType: "trade", symbols: "ALL" });
    const named = client.subscribe({ streams: ["btcusdt@trade"], onMessage: () => {} });
    const ids = new Map();
    for (const { data } of await read(all, 60)) ids.set(data.s, [...(ids.get(data.s) ?? []), data.t]);
    assert.ok(ids.size >= 3);
    for (const [symbol, each] of ids) assert.ok(isContiguous(each), symbol);
    await named.unsubscribe();
  });

  test("a loop that is too slow is told what it has not read", async () => {
    const gaps = [];
    const trades = client.subscribe({ streams: ["btcusdt@trade"], queueLimit: 2 });
    trades.on("gap", (gap) => gaps.push(gap));
    const reader = trades[Symbol.asyncIterator]();
    const first = (await reader.next()).value.data.t;
    await read(client.subscribe({ streams: ["btcusdt@trade"] }), 6);
    const next = (await reader.next()).value.data.t;
    await reader.return();
    assert.deepEqual(gaps, [{ stream: "spot:btcusdt@trade", missed: next - first - 1, until: next - 1, reason: "unread" }]);
  });

  test("candles of the past lead to live ones without a seam, and end as the exchange closed them", async () => {
    const chart = client.candles({ symbol: "btcusdt", interval: "1s", limit: 30 });
    const past = [...(await chart.ready)];
    assert.ok(past.length >= 30);
    let closed = 0;
    await reached(chart, "candle", ({ isClosed }) => isClosed && (closed += 1) === 2);
    const shown = chart.candles.filter(({ isClosed }) => isClosed).slice(-4);
    assert.equal(chart.candles.length, 30);
    assert.ok(chart.candles.every(({ openTime }, at, all) => at === 0 || openTime === all[at - 1].openTime + 1000));
    const [{ openTime: startTime }] = shown;
    const rows = await client.getHistoricalKlines({ symbol: "btcusdt", interval: "1s", startTime, limit: 4 });
    assert.deepEqual(
      shown.map((bar) => [bar.openTime, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades]),
      rows.map((row) => [...row.slice(0, 6), row[8]]),
    );
    await chart.close();
  });

  test("older candles lead back without a seam, to the beginning of history", async () => {
    const chart = client.candles({ symbol: "ETHUSDT", interval: "1M", market: "futures", limit: 20 });
    chart.on("reset", ([first]) => starts.push(first.openTime));
    const starts = [];
    const added = await chart.loadOlder(30);
    assert.equal(added, 30);
    assert.equal(chart.candles.length, 50);
    assert.equal(starts.length, 2);
    assert.ok(chart.candles.every(({ openTime }, at, all) => at === 0 || openTime === all[at - 1].closeTime + 1));
    const [rest, more] = [await chart.loadOlder(5000), await chart.loadOlder()];
    assert.ok(rest > 0);
    assert.equal(more, 0);
    assert.equal(chart.candles.length, 50 + rest);
    await chart.close();
    await assert.rejects(chart.loadOlder(), { code: "closed" });
  });

  test("history is asked for in turns, and a refusal is an error with its code", async () => {
    const asked = Array.from({ length: 12 }, (_, at) =>
      client.getHistoricalKlines({ symbol: "ETHUSDT", interval: "1m", limit: at + 1, market: "futures" }),
    );
    assert.deepEqual((await Promise.all(asked)).map(({ length }) => length), Array.from({ length: 12 }, (_, at) => at + 1));
    await assert.rejects(client.getHistoricalKlines({ symbol: "NOSUCH", interval: "1m" }), { code: "unknown_symbol" });
    const refused = client.candles({ symbol: "NOSUCH", interval: "1m" });
    await assert.rejects(refused.ready, { code: "unknown_symbol" });
  });

  test("a book stays in sync and is never crossed", async () => {
    const book = client.orderBook("ethusdt", { market: "futures" });
    await book.ready;
    const [best] = book.bids(1);
    assert.ok(Number(best[0]) < Number(book.asks(1)[0][0]));
    let [changes, last] = [0, book.updateId];
    await reached(book, "change", () => {
      assert.ok(book.isInSync);
      assert.ok(book.updateId > last);
      last = book.updateId;
      assert.ok(Number(book.bids(1)[0][0]) < Number(book.asks(1)[0][0]));
      return (changes += 1) === 15;
    });
    assert.ok(book.bids().length > 20);
    assert.ok(book.bids().every(([price], at, all) => at === 0 || Number(price) < Number(all[at - 1][0])));
    await book.close();
    assert.equal(book.isInSync, false);
    await assert.rejects(client.orderBook("nosuch").ready, { code: "unknown_symbol" });
  });

  test("a recording is replayed whole, beside everything live", async () => {
    const find = async () => (await (await fetch(`${URL}/replay`)).json()).data.recordings;
    let recordings = await find();
    while (recordings.length === 0) recordings = await find();
    const replay = client.replay({ recording: recordings[0].id, streams: ["btcusdt@trade"], speed: 0 });
    const { streams } = await replay.started;
    assert.deepEqual(streams, ["spot:btcusdt@trade"]);
    const ids = [];
    for await (const { kind, data } of replay) if (kind === "trade") ids.push(data.t);
    const { sent, reason } = await replay.ended;
    assert.deepEqual([sent, reason], [ids.length, "finished"]);
    assert.ok(isContiguous(ids));
    const unknown = client.replay({ recording: "nosuch", streams: ["btcusdt@trade"] });
    await assert.rejects(unknown.started, { code: "unknown_recording" });
  });

  test("long polling brings the same", async () => {
    const polling = connect(URL, { transports: ["polling"] });
    const ids = (await read(polling.subscribe({ streams: ["btcusdt@trade"] }), 10)).map(({ data }) => data.t);
    assert.ok(isContiguous(ids));
    polling.close();
  });

  test("closing ends every loop, and nothing can be asked for any more", async () => {
    const closing = connect(URL);
    const trades = closing.subscribe({ streams: ["btcusdt@trade"] });
    await trades.ready;
    assert.equal(closing.state.connection, "connected");
    assert.equal(closing.state.source, "simulated");
    closing.close();
    assert.deepEqual((await read(trades, 1e6)).filter(({ kind }) => kind !== "trade"), []);
    assert.equal(closing.state.connection, "closed");
    assert.throws(() => closing.subscribe({ streams: ["btcusdt@trade"] }), { code: "closed" });
    await assert.rejects(closing.getHistoricalKlines({ symbol: "BTCUSDT", interval: "1m" }), { code: "closed" });
  });
});
