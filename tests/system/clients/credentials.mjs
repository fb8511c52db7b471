// A stock socket.io-client that shows a bad token, then a good one, and renews that.
// Usage: node credentials.mjs URL websocket|polling BAD GOOD RENEWED
// Lines on stdout: `refused {message, code}`, `connected`, `renewed <ack>`, `error <body>`, `disconnect <reason>`.
import { io } from "socket.io-client";

const [url, transport, bad, good, renewed] = process.argv.slice(2);
const say = (kind, value) => process.stdout.write(`${kind} ${JSON.stringify(value)}\n`);

const socket = io(url, { transports: [transport], auth: { token: bad } });

socket.on("connect_error", (error) => {
  say("refused", { message: error.message, code: error.data?.code });
  socket.auth = { token: good };
  socket.connect();
});
socket.on("connected", () => {
  say("connected", null);
  socket.emit("authenticate", { token: renewed }, (reply) => say("renewed", reply));
});
socket.on("error", (body) => say("error", body));
socket.on("disconnect", (reason) => say("disconnect", reason));
