// Trades of two symbols, each once and in order, whatever happens to the connection.
// node examples/trades.mjs [URL] [COUNT]
import { connect } from "tickcast-client";

const [url = "http://localhost:8080", count = "10"] = process.argv.slice(2);
const client = connect(url);
const trades = client.subscribe({ streams: ["btcusdt@trade", "ethusdt@trade"] });
trades.on("gap", ({ stream, missed, reason }) => console.log(`${stream}: ${missed ?? "some"} missing (${reason})`));

let left = Number(count);
for await (const { data } of trades) {
  console.log(`${data.s} ${data.p} x ${data.q} (trade ${data.t})`);
  left -= 1;
  if (left === 0) break;
}
client.close();
