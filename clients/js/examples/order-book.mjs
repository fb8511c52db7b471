// The best three levels of an order book, at most twice a second.
// node examples/order-book.mjs [URL] [COUNT]
import { setTimeout as wait } from "node:timers/promises";
import { connect } from "tickcast-client";

const [url = "http://localhost:8080", count = "3"] = process.argv.slice(2);
const client = connect(url);
const book = client.orderBook("btcusdt");
book.on("stale", () => console.log("out of sync"));
await book.ready;

for (let left = Number(count); left > 0; left -= 1) {
  const [bids, asks] = [book.bids(3), book.asks(3)];
  console.log(book.isInSync ? `bids ${bids.join(" ")} asks ${asks.join(" ")}` : "out of sync");
  await wait(500);
}
client.close();
