"use strict";
// The Node servers that ours is compared with: an Engine.IO echo and a Socket.IO application, each with long
// and with short pings. Prints their ports as one line of JSON, then serves until its input ends.

const http = require("node:http");
const engine = require("engine.io");
const { Server } = require("socket.io");

const timings = JSON.parse(process.argv[2]);

function echo(server) {
  server.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
}

function application(io) {
  for (const namespace of [io.of("/"), io.of("/custom")]) {
    namespace.on("connection", (socket) => {
      socket.emit("auth", socket.handshake.auth);
      socket.on("message", (...body) => {
        if (typeof body.at(-1) === "function") body.pop();
        socket.emit("message-back", ...body);
      });
      socket.on("message-with-ack", (...body) => {
        const acknowledge = body.pop();
        if (typeof acknowledge === "function") acknowledge(...body);
      });
      socket.on("silence", () => {});
    });
  }
}

function listen(server) {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

async function main() {
  const ports = {};
  for (const [name, timing] of Object.entries(timings)) {
    const echoServer = http.createServer();
    echo(engine.attach(echoServer, { ...timing, path: "/engine.io" }));
    const ioServer = http.createServer();
    application(new Server(ioServer, timing));
    ports[name] = { engine: await listen(echoServer), socket: await listen(ioServer) };
  }
  console.log(JSON.stringify(ports));
}

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
main();
