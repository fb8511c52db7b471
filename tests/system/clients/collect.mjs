// A stock socket.io-client that subscribes and prints every packet's text as it came off the wire.
// Usage: node collect.mjs URL SOURCE_ADDRESS websocket|polling|upgrade STREAM...
// Lines on stdout: `ack <json>`, `transport <name>`, `packet <text>`, `disconnect <reason>`.
import http from "node:http";
import { io } from "socket.io-client";

const [url, localAddress, how, ...streams] = process.argv.slice(2);
const transports = how === "upgrade" ? ["polling", "websocket"] : [how];
const agent = new http.Agent({ localAddress, keepAlive: true });
const say = (kind, text) => process.stdout.write(`${kind} ${text}\n`);

const since = {}; // the last cursor of each stream: a client that returns asks for what it missed

const socket = io(url, { transports, agent, reconnectionDelay: 50, reconnectionDelayMax: 500 });

socket.on("connect", () => {
  const engine = socket.io.engine;
  say("transport", engine.transport.name);
  engine.once("upgrade", (transport) => say("transport", transport.name));
  engine.on("packet", (packet) => {
    if (packet.type === "message" && packet.data.startsWith("2[")) say("packet", packet.data);
  });
  socket.emit("subscribe", { streams, since }, (reply) => say("ack", JSON.stringify(reply)));
});
socket.onAny((event, body) => {
  if (body?.cursor !== undefined) since[body.stream] = body.cursor;
});
socket.on("connected", (greeting) => say("connected", greeting.replica));
socket.on("disconnect", (reason) => say("disconnect", reason));
process.on("SIGTERM", () => process.exit(0));
