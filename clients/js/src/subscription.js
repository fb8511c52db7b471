import { Cursors } from "./cursors.js";
import { callSafely, Emitter } from "./emitter.js";
import { TickcastError } from "./errors.js";
import { BoundedQueue } from "./queue.js";
import { kindOf } from "./stream-names.js";

/** @typedef {import("../types/index.d.ts").Gap} Gap */
/** @typedef {import("../types/index.d.ts").Message} Message */
/** @typedef {import("../types/index.d.ts").Ready} Ready */
/** @typedef {import("../types/index.d.ts").Refusal} Refusal */
/** @typedef {import("../types/index.d.ts").SubscriptionEvents} SubscriptionEvents */
/** @typedef {{stream: string, cursor: number | null, ts: number | null, snapshot: any, recovered?: boolean}} Entry */
/** @typedef {{subscribed: Entry[], rejected: Refusal[]}} Answer */
/** @typedef {{onMessage?: (message: any) => void, queueLimit?: number} & Record<string, unknown>} Request */

const QUEUE_LIMIT = 10_000;
/** Why a stream is refused that may be granted another time: when it trades, when others were left, with another token. */
const PASSING = new Set(["not_trading", "too_many_streams", "forbidden"]);

/**
 * One request's streams on whichever connection there is.
 * @extends {Emitter<SubscriptionEvents>}
 */
export class Subscription extends Emitter {
  /** Whether messages of this connection follow the cursors that we have. */
  isJoined = false;
  isOpen = true;
  duplicates = 0;
  #cursors = new Cursors();
  /** @type {string[] | undefined} by their full names; undefined until the first answer */
  #streams;
  /** @type {Set<string>} all that were ever granted */
  #granted = new Set();
  /** @type {Map<string, string>} the codes of what is refused now */
  #refused = new Map();
  /** @type {Map<string, Gap>} what the loop has not read, until it comes back */
  #unread = new Map();
  /** @type {BoundedQueue<Message> | undefined} */
  #queue;
  #isReadyAsked = false;
  /** @type {Promise<Ready>} */
  #ready;
  /** @type {(ready: Ready) => void} */
  #resolveReady = () => {};
  /** @type {(error: Error) => void} */
  #rejectReady = () => {};
  #wish;
  #onMessage;
  #leave;
  #bubble;

