import { TickcastError } from "./errors.js";
import { everyOf } from "./stream-names.js";
import { snapshotOf } from "./subscription.js";

/** @typedef {import("./subscription.js").Subscription} Subscription */
/** @typedef {import("../types/index.d.ts").Message} Message */
/** @typedef {import("../types/index.d.ts").Gap} Gap */
/** @typedef {import("../types/index.d.ts").Refusal} Refusal */
/** @typedef {(event: string, body: unknown, done: (error: Error | null, answer: any) => void) => void} Call */

/** Streams that a server grants one client, and therefore the most subscriptions that can have one. */
const MAX_SUBSCRIPTIONS = 1024;
/** When streams are asked for again for which there was no room: others must have left some before. */
const CROWDED_S = 10;
/** When streams are left again whose leaving was not answered, or refused without a time. */
const LEAVE_AGAIN_S = 1;

/**
 * Which subscription wants which stream, and what the server was told of it on this connection.
 *
 * Messages of one stream that two subscriptions want come once. `subscribe` is answered before what it grants is sent, so
 * a subscription takes part from its answer on; it must be handled in the very call, as the next message is.
 */
export class Streams {
  /** @type {Set<Subscription>} */
  #subscriptions = new Set();
  /** @type {Map<string, Set<Subscription>>} */
  #members = new Map();
  /** How many subscriptions there are to all symbols. */
  #everies = 0;
  /** Counts connections, by which late answers are known. */
  #connection = 0;
  #isConnected = false;
  #unanswered = 0;
  /** @type {{streams: readonly string[], done: () => void}[]} left while an answer was awaited */
  #leaving = [];
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  #timers = new Set();
  #call;

  /** @param {Call} call emits with an acknowledgement, which comes once, or an error where it does not come */
  constructor(call) {
    this.#call = call;
  }

  /**
   * @param {Subscription} subscription
   * @throws {TickcastError} `too_many_streams`
   */
  add(subscription) {
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
      throw new TickcastError({ code: "too_many_streams", message: `At most ${MAX_SUBSCRIPTIONS} subscriptions` });
    }
    this.#subscriptions.add(subscription);
    if (this.#isConnected) this.#join(subscription);
  }

  /**
   * Forget a subscription; resolves once the server sends nothing more for it.
   * @param {Subscription} subscription
   * @returns {Promise<void>}
   */
  remove(subscription) {
    this.#forget(subscription);
    // What is still to be answered is left with the answer.
    return this.#leave(subscription.isJoined ? subscription.streams : []);
  }

