import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { Book } from "../../clients/js/src/book.js";
import { CandleSeries, MAX_CANDLES, barOfCandle } from "../../clients/js/src/candle-series.js";
import { Candles } from "../../clients/js/src/candles.js";
import { Cursors, MAX_CURSORS } from "../../clients/js/src/cursors.js";
import { Emitter } from "../../clients/js/src/emitter.js";
import { OrderBook } from "../../clients/js/src/order-book.js";
import { BoundedQueue } from "../../clients/js/src/queue.js";
import { Streams } from "../../clients/js/src/streams.js";
import { Subscription } from "../../clients/js/src/subscription.js";
import { everyOf, kindOf } from "../../clients/js/src/stream-names.js";
import { Turns } from "../../clients/js/src/turns.js";

const STREAM = "spot:btcusdt@kline_1m";
const message = (cursor, ts, data = {}) => ({ stream: STREAM, cursor, ts, data });

test("a message that has come is no news, whichever way it comes again", () => {
  const cursors = new Cursors();
  const taken = [message(1, 1000), message(2, 1100), message(1, 1000), message(2, 1100), message(3, 1200)];
  assert.deepEqual(taken.map((each) => cursors.accepts(each)), [true, true, false, false, true]);
  assert.deepEqual(cursors.since, { [STREAM]: 3 });
});

test("the last of a candle and the first of the next share a cursor and are both news", () => {
  const cursors = new Cursors();
  const [last, first] = [message(7, 1000, { x: true }), message(7, 1000, { x: false })];
  assert.deepEqual([last, first, first].map((each) => cursors.accepts(each)), [true, true, false]);
});

test("ids that begin anew are news: older ones that come seconds later", () => {
  const cursors = new Cursors();
  const taken = [message(900, 1000), message(5, 2000), message(5, 4500), message(6, 4600)];
  assert.deepEqual(taken.map((each) => cursors.accepts(each)), [true, false, true, true]);
});

test("what comes up to where a stream begins is no news", () => {
  const cursors = new Cursors();
  cursors.begin(STREAM, 10, 1000);
  const taken = [message(9, 990), message(10, 1000), message(11, 1010)];
  assert.deepEqual(taken.map((each) => cursors.accepts(each)), [false, false, true]);
});

test("no more cursors are kept than a server takes", () => {
  const cursors = new Cursors();
  for (let at = 0; at < MAX_CURSORS + 10; at += 1) cursors.begin(`spot:s${at}@trade`, at, at);
  assert.equal(Object.keys(cursors.since).length, MAX_CURSORS);
  assert.equal(cursors.since["spot:s9@trade"], undefined);
});

test("each kind is known by a stream's name", () => {
  const names = {
    "spot:btcusdt@kline_1m@+08:00": "kline",
    "futures:btcusdt_perpetual@continuousKline_1m": "continuousKline",
    "spot:btcusdt@depth20@100ms": "depth",
    "spot:btcusdt@book": "book",
    "spot:btcusdt@bookTicker": "bookTicker",
    "futures:*@forceOrder": "liquidation",
    "spot:!ticker_1h@arr": "ticker_1h",
    "spot:!miniTicker@arr": "miniTicker",
  };
  for (const [name, kind] of Object.entries(names)) assert.equal(kindOf(name), kind);
  assert.throws(() => kindOf("spot:btcusdt@nothing"), TypeError);
  assert.equal(everyOf("spot:btcusdt@kline_1m"), "spot:*@kline_1m");
});

test("a book sets, replaces and deletes levels, best first on both sides", () => {
  const book = new Book();
  book.apply({ e: "bookSnapshot", u: 1, b: [["99.5", "1"], ["99", "2"]], a: [["100", "1"], ["101", "2"]] });
  const bids = [["99.50", "3"], ["99.2", "5"], ["99", "0"]];
  book.apply({ e: "depthUpdate", U: 2, u: 4, b: bids, a: [["99.9", "1"], ["7", "0"]] });
  assert.deepEqual(book.bids.levels(), [["99.50", "3"], ["99.2", "5"]]);
  assert.deepEqual(book.asks.levels(2), [["99.9", "1"], ["100", "1"]]);
  assert.equal(book.updateId, 4);
  assert.equal(book.isCrossed, false);
  book.apply({ e: "depthUpdate", U: 5, u: 5, b: [["99.9", "1"]], a: [] });
  assert.equal(book.isCrossed, true);
  book.apply({ e: "bookSnapshot", u: 3, b: [], a: [["8", "1"]] });
  assert.deepEqual([book.bids.levels(), book.asks.levels(), book.updateId, book.isCrossed], [[], [["8", "1"]], 3, false]);
});

