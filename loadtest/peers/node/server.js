// node --expose-gc server.js PORT REDIS_URL json|msgpack: Socket.IO as its documentation recommends.
//
// Sources: @socket.io/redis-adapter's README (the `redis` package); Socket.IO documentation, "Performance
// tuning" (bufferutil, which ws finds by itself; UTF-8 is checked by Node since 18.14) and "Memory usage"
// (the first HTTP request of each session is discarded).
"use strict";

const { createServer } = require("http");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");

async function main(port, redisUrl, parser) {
  const publisher = createClient({ url: redisUrl });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const server = createServer();
  const io = new Server(server, {
    adapter: createAdapter(publisher, subscriber),
    ...(parser === "msgpack" ? { parser: require("socket.io-msgpack-parser") } : {}),
  });
  io.engine.on("connection", (rawSocket) => {
    rawSocket.request = null;
  });
  io.on("connection", (socket) => {
    socket.on("subscribe", ({ streams }, acknowledge) => {
      socket.join(streams);
      acknowledge({ ok: true });
    });
  });
  // Before memory is measured: what only waits to be collected is not charged to the connections.
  process.on("SIGUSR2", () => global.gc());
  server.listen(port, "127.0.0.1");
}

main(Number(process.argv[2]), process.argv[3], process.argv[4]);
