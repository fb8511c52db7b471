// What a server that asks for credentials says to the library: credentials.mjs URL SECRET
// Prints `refused <code> <connection> <code of the loop>`, `renewed <how many tokens were shown>`, `narrowed <stream> <code>
// <the streams that remain> <those of a wider token>`, and `asked <code> <the codes for which a token was asked for> <whether
// one was let in> <connection>`.
import { createHmac } from "node:crypto";
import { connect } from "../../../clients/js/src/index.js";

const [url, secret] = process.argv.slice(2);
const first = async (messages) => {
  for await (const message of messages) return message;
  throw new Error("It ended");
};

const stranger = connect(url);
const refusal = new Promise((resolve) => stranger.on("error", resolve));
const loop = first(stranger.subscribe({ streams: ["btcusdt@trade"] })).catch(({ code }) => code);
console.log("refused", (await refusal).code, stranger.state.connection, await loop);

/** A JSON Web Token (RFC 7519) that ends `seconds` from now and grants `granted`. */
function mint(seconds, granted = {}) {
  const claims = { sub: "alice", exp: Math.floor(Date.now() / 1000) + seconds, tickcast: granted };
  const encoded = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const parts = [{ alg: "HS256", typ: "JWT" }, claims].map(encoded);
  return [...parts, createHmac("sha256", secret).update(parts.join(".")).digest("base64url")].join(".");
}

let shown = 0;
const client = connect(url, {
  token: async () => {
    shown += 1;
    return mint(shown === 1 ? -3 : 600); // tokens hold for 5 s beyond their end
  },
});
const trades = client.subscribe({ streams: ["btcusdt@trade"], onMessage: () => {} });
await new Promise((resolve) => trades.on("resumed", resolve)); // the first token ended, the second one stands
console.log("renewed", shown);
client.close();

const narrowed = connect(url, { token: mint(600) });
const both = narrowed.subscribe({ streams: ["btcusdt@trade", "ethusdt@trade"], onMessage: () => {} });
await both.ready;
const rejected = new Promise((resolve) => both.on("rejected", resolve));
await narrowed.authenticate(mint(600, { streams: ["spot:btc*"] }));
const { stream, code } = await rejected;
const rest = both.streams;
const resumed = new Promise((resolve) => both.on("resumed", resolve));
await narrowed.authenticate(mint(600));
await resumed;
await new Promise((resolve) => narrowed.on("message", (message) => message.stream === stream && resolve()));
console.log("narrowed", stream, code, rest.join(), both.streams.join());
narrowed.close();

const asked = [];
const page = connect(url, {
  renewToken: async ({ code }, refused) => {
    asked.push(refused === undefined ? `first ${code}` : code);
    if (asked.length === 4) throw new Error("The user has given up");
    return ["not a token", mint(-2), mint(-60)][asked.length - 1];
  },
});
const end = new Promise((resolve) => page.on("error", resolve));
const states = [];
page.on("status", ({ connection }) => states.push(connection));
console.log("asked", (await end).code, asked.join(), states.includes("connected"), page.state.connection);