const row = (open) => [open, "1", "2", "0", "1.5", "9", open + 59_999, "13", 4, "1", "1", "0"];
const bar = (openTime, isClosed = false, close = "1") => ({ openTime, closeTime: openTime + 59_999, close, isClosed });

test("live candles follow the past, and one that does not is noticed", () => {
  const series = new CandleSeries(3);
  assert.equal(series.isFollowedBy(bar(0)), false);
  series.load([row(0), row(60_000)]);
  assert.equal(series.isFollowedBy(bar(60_000)), true);
  assert.equal(series.isFollowedBy(bar(120_000)), false, "the close of the last candle was not seen");
  assert.equal(series.apply(bar(60_000, true, "7")), true);
  assert.equal(series.isFollowedBy(bar(120_000)), true);
  assert.equal(series.isFollowedBy(bar(180_000)), false, "a candle is missing");
});

test("a closed candle stays as it is, and the oldest makes room", () => {
  const series = new CandleSeries(2);
  series.load([row(0), row(60_000)]);
  series.apply(bar(60_000, true, "7"));
  assert.equal(series.apply(bar(60_000, false, "6")), false);
  assert.equal(series.apply(bar(0, true, "5")), false);
  series.apply(bar(120_000));
  assert.deepEqual(series.bars.map(({ openTime, close }) => [openTime, close]), [[60_000, "7"], [120_000, "1"]]);
});

const minutes = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => row((first + at) * 60_000));
const opens = (bars) => bars.map(({ openTime }) => openTime / 60_000);

