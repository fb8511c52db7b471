// What a message holds follows from the stream's name. Checked by the compiler: `tsc --noEmit examples/typed.ts`.
import { connect, TickcastError } from "tickcast-client";

const client = connect("http://localhost:8080", { token: async () => "a fresh token for each connection" });

client.subscribe({
  streams: ["btcusdt@bookTicker", "futures:btcusdt@markPrice@1s"],
  throttle: 250,
  onMessage(message) {
    if (message.kind === "markPrice") console.log(message.data.p, "next funding at", new Date(message.data.T));
    else console.log(message.data.b, message.data.a);
  },
});

const spread = client.subscribe({ streamType: "bookTicker", symbols: ["ETHUSDT"], market: "spot" });
for await (const { data } of spread) console.log(Number(data.a) - Number(data.b));

try {
  const rows = await client.getHistoricalKlines({ symbol: "BTCUSDT", interval: "1h", limit: 24 });
  for (const [openTime, open, , , close] of rows) console.log(new Date(openTime), open, close);
} catch (error) {
  if (error instanceof TickcastError && error.retryAfter !== undefined) console.log(`later: ${error.retryAfter} s`);
  else throw error;
}
