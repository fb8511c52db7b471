// What the scenarios' clients do that Artillery's YAML cannot say: check the ids of their trades, which have no holes, and
// lose their connection all at the same moment. Each function is a step of a flow; one that throws ends it as failed.
// Counted: clients.messages, .missed, .doubled, .returned, .unrecovered; timed, in ms: clients.subscribed_ms, clients.back_ms.
// No name may begin another one: `ensure` replaces names in its conditions wherever it finds them.
"use strict";

const TRADES = "spot:btcusdt@trade";
const ANSWER_MS = 10_000;
const OPEN = 1;

class Received {
  messages = 0;
  missed = 0;
  doubled = 0;
  last = null;

  take(id) {
    this.messages += 1;
    if (id === undefined) return; // a message of another stream
    if (this.last !== null && id <= this.last) {
      this.doubled += 1;
      return;
    }
    if (this.last !== null) this.missed += id - this.last - 1;
    this.last = id;
  }
}

// The id of a trade, as the doors wrap it: {data: {t}}, or {data: {data: {t}}}; other payloads have none.
function tradeId(message) {
  const payload = message.data?.data ?? message.data;
  return payload?.e === "trade" ? payload.t : undefined;
}

function socketOf(context) {
  return context.sockets[""];
}

// Count from now on what comes; before anything is subscribed.
async function watch(context) {
  const received = (context.received = new Received());
  if (context.ws) {
    context.ws.on("message", (text) => {
      const message = JSON.parse(text);
      if (/^error$/i.test(message.type)) received.refused = message.message;
      if (message.data !== undefined) received.take(tradeId(message));
    });
    return;
  }
  for (const kind of ["trade", "ticker", "kline"]) socketOf(context).on(kind, (message) => received.take(tradeId(message)));
  socketOf(context).on("error", (refusal) => (received.refused = refusal.message));
}

// Subscribe to trades, for the first time or behind the last one that came; the answer's entry of the stream.
async function ask(context) {
  const { last } = context.received;
  const since = last === null ? {} : { [TRADES]: last };
  const reply = await socketOf(context).timeout(ANSWER_MS).emitWithAck("subscribe", { streams: [TRADES], since });
  if (!reply.ok || reply.subscribed.length !== 1) throw new Error("subscription refused");
  return reply.subscribed[0];
}

async function subscribe(context, events) {
  const began = performance.now();
  await ask(context);
  events.emit("histogram", "clients.subscribed_ms", performance.now() - began);
}

// Runs once, before all clients: from here they count the time until the storms.
async function begin(context) {
  context.vars.begunMs = Date.now();
}

function cutOff(socket) {
  const webSocket = socket.io.engine.transport.ws;
  if (webSocket) webSocket.terminate(); // without a word, as when a network fails
  else socket.io.engine.close();
}

async function returned(socket) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("did not come back")), ANSWER_MS);
  });
  await Promise.race([new Promise((resolve) => socket.once("connect", resolve)), late]);
  clearTimeout(timer);
}

async function storms(context, events) {
  const socket = socketOf(context);
  // Artillery's own listener would end the flow for a second time when an attempt to return fails.
  socket.off("connect_error");
  for (const atS of context.vars.stormsAtS.list) {
    await new Promise((resolve) => setTimeout(resolve, context.vars.begunMs + atS * 1000 - Date.now()));
    if (!socket.connected) throw new Error("lost its connection before the storm");
    const cutAt = performance.now();
    const back = returned(socket);
    cutOff(socket);
    await back;
    const { recovered } = await ask(context);
    events.emit("histogram", "clients.back_ms", performance.now() - cutAt);
    events.emit("counter", "clients.returned", 1);
    events.emit("counter", "clients.unrecovered", recovered === false ? 1 : 0);
  }
}

// A connection is only known to live when it answers.
async function assertAlive(context) {
  if (context.ws) {
    if (context.ws.readyState !== OPEN) throw new Error("lost its connection");
    const answered = new Promise((resolve) => context.ws.once("pong", resolve));
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no pong")), ANSWER_MS);
    });
    context.ws.ping();
    await Promise.race([answered, late]);
    clearTimeout(timer);
    return;
  }
  const reply = await socketOf(context).timeout(ANSWER_MS).emitWithAck("subscriptions");
  if (!reply.ok) throw new Error("no longer served");
}

async function finish(context, events) {
  await assertAlive(context);
  const { messages, missed, doubled, refused } = context.received;
  events.emit("counter", "clients.messages", messages);
  events.emit("counter", "clients.missed", missed);
  events.emit("counter", "clients.doubled", doubled);
  if (refused) throw new Error(`refused: ${refused}`);
  if (messages === 0) throw new Error("received nothing");
}

module.exports = { watch, subscribe, begin, storms, finish };
