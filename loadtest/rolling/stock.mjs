// Stock socket.io-clients, a third each over WebSocket, over polling, and upgrading from one to the other, which check
// the ids of the trades that they receive. Usage: node stock.mjs URL COUNT
// Prints `ready` once all have subscribed, and on SIGTERM its figures as one line of JSON.
import http from "node:http";
import { io } from "socket.io-client";

const STREAM = "spot:btcusdt@trade";
const ANSWER_MS = 10_000;
const [url, count] = process.argv.slice(2);
const figures = {
  clients: Number(count), told: 0, failed_connects: 0, failed_subscribes: 0, lost: 0, doubled: 0,
  unrecovered: 0, received: 0, slowest_return_s: 0, cuts: [], returns: [],
};
let subscribed = 0;

function connect(number) {
  const transports = [["websocket"], ["polling"], ["polling", "websocket"]][number % 3];
  // The third number of its address decides on the replica.
  const agent = new http.Agent({ localAddress: `127.0.${(number % 250) + 1}.2`, keepAlive: true });
  const socket = io(url, { transports, agent, forceNew: true });
  let last = 0;
  let cutAt = null;
  socket.on("connect", () => {
    const since = last ? { [STREAM]: last } : {};
    socket.timeout(ANSWER_MS).emit("subscribe", { streams: [STREAM], since }, (error, reply) => {
      if (error || !reply.ok) {
        figures.failed_subscribes += 1;
        return;
      }
      const now = performance.now() / 1000;
      if (last && !reply.subscribed[0].recovered) figures.unrecovered += 1;
      if (cutAt === null) {
        subscribed += 1;
        if (subscribed === figures.clients) process.stdout.write("ready\n");
      } else {
        figures.returns.push(now);
        figures.slowest_return_s = Math.max(figures.slowest_return_s, now - cutAt);
        cutAt = null;
      }
    });
  });
  socket.on("trade", ({ cursor }) => {
    figures.received += 1;
    if (last && cursor <= last) {
      figures.doubled += 1;
      return;
    }
    if (last) figures.lost += cursor - last - 1;
    last = cursor;
  });
  socket.on("draining", () => (figures.told += 1));
  socket.on("connect_error", () => (figures.failed_connects += 1));
  socket.on("disconnect", () => {
    cutAt = performance.now() / 1000;
    figures.cuts.push(cutAt);
  });
}

for (let number = 0; number < figures.clients; number += 1) connect(number);
process.on("SIGTERM", () => process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0)));
