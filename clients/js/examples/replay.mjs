// Recorded trades, as fast as they can be read. GET /replay lists the recordings.
// node examples/replay.mjs RECORDING [URL]
import { connect } from "tickcast-client";

const [recording, url = "http://localhost:8080"] = process.argv.slice(2);
if (recording === undefined) throw new Error("Which recording?");
const client = connect(url);
const replay = client.replay({ recording, streams: ["btcusdt@trade"], speed: 0 });

for await (const { ts, data } of replay) console.log(`${new Date(ts).toISOString()} ${data.p} x ${data.q}`);
const { sent, reason } = await replay.ended;
console.log(`${sent} messages, ${reason}`);
client.close();
