// A chart's data: the last 100 candles, then every change of them, without a seam and across reconnects.
// node examples/candles.mjs [URL] [COUNT]
import { connect } from "tickcast-client";

const [url = "http://localhost:8080", count = "5"] = process.argv.slice(2);
const client = connect(url);
const chart = client.candles({ symbol: "BTCUSDT", interval: "1m", limit: 100 });
chart.on("reset", (candles) => console.log(`${candles.length} candles up to ${candles.at(-1)?.close}`));

let left = Number(count);
chart.on("candle", ({ openTime, close, isClosed }) => {
  console.log(`${new Date(openTime).toISOString()} ${close}${isClosed ? " closed" : ""}`);
  left -= 1;
  if (left === 0) client.close();
});