  /**
   * @param {Request} request
   * @param {(subscription: Subscription) => Promise<void>} leave tells the server
   * @param {(event: "gap" | "rejected" | "error", body: any) => boolean} bubble tells the client's listeners
   */
  constructor({ onMessage, queueLimit = QUEUE_LIMIT, ...wish }, leave, bubble) {
    super();
    this.#wish = wish;
    this.#leave = leave;
    this.#bubble = bubble;
    this.#onMessage = onMessage;
    if (!onMessage) {
      this.#queue = new BoundedQueue(queueLimit, {
        onDropped: (message) => this.#noteUnread(message),
        onRead: () => this.#tellUnread(),
        onLeft: () => this.unsubscribe(),
      });
    }
    this.#ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.#ready.catch(() => {}); // told otherwise as well: who does not ask for it must not crash
  }

  get ready() {
    this.#isReadyAsked = true;
    return this.#ready;
  }

  /** @returns {readonly string[]} */
  get streams() {
    return this.#streams ?? [];
  }

  /** Whether the server has ever granted anything. */
  get isAnswered() {
    return this.#streams !== undefined;
  }

  /** Whether something is refused that another token may cover. */
  get isForbidden() {
    return [...this.#refused.values()].includes("forbidden");
  }

  [Symbol.asyncIterator]() {
    if (!this.#queue) throw new TypeError("Messages go to onMessage: leave it out to iterate over them");
    return this.#queue;
  }

  async unsubscribe() {
    if (!this.isOpen) return;
    const left = this.#leave(this);
    this.end(undefined);
    await left;
  }

  /** What to ask the server for: what the application wrote, but for what is refused for good, from our cursors on. */
  request() {
    return this.#streams ? { ...this.#wish, since: this.#cursors.since } : this.#wish;
  }

  /**
   * The server has answered: from here on its messages are ours.
   * @param {Answer} answer
   */
  join({ subscribed, rejected }) {
    const isReturn = this.#streams !== undefined;
    this.#streams = subscribed.map(({ stream }) => stream);
    this.isJoined = true;
    this.#noteRefused(rejected);
    if (subscribed.length === 0) {
      const mayReturn = isReturn && rejected.some(({ code }) => PASSING.has(code));
      if (!mayReturn) this.end(new TickcastError(/** @type {Refusal} */ (rejected[0])), true);
      return;
    }
    this.#resolveReady({ streams: this.#streams, rejected });
    const lost = subscribed.filter((entry) => isLost(entry, this.#granted.has(entry.stream))).map(({ stream }) => stream);
    for (const { stream } of subscribed) this.#granted.add(stream);
    for (const entry of subscribed) this.#begin(entry, lost.includes(entry.stream));
    if (isReturn) this.emit("resumed", { recovered: this.#streams.filter((stream) => !lost.includes(stream)), lost });
  }

  /** @param {Message} message */
  take(message) {
    if (!this.isOpen || !this.isJoined) return;
    if (!this.#cursors.accepts(message)) this.duplicates += message.isSnapshot ? 0 : 1;
    else if (this.#onMessage) callSafely(this.#onMessage, message);
    else this.#queue?.push(message);
  }

  /** @param {Gap} gap */
  takeGap(gap) {
    if (this.isOpen && this.isJoined) this.#tell("gap", gap);
  }

  /** @param {Refusal} refusal */
  takeError(refusal) {
    this.#tell("error", refusal);
  }

  /**
   * A stream has ended: the token does not cover it any more.
   * @param {Refusal & {stream: string}} refusal
   */
  lose(refusal) {
    this.#streams = this.streams.filter((stream) => stream !== refusal.stream);
    this.#refused.set(refusal.stream, refusal.code);
    this.#tell("rejected", refusal);
  }

  /**
   * @param {TickcastError | undefined} error
   * @param {boolean} isTold whether somebody was told of the error already
   */
  end(error, isTold = false) {
    if (!this.isOpen) return;
    this.isOpen = this.isJoined = false;
    this.#rejectReady(error ?? new TickcastError({ code: "closed", message: "Unsubscribed" }));
    this.#queue?.end(error);
    const isHeard = this.emit("end", error) || isTold || this.#queue !== undefined;
    if (error && !isHeard) this.#tell("error", error);
  }

  /**
   * Show where a stream begins: with its state, with what was missed (which follows), or from the next message on.
   * @param {Entry} entry
   * @param {boolean} hasLost
   */
  #begin(entry, hasLost) {
    const { stream, cursor, ts, recovered } = entry;
    if (hasLost) this.#tell("gap", { stream, missed: null, until: cursor, reason: "unrecovered" });
    // At a replica that is behind, the snapshot that makes a book right again is older than what was shown.
    if (hasLost && kindOf(stream) === "book") this.#cursors.forget(stream);
    if (cursor === null || ts === null || recovered) return;
    const snapshot = snapshotOf(entry);
    if (snapshot) this.take(snapshot);
    else this.#cursors.begin(stream, cursor, ts);
  }

  /**
   * Tell what is refused, once for as long as it is, and ask no more for what is refused for good.
   * @param {Refusal[]} rejected
   */
  #noteRefused(rejected) {
    const before = this.#refused;
    this.#refused = new Map(rejected.map(({ stream = "", code }) => [stream, code]));
    const gone = new Set(rejected.filter(({ code }) => !PASSING.has(code)).map(({ stream }) => stream));
    const names = this.#wish.streams ? "streams" : "symbols";
    const wanted = /** @type {string[]} */ ([this.#wish[names]].flat());
    this.#wish = { ...this.#wish, [names]: wanted.filter((name) => !gone.has(name)) };
    for (const refusal of rejected) {
      if (before.get(refusal.stream ?? "") !== refusal.code) this.#tell("rejected", refusal);
    }
  }

  /** @param {Message} message */
  #noteUnread({ stream, cursor }) {
    const missed = (this.#unread.get(stream)?.missed ?? 0) + 1;
    this.#unread.set(stream, { stream, missed, until: cursor, reason: "unread" });
  }

  #tellUnread() {
    const unread = [...this.#unread.values()];
    this.#unread.clear();
    for (const gap of unread) this.#tell("gap", gap);
  }

  /**
   * @param {"gap" | "rejected" | "error"} event
   * @param {any} body
   */
  #tell(event, body) {
    const isHeard = [this.emit(event, body), this.#bubble(event, body)].includes(true);
    const isShownByReady = this.#isReadyAsked && this.#granted.size === 0;
    if (isHeard || event === "gap" || isShownByReady) return;
    console.warn(`tickcast: ${body.stream ?? "request"} refused: ${body.message} (${body.code})`);
  }
}

/**
 * The state that an answer shows of a stream; undefined where it shows none.
 * @param {Entry} entry
 * @returns {any} a Message of the stream's kind
 */
export function snapshotOf({ stream, cursor, ts, snapshot }) {
  if (cursor === null || ts === null || snapshot === null) return undefined;
  return { kind: kindOf(stream), stream, cursor, ts, data: snapshot, isSnapshot: true };
}

/**
 * Whether messages were missed while we were away that do not come any more.
 *
 * Of a stream that had brought nothing before, there was no cursor to ask from: whatever its last message is, it was not
 * shown, unless its state is.
 * @param {Entry} entry
 * @param {boolean} isReturn whether we had it before
 */
function isLost({ recovered, cursor, snapshot }, isReturn) {
  return recovered === false || (isReturn && recovered === undefined && cursor !== null && snapshot === null);
}
