// A stock socket.io-client on polling that emits 40 events in one tick. Usage: node forty.mjs URL PATH
import { io } from "socket.io-client";

const [url, path] = process.argv.slice(2);
const socket = io(url, { path, transports: ["polling"], reconnection: false });
socket.on("connect", async () => {
  const asked = Array.from({ length: 40 }, (_, n) => socket.timeout(5000).emitWithAck("message-with-ack", n));
  console.log(JSON.stringify(await Promise.all(asked)));
  socket.disconnect();
});
socket.on("connect_error", (error) => {
  console.log(JSON.stringify(error.message));
  process.exit(1);
});
