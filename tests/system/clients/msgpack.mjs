// A stock socket.io-client with socket.io-msgpack-parser. Usage: node msgpack.mjs URL websocket|polling
import { io } from "socket.io-client";
import parser from "socket.io-msgpack-parser";

const [url, transport] = process.argv.slice(2);
const say = (kind, value) => process.stdout.write(`${kind} ${JSON.stringify(value)}\n`);
const socket = io(url, { parser, transports: [transport] });
socket.on("connected", (greeting) => {
  say("connected", greeting);
  socket.emit("subscribe", { streams: ["btcusdt@ticker", "no"] }, (reply) => say("ack", reply));
  socket.emit("subscribe", ["ETH"]);
  socket.emit("nonsense");
});
for (const event of ["ticker", "crypto:update", "error", "notice"]) socket.on(event, (body) => say(event, body));
process.on("SIGTERM", () => process.exit(0));