  /** A connection stands: ask for everything. */
  connect() {
    this.#isConnected = true;
    for (const subscription of this.#subscriptions) this.#join(subscription);
  }

  /** The connection is gone: what was asked on it is not answered any more. */
  disconnect() {
    this.#isConnected = false;
    this.#connection += 1;
    for (const subscription of this.#subscriptions) subscription.isJoined = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const { done } of this.#leaving.splice(0)) done();
  }

  /**
   * End everything.
   * @param {TickcastError | undefined} error why, which the client tells
   */
  end(error) {
    this.disconnect();
    for (const subscription of this.#subscriptions) subscription.end(error, true);
    this.#subscriptions.clear();
    this.#members.clear();
    this.#everies = 0;
  }

  /** @param {Message} message */
  route(message) {
    for (const member of this.#membersOf(message.stream)) member.take(message);
  }

  /** @param {Gap} gap */
  routeGap(gap) {
    for (const member of this.#membersOf(gap.stream)) member.takeGap(gap);
  }

  /**
   * Tell who wants the stream that a refusal is about.
   * @param {Refusal} refusal
   * @returns {boolean} whether anybody does
   */
  routeError(refusal) {
    const members = this.#members.get(refusal.stream ?? "");
    for (const member of members ?? []) member.takeError(refusal);
    return members !== undefined;
  }

  /**
   * Another token holds from now on: tell whose streams it ends, and ask again for what the one before did not cover.
   * @param {readonly string[]} left streams that have ended
   */
  renew(left) {
    const forbidden = [...this.#subscriptions].filter((subscription) => subscription.isForbidden);
    for (const stream of left) {
      const members = this.#members.get(stream) ?? new Set();
      this.#members.delete(stream);
      if (stream.includes(":*@")) this.#everies -= members.size;
      const refusal = { stream, code: "forbidden", message: "The new token does not cover it" };
      for (const member of members) member.lose(refusal);
    }
    for (const subscription of forbidden) if (subscription.isOpen) this.#join(subscription);
  }

  /** @param {Subscription} subscription */
  #join(subscription) {
    const connection = this.#connection;
    this.#unanswered += 1;
    this.#call("subscribe", subscription.request(), (error, answer) => {
      this.#unanswered -= 1;
      if (connection !== this.#connection) return;
      if (!subscription.isOpen) void this.#leave((answer?.subscribed ?? []).map((/** @type {any} */ { stream }) => stream));
      else if (error) this.#join(subscription);
      else if (!answer.subscribed) this.#onRefused(subscription, answer);
      else this.#onAnswer(subscription, answer);
      this.#leaveUnwanted();
    });
  }

  /**
   * @param {Subscription} subscription
   * @param {import("./subscription.js").Answer} answer
   */
  #onAnswer(subscription, answer) {
    this.#unlist(subscription);
    for (const { stream } of answer.subscribed) {
      const members = this.#members.get(stream) ?? new Set();
      this.#members.set(stream, members.add(subscription));
      if (stream.includes(":*@")) this.#everies += 1;
    }
    subscription.join(answer);
    if (!subscription.isOpen) this.#forget(subscription);
    this.#share(subscription, answer);
  }

  /**
   * Show the state that a newcomer was shown to the other members, too: in its place the server has dropped what was on
   * its way to any of them.
   * @param {Subscription} newcomer
   * @param {import("./subscription.js").Answer} answer
   */
  #share(newcomer, { subscribed }) {
    for (const entry of subscribed) {
      const snapshot = snapshotOf(entry);
      if (!snapshot) continue;
      for (const member of this.#membersOf(entry.stream)) if (member !== newcomer) member.take(snapshot);
    }
  }

  /**
   * A request was refused as a whole: for now (`retryAfter`, in s), or for good. What was granted before is asked for until
   * there is room again.
   * @param {Subscription} subscription
   * @param {Refusal} refusal
   */
  #onRefused(subscription, refusal) {
    const isCrowded = refusal.code === "too_many_streams" && subscription.isAnswered;
    if (refusal.retryAfter === undefined && !isCrowded) {
      void this.remove(subscription);
      subscription.end(new TickcastError(refusal));
      return;
    }
    if (isCrowded) subscription.takeError(refusal);
    this.#after(refusal.retryAfter ?? CROWDED_S, () => subscription.isOpen && this.#join(subscription));
  }

  /**
   * Act later, unless the connection is gone by then.
   * @param {number} seconds at least, and up to a half more: clients that were refused together must not come back together
   * @param {() => void} act
   */
  #after(seconds, act) {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        act();
      },
      seconds * 1000 * (1 + Math.random() / 2),
    );
    this.#timers.add(timer);
  }

  /**
   * Who wants a stream, by its name or as a part of all symbols' (liquidations of all are both at once); each once.
   * @param {string} stream
   * @returns {Iterable<Subscription>}
   */
  #membersOf(stream) {
    const named = this.#members.get(stream) ?? [];
    const every = this.#everies > 0 ? this.#members.get(everyOf(stream)) : undefined;
    return every ? new Set([...named, ...every]) : named;
  }

  /** @param {Subscription} subscription */
  #forget(subscription) {
    this.#subscriptions.delete(subscription);
    this.#unlist(subscription);
  }

  /** @param {Subscription} subscription */
  #unlist(subscription) {
    for (const stream of subscription.streams) {
      const members = this.#members.get(stream);
      if (!members?.delete(subscription)) continue;
      if (stream.includes(":*@")) this.#everies -= 1;
      if (members.size === 0) this.#members.delete(stream);
    }
  }

  /**
   * @param {readonly string[]} streams
   * @returns {Promise<void>}
   */
  #leave(streams) {
    return new Promise((done) => {
      this.#leaving.push({ streams, done });
      this.#leaveUnwanted();
    });
  }

  /** Leave what nobody wants. Not while an answer is awaited, as its streams may be among them. */
  #leaveUnwanted() {
    if (this.#unanswered > 0 || this.#leaving.length === 0) return;
    const leaving = this.#leaving.splice(0);
    const streams = new Set(leaving.flatMap((left) => left.streams).filter((stream) => !this.#members.has(stream)));
    const done = () => leaving.forEach((left) => left.done());
    if (streams.size === 0 || !this.#isConnected) {
      done();
      return;
    }
    const connection = this.#connection;
    this.#call("unsubscribe", { streams: [...streams] }, (_, answer) => {
      if (connection !== this.#connection || answer?.unsubscribed) {
        done();
        return;
      }
      this.#leaving.push(...leaving);
      this.#after(answer?.retryAfter ?? LEAVE_AGAIN_S, () => this.#leaveUnwanted());
    });
  }
}
