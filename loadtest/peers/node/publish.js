// node publish.js REDIS_URL STREAM...: emits with @socket.io/redis-emitter, Socket.IO's way for other processes.
//
// Commands and updates are those of loadtest/bench/publishing.py and updates.py.
"use strict";

const { createInterface } = require("readline");
const { createClient } = require("redis");
const { Emitter } = require("@socket.io/redis-emitter");

const EVENT = "trade";
const PAYLOAD_BYTES = 220;

function update(stream, cursor, filler) {
  const ts = Date.now();
  const stamp = String(process.hrtime.bigint() / 1000n).padStart(16, "0");
  const data = {
    e: EVENT,
    E: ts,
    s: stream.split(":")[1].split("@")[0].toUpperCase(),
    t: cursor,
    p: "67123.45000000",
    q: "0.00123000",
    T: ts,
    m: true,
    M: true,
    x: `${filler}^${stamp}`,
  };
  return { stream, cursor, ts, data };
}

async function main(redisUrl, streams) {
  const client = createClient({ url: redisUrl });
  await client.connect();
  const emitter = new Emitter(client);
  const fillers = streams.map((stream) => {
    const bare = JSON.stringify(update(stream, 100000, "").data).length;
    return "-".repeat(PAYLOAD_BYTES - bare);
  });
  let published = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "?") {
      console.log(JSON.stringify({ published }));
      continue;
    }
    for (let left = Number(line); left > 0; left--) {
      const which = published % streams.length;
      const cursor = Math.floor(published / streams.length) + 1;
      emitter.to(streams[which]).emit(EVENT, update(streams[which], cursor, fillers[which]));
      published++;
    }
  }
  client.destroy();
}

main(process.argv[2], process.argv.slice(3));
