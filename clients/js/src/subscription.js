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

  /** What to ask the server for: at first what the application wrote, then what was granted, from our cursors on. */
  request() {
    if (!this.#streams) return this.#wish;
    const { throttle, snapshot } = this.#wish;
    return { streams: this.#streams, throttle, snapshot, since: this.#cursors.since };
  }

  /**
   * The server has answered: from here on its messages are ours.
   * @param {Answer} answer
   */
  join({ subscribed, rejected }) {
    const isReturn = this.#streams !== undefined;
    this.#streams = subscribed.map(({ stream }) => stream);
    this.isJoined = true;
    for (const refusal of rejected) this.#tell("rejected", refusal);
    if (subscribed.length === 0) {
      this.end(new TickcastError(/** @type {Refusal} */ (rejected[0])), true);
      return;
    }
    this.#resolveReady({ streams: this.#streams, rejected });
    const lost = subscribed.filter((entry) => isLost(entry, isReturn)).map(({ stream }) => stream);
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
    if (isHeard || event === "gap" || this.#isReadyAsked) return;
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
 * @param {boolean} isReturn
 */
function isLost({ recovered, cursor, snapshot }, isReturn) {
  return recovered === false || (isReturn && recovered === undefined && cursor !== null && snapshot === null);
}
