// What a server that asks for credentials says to the library: credentials.mjs URL LASTING_TOKEN ENDING_TOKEN
// Prints `refused <code> <connection> <code of the loop>`, then `renewed <how many tokens were shown>`.
import { connect } from "../../../clients/js/src/index.js";

const [url, lasting, ending] = process.argv.slice(2);
const first = async (messages) => {
  for await (const message of messages) return message;
  throw new Error("It ended");
};

const stranger = connect(url);
const refusal = new Promise((resolve) => stranger.on("error", resolve));
const loop = first(stranger.subscribe({ streams: ["btcusdt@trade"] })).catch(({ code }) => code);
console.log("refused", (await refusal).code, stranger.state.connection, await loop);

const tokens = [ending, lasting];
let shown = 0;
const client = connect(url, {
  token: async () => {
    shown += 1;
    return tokens.shift() ?? lasting;
  },
});
const trades = client.subscribe({ streams: ["btcusdt@trade"], onMessage: () => {} });
await new Promise((resolve) => trades.on("resumed", resolve)); // the first token ended, the second one stands
console.log("renewed", shown);
client.close();
