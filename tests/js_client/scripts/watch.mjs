// Watches streams through the library: watch.mjs URL STREAM...
// Lines on standard output: `status <replica> <connection>`, `message <JSON>`, `gap <JSON>`, `resumed <JSON>`,
// `draining <replica>`, and of the book of the first stream's symbol `book <in sync|stale> <crossed|fine>`.
import { connect } from "../../../clients/js/src/index.js";

const [url, ...streams] = process.argv.slice(2);
const say = (kind, body) => console.log(kind, typeof body === "string" ? body : JSON.stringify(body));

const client = connect(url);
client.on("status", ({ replica, connection }) => say("status", `${replica} ${connection}`));
client.on("draining", ({ replica }) => say("draining", replica));
const subscription = client.subscribe({ streams, onMessage: (message) => say("message", message) });
subscription.on("gap", (gap) => say("gap", gap));
subscription.on("resumed", (resumption) => say("resumed", resumption));

const book = client.orderBook(/:(.*)@/.exec(streams[0])[1]);
const isCrossed = () => book.isInSync && Number(book.bids(1)[0]?.[0]) >= Number(book.asks(1)[0]?.[0]);
const show = () => say("book", `${book.isInSync ? "in sync" : "stale"} ${isCrossed() ? "crossed" : "fine"}`);
book.on("change", show);
book.on("stale", show);
process.on("SIGTERM", () => process.exit(0));