test("older candles stay where the fetched ones continue them, and only there", () => {
  const series = new CandleSeries(9);
  series.load(minutes(1, 4));
  series.load(minutes(3, 6));
  assert.deepEqual(opens(series.bars), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(series.bars.map(({ isClosed }) => isClosed), [true, true, true, true, true, false]);
  series.load(minutes(8, 9));
  assert.deepEqual(opens(series.bars), [8, 9], "minute 7 is missing between them");
});

test("a candle whose close was not seen is not kept as an older one, nor what lies before it", () => {
  const series = new CandleSeries(9);
  series.load(minutes(1, 3));
  series.apply(bar(4 * 60_000, true)); // joined although minute 3 was not seen to close
  series.apply(bar(5 * 60_000));
  series.load(minutes(5, 6));
  assert.deepEqual(opens(series.bars), [4, 5, 6]);
});

test("a series is widened for older candles, up to a bound", () => {
  const series = new CandleSeries(3);
  series.load(minutes(10, 12));
  assert.equal(series.prepend(minutes(8, 9)), 0, "no room");
  assert.equal(series.widen(2), 2);
  assert.equal(series.prepend(minutes(7, 9)), 2);
  assert.deepEqual(opens(series.bars), [8, 9, 10, 11, 12]);
  assert.equal(series.widen(1e9), MAX_CANDLES - 5);
});

test("live payloads and rows of one minute make the same candle", () => {
  const k = { t: 60_000, T: 119_999, i: "1m", o: "1.5", h: "3", l: "1", c: "2.5", v: "7.25", q: "18", n: 4, x: true };
  const series = new CandleSeries(2);
  series.load([[60_000, "1.5", "3", "1", "2.5", "7.25", 119_999, "18", 4, "3", "7.5", "0"], row(120_000)]);
  assert.deepEqual({ ...series.bars[0], eventTime: 120_000 }, barOfCandle(k, 120_000));
});

/** Candles of a client whose history is answered by hand: `answer(rows or error)` answers the request that has waited longest. */
function charted(limit = 3) {
  const [asked, resets] = [[], []];
  const subscription = { ready: Promise.resolve(), on: () => {}, unsubscribe: async () => {} };
  let live = () => {};
  const client = {
    subscribe: ({ onMessage }) => {
      live = ({ openTime, closeTime, isClosed, close }) => {
        onMessage({ data: { E: 1, k: { t: openTime, T: closeTime, c: close, x: isClosed } } });
      };
      return subscription;
    },
    getHistoricalKlines: (request) =>
      new Promise((resolve, reject) => asked.push({ request, settle: { resolve, reject } })),
  };
  const candles = new Candles(client, { symbol: "BTCUSDT", interval: "1m", limit });
  candles.on("reset", (bars) => resets.push(opens(bars)));
  const answer = async (rows, at = 0) => {
    await new Promise(setImmediate);
    const [{ request, settle }] = asked.splice(at, 1);
    if (rows instanceof Error) settle.reject(rows);
    else settle.resolve(rows);
    await new Promise(setImmediate);
    return request;
  };
  return { candles, resets, answer, live: (...args) => live(...args) };
}

test("live candles that came while the past was on its way are joined to it once each", async () => {
  const { candles, resets, answer, live } = charted();
  for (const [minute, isClosed] of [[3, false], [3, true], [4, false]]) live(bar(minute * 60_000, isClosed));
  await answer(minutes(1, 3));
  assert.deepEqual(resets, [[2, 3, 4]]);
  assert.deepEqual(candles.candles.map(({ isClosed }) => isClosed), [true, true, false]);
});

test("older candles are put in front, calls at the same time are one, and at the beginning there are none", async () => {
  const { candles, resets, answer } = charted();
  const both = [candles.loadOlder(2), candles.loadOlder(2)];
  await answer(minutes(11, 13));
  const { endTime, limit } = await answer(minutes(9, 10));
  assert.deepEqual([endTime, limit], [11 * 60_000 - 1, 2]);
  assert.deepEqual(await Promise.all(both), [2, 2]);
  assert.deepEqual(resets, [[11, 12, 13], [9, 10, 11, 12, 13]]);
  const more = candles.loadOlder();
  await answer([]);
  assert.equal(await more, 0);
  assert.equal(resets.length, 2);
});

test("older candles that a reset overtakes are asked for from where the candles begin then", async () => {
  const { candles, answer, live } = charted();
  await answer(minutes(11, 13));
  const older = candles.loadOlder(2);
  await new Promise(setImmediate); // and is asked for
  live(bar(31 * 60_000)); // we were away
  live(bar(32 * 60_000));
  await answer(minutes(30, 32), 1); // before the request for older ones, which came first
  await answer(minutes(9, 10));
  const { endTime } = await answer(minutes(28, 29));
  assert.equal(endTime, 30 * 60_000 - 1);
  assert.equal(await older, 2);
  assert.deepEqual(opens(candles.candles), [28, 29, 30, 31, 32]);
});

test("a refusal of older candles reaches who asked, changes nothing, and they can be asked for again", async () => {
  const { candles, answer } = charted();
  await answer(minutes(11, 13));
  const refused = assert.rejects(candles.loadOlder(2), /busy/);
  await answer(new Error("busy"));
  await refused;
  assert.deepEqual(opens(candles.candles), [11, 12, 13]);
  const again = candles.loadOlder(1);
  await answer(minutes(10, 10));
  assert.equal(await again, 1);
  const closing = assert.rejects(candles.loadOlder(1), { code: "closed" });
  await new Promise(setImmediate); // and is asked for
  await candles.close();
  await answer(minutes(9, 9));
  await closing;
});

const TRADES = "spot:btcusdt@trade";
const entry = (cursor, more = {}) => ({ stream: TRADES, cursor, ts: cursor && 1000 + cursor, snapshot: null, ...more });
const trade = (t) => ({ kind: "trade", stream: TRADES, cursor: t, ts: 1000 + t, data: { t }, isSnapshot: false });

/** A subscription whose connections are as told, and what it said. */
function subscribed() {
  const said = [];
  const subscription = new Subscription(
    { streams: ["btcusdt@trade"], throttle: 100, onMessage: ({ cursor }) => said.push(cursor) },
    async () => {},
    () => true,
  );
  subscription.on("gap", ({ missed, until, reason }) => said.push([missed, until, reason]));
  subscription.on("resumed", (resumption) => said.push(resumption));
  const join = (answered) => subscription.join({ subscribed: [answered], rejected: [] });
  return { subscription, said, join };
}

test("a subscription asks as the application wrote, and after its first answer from its cursors on", () => {
  const { subscription, join } = subscribed();
  assert.deepEqual(subscription.request(), { streams: ["btcusdt@trade"], throttle: 100 });
  join(entry(7));
  subscription.take(trade(8));
  assert.deepEqual(subscription.request(), { streams: ["btcusdt@trade"], throttle: 100, since: { [TRADES]: 8 } });
});

test("what was missed follows the answer once, and what is shown already is left out", () => {
  const { subscription, said, join } = subscribed();
  join(entry(7));
  for (const cursor of [7, 8, 9]) subscription.take(trade(cursor));
  subscription.isJoined = false;
  subscription.take(trade(12)); // for another subscription, before the answer to this one
  join(entry(12, { recovered: true }));
  for (const cursor of [9, 10, 11, 12, 13]) subscription.take(trade(cursor));
  assert.deepEqual(said, [8, 9, { recovered: [TRADES], lost: [] }, 10, 11, 12, 13]);
  assert.equal(subscription.duplicates, 2);
});

test("what is lost is told before anything newer, also of a stream that had brought nothing", () => {
  const gone = { recovered: [], lost: [TRADES] };
  const { subscription, said, join } = subscribed();
  join(entry(7));
  subscription.take(trade(8));
  join(entry(50, { recovered: false }));
  for (const cursor of [50, 51]) subscription.take(trade(cursor));
  assert.deepEqual(said, [8, [null, 50, "unrecovered"], gone, 51]);
  const quiet = subscribed();
  quiet.join(entry(null));
  quiet.join(entry(3));
  assert.deepEqual(quiet.said, [[null, 3, "unrecovered"], gone]);
});

/** Subscriptions of a client whose connections and answers are as told; `said` is what each of them said. */
function connected() {
  const asked = [];
  const streams = new Streams((event, body, done) => asked.push({ event, body, done }));
  const make = (wish, onMessage) => {
    const subscription = new Subscription(
      { ...wish, onMessage },
      (left) => streams.remove(left),
      () => true,
    );
    streams.add(subscription);
    return subscription;
  };
  const subscribe = (...names) => {
    const said = [];
    const subscription = make({ streams: names }, ({ stream, cursor }) => said.push(`${stream} ${cursor}`));
    subscription.on("gap", ({ stream, until }) => said.push(`gap ${stream} ${until}`));
    subscription.on("rejected", ({ stream, code }) => said.push(`rejected ${stream} ${code}`));
    subscription.on("error", ({ code }) => said.push(`error ${code}`));
    subscription.on("resumed", ({ recovered, lost }) => said.push(`resumed ${recovered} lost ${lost}`));
    return { subscription, said };
  };
  const answer = (reply, error = null) => {
    const { event, body, done } = asked.shift();
    done(error, reply);
    return [event, body];
  };
  const grant = (entries, rejected = []) => answer({ ok: rejected.length === 0, subscribed: entries, rejected });
  const reconnect = () => {
    streams.disconnect();
    for (const { done } of asked.splice(0)) done(new Error("socket has been disconnected"));
    streams.connect();
  };
  streams.connect();
  return { streams, make, subscribe, asked, answer, grant, reconnect };
}

/** Timers that run out when told, instead of those of the platform: each as its seconds and what it does. */
function clocked(t) {
  const timers = [];
  t.mock.method(globalThis, "setTimeout", (act, ms) => timers.push([ms / 1000, act]));
  return timers;
}

const BOOK = "spot:btcusdt@book";
const whole = (u, level = "1") => ({ e: "bookSnapshot", u, b: [[level, "1"]], a: [["100", "1"]] });
const change = (u, level) => ({ e: "depthUpdate", U: u, u, b: [[level, "1"]], a: [] });
const ofBook = (data) => ({ kind: "book", stream: BOOK, cursor: data.u, ts: 1000 + data.u, data, isSnapshot: false });
const bookEntry = (data, more = {}) => ({ stream: BOOK, cursor: data.u, ts: 1000 + data.u, snapshot: data, ...more });

/** A maintained book whose subscription is one of `client`'s. */
function booked(client) {
  const said = [];
  const wish = { streamType: "book", symbols: ["btcusdt"] };
  const book = new OrderBook(
    (onMessage) => client.make(wish, onMessage),
    () => () => {},
  );
  for (const event of ["change", "stale"]) book.on(event, () => said.push(event));
  book.on("error", ({ code }) => said.push(code));
  return { book, said };
}

test("a second subscription to a book brings the first one what the server drops on its way to it", () => {
  const client = connected();
  const { book } = booked(client);
  client.grant([bookEntry(whole(10))]);
  client.streams.route(ofBook(change(11, "2")));
  const { book: second } = booked(client); // whose snapshot takes the place of changes 12 and 13
  client.grant([bookEntry(whole(13, "5"))]);
  client.streams.route(ofBook(change(14, "6")));
  assert.deepEqual([book.bids(), book.updateId, book.isInSync], [[["6", "1"], ["5", "1"]], 14, true]);
  assert.deepEqual(second.bids(), book.bids());
});

test("the state that a second subscription is shown reaches the first, also one to all symbols, where it is news", () => {
  const { subscribe, streams, grant } = connected();
  const ticker = (cursor) => ({ kind: "ticker", stream: "spot:btcusdt@ticker", cursor, ts: cursor, data: { c: cursor } });
  const shown = (cursor) => ({ ...ticker(cursor), snapshot: { c: cursor } });
  const [named, every] = [subscribe("btcusdt@ticker"), subscribe("*@ticker")];
  grant([shown(1)]);
  grant([{ stream: "spot:*@ticker", cursor: null, ts: null, snapshot: null }]);
  streams.route(ticker(2));
  for (const cursor of [3, 3]) {
    subscribe("btcusdt@ticker");
    grant([shown(cursor)]);
  }
  assert.deepEqual(named.said, [1, 2, 3].map((cursor) => `spot:btcusdt@ticker ${cursor}`));
  assert.deepEqual(every.said, [2, 3].map((cursor) => `spot:btcusdt@ticker ${cursor}`));
  assert.equal(named.subscription.duplicates, 0);
});

test("a book that is lost at a replica that is behind begins anew with what that replica has", () => {
  const client = connected();
  const { book } = booked(client);
  client.grant([bookEntry(whole(10))]);
  client.streams.route(ofBook(change(20, "2")));
  client.reconnect();
  client.grant([bookEntry(whole(15, "3"), { recovered: false })]);
  assert.deepEqual([book.isInSync, book.updateId], [true, 15]);
  client.streams.route(ofBook(change(16, "4")));
  assert.deepEqual(book.bids(), [["4", "1"], ["3", "1"]]);
});

test("a stream whose symbol is halted is told once and asked for with each connection, until it is granted", () => {
  const { subscribe, streams, grant, reconnect } = connected();
  const { subscription, said } = subscribe("btcusdt@trade", "oldusdt@trade", "nousdt@trade");
  const halted = { stream: "oldusdt@trade", code: "not_trading", message: "Halted" };
  const unknown = { stream: "nousdt@trade", code: "unknown_symbol", message: "Unknown" };
  grant([entry(7)], [halted, unknown]);
  streams.route(trade(8));
  reconnect();
  const both = ["btcusdt@trade", "oldusdt@trade"];
  const stopped = { ...halted, stream: "btcusdt@trade" };
  assert.deepEqual(grant([], [stopped, halted]), ["subscribe", { streams: both, since: { [TRADES]: 8 } }]);
  assert.equal(subscription.isOpen, true);
  reconnect();
  const old = { stream: "spot:oldusdt@trade", cursor: 3, ts: 3, snapshot: null };
  assert.deepEqual(grant([entry(9, { recovered: true }), old]), ["subscribe", { streams: both, since: { [TRADES]: 8 } }]);
  streams.route(trade(9));
  assert.deepEqual(said, [
    "rejected oldusdt@trade not_trading",
    "rejected nousdt@trade unknown_symbol",
    `${TRADES} 8`,
    "rejected btcusdt@trade not_trading",
    `resumed ${TRADES},spot:oldusdt@trade lost `,
    `${TRADES} 9`,
  ]);
});

test("a later refusal that nobody listens to is written to the console, as readiness does not tell of it", (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const subscription = new Subscription({ streams: ["btcusdt@trade"], onMessage: () => {} }, async () => {}, () => false);
  void subscription.ready;
  const unknown = { stream: "nousdt@trade", code: "unknown_symbol", message: "Unknown" };
  subscription.join({ subscribed: [entry(7)], rejected: [unknown] });
  assert.equal(warn.mock.callCount(), 0);
  subscription.join({ subscribed: [], rejected: [{ stream: "btcusdt@trade", code: "not_trading", message: "Halted" }] });
  assert.match(warn.mock.calls[0].arguments[0], /btcusdt@trade refused: Halted \(not_trading\)/);
});

test("a subscription for which there is no room after a reconnect says so and asks again; a new one ends", async (t) => {
  const timers = clocked(t);
  const { subscribe, grant, answer, reconnect, asked } = connected();
  const { subscription, said } = subscribe("btcusdt@trade");
  grant([entry(7)]);
  reconnect();
  const full = { ok: false, code: "too_many_streams", message: "Full" };
  answer(full);
  const fresh = subscribe("ethusdt@trade");
  const ready = assert.rejects(fresh.subscription.ready, { code: "too_many_streams" });
  answer(full);
  await ready;
  assert.deepEqual([subscription.isOpen, fresh.subscription.isOpen], [true, false]);
  const [[seconds, again]] = timers;
  assert.ok(10 <= seconds && seconds <= 15);
  assert.deepEqual(asked, []);
  again();
  grant([entry(7, { recovered: true })]);
  assert.deepEqual(said, ["error too_many_streams", `resumed ${TRADES} lost `]);
});

test("a book that is refused after it came is stale and says why, and one that was never granted says so once", async () => {
  const client = connected();
  const refusal = { stream: "btcusdt", code: "not_trading", message: "Halted" };
  const { book, said } = booked(client);
  client.grant([bookEntry(whole(10))]);
  await book.ready;
  client.reconnect();
  client.grant([], [refusal]);
  assert.equal(book.isInSync, false);
  client.reconnect();
  client.grant([bookEntry(whole(12))]);
  assert.equal(book.isInSync, true);
  assert.deepEqual(said, ["change", "stale", "not_trading", "change", "change"]);
  const { said: never } = booked(client);
  client.grant([], [refusal]);
  await new Promise(setImmediate);
  assert.deepEqual(never, ["not_trading"]);
});

test("candles whose symbol is halted after they came say so", async () => {
  const client = connected();
  const candles = new Candles(
    { subscribe: ({ onMessage, ...wish }) => client.make(wish, onMessage), getHistoricalKlines: async () => minutes(1, 3) },
    { symbol: "BTCUSDT", interval: "1m" },
  );
  const said = [];
  candles.on("error", ({ code }) => said.push(code));
  client.grant([{ stream: STREAM, cursor: null, ts: null, snapshot: null }]);
  await candles.ready;
  client.reconnect();
  client.grant([], [{ stream: "BTCUSDT", code: "not_trading", message: "Halted" }]);
  assert.deepEqual(said, ["not_trading"]);
});

test("what could not be left is left later, but for what is wanted again, and who left waits for it", async (t) => {
  const timers = clocked(t);
  const { subscribe, grant, answer, asked } = connected();
  const eth = { ...entry(3), stream: "spot:ethusdt@trade" };
  const { subscription } = subscribe("btcusdt@trade", "ethusdt@trade");
  grant([entry(7), eth]);
  let hasLeft = false;
  void subscription.unsubscribe().then(() => (hasLeft = true));
  answer({ ok: false, code: "rate_limited", message: "Wait", retryAfter: 4 });
  subscribe("ethusdt@trade");
  grant([eth]); // and with it, what was refused is asked for again
  const left = ["unsubscribe", { streams: [TRADES] }];
  assert.deepEqual(answer(undefined, new Error("operation has timed out")), left);
  await new Promise(setImmediate);
  assert.equal(hasLeft, false);
  const [[refused], [unanswered, again]] = timers;
  assert.ok(4 <= refused && refused <= 6 && 1 <= unanswered && unanswered <= 1.5);
  again();
  assert.deepEqual(answer({ ok: true, unsubscribed: [TRADES], rejected: [] }), left);
  await new Promise(setImmediate);
  assert.equal(hasLeft, true);
  assert.deepEqual(asked, []);
});

test("who waits to leave is let go when the connection ends", async (t) => {
  clocked(t);
  const { subscribe, grant, answer, reconnect, asked } = connected();
  const { subscription } = subscribe("btcusdt@trade");
  grant([entry(7)]);
  const left = subscription.unsubscribe();
  answer({ ok: false, code: "rate_limited", message: "Wait", retryAfter: 4 });
  reconnect();
  await left;
  assert.deepEqual(asked, []);
});

test("liquidations of all symbols, and a symbol named beside ALL, come once each, and their gaps are told once", () => {
  const { subscribe, streams, grant } = connected();
  const names = ["futures:*@forceOrder", "spot:*@trade", TRADES];
  const { subscription, said } = subscribe(...names);
  grant(names.map((stream) => ({ stream, cursor: null, ts: null, snapshot: null })));
  for (const stream of ["futures:*@forceOrder", TRADES]) {
    streams.route({ ...trade(1), stream });
    streams.routeGap({ stream, missed: 1, until: 2, reason: "dropped" });
  }
  assert.deepEqual(said, ["futures:*@forceOrder 1", "gap futures:*@forceOrder 2", `${TRADES} 1`, `gap ${TRADES} 2`]);
  assert.equal(subscription.duplicates, 0);
});

const queue = (limit, dropped = []) =>
  new BoundedQueue(limit, { onDropped: (item) => dropped.push(item), onRead: () => {}, onLeft: async () => {} });

test("a full queue drops the oldest and says which", async () => {
  const dropped = [];
  const bounded = queue(2, dropped);
  for (const item of [1, 2, 3, 4]) bounded.push(item);
  assert.deepEqual(dropped, [1, 2]);
  assert.deepEqual(await bounded.next(), { value: 3, done: false });
});

test("a queue that ends gives what is left, then its error once, then the end", async () => {
  const bounded = queue(9);
  bounded.push(1);
  bounded.end(new Error("over"));
  bounded.push(2);
  assert.deepEqual(await bounded.next(), { value: 1, done: false });
  await assert.rejects(bounded.next(), /over/);
  assert.deepEqual(await bounded.next(), { value: undefined, done: true });
});

test("a queue has one reader, whom its end sets free", async () => {
  const bounded = queue(9);
  const waiting = bounded.next();
  await assert.rejects(bounded.next(), TypeError);
  bounded.end();
  assert.deepEqual(await waiting, { value: undefined, done: true });
});

test("what one listener throws is uncaught, and the others hear all the same", () => {
  const script = `
    import { Emitter } from "${new URL("../../clients/js/src/emitter.js", import.meta.url)}";
    process.once("uncaughtException", (error) => console.log("uncaught", error.message));
    const emitter = new Emitter();
    emitter.on("news", () => { throw new Error("mine"); });
    const end = emitter.on("news", (body) => console.log("heard", body));
    console.log(emitter.emit("news", 1));
    end();
    console.log(emitter.emit("silence", 1));`;
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.deepEqual(said.trim().split("\n"), ["heard 1", "true", "false", "uncaught mine"]);
});

test("turns let so many run at once, and refuse who would wait behind too many", async () => {
  const turns = new Turns(2, 1);
  const running = [];
  const call = () => turns.run(() => new Promise((resolve) => running.push(resolve)));
  const calls = [call(), call(), call()];
  await assert.rejects(call(), { code: "rate_limited" });
  assert.equal(running.length, 2);
  running.shift()("first");
  assert.equal(await calls[0], "first");
  await new Promise(setImmediate);
  assert.equal(running.length, 2, "the third has its turn");
  for (const resolve of running) resolve("other");
  assert.deepEqual(await Promise.all(calls), ["first", "other", "other"]);
});
