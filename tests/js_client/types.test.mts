// What the compiler must accept, and (`@ts-expect-error`) refuse. Compiled, never run.
import { connect, type Message, type Subscription } from "tickcast-client";
import { usePriceStream } from "tickcast-client/react";

const client = connect("http://localhost:8080");

const trades = client.subscribe({ streams: ["btcusdt@trade"] });
for await (const { kind, data } of trades) {
  const isTrade: "trade" = kind;
  const id: number = data.t;
  // @ts-expect-error a trade is no candle
  data.k;
  console.log(isTrade, id);
}

const mixed = client.subscribe({ streams: ["btcusdt@kline_1m", "futures:btcusdt@forceOrder", "btcusdt@depth20@100ms"] });
for await (const message of mixed) {
  if (message.kind === "kline") console.log(message.data.k.x);
  else if (message.kind === "liquidation") console.log(message.data.o.ap);
  else console.log("lastUpdateId" in message.data ? message.data.bids : message.data.b);
  // @ts-expect-error none of these streams carries trades
  if (message.kind === "trade") console.log(message);
}

for await (const { data } of client.subscribe({ streams: ["!miniTicker@arr"] })) console.log(data[0]?.c);

const names: string[] = [];
const unknown: Subscription<Message> = client.subscribe({ streams: names });
for await (const message of unknown) if (message.kind === "markPrice") console.log(message.data.r);

client.subscribe({ streamType: "aggTrade", symbols: "ALL", onMessage: ({ data }) => console.log(data.a) });
// @ts-expect-error no such kind
client.subscribe({ streamType: "candles", symbols: ["BTCUSDT"] });
// @ts-expect-error no such pace
client.subscribe({ streams: ["btcusdt@ticker"], throttle: 123 });
// @ts-expect-error neither streams nor a kind
client.subscribe({ symbols: ["BTCUSDT"] });

trades.on("gap", ({ missed }) => {
  // @ts-expect-error nobody may know how many
  missed.toFixed();
});
client.on("draining", ({ delayMs }) => delayMs.toFixed());
// @ts-expect-error no such event
client.on("drained", () => {});

const chart = client.candles({ symbol: "BTCUSDT", interval: "1m" });
const older: number = await chart.loadOlder(1000);
console.log(older, chart.candles[0]?.eventTime?.toFixed());
// @ts-expect-error no number of candles
chart.loadOlder("all");
client.on("message", ({ kind, ts }) => console.log(kind, ts.toFixed()));
const { serverTime, hops } = await client.time();
// @ts-expect-error there may be no samples
console.log(serverTime.toFixed(), hops.bus.p95);
// @ts-expect-error a token is text
connect(undefined, { renewToken: async () => 1 });

const price: number | undefined = usePriceStream(["BTCUSDT"])["BTCUSDT"]?.price;
console.log(price);
